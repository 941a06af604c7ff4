//! The block and the line, to the letter.

use citytide_core::batch::{Labelled, Tally};
use citytide_core::position::{Activity, Counts};

use super::*;
use crate::telemetry::{DetectorFigures, LOW_HELD_MAX_MS, LastCommit, PartitionFigures};

/// 2026-11-21T05:26:00Z.
const NOON_MS: u64 = 1_795_238_760_000;

/// A partition whose watermark is so many seconds behind.
fn partition(partition: i32, behind_s: i64, lag: i64) -> PartitionFigures {
    PartitionFigures {
        partition,
        first_offset: 0,
        next_offset: 1_000,
        end_offset: 1_000 + lag,
        counts: Counts::default(),
        watermark_us: Some((NOON_MS as i64 / 1000 - behind_s) * 1_000_000),
        activity: Activity::Active,
    }
}

fn idle(number: i32) -> PartitionFigures {
    PartitionFigures { activity: Activity::Idle, ..partition(number, 900, 0) }
}

/// A run of two workers after so many milliseconds with so many readings.
fn snapshot(uptime_ms: u64, accepted: i64, partitions: Vec<PartitionFigures>) -> Snapshot {
    let low_us = partitions.iter().filter_map(|one| one.watermark_us).min();
    Snapshot {
        phase: Phase::Running,
        uptime_ms,
        now_ms: NOON_MS,
        low_us,
        partitions,
        counts: Counts { accepted, ..Counts::default() },
        last_commit: Some(LastCommit { epoch: 50, ago_ms: 130 }),
        commits: 1,
        workers: 2,
        ..Snapshot::default()
    }
}

fn status(snapshots: impl IntoIterator<Item = Snapshot>) -> Status {
    let mut status = Status::default();
    snapshots.into_iter().for_each(|one| status.observe(one));
    status
}

fn text(status: &Status, columns: usize) -> Vec<String> {
    status.block(columns).into_iter().map(|line| line.text).collect()
}

#[test]
fn a_run_that_is_starting_says_so() {
    let status = status([Snapshot::default()]);
    assert_eq!(text(&status, 80), ["starting  schema, ledger, the other processes"]);
    assert_eq!(status.line(), "starting");
}

#[test]
fn before_the_first_reading_there_is_no_watermark_and_no_commit() {
    let mut nothing = partition(0, 0, 0);
    (nothing.watermark_us, nothing.activity) = (None, Activity::Empty);
    let status = status([Snapshot { last_commit: None, ..snapshot(100, 0, vec![nothing]) }]);
    assert_eq!(
        text(&status, 80),
        [
            "rate      0/s · lag 0, caught up · no commit yet",
            "readings  0 · 0 anomalies · 0 late · 0 dead letters · 0 lost",
            "watermark none yet",
            "busy %    read 0  decode 0  score 0  place 0  window 0  copy 0  commit 0",
        ]
    );
    assert_eq!(status.line(), "0/s · lag 0 · watermark none yet · 0 anomalies · no commit yet");
}

#[test]
fn caught_up_with_live_readings_shows_each_partition() {
    let partitions = vec![partition(0, 5, 0), partition(1, 7, 0), partition(2, 5, 0), idle(3)];
    let mut last = snapshot(6_000, 1_234_567, partitions.clone());
    last.low_us = partitions[1].watermark_us;
    last.counts.late = 12;
    last.counts.dead = 3;
    last.tally.by_model = 61_728;
    last.stages = StageTimes([200, 1_200, 300, 500, 100, 400, 1_100].map(|ms| ms * 1_000_000));
    let status = status([snapshot(1_000, 1_174_567, partitions), last]);
    assert_eq!(
        text(&status, 80),
        [
            "rate      12,002/s · lag 0, caught up · last commit 0.1 s ago",
            "readings  1,234,579 · 61,728 anomalies · 12 late · 3 dead letters · 0 lost",
            "watermark 7 s behind · 0: 5 s · 1: 7 s · 2: 5 s · 3: idle",
            "busy %    read 2  decode 12  score 3  place 5  window 1  copy 4  commit 22",
        ]
    );
    assert_eq!(
        status.line(),
        "12,002/s · lag 0 · watermark 7 s behind · 61,728 anomalies · 12 late · 3 dead letters · last commit 0.1 s ago"
    );
}

#[test]
fn behind_a_backlog_it_tells_how_long_that_will_last() {
    let of = |lag| vec![partition(0, 90_000, lag), partition(1, 100_000, 0)];
    let status = status([snapshot(0, 0, of(1_500_000)), snapshot(5_000, 600_000, of(900_000))]);
    assert_eq!(
        text(&status, 80)[..1],
        ["rate      120,000/s · lag 900,000, about 8 s to go · last commit 0.1 s ago"]
    );
    assert_eq!(text(&status, 80)[2], "watermark 2026-11-20 01:39 · 0: 25 h · 1: 27 h");
}

#[test]
fn a_backlog_that_grows_is_given_no_end() {
    let status = status([
        snapshot(0, 0, vec![partition(0, 5, 1_000)]),
        snapshot(5_000, 100, vec![partition(0, 9, 1_334)]),
    ]);
    assert_eq!(text(&status, 80)[0], "rate      20/s · lag 1,334 · last commit 0.1 s ago");
}

#[test]
fn with_all_partitions_idle_it_says_idle_instead_of_a_distance_that_grows() {
    let mut last = snapshot(5_000, 100, vec![idle(0), idle(1)]);
    last.last_commit = Some(LastCommit { epoch: 50, ago_ms: 890_000 });
    let status = status([last]);
    assert_eq!(
        text(&status, 80),
        [
            "rate      0/s · lag 0, caught up · last commit 14 min ago",
            "readings  100 · 0 anomalies · 0 late · 0 dead letters · 0 lost",
            "watermark 2026-11-21 05:11:00, all partitions idle · 0: idle · 1: idle",
            "busy %    read 0  decode 0  score 0  place 0  window 0  copy 0  commit 0",
        ]
    );
    assert_eq!(
        status.line(),
        "0/s · lag 0 · watermark 2026-11-21 05:11:00, all partitions idle · 0 anomalies · last commit 14 min ago"
    );
}

#[test]
fn of_many_partitions_the_slowest_are_named_and_the_others_summed_up() {
    let mut partitions: Vec<_> = (0..64).map(|one| partition(one, 5 + i64::from(one % 3), 0)).collect();
    partitions[7] = partition(7, 3_000, 0);
    partitions[9] = partition(9, 300, 0);
    partitions[20] = idle(20);
    partitions[21].activity = Activity::Empty;
    let status = status([snapshot(0, 0, partitions)]);
    assert_eq!(
        text(&status, 80)[2],
        "watermark 3000 s behind · 7: 50 min · 61 more within 300 s · 1 idle · 1 empty"
    );
}

#[test]
fn a_frontier_that_stands_still_is_an_alarm() {
    let mut stalled = snapshot(20_000, 100, vec![partition(0, 5, 10)]);
    stalled.standing_ms = 14_500;
    let block = status([stalled]).block(80);
    assert_eq!(block[0].text, "rate      0/s · lag 10 · nothing committed for 14 s");
    assert!(block[0].alarm && block[1..].iter().all(|line| !line.alarm));
    assert_eq!(
        block[0].painted(true),
        "\x1b[2mrate      \x1b[0m\x1b[33m0/s · lag 10 · nothing committed for 14 s\x1b[0m"
    );
    assert_eq!(block[0].painted(false), block[0].text);
}

#[test]
fn a_watermark_that_was_held_back_for_long_is_an_alarm_that_names_the_partition() {
    let mut held = snapshot(500_000, 100, vec![partition(0, 5, 0), partition(1, 400, 0), idle(2)]);
    held.low_us = held.partitions[1].watermark_us;
    held.low_held_ms = LOW_HELD_MAX_MS;
    assert!(!status([held.clone()]).block(80)[2].alarm);
    held.low_held_ms = 395_000;
    let status = status([held]);
    let watermark = &status.block(100)[2];
    let told = "watermark 400 s behind, held by partition 1 for 395 s · 0: 5 s · 1: 400 s · 2: idle";
    assert_eq!((watermark.text.as_str(), watermark.alarm), (told, true));
    assert!(status.line().contains(" · watermark 400 s behind, held by partition 1 for 395 s · "));
}

#[test]
fn a_run_that_was_asked_to_end_is_draining() {
    let draining = Snapshot { phase: Phase::Draining, ..snapshot(0, 0, vec![partition(0, 5, 10)]) };
    assert_eq!(text(&status([draining]), 80)[0], "rate      0/s · lag 10, draining · last commit 0.1 s ago");
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let many = (0..500).map(|one| partition(one, i64::from(one) * 1_000, 1_000_000_000_000)).collect();
    let mut all = snapshot(5_000, i64::MAX / 4, many);
    all.tally = Tally { by_both: i64::MAX / 4, ..Tally::default() };
    all.last_hour.true_positives = i64::MAX / 4;
    all.detector = Some(DetectorFigures {
        version: i32::MAX,
        zones: [usize::MAX / 8; 3],
        partitions_full: usize::MAX / 8,
        training_failure: Some("why ".repeat(100)),
        ..DetectorFigures::default()
    });
    all.counts.late = i64::MAX / 4;
    all.stages = StageTimes([u64::MAX / 2; 7]);
    let status = status([snapshot(0, 0, Vec::new()), all]);
    for columns in 1..200 {
        for line in status.block(columns) {
            assert!(line.text.chars().count() <= columns, "{columns}: {}", line.text);
            let painted = ["\x1b[2m", "\x1b[33m", "\x1b[0m"]
                .into_iter()
                .fold(line.painted(true), |text, code| text.replace(code, ""));
            assert_eq!(painted, line.text);
        }
    }
}

#[test]
fn rates_are_those_of_the_last_seconds_and_of_one_generation() {
    let of = |uptime_ms, readings| snapshot(uptime_ms, readings, vec![partition(0, 5, 0)]);
    let mut status = status((0..=100).map(|s| of(s * 1000, s as i64 * 10)));
    assert_eq!(status.rate(), 10);
    assert!(status.samples.len() <= 7, "samples are few: {}", status.samples.len());
    status.observe(of(106_000, 7_000));
    assert_eq!(status.rate(), 1_000);
    status.observe(of(500, 3));
    assert_eq!(status.rate(), 0, "another generation begins anew");
}

#[test]
fn the_summary_counts_what_this_run_has_committed() {
    let mut last = snapshot(200_000, 1_234_567, vec![partition(0, 5, 0)]);
    (last.counts.late, last.counts.dead, last.counts.lost) = (12, 3, 4);
    last.tally = Tally { by_rules: 1_728, by_model: 50_000, by_both: 10_000, ..Tally::default() };
    assert_eq!(
        Status::summary(&last),
        [
            "1,234,579 readings in 3 min 20 s, 6,173/s; last epoch 50",
            "61,728 anomalies · 12 late · 3 dead letters · 4 lost",
        ]
    );
}

#[test]
fn thousands_are_set_apart() {
    assert_eq!(thousands(0), "0");
    assert_eq!(thousands(999), "999");
    assert_eq!(thousands(1_000), "1,000");
    assert_eq!(thousands(-1_234_567), "-1,234,567");
}

/// A run whose detector stands there.
fn judging(detector: DetectorFigures) -> Snapshot {
    Snapshot { detector: Some(detector), ..snapshot(5_000, 100, vec![partition(0, 5, 0)]) }
}

#[test]
fn the_detector_tells_its_model_and_which_zones_are_warming_up() {
    let told = |version, zones| {
        let status = status([judging(DetectorFigures { version, zones, ..DetectorFigures::default() })]);
        (text(&status, 80)[3].clone(), status.line())
    };
    let before = "0/s · lag 0 · watermark 5 s behind · 0 anomalies";
    let after = "last commit 0.1 s ago";
    for (version, zones, block, line) in [
        (0, [0, 0, 0], "no model yet · no zone yet", "no model yet"),
        (
            0,
            [5, 3, 0],
            "no model yet · 8 zones · 8 warming up, 5 by rules alone",
            "no model yet · 8 zones warming up, 5 by rules alone",
        ),
        (3, [0, 1, 7], "model 3 · 8 zones · 1 warming up", "model 3 · 1 zone warming up"),
        (12, [0, 0, 1], "model 12 · 1 zone", "model 12"),
    ] {
        let expected = (format!("detector  {block}"), format!("{before} · {line} · {after}"));
        assert_eq!(told(version, zones), expected);
    }
}

#[test]
fn a_training_that_failed_and_too_many_sensors_are_alarms() {
    let why = "training a model: fitting a forest needs at least 100 rows, and there are 60; wait for more readings; \
               the model in force stays";
    let status = status([judging(DetectorFigures {
        version: 2,
        zones: [0, 0, 8],
        partitions_full: 2,
        training_failure: Some(why.to_owned()),
        ..DetectorFigures::default()
    })]);
    let block = status.block(80);
    assert_eq!(
        text(&status, 80)[3..6],
        [
            "detector  model 2 · 8 zones",
            "training  failed: fitting a forest needs at least 100 rows, and there are 60; w…",
            "sensors   2 partitions at sensors_max",
        ]
    );
    assert_eq!(text(&status, 50)[4], "training  failed: fitting a forest needs at least…");
    assert!(block[4].alarm && block[5].alarm && !block[3].alarm);
    let said = "model 2 · training failed: fitting a forest needs at least 100 rows, and there are 60; wait for more \
                readings; the model in force stays · 2 partitions at sensors_max · last commit";
    assert!(status.line().contains(said), "{}", status.line());
}

#[test]
fn precision_and_recall_are_told_where_the_stream_tells_the_truth() {
    let found =
        Labelled { true_positives: 85, false_positives: 6, false_negatives: 15, true_negatives: 10_000 };
    let of = |last_hour| status([Snapshot { last_hour, ..snapshot(5_000, 100, vec![partition(0, 5, 0)]) }]);
    let told = of(found);
    assert_eq!(text(&told, 50)[3], "truth     precision 0.93 · recall 0.85 · last hour");
    assert!(told.line().contains(" · precision 0.93 · recall 0.85 · last commit"), "{}", told.line());
    let normal = of(Labelled { true_negatives: 7, ..Labelled::default() });
    assert_eq!(text(&normal, 80)[3], "truth     precision – · recall – · last hour");
}

#[test]
fn followers_are_told_where_some_are_registered() {
    let follower = |name: &str, behind_ms, holds_retention| citytide_store::followers::Follower {
        name: name.to_owned(),
        epoch: 1,
        updated_us: None,
        behind_ms,
        holds_retention,
    };
    let followers = vec![follower("parquet", 777_600_000, true), follower("page", 400, false)];
    let status = status([Snapshot { followers, ..snapshot(0, 0, vec![partition(0, 5, 0)]) }]);
    let block = status.block(80);
    assert_eq!(block[3].text, "followers parquet: 9 d behind, holds retention up · page: 0 s behind");
    assert!(block[3].alarm);
    assert!(
        status.line().contains(" · follower parquet: 9 d behind, holds retention up · "),
        "{}",
        status.line()
    );
}

#[test]
fn open_incidents_are_told_by_severity_and_failed_notifications_beside_them() {
    use citytide_store::incidents::shown::Counts;
    use citytide_store::notifications::Summary;
    let of = |incidents, notifying| {
        status([Snapshot { incidents, notifying, ..snapshot(0, 0, vec![partition(0, 5, 0)]) }])
    };
    let counts = Counts { open: 1_203, by_severity: [1, 0, 1_202], pending: 7, need_attention: 1 };
    let summary = Summary {
        waiting: 12,
        given_up: 1,
        last_failure: Some(("duty".to_owned(), "404 Not Found".to_owned())),
    };
    let told = of(Some(counts), Some(summary));
    let block = told.block(80);
    assert_eq!(block[3].text, "incidents 1,203 open: 1 high, 1,202 low · 1 needs attention");
    assert_eq!(block[4].text, "notifying 12 waiting · 1 given up in 24 h: duty: 404 Not Found");
    assert!(!block[3].alarm && block[4].alarm);
    let line = told.line();
    assert!(
        line.contains(" · incidents 1,203 open: 1 high, 1,202 low · 1 needs attention · notifying 12"),
        "{line}"
    );
    let quiet = of(Some(Counts::default()), Some(Summary::default()));
    assert_eq!(text(&quiet, 80)[3..5], ["incidents none open", "notifying 0 waiting"]);
    assert!(!quiet.line().contains("incidents"), "{}", quiet.line());
}

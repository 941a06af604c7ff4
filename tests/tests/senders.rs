//! One bad sender beside three healthy ones, judged by the learned detector: garbage, a lying clock, a slow uplink. The
//! windows of the healthy ones become final, their readings are judged as if it were not there, and memory stays flat.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use citytide_tests::city::{City, SECOND};
use citytide_tests::generated::{Line, lines};
use citytide_tests::http::{free_port, samples};
use citytide_tests::kafka::{Meaning, Stamp};
use citytide_tests::load::{DAWN, Reading, rfc3339};
use citytide_tests::process::{CommandLine, Ended};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{now_us, wait_until};

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// `train_every` of the built-in domain.
const TRAININGS_APART: i64 = 6 * HOUR;

/// Minutes of the city: the first ones wait in the topic, the others come one by one.
const MINUTES: i64 = 180;
const WAITING: i64 = 170;

/// The partition of the bad sender; the healthy ones are those before it.
const BAD: i32 = 3;

/// Eighty sensors in three partitions for an hour and a half longer: one minute a second, while W is waited for.
fn city(start_us: i64) -> Vec<Line> {
    lines("--partitions 3 --sensors 80 --seed 9 --count 135000 --duration 270m", start_us)
}

/// What is said of a reading: score, confidence, version, who flagged it.
type Verdict = (f32, Option<f32>, i32, Option<String>);

/// What is said of the healthy readings, by partition and offset.
type Said = BTreeMap<(i32, i64), Verdict>;

/// What came of a run.
struct Outcome {
    said: Said,
    /// Reasons of dead letters in the bad partition.
    letters: Vec<String>,
    /// Healthy readings that every run was sent.
    sent: i64,
    /// Bytes of the newest state of the detector.
    state_bytes: i64,
}

/// Sends the city, of which the last minutes come one by one, and with each of them what `send_bad` sends, given the
/// scene and the minute. Checks all that is true in any case.
fn live_through(test: &'static str, stamp: Stamp, start_us: i64, send_bad: impl Fn(&Scene, i64)) -> Outcome {
    let scene = Scene::stamped(test, City::smart(), BAD + 1, stamp);
    let session = &scene.database.session;
    let mut lines = city(start_us).into_iter().peekable();
    let mut sent: i64 = 0;
    let mut send_minute = |minute: i64| {
        send_bad(&scene, minute);
        while let Some(line) = lines.next_if(|line| line.at_us < start_us + (minute + 1) * MINUTE) {
            sent += 1;
            line.send(&scene.topic);
        }
        sent
    };
    (0..WAITING).for_each(|minute| {
        send_minute(minute);
    });
    scene.catch_up("-w 2");
    let port = free_port();
    let mut run = scene.run(&format!("-w 2 --listen {port}")).spawn();
    let of_healthy =
        "select coalesce(sum(next_offset), 0)::bigint from ingest_progress where kafka_partition < 3";
    let mut healthy = 0;
    for minute in WAITING..MINUTES {
        healthy = send_minute(minute);
        scene.topic.flush();
        wait_until("the healthy readings are committed", LIMIT, || {
            assert_eq!(run.ended(), None, "the run goes on: {}", run.log());
            session.value::<i64>(of_healthy) == healthy
        });
    }
    // Windows become final as far as the healthy partitions are, although something still comes.
    let reached_us = start_us + (MINUTES - 2) * MINUTE;
    let mut minute = MINUTES;
    let mut another_minute = || {
        assert_eq!(run.ended(), None, "the run goes on: {}", run.log());
        // The healthy ones go on too: with all partitions idle at once W would stand still.
        send_minute(minute);
        minute += 1;
        std::thread::sleep(Duration::from_secs(1));
    };
    wait_until("W goes on with the healthy partitions", LIMIT, || {
        another_minute();
        scene.database.watermark_us() >= Some(reached_us)
    });
    let written = format!(
        "select coalesce(max(as_of) >= '{}', false) from detector_state where kind = 'schedule'",
        rfc3339(reached_us)
    );
    wait_until("what is known is written down as far as the healthy partitions are", LIMIT, || {
        another_minute();
        session.value::<bool>(&written)
    });
    // What was ahead of W has left memory: the last three minutes bring far less.
    wait_until("few anomalies are ahead of W", LIMIT, || {
        samples(port).is_some_and(|samples| samples["citytide_anomalies_ahead"] < 1_000.0)
    });
    let open = format!(
        "select count(*) filter (where is_final), count(*) filter (where not is_final) from metrics_1min \
         where window_end between '{}' and '{}'",
        rfc3339(start_us + WAITING * MINUTE),
        rfc3339(reached_us)
    );
    let counts = &session.query(&open)[0];
    let (finals, open): (i64, i64) = (counts.get(0), counts.get(1));
    assert!(finals >= 8 * (MINUTES - 2 - WAITING) && open == 0, "{finals} are final, {open} are not");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{}", run.log());

    for arguments in [&["verify"][..], &["verify", "--verdicts"]] {
        let (ended, says) = CommandLine::new(&scene.services.citytide, scene.test)
            .args(arguments)
            .args(["--database-url", &scene.database.url])
            .finish(LIMIT);
        assert_eq!(ended, Ended::Exit(0), "{arguments:?}: {says}");
        assert!(arguments.len() == 1 || says.contains("✓ verdicts:"), "all are compared: {says}");
    }
    assert_eq!(session.value::<i64>("select count(*) from conservation where not holds"), 0);
    let sql = "select kafka_partition, kafka_offset, anomaly_score, confidence, model_version, detector \
               from sensor_data where kafka_partition < 3";
    let rows = session.query(sql).into_iter();
    let said: Said = rows
        .map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3), row.get(4), row.get(5))))
        .collect();
    assert!(said.values().filter(|(_, _, version, _)| *version > 0).count() > 20_000, "a model judges");
    let state_bytes = session.value("select sum(octet_length(state))::bigint from detector_state");
    let sql = "select distinct reason from dead_letters where kafka_partition = 3";
    let letters = session.query(sql).iter().map(|row| row.get(0)).collect();
    Outcome { said, letters, sent: healthy, state_bytes }
}

/// What comes without the bad sender at dawn, for all tests.
fn without() -> &'static Outcome {
    static WITHOUT: OnceLock<Outcome> = OnceLock::new();
    WITHOUT.get_or_init(|| live_through("healthy", Stamp::CreateTime, DAWN, |_, _| {}))
}

/// Lives with the bad sender and without it at the same time: most of both is waiting.
fn both<'a>(
    with: impl FnOnce() -> Outcome,
    without: impl FnOnce() -> &'a Outcome + Send,
) -> (Outcome, &'a Outcome) {
    std::thread::scope(|scope| {
        let without = scope.spawn(without);
        (with(), without.join().expect("the run without the bad sender"))
    })
}

/// Panics unless state takes what it would take without the bad sender.
fn assert_flat(with: &Outcome, without: &Outcome) {
    let (with, without) = (with.state_bytes, without.state_bytes);
    assert!(with < 2 * without, "{with} and {without} bytes of state");
}

/// Panics unless each healthy reading is judged as without the bad sender, in what `aspect` sees of it. A run that
/// waited longer for W was sent more.
fn assert_same_verdicts<A: PartialEq + Debug>(
    with: &Outcome,
    without: &Outcome,
    aspect: impl Fn(&Verdict) -> A,
) {
    let mut compared = 0;
    for (key, verdict) in &without.said {
        let Some(found) = with.said.get(key) else { continue };
        assert_eq!(aspect(found), aspect(verdict), "partition and offset {key:?}");
        compared += 1;
    }
    assert!(compared >= with.sent, "{compared} of {} are compared", with.sent);
}

#[test]
fn beside_a_partition_of_garbage_all_is_as_without_it() {
    let send_bad = |scene: &Scene, minute: i64| {
        for record in 0..20 {
            let garbage = Meaning::Garbage { reason: "not_json", field: None };
            scene.topic.send(BAD, (DAWN + minute * MINUTE) / 1000 + record, b"{".to_vec(), garbage);
        }
    };
    let (with, without) = both(|| live_through("rubbish", Stamp::CreateTime, DAWN, send_bad), without);
    assert_eq!(with.letters, ["not_json"]);
    assert_same_verdicts(&with, without, Verdict::clone);
    assert_flat(&with, without);
}

/// A start of the city in the past hours, such that no training is due while its last minutes come one by one: a living
/// stream does not wait for that.
fn recently() -> i64 {
    let end_us = (now_us() - 100 * MINUTE) / MINUTE * MINUTE;
    let is_near = (end_us + 40 * MINUTE).rem_euclid(TRAININGS_APART) < 80 * MINUTE;
    end_us - if is_near { 80 * MINUTE } else { 0 } - MINUTES * MINUTE
}

/// When the tests of lying clocks begin, the same for all of them.
static PAST_HOURS: LazyLock<i64> = LazyLock::new(recently);

/// What comes without the bad sender then.
fn without_in_the_past_hours() -> &'static Outcome {
    static WITHOUT: OnceLock<Outcome> = OnceLock::new();
    WITHOUT.get_or_init(|| live_through("alone", Stamp::LogAppendTime, *PAST_HOURS, |_, _| {}))
}

/// Lives beside a sender whose clock is ahead of the true one.
fn live_beside_a_lying_clock(stamp: Stamp, ahead_us: i64) {
    let send_bad = |scene: &Scene, _| {
        for _ in 0..5 {
            let at_us = now_us() + ahead_us;
            let reading = Reading::plain(&scene.city, "liar", "Downtown", at_us, 20.0);
            let payload = reading.json(&scene.city);
            scene.topic.send(BAD, at_us / 1000, payload, Meaning::Reading(reading));
        }
    };
    let (with, without) =
        both(|| live_through("liar", stamp, *PAST_HOURS, send_bad), without_in_the_past_hours);
    assert_eq!(with.letters, ["in_the_future"]);
    assert_same_verdicts(&with, without, Verdict::clone);
    assert_flat(&with, without);
}

#[test]
fn beside_a_lying_clock_all_is_as_without_it_where_senders_stamp() {
    // More than an hour ahead, Kafka itself would refuse the record.
    live_beside_a_lying_clock(Stamp::CreateTime, 30 * MINUTE);
}

#[test]
fn beside_a_lying_clock_all_is_as_without_it_where_the_broker_stamps() {
    live_beside_a_lying_clock(Stamp::LogAppendTime, 24 * HOUR);
}

#[test]
fn beside_a_slow_uplink_readings_are_judged_by_the_same_models() {
    let send_bad = |scene: &Scene, minute: i64| {
        // Two hours and a half behind in the end, and a little further each time.
        if minute < MINUTES {
            for (sensor, at_us) in [("slow", minute * 10 * SECOND), ("other", minute * 10 * SECOND + SECOND)]
            {
                let reading = Reading::plain(&scene.city, sensor, "Downtown", DAWN + at_us, 20.0);
                let payload = reading.json(&scene.city);
                scene.topic.send(BAD, (DAWN + at_us) / 1000, payload, Meaning::Reading(reading));
            }
        }
    };
    let (with, without) = both(|| live_through("slow", Stamp::CreateTime, DAWN, send_bad), without);
    // What it taught and was trained on is theirs too, so scores differ; who judges does not.
    assert_same_verdicts(&with, without, |said| (said.1.is_some(), said.2 > 0));
    assert_flat(&with, without);
}

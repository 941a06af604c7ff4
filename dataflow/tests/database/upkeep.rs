//! Partitions ahead, retention, indexes of segments that are over, the fence, the heartbeat.

use std::sync::mpsc;
use std::time::Duration;

use citytide::views::schema;
use citytide_domain::{Domain, SessionBy, SessionWindow};
use citytide_store::clock::instant;
use citytide_store::epoch_clock::EpochClock;
use citytide_store::migrate;
use citytide_store::partitions::segment_of;
use citytide_store::postgres::DatabaseError;
use citytide_store::schema::Pace;
use citytide_store::takeover::Run;
use citytide_store::upkeep::{
    COMMITS_MERGED_AFTER_MS, Stop, Written, drop_partitions, ensure_partitions, finish_segments,
    merge_commits, prune_changes, prune_commits, prune_incidents, prune_sensors, prune_windows,
    raise_horizon, spawn,
};

use tokio_postgres::Client;

use super::scratch::{DAY_MS, NOON_MS, execute, number, texts, with_database};

const DAY_US: i64 = DAY_MS as i64 * 1000;
const LONG: Duration = Duration::from_secs(60);

const LEAVES: &str = "select inhrelid::regclass::text from pg_inherits \
                      where inhparent = 'sensor_readings'::regclass order by 1";
const LETTERS: &str = "select inhrelid::regclass::text from pg_inherits \
                       where inhparent = 'dead_letter_records'::regclass order by 1";
const HOUR_MS: u64 = DAY_MS / 24;

#[test]
fn partitions_are_made_ahead_while_somebody_reads_and_somebody_copies() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        ensure_partitions(&mut client, 0, NOON_MS, Some(Pace::Live)).await.expect("the first partitions");
        let reader = scratch.open().await;
        execute(&reader, "begin; select count(*) from sensor_data").await;
        let writer = scratch.open().await;
        execute(&writer, "begin; insert into dead_letter_records values (1795262400000, 0, 0, now(), 'empty', null, '', '', 0)")
            .await;
        ensure_partitions(&mut client, 0, NOON_MS + DAY_MS, Some(Pace::Live))
            .await
            .expect("the next partitions");
        let segments = ["20261121_115930", "20261121_120000", "20261122_115930", "20261122_120000"];
        assert_eq!(texts(&client, LEAVES).await, segments.map(|from| format!("sensor_readings_{from}")));
        let days = ["20261121", "20261122", "20261123"];
        assert_eq!(texts(&client, LETTERS).await, days.map(|day| format!("dead_letter_records_{day}")));
        execute(&writer, "commit").await;
        Written::default().summarize(&client, NOON_MS).await.expect("summarised");
    });
}

#[test]
fn a_run_that_was_taken_over_makes_no_partition() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(&client, "update fence set run_id = 2").await;
        let error = ensure_partitions(&mut client, 1, NOON_MS, Some(Pace::Live)).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Fenced(_)), "{error}");
        assert!(texts(&client, LEAVES).await.is_empty());
    });
}

#[test]
fn the_horizon_comes_first_and_partitions_go_an_hour_later() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        for day in 0..3 {
            let now_ms = NOON_MS + day * DAY_MS;
            ensure_partitions(&mut client, 0, now_ms, Some(Pace::Live)).await.expect("partitions");
        }
        let horizon = "select horizon_epoch from citytide_database";
        let now_ms = NOON_MS + 3 * DAY_MS;
        raise_horizon(&mut client, 0, DAY_US, now_ms).await.expect("nothing committed");
        assert_eq!(number(&client, horizon).await, 0);
        let commit = |epoch: u64, before: u64| {
            format!(
                "insert into commits (epoch, previous_epoch, run_id, readings) values ({epoch}, {before}, 0, 0);"
            )
        };
        execute(&client, &(commit(NOON_MS, 0) + &commit(NOON_MS + 50, NOON_MS))).await;
        raise_horizon(&mut client, 0, DAY_US, NOON_MS).await.expect("no commit is that old");
        assert_eq!(number(&client, horizon).await, 0);
        raise_horizon(&mut client, 0, DAY_US, now_ms).await.expect("raised");
        assert_eq!(number(&client, horizon).await, NOON_MS as i64 + 50, "not beyond the committed epoch");
        execute(&client, &commit(now_ms, NOON_MS + 50)).await;
        raise_horizon(&mut client, 0, DAY_US, now_ms).await.expect("raised");
        let end_of_second_day = (NOON_MS + DAY_MS + DAY_MS / 2) as i64 - 1;
        assert_eq!(number(&client, horizon).await, end_of_second_day);

        drop_partitions(&mut client, 0).await.expect("too early");
        assert_eq!((texts(&client, LEAVES).await.len(), texts(&client, LETTERS).await.len()), (6, 4));
        execute(&client, "update citytide_database set horizon_raised_at = now() - interval '61 minutes'")
            .await;
        drop_partitions(&mut client, 0).await.expect("dropped");
        let third = ["sensor_readings_20261123_115930", "sensor_readings_20261123_120000"];
        assert_eq!(texts(&client, LEAVES).await, third);
        let left = ["dead_letter_records_20261123", "dead_letter_records_20261124"];
        assert_eq!(texts(&client, LETTERS).await, left);

        prune_commits(&mut client, 0).await.expect("pruned");
        assert_eq!(texts(&client, "select epoch::text from commits").await, [now_ms.to_string()]);
    });
}

#[test]
fn the_newest_commit_stays_although_it_lies_behind_the_horizon() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(
            &client,
            "insert into commits (epoch, previous_epoch, run_id, readings) values (1, 0, 0, 0), (2, 1, 0, 0); \
             update citytide_database set horizon_epoch = 2",
        )
        .await;
        prune_commits(&mut client, 0).await.expect("pruned");
        assert_eq!(number(&client, "select sum(epoch)::bigint from commits").await, 2);
    });
}

#[test]
fn commits_that_are_an_hour_old_become_one_for_each_minute_and_say_the_same() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let minute_ms = NOON_MS as i64 - 120_000;
        let commits = "insert into commits (epoch, previous_epoch, run_id, readings, windows_from) \
             select $1::bigint + 50 * n, $1::bigint + 50 * (n - 1), 0, n, now() + n * interval '1 minute' \
             from generate_series(0, 3599) as n";
        client.execute(commits, &[&minute_ms]).await.expect("three minutes of commits");
        let said = "select format('%s %s %s', sum(readings), min(windows_from), max(epoch)) from commits";
        let above = format!("{said} where epoch > {}", minute_ms + 60_000 - 50);
        let before = [texts(&client, said).await, texts(&client, &above).await];
        let mut from_ms = 0;
        // The third minute is not an hour old yet.
        let now_ms = NOON_MS + COMMITS_MERGED_AFTER_MS + 59_999;
        merge_commits(&mut client, 0, &mut from_ms, now_ms).await.expect("merged");
        assert_eq!(number(&client, "select count(*) from commits where epoch < 1795262280000").await, 0);
        let old = format!("select count(*) from commits where epoch < {NOON_MS}");
        assert!(number(&client, &old).await < 60, "minutes of 1,200 commits are a few rows");
        assert_eq!(
            number(&client, &format!("select count(*) from commits where epoch >= {NOON_MS}")).await,
            1200
        );
        assert_eq!([texts(&client, said).await, texts(&client, &above).await], before);
        let gaps = "select count(*) from (select previous_epoch, lag(epoch) over (order by epoch) as before from commits) \
                    as chain where previous_epoch <> before";
        assert_eq!(number(&client, gaps).await, 0, "each names the one before");
        let rows = number(&client, "select count(*) from commits").await;
        merge_commits(&mut client, 0, &mut 0, now_ms).await.expect("merged again");
        assert_eq!(
            number(&client, "select count(*) from commits").await,
            rows,
            "there is nothing left to merge"
        );
        execute(&client, "update fence set run_id = 9").await;
        let later = now_ms + 60_000;
        let error = merge_commits(&mut client, 0, &mut from_ms, later).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Fenced(_)), "{error}");
    });
}

#[test]
fn windows_and_panes_go_once_they_are_older_than_their_retention() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(
            &client,
            "insert into commits (epoch, previous_epoch, run_id, readings, watermark) \
             values (1, 0, 0, 0, '2026-11-21 12:00:00+00'); \
             insert into panes (zone, pane_start, reading_count, anomaly_count, first_epoch, last_epoch) \
             select 'a', '2026-11-21 10:00:00+00'::timestamptz + n * interval '1 minute', 1, 0, 1, 1 \
             from generate_series(0, 119) as n; \
             insert into metrics_5min (zone, window_start, window_end, reading_count, anomaly_count, is_final, revision, \
             updated_at) select zone, pane_start, pane_start, 1, 0, true, 0, now() from panes; \
             insert into quality_counts (zone, window_start, reading_count, after_epoch) \
             select zone, pane_start, 1, 0 from panes",
        )
        .await;
        let mut domain = Domain::smart_city();
        prune_windows(&mut client, 0, &domain).await.expect("kept for ever");
        assert_eq!(number(&client, "select count(*) from panes").await, 120);
        domain.retention.windows_us = Some(3_600_000_000);
        prune_windows(&mut client, 0, &domain).await.expect("pruned");
        for table in ["panes", "metrics_5min", "quality_counts"] {
            assert_eq!(number(&client, &format!("select count(*) from {table}")).await, 60, "{table}");
        }
        // Whoever has read up to commit 1 sees with the next one which windows went.
        for table in ["metrics_5min", "quality_counts"] {
            let noted = format!(
                "select count(distinct key) from changes where epoch = 2 and table_name = '{table}' \
                 and key ->> 'zone' = 'a' and (key ->> 'window_start')::timestamptz < '2026-11-21 11:00:00+00'"
            );
            assert_eq!(number(&client, &noted).await, 60, "{table}");
        }
        assert_eq!(number(&client, "select count(*) from changes").await, 120, "panes leave no trace");
        execute(&client, "update citytide_database set horizon_epoch = 1").await;
        prune_changes(&mut client, 0).await.expect("nothing behind the horizon");
        assert_eq!(number(&client, "select count(*) from changes").await, 120);
        execute(&client, "update citytide_database set horizon_epoch = 2").await;
        prune_changes(&mut client, 0).await.expect("forgotten with the readings");
        assert_eq!(number(&client, "select count(*) from changes").await, 0);
    });
}

#[test]
fn sessions_go_once_they_ended_longer_ago_than_windows_are_kept() {
    with_database(async |scratch| {
        let mut client = scratch.open().await;
        let mut domain = Domain::smart_city();
        domain.retention.windows_us = Some(3_600_000_000);
        domain.sessions = vec![SessionWindow {
            name: "trips".to_owned(),
            gap_us: 60_000_000,
            max_us: 86_400_000_000,
            by: SessionBy::Sensor,
        }];
        migrate::apply(&mut client, &schema(&domain), "t").await.expect("the schema");
        // Each begins before 11:00; the second one ended after it.
        execute(
            &client,
            "insert into commits (epoch, previous_epoch, run_id, readings, watermark) \
             values (1, 0, 0, 0, '2026-11-21 12:00:00+00'); \
             insert into metrics_trips (zone, sensor_id, window_start, window_end, reading_count, anomaly_count, is_final, \
             revision, updated_at, last_recorded_at, first_epoch) \
             select 'a', number::text, '2026-11-21 10:00:00+00', ends, 2, 0, true, 0, now(), ends, 1 \
             from (values (1, timestamptz '2026-11-21 10:59:59+00'), (2, '2026-11-21 11:00:00+00')) as of (number, ends)",
        )
        .await;
        prune_windows(&mut client, 0, &domain).await.expect("pruned");
        assert_eq!(texts(&client, "select sensor_id from metrics_trips").await, ["2"]);
        assert_eq!(texts(&client, "select key ->> 'sensor_id' from changes where epoch = 2").await, ["1"]);
    });
}

#[test]
fn sensors_go_once_they_have_sent_nothing_for_as_long_as_windows_are_kept_and_stay_when_they_come_back_meanwhile()
 {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let script = "insert into commits (epoch, previous_epoch, run_id, readings, watermark) \
             values (1, 0, 0, 0, '2026-11-21 12:00:00+00'); \
             insert into sensor_states (sensor_id, zone, last_recorded_at, hour_start, minutes, readings, minutes_before, \
             readings_before, as_of) select id, 'a', at::timestamptz, date_trunc('hour', at::timestamptz), 1, 1, 0, 0, 1 \
             from (values ('gone', '2026-11-21 10:59:59+00'), ('back', '2026-11-21 09:00:00+00'), \
             ('here', '2026-11-21 11:00:00+00')) as one (id, at)";
        execute(&client, script).await;
        let mut domain = Domain::smart_city();
        prune_sensors(&mut client, 0, &domain).await.expect("kept for ever");
        assert_eq!(number(&client, "select count(*) from sensor_states").await, 3);
        domain.retention.windows_us = Some(3_600_000_000);
        // A commit under way brings one of them back.
        let committing = scratch.open().await;
        execute(&committing, "begin; update sensor_states set last_recorded_at = '2026-11-21 12:00:00+00' where sensor_id = 'back'")
            .await;
        let ((), pruned) = futures_util::future::join(
            async {
                let waits = "select count(*) from pg_stat_activity where datname = current_database() \
                             and wait_event_type = 'Lock' and query like '%delete from sensor_states%'";
                let watching = scratch.open().await;
                while number(&watching, waits).await == 0 {}
                execute(&committing, "commit").await;
            },
            prune_sensors(&mut client, 0, &domain),
        )
        .await;
        pruned.expect("pruned");
        assert_eq!(texts(&client, "select sensor_id from sensor_states order by 1").await, ["back", "here"]);
        let noted = "select table_name || ' ' || key::text || ' ' || epoch from changes";
        assert_eq!(texts(&client, noted).await, [r#"sensor_states {"sensor_id": "gone"} 2"#]);
    });
}

#[test]
fn incidents_go_with_all_that_is_known_of_them_once_they_are_older_than_windows_are_kept() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        // Of each pair, the first was last seen before 11:00. `long` has an old occurrence and one that is not.
        let script = "insert into commits (epoch, previous_epoch, run_id, readings, watermark) \
             values (1, 0, 0, 0, '2026-11-21 12:00:00+00'); \
             create temporary table seen (id text, subject text, opened_at timestamptz, last_seen_at timestamptz); \
             insert into seen values ('old', 'aqi', '2026-11-21 10:00+00', '2026-11-21 10:20+00'), \
             ('new', 'aqi', '2026-11-21 11:00+00', '2026-11-21 11:20+00'), \
             ('long', 'noise_level', '2026-11-21 10:10+00', '2026-11-21 11:10+00'); \
             insert into incident_states (zone, incident_id, kind, metric, sensor_id, condition, severity, \
             severity_peak, opened_at, last_seen_at, revision, readings, sensors, occurrences, peak_magnitude, peak_at, \
             peak_sensor_id, peak_metric, unit, reason, model_version) \
             select 'a', id, 'rule', subject, '', 'cleared', 'low', 'low', opened_at, last_seen_at, 1, 5, 1, 1, 1, \
             opened_at, '7', subject, '', '', 0 from seen; \
             insert into incident_occurrences (zone, kind, metric, sensor_id, first_at, last_at, readings, sensor_ids, \
             peak_magnitude, peak_at, peak_sensor_id, peak_metric, unit, reason, model_version) \
             select 'a', 'rule', subject, '', at, at + interval '5 minutes', 5, '[]', 1, at, '7', subject, '', '', 0 \
             from (select subject, opened_at as at from seen union all \
             select subject, last_seen_at - interval '5 minutes' from seen where id = 'long' union all \
             select 'near_miss', '2026-11-21 10:30+00' union all select 'near_miss', '2026-11-21 11:30+00') as seen; \
             insert into incident_transitions (zone, incident_id, revision, event_at, to_condition, cause, evidence, epoch) \
             select 'a', id, 1, opened_at, 'open', 'condition', '{}'::jsonb, extract(hour from opened_at) from seen union all \
             select 'a', 'near_miss', 1, '2026-11-21 10:30+00', 'pending', 'condition', '{}', 10; \
             insert into incident_actions (incident_id, action, actor, severity_peak, condition, revision, event_at, \
             as_of_epoch) select id, 'acknowledge', 'anna', 'low', 'cleared', 1, opened_at, 1 from seen";
        execute(&client, script).await;
        let mut domain = Domain::smart_city();
        prune_incidents(&mut client, 0, &domain).await.expect("kept for ever");
        domain.retention.windows_us = Some(3_600_000_000);
        let states = "select incident_id from incident_states order by 1";
        assert_eq!(texts(&client, states).await, ["long", "new", "old"]);
        prune_incidents(&mut client, 0, &domain).await.expect("pruned");
        assert_eq!(texts(&client, states).await, ["long", "new"]);
        let occurrences = "select metric || to_char(first_at at time zone 'UTC', ' HH24:MI') \
                           from incident_occurrences order by 1";
        let kept = ["aqi 11:00", "near_miss 11:30", "noise_level 10:10", "noise_level 11:05"];
        assert_eq!(
            texts(&client, occurrences).await,
            kept,
            "an incident that is kept keeps all of its occurrences"
        );
        assert_eq!(
            texts(&client, "select incident_id from incident_transitions order by 1").await,
            ["long", "new"]
        );
        assert_eq!(
            texts(&client, "select incident_id from incident_actions order by 1").await,
            ["long", "new"]
        );
        let gone = "select concat_ws(' ', table_name, key ->> 'incident_id', key ->> 'metric') from changes order by 1";
        let noted = ["incident_occurrences aqi", "incident_occurrences near_miss", "incident_states old"];
        assert_eq!(texts(&client, gone).await, noted);
    });
}

#[test]
fn windows_that_go_wait_for_a_commit_under_way_so_that_no_follower_passes_their_trace() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(
            &client,
            "insert into commits (epoch, previous_epoch, run_id, readings, watermark) \
             values (50, 0, 0, 0, '2026-11-21 12:00:00+00'); \
             insert into metrics_5min (zone, window_start, window_end, reading_count, anomaly_count, is_final, revision, \
             updated_at) values ('a', '2026-11-21 10:00:00+00', '2026-11-21 10:05:00+00', 1, 0, true, 0, now())",
        )
        .await;
        let mut domain = Domain::smart_city();
        domain.retention.windows_us = Some(3_600_000_000);
        let committer = scratch.open().await;
        execute(
            &committer,
            "begin; insert into commits (epoch, previous_epoch, run_id, readings) values (100, 50, 0, 0)",
        )
        .await;
        let error = prune_windows(&mut client, 0, &domain).await.unwrap_err();
        assert!(
            matches!(&error, DatabaseError::Statement { sqlstate: Some(state), .. } if state == "55P03"),
            "{error}"
        );
        assert_eq!(
            number(&committer, "select count(*) from metrics_5min").await,
            1,
            "it is tried again later"
        );
        execute(&committer, "update commits set watermark = '2026-11-21 12:00:00+00'; commit").await;
        prune_windows(&mut client, 0, &domain).await.expect("pruned");
        assert_eq!(number(&client, "select epoch from changes").await, 101);
    });
}

fn commit(epoch: u64, readings: u64, watermark: &str) -> String {
    format!(
        "insert into commits (epoch, previous_epoch, run_id, readings, watermark) \
         values ({epoch}, {epoch} - 1, 0, {readings}, {watermark});"
    )
}

/// The valid indexes of all segments, without what their names begin with.
async fn indexes(client: &Client) -> Vec<String> {
    let valid = "select substr(indexrelid::regclass::text, 17) from pg_index \
                 where indisvalid and indisready and indexrelid::regclass::text like 'sensor_readings_%' order by 1";
    texts(client, valid).await
}

#[test]
fn a_segment_that_a_backlog_is_read_into_is_indexed_when_it_is_over() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        ensure_partitions(&mut client, 0, NOON_MS, Some(Pace::Behind)).await.expect("partitions");
        execute(&client, &commit(NOON_MS, 10, "null")).await;
        finish_segments(&client, NOON_MS).await.expect("the one before noon is over");
        let all =
            |from: &str| ["anomalies", "epoch", "sensor", "zone"].map(|index| format!("{from}_{index}"));
        assert_eq!(indexes(&client).await, all("20261121_115930"));
        execute(&client, &commit(NOON_MS + 30_000, 10, "null")).await;
        execute(
            &client,
            "create index sensor_readings_20261121_120000_sensor on sensor_readings_20261121_120000 (sensor_id); \
             update pg_index set indisvalid = false \
             where indexrelid = 'sensor_readings_20261121_120000_sensor'::regclass",
        )
        .await;
        for _ in 0..2 {
            finish_segments(&client, NOON_MS + 30_000).await.expect("indexed");
            let over = [all("20261121_115930"), all("20261121_120000")].concat();
            assert_eq!(indexes(&client).await, over, "an invalid index is made again");
        }
        finish_segments(&client, NOON_MS + 120_000).await.expect("a minute without commits");
        assert_eq!(indexes(&client).await.len(), 12);
    });
}

#[test]
fn segments_are_short_while_a_backlog_is_read_and_days_while_hardly_anything_comes() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let last = "select max((regexp_match(pg_get_expr(relpartbound, oid), 'TO ..(.*)..$'))[1])::bigint from pg_class \
                    where relname like 'sensor\\_readings\\_%' and relkind = 'r'";
        // A million readings within ten seconds, of two hours ago.
        execute(&client, &commit(NOON_MS - 50, 1_000_000, "'2026-11-21 10:00:00+00'")).await;
        let until = ensure_partitions(&mut client, 0, NOON_MS, None).await.expect("short ones");
        assert_eq!(number(&client, last).await as u64, NOON_MS + 90_000);
        assert_eq!(until, NOON_MS + 30_000, "there are some for a minute ahead");
        assert!(indexes(&client).await.is_empty());
        // As many, but of now.
        execute(
            &client,
            &format!("update commits set epoch = {until} - 50, watermark = '2026-11-21 11:59:59+00'"),
        )
        .await;
        let until = ensure_partitions(&mut client, 0, until, None).await.expect("ten minutes");
        assert_eq!(number(&client, last).await as u64, NOON_MS + HOUR_MS / 6);
        assert_eq!(indexes(&client).await.len(), 2, "without b-trees");
        // A tenth of it.
        execute(&client, &commit(until - 50, 100_000, "null")).await;
        ensure_partitions(&mut client, 0, until, None).await.expect("an hour");
        assert_eq!(number(&client, last).await as u64, NOON_MS + HOUR_MS);
        assert_eq!(indexes(&client).await.len(), 6);
        // Nothing more in the hour since.
        ensure_partitions(&mut client, 0, NOON_MS + 2 * HOUR_MS, None).await.expect("a day");
        assert_eq!(number(&client, last).await as u64, NOON_MS + DAY_MS / 2);
    });
}

#[test]
fn segments_that_cannot_hold_what_is_asked_for_are_not_planned() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let began = NOON_MS + 10_000;
        for hour in 0..3 {
            let epoch = began + hour * HOUR_MS;
            ensure_partitions(&mut client, 0, epoch, Some(Pace::Live)).await.expect("partitions");
            let row = format!(
                "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, \
                 is_late, is_anomaly, anomaly_score, model_version) values ({epoch}, 0, {hour}, '42', 'Downtown', \
                 timestamptz '2026-11-21 12:00:00.000001+00' + {hour} * interval '1 hour', false, false, 0, 0);"
            );
            execute(&client, &(row + &commit(epoch, 1, "null"))).await;
        }
        let of_first = async || {
            let sql = "explain select * from sensor_data where sensor_id = '42' and recorded_at < '2026-11-21 12:30:00+00'";
            texts(&client, sql).await.iter().filter(|line| line.contains("on sensor_readings_")).count()
        };
        // A reader that has not ended keeps the first one from being changed.
        let reader = scratch.open().await;
        execute(&reader, "begin; select count(*) from sensor_readings_20261121_120000").await;
        finish_segments(&client, began).await.expect("what is not locked");
        assert_eq!(of_first().await, 2, "the first, and the one being written");
        execute(&reader, "commit").await;
        finish_segments(&client, began).await.expect("all that are over");
        assert_eq!(of_first().await, 2);
        let known = "select conname::text from pg_constraint where convalidated and conname like '%\\_time' order by 1";
        let hours = ["120000", "130000"].map(|from| format!("sensor_readings_20261121_{from}_time"));
        assert_eq!(texts(&client, known).await, hours);
        assert_eq!(
            number(&client, "select count(*) from sensor_data where recorded_at < '2026-11-21 13:30:00+00'")
                .await,
            2
        );
    });
}

#[test]
fn a_backlog_is_not_read_into_b_trees_and_they_come_back_when_the_segment_is_over() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let began = NOON_MS + 10_000;
        ensure_partitions(&mut client, 0, began, Some(Pace::Live)).await.expect("partitions");
        let kinds = ["anomalies", "epoch", "sensor", "zone"];
        let of = |kinds: &[&str]| -> Vec<String> {
            kinds.iter().map(|index| format!("20261121_120000_{index}")).collect()
        };
        finish_segments(&client, began).await.expect("nothing to do");
        assert_eq!(indexes(&client).await, of(&kinds));
        execute(&client, &commit(began, 1_000_000, "'2026-11-21 10:00:00+00'")).await;
        finish_segments(&client, began).await.expect("dropped");
        assert_eq!(indexes(&client).await, of(&kinds[..2]));
        finish_segments(&client, NOON_MS + 2 * HOUR_MS).await.expect("made again");
        assert_eq!(indexes(&client).await, of(&kinds));
    });
}

/// The version before had a partition per UTC day, and the next day's ahead.
#[test]
fn days_of_a_former_version_are_written_until_they_end_and_segments_follow() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let midnight = NOON_MS - DAY_MS / 2;
        for (day, from) in [("20261121", midnight), ("20261122", midnight + DAY_MS)] {
            let until = from + DAY_MS;
            execute(
                &client,
                &format!(
                    "create table sensor_readings_{day} partition of sensor_readings for values from ({from}) to ({until}); \
                     create index sensor_readings_{day}_epoch on sensor_readings_{day} using brin (epoch, recorded_at); \
                     create index sensor_readings_{day}_anomalies on sensor_readings_{day} (recorded_at) where is_anomaly; \
                     create table dead_letter_records_{day} partition of dead_letter_records \
                     for values from ({from}) to ({until})"
                ),
            )
            .await;
        }
        let days = ["sensor_readings_20261121", "sensor_readings_20261122"];
        ensure_partitions(&mut client, 0, NOON_MS, Some(Pace::Behind)).await.expect("nothing to make");
        assert_eq!(texts(&client, LEAVES).await, days);
        let holder = segment_of(&client, NOON_MS).await.expect("found").expect("there");
        assert_eq!((holder.table.as_str(), holder.epochs), (days[0], midnight..midnight + DAY_MS));

        let end = midnight + 2 * DAY_MS;
        ensure_partitions(&mut client, 0, end - 1, Some(Pace::Live)).await.expect("the next segment");
        assert_eq!(texts(&client, LEAVES).await, [days[0], days[1], "sensor_readings_20261123_000000"]);
        assert!(segment_of(&client, end).await.expect("found").is_some());
        execute(&client, &commit(midnight + DAY_MS, 10, "null")).await;
        finish_segments(&client, midnight + DAY_MS).await.expect("indexed");
        assert!(indexes(&client).await.contains(&"20261121_sensor".to_owned()));
    });
}

#[test]
fn the_upkeep_beats_makes_days_and_stops_when_told() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        execute(
            &client,
            "update fence set run_id = 7; insert into runs (run_id, host, process_id, processes, workers, \
             epoch_offset_ms, heartbeat_at) values (7, 'here', 1, 1, 1, 0, '2000-01-01')",
        )
        .await;
        let stop = Stop::new();
        // Partitions are those of the clock that epochs are made of, whatever the wall clock says.
        let clock = EpochClock::starting(NOON_MS, instant());
        let thread = spawn(
            scratch.database(None),
            Domain::smart_city(),
            Run { run_id: 7, committed_epoch: 0, epoch_offset_ms: 0, clock },
            stop.clone(),
            |_| {},
            |error| panic!("nothing fails here: {error}"),
        );
        while number(&client, "select count(*) from runs where heartbeat_at > '2001-01-01'").await == 0
            || texts(&client, LEAVES).await.len() < 2
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.ask();
        thread.join().expect("it stops");
        let segments = ["sensor_readings_20261121_115930", "sensor_readings_20261121_120000"];
        assert_eq!(texts(&client, LEAVES).await, segments);
    });
}

#[test]
fn losing_a_connection_and_being_taken_over_end_the_run() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
                         where datname = current_database() and application_name = 'citytide:0:indexes'";
        let take_over = "update fence set run_id = 9";
        for ending in [terminate, take_over] {
            let (tell, told) = mpsc::channel();
            let stop = Stop::new();
            let clock = EpochClock::starting(NOON_MS, instant());
            let thread = spawn(
                scratch.database(None),
                Domain::smart_city(),
                Run { run_id: 0, committed_epoch: 0, epoch_offset_ms: 0, clock },
                stop.clone(),
                |_| {},
                move |error| {
                    tell.send(error).expect("the test waits");
                },
            );
            while number(
                &client,
                "select count(*) from pg_stat_activity where datname = current_database() \
                 and application_name like 'citytide:0:%'",
            )
            .await
                < 3
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            execute(&client, ending).await;
            let error = told.recv_timeout(LONG).expect("the run is told");
            assert_eq!(matches!(error, DatabaseError::Fenced(_)), ending == take_over, "{error}");
            thread.join().expect("the thread ends");
        }
    });
}

//! Following, against a real server: a copy by key equals the database, whatever happens to the one who copies.

#[path = "follow/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::time::Duration;

use citytide_store::follow::{Follow, FollowError, Only, Page, Reading, Start, Step, Want, Wanted};
use citytide_store::postgres::Database;
use citytide_store::row::{Row, Value};
use tokio_postgres::Client;

use scratch::{NOON_MS, Random, Writer, with_database};

const LONG: Duration = Duration::from_secs(60);

/// What a consumer keeps: rows by key, and the position that it has stored.
#[derive(Default)]
struct Copied {
    readings: BTreeMap<(i32, i64), Reading>,
    tables: BTreeMap<(String, String), Row>,
    position: i64,
}

impl Copied {
    fn take(&mut self, page: Page) {
        match page {
            Page::Deleted(gone) => {
                for one in gone {
                    self.tables.remove(&(one.table, one.key.to_string()));
                }
            }
            Page::Rows(table, rows) => {
                for row in rows {
                    self.tables.insert((table.name.clone(), table.key(&row).to_string()), row);
                }
            }
            Page::Readings(readings) => {
                let keyed = readings.into_iter().map(|one| ((one.partition, one.offset), one));
                self.readings.extend(keyed);
            }
            Page::DeadLetters(_) => panic!("nobody asked for dead letters"),
        }
    }

    /// Takes a whole step; returns whether it was current.
    async fn take_all(&mut self, mut step: Step<'_>) -> bool {
        while let Some(page) = step.page().await.expect("a page") {
            self.take(page);
        }
        let is_current = step.is_current();
        self.position = step.finish().await.expect("finished");
        is_current
    }

    /// Compares it with the database, readings up to the position.
    async fn assert_equal(&self, client: &Client) {
        let sql = "select kafka_partition, kafka_offset, epoch, temperature from sensor_data where epoch <= $1 order by 1, 2";
        let there = client.query(sql, &[&self.position]).await.expect("the readings");
        let there: Vec<(i32, i64, i64, Option<f64>)> =
            there.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
        let here = self.readings.values().map(|one| (one.partition, one.offset, one.epoch, one.values[0]));
        assert_eq!(here.filter(|one| one.2 <= self.position).collect::<Vec<_>>(), there);
        for table in ["metrics_1min", "metrics_5min", "hot_sensors", "zone_status"] {
            let rows = client.query(&format!("select * from {table}"), &[]).await.expect("rows");
            let row =
                |row: &tokio_postgres::Row| (0..row.len()).map(|at| row.get(at)).collect::<Vec<Value>>();
            let mut there: Vec<Row> = rows.iter().map(row).collect();
            let mut here: Vec<Row> =
                self.tables.iter().filter(|((of, _), _)| of == table).map(|(_, row)| row.clone()).collect();
            there.sort();
            here.sort();
            assert_eq!(here, there, "{table}");
        }
    }
}

async fn follow(database: &Database, start: Start, want: Want) -> Follow {
    Follow::open(database, "citytide-follower:test", start, want).await.expect("a follower")
}

/// Everything from an epoch on, in pages of a few rows.
fn small(page_rows: i32, step_readings_max: i64) -> Want {
    Want { page_rows, step_readings_max, ..Want::default() }
}

#[test]
fn a_consumer_that_dies_at_random_misses_nothing_and_has_nothing_twice() {
    with_database(async |database| {
        let mut writer = Writer::open(database, 7).await;
        let mut random = Random(4711);
        let mut copied = Copied::default();
        let (mut current, mut behind, mut deaths) = (0, 0, 0);
        let mut following = follow(database, Start::Above(0), small(7, 60)).await;
        for _ in 0..250 {
            for _ in 0..random.below(4) {
                let readings = if random.below(8) == 0 { 100 } else { random.below(20) };
                writer.commit(readings).await;
            }
            let dies_after = (random.below(3) == 0).then(|| random.below(6));
            if let Some(pages) = dies_after {
                if let Some(mut step) = following.step().await.expect("a step") {
                    for _ in 0..pages {
                        // What is pending when it dies was taken, but the position was not stored.
                        if let Some(page) = step.page().await.expect("a page") {
                            copied.take(page);
                        }
                    }
                }
                let want = small(1 + random.below(20) as i32, 1 + random.below(150) as i64);
                following = follow(database, Start::Above(copied.position), want).await;
                deaths += 1;
            } else if let Some(step) = following.step().await.expect("a step") {
                if copied.take_all(step).await {
                    current += 1
                } else {
                    behind += 1
                }
                copied.assert_equal(&writer.client).await;
            }
        }
        while let Some(step) = following.step().await.expect("a step") {
            copied.take_all(step).await;
        }
        assert_eq!(copied.position, writer.epoch);
        copied.assert_equal(&writer.client).await;
        assert!(current > 10 && behind > 10 && deaths > 10, "{current} {behind} {deaths}");
    });
}

#[test]
fn pages_have_as_many_rows_as_asked_for_and_steps_as_many_readings_or_one_commit() {
    with_database(async |database| {
        let mut writer = Writer::open(database, 3).await;
        for readings in [30, 30, 40, 0, 1, 250, 10] {
            writer.commit(readings).await;
        }
        let want = Want { windows: false, views: false, deletions: false, ..small(25, 100) };
        let mut following = follow(database, Start::Above(0), want).await;
        let mut steps = Vec::new();
        while let Some(mut step) = following.step().await.expect("a step") {
            let (mut pages, mut last) = (Vec::new(), None);
            while let Some(page) = step.page().await.expect("a page") {
                let Page::Readings(readings) = page else { panic!("readings are wanted, not {page:?}") };
                pages.push(readings.len());
                for one in readings {
                    let place = Some((one.epoch, one.partition, one.offset));
                    assert!(last < place, "{last:?} stands before {place:?}");
                    last = place;
                }
            }
            let (epoch, is_current) = (step.epoch() - NOON_MS, step.is_current());
            assert_eq!(step.finish().await.expect("finished"), epoch + NOON_MS);
            steps.push((epoch, is_current, pages));
        }
        let expected = [
            (150, false, vec![25, 25, 25, 25]),
            (200, false, vec![1]),
            (250, false, vec![25; 10]),
            (300, true, vec![10]),
        ];
        assert_eq!(steps, expected);
    });
}

#[test]
fn who_wants_anomalies_gets_no_other_reading_and_who_wants_none_is_always_current() {
    with_database(async |database| {
        let mut writer = Writer::open(database, 11).await;
        for _ in 0..5 {
            writer.commit(40).await;
        }
        let want = Want { readings: Wanted::Anomalies, ..small(50, 1_000) };
        let mut copied = Copied::default();
        let mut following = follow(database, Start::Above(0), want).await;
        assert!(copied.take_all(following.step().await.expect("a step").expect("news")).await);
        let sql = "select count(*) from sensor_data where is_anomaly";
        let anomalies: i64 = writer.client.query_one(sql, &[]).await.expect("a count").get(0);
        assert_eq!(copied.readings.len() as i64, anomalies);
        assert!(copied.readings.values().all(|one| one.is_anomaly && one.reasons.as_deref() == Some("[]")));

        let want = Want { readings: Wanted::None, ..small(50, 1) };
        let mut copied = Copied::default();
        let mut following = follow(database, Start::Above(0), want).await;
        assert!(copied.take_all(following.step().await.expect("a step").expect("news")).await);
        assert!(copied.readings.is_empty() && !copied.tables.is_empty());
        assert!(following.step().await.expect("a look").is_none(), "nothing is new");
    });
}

#[test]
fn who_is_behind_the_horizon_is_told_and_may_start_with_everything() {
    with_database(async |database| {
        let mut writer = Writer::open(database, 5).await;
        for _ in 0..4 {
            writer.commit(10).await;
        }
        let horizon = NOON_MS + 50;
        writer
            .execute(&format!(
                "update citytide_database set horizon_epoch = {horizon}; \
                 delete from commits where epoch <= {horizon}; \
                 insert into ingest_progress (kafka_partition, source, first_offset, next_offset, accepted, late, dead, lost, \
                 gaps, is_idle) values (0, '', 0, 40, 39, 1, 0, 0, 0, false)"
            ))
            .await;
        let mut following = follow(database, Start::Above(0), Want::default()).await;
        let error = following.step().await.err().expect("refused");
        assert!(
            matches!(error, FollowError::BehindHorizon { horizon: at, readings_gone: 20, .. } if at == horizon),
            "{error}"
        );
        assert!(error.to_string().contains("start from 1795262400050"), "{error}");
        let mut following = follow(database, Start::Above(writer.epoch + 50), Want::default()).await;
        let error = following.step().await.err().expect("refused");
        assert!(matches!(error, FollowError::Ahead { .. }), "{error}");

        let mut copied = Copied::default();
        let mut following = follow(database, Start::Everything, small(3, 15)).await;
        while let Some(step) = following.step().await.expect("a step") {
            copied.take_all(step).await;
            copied.assert_equal(&writer.client).await;
        }
        assert_eq!(copied.readings.len(), 20);
    });
}

#[test]
fn a_follower_sees_a_commit_once_it_is_told_of_it_and_hears_nothing_of_one_that_was_taken_back() {
    with_database(async |database| {
        let mut writer = Writer::open(database, 9).await;
        let mut following = follow(database, Start::Above(0), Want::default()).await;
        assert!(following.step().await.expect("a look").is_none(), "nothing is committed");
        writer
            .execute("begin; select pg_notify('citytide', '{\"epoch\":1,\"changed\":null}'); rollback")
            .await;
        writer.commit(3).await;
        let told = following.wait(LONG).await.expect("told");
        assert_eq!(told.epoch as i64, writer.epoch);
        assert!(told.changed.expect("named").contains("metrics_1min"));
        let mut copied = Copied::default();
        assert!(copied.take_all(following.step().await.expect("a step").expect("news")).await);
        assert_eq!(copied.readings.len(), 3);
        assert_eq!(following.wait(Duration::from_millis(1)).await, None);
    });
}

#[test]
fn who_wants_some_readings_and_dead_letters_gets_these_alone_the_letters_behind_the_readings() {
    with_database(async |database| {
        let mut writer = Writer::open(database, 13).await;
        writer.execute("create table letters_all partition of dead_letter_records default").await;
        writer.commit(0).await;
        let (first, second) = (writer.epoch, writer.epoch + 50);
        let row = |epoch: i64, offset: u32, zone: &str, of: &str| {
            format!(
                "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, humidity, \
                 is_late, is_anomaly, anomaly_score, reasons, model_version) values \
                 ({epoch}, 0, {offset}, 's{offset}', '{zone}', now(), {of}, 0, 0);"
            )
        };
        let about = |metric: &str| format!("'[{{\"metric\": \"{metric}\"}}]'");
        let letters: Vec<String> = (100..350)
            .map(|offset| {
                format!(
                    "insert into dead_letter_records values ({second}, 0, {offset}, now(), 'empty', null, 'it is empty', \
                     '', 0);"
                )
            })
            .collect();
        let script = [
            row(first, 1, "Downtown", "40, false, false").replace(", 0, 0)", ", 0, null, 0)"),
            row(second, 2, "Downtown", "null, true, false").replace(", 0, 0)", ", 0, null, 0)"),
            row(second, 3, "Tech Hub", "41, false, true")
                .replace(", 0, 0)", &format!(", 1, {}, 0)", about("aqi"))),
            row(second, 4, "Downtown", "null, false, true")
                .replace(", 0, 0)", &format!(", 1, {}, 0)", about("humidity"))),
            letters.concat(),
        ];
        writer.execute(&script.concat()).await;
        writer.commit(0).await;
        let only = |zones: &[&str], sensors: &[&str], metric: Option<&str>| Only {
            zones: zones.iter().map(|one| (*one).to_owned()).collect(),
            sensors: sensors.iter().map(|one| (*one).to_owned()).collect(),
            metric: metric.map(str::to_owned),
        };
        for (readings, only, offsets) in [
            (Wanted::All, only(&[], &[], None), vec![1, 2, 3, 4]),
            (Wanted::All, only(&["Downtown"], &[], None), vec![1, 2, 4]),
            (Wanted::All, only(&["Downtown", "Tech Hub"], &["s3", "s4"], None), vec![3, 4]),
            (Wanted::All, only(&[], &[], Some("humidity")), vec![1, 3, 4]),
            (Wanted::Anomalies, only(&[], &[], Some("humidity")), vec![4]),
            (Wanted::Anomalies, only(&["Downtown"], &[], Some("aqi")), vec![]),
            (Wanted::Late, only(&[], &[], None), vec![2]),
            (Wanted::AnomaliesAndLate, only(&[], &[], None), vec![2, 3, 4]),
            (Wanted::None, only(&[], &[], None), vec![]),
        ] {
            let case = format!("{readings:?} of {only:?}");
            let nothing_else = Want { windows: false, views: false, deletions: false, ..small(1_000, 1_000) };
            let want = Want { readings, only, dead_letters: true, ..nothing_else };
            let mut following = follow(database, Start::Everything, want).await;
            let mut step = following.step().await.expect("a step").expect("news");
            let (mut found, mut dead) = (Vec::new(), Vec::new());
            while let Some(page) = step.page().await.expect("a page") {
                match page {
                    Page::Readings(page) => {
                        assert!(dead.is_empty(), "{case}: letters come behind the readings");
                        found.extend(page.iter().map(|one| one.offset));
                    }
                    Page::DeadLetters(page) => {
                        assert!(page.len() <= 100, "{case}: letters may be long");
                        dead.extend(page.iter().map(|one| one.offset));
                    }
                    other => panic!("{case}: {other:?}"),
                }
            }
            assert_eq!(found, offsets, "{case}");
            assert_eq!(dead, (100..350).collect::<Vec<i64>>(), "{case}");
            assert_eq!(step.finish().await.expect("finished"), writer.epoch);
        }
    });
}

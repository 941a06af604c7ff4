//! Following a run: its notifications, and a copy that is made while both sides are killed.
//!
//! The consumer is this test program itself, started once more for the ignored test below.

use std::future::poll_fn;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use citytide_store::follow::{Follow, Followed, Notice, Page, Reading, Start, Step, Want};
use citytide_store::followers;
use citytide_store::postgres::{Database, DatabaseOptions};
use citytide_store::row::Row;
use citytide_store::session;
use citytide_store::time::Timestamp;
use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::program::{Living, citytide, hours_ago, wait_for};
use super::scratch::{Scratch, execute, number, texts, with_database};

const NAME: &str = "copy";
/// Deaths of each side.
const DEATHS: u64 = 10;
const READINGS: i64 = 30_000;
const TABLES: [&str; 8] = [
    "sensor_data",
    "metrics_1min",
    "metrics_5min",
    "hot_sensors",
    "zone_status",
    "zone_latest",
    "quality_counts",
    "sensor_states",
];

fn simulation(since: &str, count: i64) -> String {
    format!(
        "run --no-supervise --source simulation --sensors 40 --partitions 2 --rate 2000 --start {since} \
         --count {count} --until-caught-up -w 2"
    )
}

#[test]
fn each_commit_notifies_once_and_its_rows_are_there() {
    with_database(async |scratch| {
        let client = scratch.open().await;
        let (listener, mut connection) =
            tokio_postgres::connect(&scratch.address(), NoTls).await.expect("a session");
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    let _ = tell.send(Notice::parse(notification.payload()).expect("of a commit"));
                }
            }
        });
        execute(&listener, "listen citytide").await;
        let arguments = simulation(&hours_ago(1), 20_000);
        let run = tokio::task::spawn_blocking({
            let run = Living::run(scratch, &arguments);
            move || run.wait()
        });
        let mut epochs: Vec<String> = Vec::new();
        let mut readings = 0;
        while readings < 20_000 {
            let notice = told.recv().await.expect("a notification");
            let epoch = notice.epoch as i64;
            let row = client.query_one("select readings from commits where epoch = $1", &[&epoch]).await;
            let committed: i64 = row.expect("the commit is there").get(0);
            let before: i64 = epochs.last().map_or(0, |before| before.parse().expect("an epoch"));
            let sql = "select count(*) from sensor_data where epoch > $1 and epoch <= $2";
            let brought = client.query_one(sql, &[&before, &epoch]).await.expect("a count");
            assert_eq!(brought.get::<_, i64>(0), committed);
            let changed = notice.changed.expect("a few tables");
            assert_eq!(changed.contains("sensor_data"), committed > 0, "{changed:?}");
            assert!(!changed.contains("commits"), "{changed:?}");
            readings += committed;
            epochs.push(epoch.to_string());
        }
        assert_eq!(run.await.expect("its end"), Some(0));
        while let Ok(notice) = told.try_recv() {
            epochs.push(notice.epoch.to_string());
        }
        assert_eq!(epochs, texts(&client, "select epoch::text from commits order by epoch").await);
    });
}

#[test]
fn a_copy_equals_the_tables_although_the_run_and_the_consumer_are_killed() {
    with_database(async |scratch| {
        let since = hours_ago(0);
        let made = citytide(scratch, &simulation(&since, 1_000));
        assert_eq!(made.code, Some(0), "{}", made.err);
        let mut client = scratch.open().await;
        let mut script = String::from("create schema copy;");
        for table in TABLES {
            script += &format!("create table copy.{table} (like {table} including all);");
        }
        script += "alter table copy.sensor_data add primary key (kafka_partition, kafka_offset)";
        execute(&client, &script).await;
        followers::register(&mut client, NAME, 0).await.expect("registered");

        let mut seed = 88_172_645_463_325_252_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut run = Living::run(scratch, &simulation(&since, READINGS));
        let mut consumer = Consumer::start(scratch);
        for _ in 0..2 * DEATHS {
            tokio::time::sleep(Duration::from_millis(200 + random(800))).await;
            // Dropping kills: no time to say goodbye.
            if random(2) == 0 {
                drop(run);
                run = Living::run(scratch, &simulation(&since, READINGS));
            } else {
                drop(consumer);
                consumer = Consumer::start(scratch);
            }
        }
        let ended = tokio::task::spawn_blocking(move || run.wait()).await.expect("its end");
        assert_eq!(ended, Some(0));
        assert_eq!(number(&client, "select count(*) from sensor_data").await, READINGS);
        let behind = "select (select max(epoch) from commits) - epoch from followers where name = 'copy'";
        wait_for(&client, behind, 0).await;
        drop(consumer);
        for table in TABLES {
            for (one, other) in [("public", "copy"), ("copy", "public")] {
                let sql = format!(
                    "select count(*) from (select * from {one}.{table} except all select * from {other}.{table}) as more"
                );
                assert_eq!(number(&client, &sql).await, 0, "{one}.{table} has more than {other}.{table}");
            }
        }
    });
}

/// A process that copies; killed when dropped.
struct Consumer(Child);

impl Consumer {
    fn start(scratch: &Scratch) -> Consumer {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(["--exact", "follow::process_that_copies", "--ignored", "--nocapture"])
            .env("DATABASE_URL", scratch.address())
            .stdout(Stdio::null())
            .spawn();
        Consumer(child.expect("this program, again"))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "a process of a_copy_equals_the_tables_although_the_run_and_the_consumer_are_killed"]
fn process_that_copies() {
    let address = std::env::var("DATABASE_URL").expect("the scratch database");
    let database = Database::parse(&address, &DatabaseOptions::default()).expect("an address");
    session::runtime().block_on(async {
        let client = database.connect("copy").await.expect("a session");
        let at = number(&client, "select epoch from followers where name = 'copy'").await;
        let want = Want { page_rows: 500, step_readings_max: 3_000, ..Want::default() };
        let mut follow =
            Follow::open(&database, "copy:follow", Start::Above(at), want).await.expect("a follower");
        let metrics = follow.metrics().to_vec();
        loop {
            let Some(step) = follow.step().await.expect("a step") else {
                follow.wait(Duration::from_secs(1)).await;
                continue;
            };
            copy(&client, step, &metrics).await;
        }
    });
}

/// Copies a step, a transaction per page: a death in between leaves a part of it.
async fn copy(client: &Client, mut step: Step<'_>, metrics: &[String]) {
    while let Some(page) = step.page().await.expect("a page") {
        execute(client, "begin").await;
        match page {
            Page::Deleted(gone) => {
                for one in gone {
                    let sql = format!(
                        "delete from copy.{} as one where to_jsonb(one) @> $1::text::jsonb",
                        one.table
                    );
                    client.execute(&sql, &[&one.key.to_string()]).await.expect("deleted");
                }
            }
            Page::Rows(table, rows) => put_rows(client, &table, &rows).await,
            Page::Readings(readings) => put_readings(client, metrics, &readings).await,
            Page::DeadLetters(_) => panic!("nobody asked for dead letters"),
        }
        execute(client, "commit").await;
    }
    let epoch = step.finish().await.expect("finished");
    followers::advance(client, NAME, epoch).await.expect("advanced");
}

async fn put_rows(client: &Client, table: &Followed, rows: &[Row]) {
    let places: Vec<String> = (1..=table.columns.len()).map(|number| format!("${number}")).collect();
    let set: Vec<String> =
        table.columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let sql = format!(
        "insert into copy.{} ({}) values ({}) on conflict ({}) do update set {}",
        table.name,
        table.columns.join(", "),
        places.join(", "),
        table.key.join(", "),
        set.join(", ")
    );
    let statement = client.prepare(&sql).await.expect("prepared");
    let statement = &statement;
    let puts = rows.iter().map(async |row| {
        let values: Vec<&(dyn ToSql + Sync)> = row.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        client.execute(statement, &values).await
    });
    try_join_all(puts).await.expect("rows put");
}

async fn put_readings(client: &Client, metrics: &[String], readings: &[Reading]) {
    let numbered = |from: usize| (from..from + metrics.len()).map(|number| format!(", ${number}"));
    let sql = format!(
        "insert into copy.sensor_data (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, is_late, is_anomaly, \
         anomaly_score, severity, reasons, model_version, confidence, detector, {}) values ($1, $2, $3, $4, $5, $6, $7, $8, \
         $9, $10, $11::text::jsonb, $12, $13, $14{}) on conflict (kafka_partition, kafka_offset) do update set \
         epoch = excluded.epoch",
        metrics.join(", "),
        numbered(15).collect::<String>()
    );
    let statement = client.prepare(&sql).await.expect("prepared");
    let statement = &statement;
    let puts = readings.iter().map(async |one| {
        let recorded_at = Timestamp(one.recorded_us);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![
            &one.epoch,
            &one.partition,
            &one.offset,
            &one.sensor,
            &one.zone,
            &recorded_at,
            &one.is_late,
            &one.is_anomaly,
            &one.score,
            &one.severity,
            &one.reasons,
            &one.model_version,
            &one.confidence,
            &one.detector,
        ];
        values.extend(one.values.iter().map(|value| value as &(dyn ToSql + Sync)));
        client.execute(statement, &values).await
    });
    try_join_all(puts).await.expect("readings put");
}

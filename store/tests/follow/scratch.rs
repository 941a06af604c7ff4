//! A database for one test, and a writer that commits as a run does, only smaller: its choices are those of a seed.

use std::sync::atomic::{AtomicU32, Ordering};

use citytide_store::follow::{NOTIFY, payload};
use citytide_store::postgres::{Database, DatabaseOptions};
use tokio_postgres::Client;

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Noon of 2026-11-21, as an epoch.
pub const NOON_MS: i64 = 1_795_262_400_000;
const ZONES: [&str; 3] = ["Downtown", "Tech Hub", "Old Town"];

/// Runs `test` with a database that has the schema and takes readings of any epoch.
pub fn with_database(test: impl AsyncFnOnce(&Database)) {
    let address = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL names the PostgreSQL server to test with; `make setup` starts one");
    let bare = address.split('?').next().unwrap_or(&address);
    let (base, _) =
        bare.rsplit_once('/').expect("DATABASE_URL is of the form postgres://user@host:port/database");
    let parse = |address: &str| Database::parse(address, &DatabaseOptions::default()).expect("an address");
    let name = format!("follow_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = parse(&address).connect("test").await.expect("the server");
        server.batch_execute(&format!("create database {name}")).await.expect("a database");
        let scratch = parse(&format!("{base}/{name}"));
        let client = scratch.connect("schema").await.expect("a session");
        client.batch_execute(include_str!("../../../sql/smart-city.sql")).await.expect("the schema");
        let everything = "create table sensor_readings_all partition of sensor_readings default";
        client.batch_execute(everything).await.expect("a partition");
        drop(client);
        // A test that fails leaves its database behind, for whoever looks into it.
        test(&scratch).await;
        server.batch_execute(&format!("drop database {name} with (force)")).await.expect("dropped");
    });
}

/// xorshift64.
pub struct Random(pub u64);

impl Random {
    /// From 0 up to, not including, `below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Commits readings, windows and views.
pub struct Writer {
    pub client: Client,
    pub random: Random,
    /// The last committed epoch; 0 before.
    pub epoch: i64,
    offsets: [i64; 2],
}

impl Writer {
    pub async fn open(database: &Database, seed: u64) -> Writer {
        let client = database.connect("writer").await.expect("a session");
        Writer { client, random: Random(seed), epoch: 0, offsets: [0; 2] }
    }

    /// Commits one epoch with so many readings.
    pub async fn commit(&mut self, readings: u64) {
        let (previous, epoch) = (self.epoch, (self.epoch + 50).max(NOON_MS));
        let mut script = String::from("begin;");
        for _ in 0..readings {
            let partition = self.random.below(2) as usize;
            let is_anomaly = self.random.below(5) == 0;
            script += &format!(
                "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, \
                 temperature, is_late, is_anomaly, anomaly_score, reasons, model_version) values ({epoch}, {partition}, {}, \
                 'a', 'Downtown', to_timestamp({epoch} / 1000.0), {}, false, {is_anomaly}, 0.5, {}, 0);",
                self.offsets[partition],
                self.random.below(40),
                if is_anomaly { "'[]'" } else { "null" }
            );
            self.offsets[partition] += 1;
        }
        let mut from = None;
        for _ in 0..self.random.below(4) {
            // Most are of the last minutes, some of the day before.
            let back =
                if self.random.below(10) == 0 { self.random.below(1_440) } else { self.random.below(3) };
            let start_s = (NOON_MS / 60_000 + self.random.below(5) as i64 - back as i64) * 60;
            from = Some(from.map_or(start_s, |from: i64| from.min(start_s)));
            let zone = ZONES[self.random.below(3) as usize];
            script += &format!(
                "insert into metrics_1min as kept (window_start, window_end, zone, reading_count, anomaly_count, is_final, \
                 revision, updated_at, epoch) values (to_timestamp({start_s}), to_timestamp({start_s} + 60), '{zone}', 1, 0, \
                 false, 0, now(), {epoch}) on conflict (zone, window_start) do update set reading_count = \
                 kept.reading_count + 1, epoch = excluded.epoch;"
            );
        }
        for _ in 0..self.random.below(3) {
            let (zone, rank) = (ZONES[self.random.below(3) as usize], 1 + self.random.below(4));
            script += &match self.random.below(3) {
                0 => format!(
                    "with gone as (delete from hot_sensors where zone = '{zone}' and rank = {rank} returning zone, rank) \
                     insert into changes (epoch, table_name, key) select {epoch}, 'hot_sensors', \
                     jsonb_build_object('zone', zone, 'rank', rank) from gone;"
                ),
                _ => format!(
                    "insert into hot_sensors (zone, rank, sensor_id, anomaly_count, last_anomaly_at, epoch) values \
                     ('{zone}', {rank}, 'a', {epoch} % 1000, now(), {epoch}) on conflict (zone, rank) do update set \
                     anomaly_count = excluded.anomaly_count, epoch = excluded.epoch;"
                ),
            };
        }
        let from = from.map_or("null".to_owned(), |start_s| format!("to_timestamp({start_s})"));
        script += &format!(
            "insert into commits (epoch, previous_epoch, run_id, readings, windows_from) values ({epoch}, {previous}, 0, \
             {readings}, {from});"
        );
        self.execute(&script).await;
        let told = payload(epoch as u64, ["sensor_data", "metrics_1min"]);
        self.client.execute(NOTIFY, &[&told]).await.expect("told");
        self.execute("commit").await;
        self.epoch = epoch;
    }

    pub async fn execute(&self, script: &str) {
        self.client.batch_execute(script).await.unwrap_or_else(|error| panic!("{script}: {error:?}"));
    }
}

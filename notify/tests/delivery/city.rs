//! A database for one test, with incidents that change as a run would change them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use citytide_store::follow::{NOTIFY, payload};
use citytide_store::postgres::{Database, DatabaseOptions};
use tokio_postgres::Client;

static DATABASES: AtomicU32 = AtomicU32::new(0);
/// Noon of 2026-11-21, as an epoch.
const NOON_MS: i64 = 1_795_262_400_000;

pub struct City {
    pub database: Database,
    pub client: Client,
    epoch: i64,
}

/// Runs `test` with a database of its own.
pub fn with_city(test: impl AsyncFnOnce(&mut City)) {
    let address = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL names the PostgreSQL server to test with; `make setup` starts one");
    let bare = address.split('?').next().unwrap_or(&address);
    let (base, _) =
        bare.rsplit_once('/').expect("DATABASE_URL is of the form postgres://user@host:port/database");
    let parse = |address: &str| Database::parse(address, &DatabaseOptions::default()).expect("an address");
    let name = format!("notify_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = parse(&address).connect("test").await.expect("the server");
        server.batch_execute(&format!("create database {name}")).await.expect("a database");
        let database = parse(&format!("{base}/{name}"));
        let client = database.connect("city").await.expect("a session");
        client.batch_execute(include_str!("../../../sql/smart-city.sql")).await.expect("the schema");
        // A test that fails leaves its database behind, for whoever looks into it.
        test(&mut City { database, client, epoch: 0 }).await;
        server.batch_execute(&format!("drop database {name} with (force)")).await.expect("dropped");
    });
}

impl City {
    /// Commits changes, each as `incident condition severity revision`, and tells of it.
    pub async fn commit(&mut self, changes: &[&str]) {
        let (previous, epoch) = (self.epoch, (self.epoch + 50).max(NOON_MS));
        let mut script = format!(
            "begin; insert into commits (epoch, previous_epoch, run_id, readings, watermark) \
             values ({epoch}, {previous}, 0, 0, to_timestamp({epoch} / 1000.0));"
        );
        for change in changes {
            let words: Vec<&str> = change.split(' ').collect();
            let [id, condition, severity, revision] = words[..] else { panic!("{change}") };
            let cleared = if condition == "cleared" { "now()" } else { "null" };
            script += &format!(
                "insert into incident_transitions (zone, incident_id, revision, event_at, from_condition, \
                     to_condition, cause, evidence, epoch) \
                 select 'Downtown', '{id}', {revision}, to_timestamp({epoch} / 1000.0), \
                     (select condition from incident_states where incident_id = '{id}'), '{condition}', 'condition', \
                     jsonb_build_object('severity', '{severity}'), {epoch}; \
                 insert into incident_states (zone, incident_id, kind, metric, sensor_id, condition, severity, \
                     severity_peak, opened_at, last_seen_at, cleared_at, revision, readings, sensors, occurrences, \
                     peak_magnitude, peak_at, peak_sensor_id, peak_metric, peak_value, unit, reason, model_version, \
                     epoch) \
                 values ('Downtown', '{id}', 'rule', 'aqi', '', '{condition}', '{severity}', '{severity}', \
                     '2026-11-21T12:00:00Z', '2026-11-21T12:00:00Z', {cleared}, {revision}, 9, 3, 1, 18, now(), '7', \
                     'aqi', 318, 'AQI', 'aqi 318 AQI, above the bound of 300', 0, {epoch}) \
                 on conflict (zone, incident_id) do update set condition = excluded.condition, \
                     severity = excluded.severity, severity_peak = excluded.severity_peak, \
                     cleared_at = excluded.cleared_at, revision = excluded.revision, epoch = excluded.epoch;"
            );
        }
        self.execute(&script).await;
        let told = payload(epoch as u64, ["incident_states", "incident_transitions"]);
        self.client.execute(NOTIFY, &[&told]).await.expect("told");
        self.execute("commit").await;
        self.epoch = epoch;
    }

    pub async fn execute(&self, script: &str) {
        self.client.batch_execute(script).await.unwrap_or_else(|error| panic!("{script}: {error:?}"));
    }

    pub async fn value(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    pub async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// What became of every notification: route, incident and revision, state, tries.
    pub async fn states(&self) -> String {
        let sql = "select coalesce(string_agg(format('%s %s/%s %s %s', route, incident_id, revision, state, tries), \
                   ', ' order by route, incident_id, revision, repetition), '') from notifications";
        self.text(sql).await
    }

    /// Waits until a query says true; a test that waits in vain is ended from outside.
    pub async fn until(&self, sql: &str) {
        while !self
            .client
            .query_one(sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get::<_, bool>(0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

//! What followers cost: a commit that notifies against one that does not, and the question what is new.
//!
//! ```console
//! DATABASE_URL=postgres://… cargo run --release -p citytide-store --example following
//! ```
//!
//! It makes a database of its own on that server, and drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use citytide_store::clock::instant;
use citytide_store::follow::{NOTIFY, payload};
use citytide_store::postgres::{Database, DatabaseOptions};
use citytide_store::session;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Commits per second, as a run with the default commit_interval_min makes them.
const COMMIT_INTERVAL: Duration = Duration::from_millis(50);
/// Commits of one kind in a measurement.
const COMMITS: usize = 1_000;
/// 2026-11-21T00:00:00Z, milliseconds.
const END_MS: i64 = 1_795_219_200_000;
const TABLES: [&str; 4] = ["sensor_data", "metrics_1min", "metrics_5min", "zone_status"];

fn main() {
    let address = std::env::var("DATABASE_URL").expect("DATABASE_URL names a PostgreSQL server");
    let bare = address.split('?').next().unwrap_or(&address);
    let (base, _) = bare.rsplit_once('/').expect("postgres://user@host:port/database");
    let parse = |address: &str| Database::parse(address, &DatabaseOptions::default()).expect("an address");
    let name = format!("following_{}", std::process::id());
    let scratch = parse(&format!("{base}/{name}"));
    session::runtime().block_on(async {
        let server = parse(&address).connect("following").await.expect("the server");
        server.batch_execute(&format!("create database {name}")).await.expect("a database");
        let client = scratch.connect("following").await.expect("a session");
        client.batch_execute(include_str!("../../sql/smart-city.sql")).await.expect("the schema");
        fill(&client).await;
        news(&client).await;
        for listeners in [0, 2] {
            notify(&scratch, &client, listeners).await;
        }
        drop(client);
        server.batch_execute(&format!("drop database {name} with (force)")).await.expect("dropped");
    });
}

/// A week: 8 zones × 10,080 minutes in both windows, a commit per second.
async fn fill(client: &Client) {
    let start_s = END_MS / 1000 - 604_800;
    let mut script = format!(
        "insert into commits (epoch, previous_epoch, run_id, readings, windows_from) \
         select (at + 1) * 1000, at * 1000, 0, 10000, to_timestamp(at - at % 60 - 300) \
         from generate_series({start_s}::bigint, {}) as at; \
         insert into zone_status (zone, anomalies_5min, last_recorded_at, epoch) \
         select 'zone ' || zone, 0, now(), {END_MS} from generate_series(1, 8) as zone;",
        END_MS / 1000 - 1
    );
    for (table, length_s) in [("metrics_1min", 60), ("metrics_5min", 300)] {
        script += &format!(
            "insert into {table} (window_start, window_end, zone, reading_count, anomaly_count, avg_temperature, min_temperature, \
             max_temperature, is_final, revision, updated_at, epoch) \
             select to_timestamp(at), to_timestamp(at + {length_s}), 'zone ' || zone, 75000, 5, 20, 10, 30, true, 0, now(), \
             least((at + {length_s} + 5) * 1000, {END_MS}) from generate_series({start_s}::bigint, {} - 60, 60) as at, generate_series(1, 8) as zone;",
            END_MS / 1000
        );
    }
    client.batch_execute(&script).await.expect("filled");
    client.batch_execute("vacuum analyze").await.expect("analysed");
}

/// Asks what the last commit brought: of the last minutes, and with a straggler of a day ago.
async fn news(client: &Client) {
    for (what, back_s) in [("the last second", 0), ("a straggler of 24 h", 86_400)] {
        if back_s > 0 {
            let script = format!(
                "update commits set windows_from = windows_from - interval '{back_s} s' where epoch = {END_MS}; \
                 update metrics_1min set epoch = {END_MS} where window_start = to_timestamp({}) and zone = 'zone 1'",
                END_MS / 1000 - 60 - back_s
            );
            client.batch_execute(&script).await.expect("a straggler");
        }
        let since = END_MS - 1_000;
        let from: i64 = client
            .query_one(
                "select extract(epoch from min(windows_from))::bigint from commits where epoch > $1",
                &[&since],
            )
            .await
            .expect("a window")
            .get(0);
        println!("{what}:");
        for (table, sql) in [
            ("commits", format!("select min(windows_from) from commits where epoch > {since}")),
            ("metrics_1min", window("metrics_1min", since, from)),
            ("metrics_5min", window("metrics_5min", since, from)),
            ("zone_status", format!("select * from zone_status where epoch > {since}")),
            ("changes", format!("select * from changes where epoch > {since} and epoch <= {END_MS}")),
        ] {
            // The first time warms the cache.
            let mut line = String::new();
            for _ in 0..3 {
                line = explained(client, &sql).await;
            }
            println!("  {table:<13} {line}");
        }
    }
}

fn window(table: &str, since: i64, from_s: i64) -> String {
    format!("select * from {table} where epoch > {since} and window_start >= to_timestamp({from_s})")
}

async fn explained(client: &Client, sql: &str) -> String {
    let explain = format!("explain (analyze, buffers, timing off, format json) {sql}");
    let told = client.simple_query(&explain).await.expect("a plan");
    let text = told.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: serde_json::Value = serde_json::from_str(text.expect("a row")).expect("JSON");
    let (plan, ms) = (&plan[0]["Plan"], &plan[0]["Execution Time"]);
    let buffers =
        plan["Shared Hit Blocks"].as_i64().unwrap_or(0) + plan["Shared Read Blocks"].as_i64().unwrap_or(0);
    format!("{} rows, {ms} ms, {buffers} buffers, {}", plan["Actual Rows"], plan["Node Type"])
}

/// Commits in pairs, one that notifies and one that does not, in alternating order.
async fn notify(database: &Database, client: &Client, listeners: usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let listening = {
        let (database, stop) = (database.clone(), stop.clone());
        std::thread::spawn(move || session::runtime().block_on(listen(&database, listeners, &stop)))
    };
    let notify = client.prepare(NOTIFY).await.expect("prepared");
    // As many round trips.
    let silent = client.prepare("select $1::text").await.expect("prepared");
    let mut took: [Vec<f64>; 2] = Default::default();
    let mut epoch: i64 =
        client.query_one("select max(epoch) from commits", &[]).await.expect("the last epoch").get(0);
    let mut due = instant();
    for pair in 0..COMMITS {
        for kind in [pair % 2, 1 - pair % 2] {
            tokio::time::sleep(due.saturating_duration_since(instant())).await;
            due += COMMIT_INTERVAL;
            let began = instant();
            let work = format!(
                "begin; select citytide_fence(0); insert into commits (epoch, previous_epoch, run_id, readings) values ({}, {epoch}, \
                 0, 500); update metrics_1min set reading_count = reading_count + 1, epoch = {0} where window_start = \
                 to_timestamp({1}); update metrics_5min set reading_count = reading_count + 1, epoch = {0} where window_start = \
                 to_timestamp({1}); update zone_status set epoch = {0}",
                epoch + 50,
                END_MS / 1000 - 60
            );
            client.batch_execute(&work).await.expect("written");
            epoch += 50;
            let statement = if kind == 1 { &notify } else { &silent };
            client.execute(statement, &[&payload(epoch as u64, TABLES)]).await.expect("told");
            client.batch_execute("commit").await.expect("committed");
            took[kind].push(instant().saturating_duration_since(began).as_secs_f64() * 1e3);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let heard = listening.join().expect("it ends");
    println!("{listeners} sessions listen ({heard} notices): ms per commit, p25 p50 p75 p90 p99");
    let more = took[1].iter().zip(&took[0]).map(|(notifies, silent)| notifies - silent).collect();
    let [silent, notifies] = took;
    for (kind, mut took) in [("silent", silent), ("notifies", notifies), ("more", more)] {
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        println!(
            "  {kind:<9} {}",
            [0.25, 0.5, 0.75, 0.9, 0.99].map(|share| format!("{:.2}", at(share))).join(" ")
        );
    }
}

/// Listens on so many sessions; returns how often they were told of something.
async fn listen(database: &Database, listeners: usize, stop: &AtomicBool) -> usize {
    let mut sessions = Vec::new();
    for _ in 0..listeners {
        let (client, notices) = database.connect_listening("listener").await.expect("a session");
        client.batch_execute("listen citytide").await.expect("listening");
        sessions.push((client, notices));
    }
    let mut heard = 0;
    while !stop.load(Ordering::Relaxed) {
        if sessions.is_empty() {
            tokio::time::sleep(COMMIT_INTERVAL).await;
        }
        for (_, notices) in &sessions {
            heard += usize::from(notices.wait(COMMIT_INTERVAL).await.is_some());
        }
    }
    heard
}

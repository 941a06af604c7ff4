//! Latency: from `send` to visible in `sensor_data`, for every reading of a live load.
//!
//! A row is visible when the newest row of `commits` has its epoch: that is the condition in the view's definition.
//! So the observer asks for that epoch only, every two milliseconds, which costs the server next to nothing whatever
//! the table's length; polling the rows themselves would be a load of its own. Afterwards each row is given the
//! moment at which its epoch was first seen. That rows are there when their epoch is seen is not taken on trust: about
//! once a second the rows of the epoch are counted at once and compared with what the commit says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::load::{Live, now_us};
use crate::process::{Process, citytide};
use crate::report::{Report, Target};
use crate::stage::{Session, Stage};

const P50_MAX_MS: f64 = 150.0;
const P99_MAX_MS: f64 = 400.0;
/// Before it counts: the run starts, reads to the end, and the server's caches fill.
const WARM_UP: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How often the rows of an epoch are counted when it is first seen.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Measures a load of `rate` readings per second for `seconds`.
pub fn measure(stage: &Stage, rate: u64, seconds: u64, report: &mut Report) -> Result<()> {
    report.scene(&format!("latency from send to visible, {rate}/s for {seconds} s"));
    let topic = stage.topic("latency")?;
    let url = stage.database("latency")?;
    let run = Process::spawn(&mut citytide(stage, &topic, &url, &[])?)?;
    run.worker(None)?;
    let live = Live::start(&stage.brokers, &topic, rate)?;
    std::thread::sleep(WARM_UP);
    let observed = observe(&stage.session(&url)?, Duration::from_secs(seconds))?;
    let sent = live.end()?;
    run.end()?;

    let session = stage.session(&url)?;
    let latencies = latencies_ms(&session, &observed.first_seen_us, rate * seconds)?;
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    report.figure("readings measured", latencies.len() as f64, "", Target::Told);
    report.figure(
        "commits seen per second",
        observed.first_seen_us.len() as f64 / seconds as f64,
        "",
        Target::Told,
    );
    report.figure("p50", at(0.5), "ms", Target::AtMost(P50_MAX_MS));
    report.figure("p99", at(0.99), "ms", Target::AtMost(P99_MAX_MS));
    report.figure("greatest", at(1.0), "ms", Target::Told);
    report.holds("rows are there when their epoch is seen", observed.counted > 0 && observed.complete);
    let all = session.number("select count(*) from sensor_data")? as u64;
    report.holds("every reading is there in the end", all == sent);
    stage.drop_database("latency")
}

struct Observed {
    /// Epoch → when it was first seen as the newest one.
    first_seen_us: BTreeMap<i64, i64>,
    /// Epochs whose rows were counted.
    counted: u64,
    /// Whether all of those had the rows that their commits tell of.
    complete: bool,
}

fn observe(session: &Session<'_>, how_long: Duration) -> Result<Observed> {
    let mut observed = Observed { first_seen_us: BTreeMap::new(), counted: 0, complete: true };
    let (start, mut last_count) = (Instant::now(), Instant::now());
    let newest = session.prepare("select max(epoch) from commits")?;
    let rows = session.prepare("select count(*) from sensor_data where epoch = $1")?;
    let told = session.prepare("select readings from commits where epoch = $1")?;
    let mut seen = None;
    while start.elapsed() < how_long {
        let epoch: Option<i64> = session.ask(&newest, &[])?;
        if let Some(epoch) = epoch.filter(|epoch| seen != Some(*epoch)) {
            // The first one was there before anybody looked.
            if seen.is_some() {
                observed.first_seen_us.insert(epoch, now_us());
            }
            seen = Some(epoch);
            if last_count.elapsed() >= COUNT_EVERY {
                last_count = Instant::now();
                observed.counted += 1;
                let there: i64 = session.ask(&rows, &[&epoch])?;
                observed.complete &= there == session.ask::<i64>(&told, &[&epoch])?;
            }
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    ensure!(observed.first_seen_us.len() > 1, "citytide has committed nothing: run it by hand to see why");
    Ok(observed)
}

/// The latencies of all readings in the epochs that were seen, in order of length. Epochs that came and went between
/// two looks became visible with the next one that was seen.
fn latencies_ms(session: &Session<'_>, first_seen_us: &BTreeMap<i64, i64>, about: u64) -> Result<Vec<f64>> {
    let (first, _) = first_seen_us.first_key_value().expect("more than one");
    let (last, _) = first_seen_us.last_key_value().expect("more than one");
    let rows = session.query(
        "select epoch, (extract(epoch from recorded_at) * 1000000)::bigint from sensor_data
          where epoch > $1 and epoch <= $2",
        &[first, last],
    )?;
    let mut latencies = Vec::with_capacity(about as usize);
    for row in rows {
        let (epoch, sent_us): (i64, i64) = (row.get(0), row.get(1));
        let (_, seen_us) = first_seen_us.range(epoch..).next().expect("not after the last");
        latencies.push((seen_us - sent_us) as f64 / 1000.0);
    }
    ensure!(!latencies.is_empty(), "no reading became visible");
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

//! Resident memory with a backlog far longer than anything that may be held, and with partitions hours apart.

use anyhow::Result;

use crate::load::{Load, now_us};
use crate::process::{Usage, citytide, finish};
use crate::report::{Report, Target, thousands};
use crate::stage::{PARTITIONS, Stage};
use crate::throughput::RSS_MAX_MIB;

/// Event time between one partition and the next.
const APART_US: i64 = 3 * 3_600_000_000;
/// Readings per partition of the backlog whose partitions are apart, and event time between two of them: 20 minutes.
const APART_READINGS: u64 = 500_000;
const APART_STEP_US: i64 = 2_400;

/// A topic and the database that holds all of it.
pub struct History {
    pub topic: String,
    /// The database's address.
    pub database_url: String,
}

/// Makes a long backlog and reads it into a database.
pub fn backlog(stage: &Stage, readings: u64) -> Result<(History, Usage)> {
    let topic = stage.topic("backlog")?;
    stage.fill(&topic, readings)?;
    let database_url = stage.database("backlog")?;
    let usage = finish(citytide(stage, &topic, &database_url, &["--until-caught-up", "--no-supervise"])?)?;
    Ok((History { topic, database_url }, usage))
}

/// Measures both; the long backlog is left as a history.
pub fn measure(stage: &Stage, readings: u64, report: &mut Report) -> Result<History> {
    report.scene(&format!("highest resident memory, {} readings", thousands(readings as f64)));
    let (history, usage) = backlog(stage, readings)?;
    report.figure("long backlog", usage.rss_mib, "MiB", Target::AtMost(RSS_MAX_MIB));
    report.figure("long backlog, readings per second", readings as f64 / usage.wall_s, "/s", Target::Told);

    let topic = stage.topic("apart")?;
    let load = Load::open(&stage.brokers, &topic, 100)?;
    let start_us = now_us() - i64::from(PARTITIONS) * APART_US;
    for number in 0..APART_READINGS {
        for partition in 0..PARTITIONS {
            let time_us = start_us + i64::from(partition) * APART_US + number as i64 * APART_STEP_US;
            load.send(partition, number, time_us)?;
        }
    }
    load.flush()?;
    let url = stage.database("apart")?;
    let usage = finish(citytide(stage, &topic, &url, &["--until-caught-up", "--no-supervise"])?)?;
    report.figure("partitions three hours apart", usage.rss_mib, "MiB", Target::AtMost(RSS_MAX_MIB));
    let all = stage.session(&url)?.number("select count(*) from sensor_data")? as u64;
    report.holds("and every reading is there", all == APART_READINGS * PARTITIONS as u64);
    stage.drop_database("apart")?;
    Ok(history)
}

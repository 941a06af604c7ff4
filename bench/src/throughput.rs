//! Throughput: readings that wait in the topic, into a fresh database, by the yardstick and by citytide in turns.
//!
//! Both are measured as a user sees them: from the start of the process to its end, connecting and creating tables
//! included. They alternate, so that what else the machine does meets both; the ratio is that of the medians.

use anyhow::Result;

use crate::process::{Usage, citytide, command, finish};
use crate::report::{Report, Target, median, thousands};
use crate::stage::Stage;

/// A log to drain, and what citytide is to reach on it.
struct Log {
    name: &'static str,
    sensors: u64,
    /// Readings per second of event time.
    density: u64,
    /// citytide's share of the yardstick's throughput.
    ratio: Target,
    /// Readings per second.
    rate: Target,
}

/// Dense: many readings a minute, so reading and writing them is the work. Sparse: a reading a minute and sensor, so
/// that minutes, windows and what the detector learns of each are.
const LOGS: [Log; 3] = [
    Log { name: "dense", sensors: 400, density: 10_000, ratio: Target::AtLeast(0.65), rate: Target::Told },
    Log { name: "wide", sensors: 10_000, density: 10_000, ratio: Target::AtLeast(0.6), rate: Target::Told },
    Log { name: "sparse", sensors: 400, density: 7, ratio: Target::Told, rate: Target::AtLeast(100_000.0) },
];
/// Resident memory in MiB.
pub const RSS_MAX_MIB: f64 = 256.0;

/// Measures `pairs` of runs over `readings` of each log.
pub fn measure(stage: &Stage, readings: u64, pairs: usize, report: &mut Report) -> Result<()> {
    LOGS.iter().try_for_each(|log| drain(stage, log, readings, pairs, report))
}

fn drain(stage: &Stage, log: &Log, readings: u64, pairs: usize, report: &mut Report) -> Result<()> {
    let topic = stage.topic(log.name)?;
    let seconds = readings / log.density;
    stage.fill_with(&topic, readings, log.sensors, seconds)?;
    report.scene(&format!(
        "throughput, {}: {} readings of {} sensors over {seconds} s in 4 partitions, {pairs} pairs",
        log.name,
        thousands(readings as f64),
        thousands(log.sensors as f64),
    ));
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    let mut exact = true;
    for pair in 0..pairs.max(1) {
        let url = stage.database("yardstick")?;
        let arguments = ["--brokers", &stage.brokers, "--topic", &topic, "--database-url", &url];
        bare.push(finish(command("citytide-yardstick", arguments)?)?);
        exact &= stage.session(&url)?.number("select count(*) from yardstick")? as u64 == readings;
        stage.drop_database("yardstick")?;

        let url = stage.database("citytide")?;
        ours.push(finish(citytide(stage, &topic, &url, &["--until-caught-up", "--no-supervise"])?)?);
        exact &= stage.session(&url)?.number("select count(*) from sensor_data")? as u64 == readings;
        if pair == 0 {
            let verify = finish(command("citytide", ["verify", "--database-url", &url])?);
            report.holds("citytide verify finds no difference", verify.is_ok());
        }
        stage.drop_database("citytide")?;
    }
    report.holds("every run holds every reading once", exact);
    let rate = |runs: &[Usage]| median(runs.iter().map(|run| readings as f64 / run.wall_s).collect());
    let cpu_s = |runs: &[Usage]| median(runs.iter().map(|run| run.cpu_s * 1e6 / readings as f64).collect());
    let rss_mib = |runs: &[Usage]| runs.iter().map(|run| run.rss_mib).fold(0.0, f64::max);
    report.figure("yardstick, 2 threads", rate(&bare), "/s", Target::Told);
    report.figure("citytide run -w 2", rate(&ours), "/s", log.rate);
    report.figure("ratio of the medians", rate(&ours) / rate(&bare), "", log.ratio);
    report.figure("yardstick, processor time per million", cpu_s(&bare), "s", Target::Told);
    report.figure("citytide, processor time per million", cpu_s(&ours), "s", Target::Told);
    report.figure("yardstick, highest resident memory", rss_mib(&bare), "MiB", Target::Told);
    report.figure("citytide, highest resident memory", rss_mib(&ours), "MiB", Target::AtMost(RSS_MAX_MIB));
    Ok(())
}

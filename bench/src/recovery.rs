//! Recovery: `kill -9` of the process that does the work, under load, until the first commit of the next run.
//!
//! The supervisor stays and starts the successor. That a commit is the successor's is told by its `run_id`: the
//! server may still finish one that the killed process had asked for.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::load::Live;
use crate::process::{Process, citytide, kill};
use crate::report::{Report, Target};
use crate::rss::History;
use crate::stage::{Session, Stage};

const RECOVERY_MAX_S: f64 = 3.0;
/// How long a run works before it is killed: the supervisor takes it for a good one, and there is something to lose.
const AT_WORK: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures `kills` kills with a history of a few seconds, and with a long one.
pub fn measure(stage: &Stage, long: &History, rate: u64, kills: usize, report: &mut Report) -> Result<()> {
    report.scene(&format!("recovery, kill -9 to the next run's first commit, {rate}/s"));
    let topic = stage.topic("recovery")?;
    let short = History { topic, database_url: stage.database("recovery")? };
    for (what, history) in [("a history of seconds", &short), ("a long history", long)] {
        let times_s = times_s(stage, history, rate, kills)?;
        let rows = stage.session(&history.database_url)?.number("select count(*) from sensor_data")?;
        report.figure(&format!("rows in {what}, in the end"), rows as f64, "", Target::Told);
        let each: Vec<String> = times_s.iter().map(|time| format!("{time:.2}")).collect();
        let worst = times_s.into_iter().fold(0.0, f64::max);
        report.figure(&format!("slowest of {}", each.join(" ")), worst, "s", Target::AtMost(RECOVERY_MAX_S));
    }
    let verify = crate::process::command("citytide", ["verify", "--database-url", &short.database_url])?;
    let verified = crate::process::finish(verify);
    report.holds("citytide verify finds no difference after it", verified.is_ok());
    stage.drop_database("recovery")
}

fn times_s(stage: &Stage, history: &History, rate: u64, kills: usize) -> Result<Vec<f64>> {
    let run = Process::spawn(&mut citytide(stage, &history.topic, &history.database_url, &[])?)?;
    let mut worker = run.worker(None)?;
    let live = Live::start(&stage.brokers, &history.topic, rate)?;
    let mut times_s = Vec::new();
    std::thread::sleep(AT_WORK);
    let session = stage.session(&history.database_url)?;
    for _ in 0..kills.max(1) {
        let before = session.number(NEWEST_RUN)?;
        kill(worker, libc::SIGKILL)?;
        let killed = Instant::now();
        wait_for_run_after(&session, before)?;
        times_s.push(killed.elapsed().as_secs_f64());
        worker = run.worker(Some(worker))?;
        std::thread::sleep(AT_WORK);
    }
    live.end()?;
    run.end()?;
    Ok(times_s)
}

/// The run of the newest commit.
const NEWEST_RUN: &str = "select coalesce((select run_id from commits order by epoch desc limit 1), 0)";

fn wait_for_run_after(session: &Session<'_>, before: i64) -> Result<()> {
    let start = Instant::now();
    while session.number(NEWEST_RUN)? <= before {
        ensure!(start.elapsed() < PATIENCE, "no commit {PATIENCE:?} after the kill");
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

//! `make bench`: throughput, memory, latency and recovery of citytide on this machine, each against its target.
//!
//! Four scenes, each a file: [`throughput`] beside a yardstick, [`rss`] with long backlogs, [`latency`] from `send` to
//! visible, [`recovery`] after `kill -9`. Each makes its own topics and databases through [`stage`], drives the
//! binaries through [`process`], and puts one line per figure into [`report`].
//!
//! A figure depends on what else the machine does: throughput is therefore a ratio of runs that alternate, and every
//! scene prints the load at its start. `make test` does not run it.

// It measures with the clock; nothing in it is replayed.
#![allow(clippy::disallowed_methods)]

mod latency;
mod load;
mod process;
mod recovery;
mod report;
mod rss;
mod stage;
mod throughput;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use report::Report;
use stage::Stage;

/// Measures throughput, memory, latency and recovery of citytide beside a bare yardstick.
#[derive(Parser, Debug)]
struct Arguments {
    /// What to measure; `sweep` only removes what an interrupted measurement left.
    #[arg(default_value = "all")]
    scene: Scene,
    /// Kafka's bootstrap servers.
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    /// A database of a role that may create databases.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// What the names of topics and databases begin with; they are removed at the end.
    #[arg(long, default_value = "citytide_bench")]
    prefix: String,
    /// Pairs of yardstick and citytide.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Readings in the topic of throughput.
    #[arg(long, default_value_t = 2_000_000)]
    readings: u64,
    /// Readings in the long backlog, which is also the long history of recovery.
    #[arg(long, default_value_t = 10_000_000)]
    backlog: u64,
    /// Seconds over which latency is measured.
    #[arg(long, default_value_t = 25)]
    seconds: u64,
    /// Readings per second of latency and recovery.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Kills per history.
    #[arg(long, default_value_t = 3)]
    kills: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scene {
    Throughput,
    Rss,
    Latency,
    Recovery,
    All,
    Sweep,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let stage = Stage::open(&arguments.brokers, &arguments.database_url, &arguments.prefix)?;
    if arguments.scene == Scene::Sweep {
        return stage.sweep();
    }
    let mut report = Report::new(&stage)?;
    let wanted = |scene| arguments.scene == Scene::All || arguments.scene == scene;
    if wanted(Scene::Throughput) {
        throughput::measure(&stage, arguments.readings, arguments.pairs, &mut report)?;
    }
    if wanted(Scene::Latency) {
        latency::measure(&stage, arguments.rate, arguments.seconds, &mut report)?;
    }
    // The long backlog becomes the long history: it is read once for both.
    let history =
        if wanted(Scene::Rss) { Some(rss::measure(&stage, arguments.backlog, &mut report)?) } else { None };
    if wanted(Scene::Recovery) {
        let history = match history {
            Some(history) => history,
            None => rss::backlog(&stage, arguments.backlog)?.0,
        };
        recovery::measure(&stage, &history, arguments.rate, arguments.kills, &mut report)?;
    }
    stage.sweep()?;
    std::process::exit(report.close());
}

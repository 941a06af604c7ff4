//! `citytide check`: whether a run could begin, one line per check, before anything is written.
//!
//! ```text
//!  configuration ─┬─ kafka ─── topic ─── reading ───┐
//!                 └─ database ─ tables ─ rights ────┴─ clocks
//!                        └───── run, server, space
//! ```
//!
//! A check that depends on a failed one is skipped. The exit code is that of the first failure; a warning is no
//! failure. Nothing is written, neither to Kafka nor to the database.

mod kafka;
mod postgres;
mod report;

use citytide_domain::Domain;
use citytide_store::session;

use super::exit_error::ExitError;
use super::setup::{Setup, SetupArgs};
use crate::runtime::output;
pub use report::{Report, State};

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  citytide check -w 2 && citytide run -w 2")]
pub struct Args {
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    setup: SetupArgs,
}

/// Checks and prints; returns the exit code.
pub fn run(args: &Args) -> i32 {
    let report = report(args.setup.setup());
    if args.json {
        output::print_line(report.json());
    } else {
        output::print(&report);
    }
    report.exit().code()
}

/// What `run --dry-run` does: the same for the run that was typed; returns the exit code.
pub fn dry_run(setup: Result<Setup, ExitError>) -> i32 {
    let report = report(setup);
    output::print(&report);
    report.exit().code()
}

fn report(setup: Result<Setup, ExitError>) -> Report {
    let mut report = Report::default();
    match setup {
        Ok(setup) => {
            report.ok("configuration", configured(&setup));
            session::runtime().block_on(examine(&setup, &mut report));
        }
        Err(error) => {
            report.failed("configuration", &error);
            for name in [
                "kafka", "topic", "reading", "database", "tables", "rights", "run", "clocks", "space",
                "server",
            ] {
                report.skipped(name, "configuration");
            }
        }
    }
    report
}

fn configured(setup: &Setup) -> String {
    let Domain { name, metrics, windows, .. } = &setup.domain;
    format!("domain {name}: {} metrics, {} windows; topic {}", metrics.len(), windows.len(), setup.topic)
}

/// Asks Kafka and PostgreSQL everything.
async fn examine(setup: &Setup, report: &mut Report) {
    let seen = if setup.is_kafka { kafka::examine(setup, report).await } else { None };
    postgres::examine(setup, seen.as_ref(), report).await;
}

//! `citytide check`: whether a run could begin, one line per question, before anything is written.
//!
//! ```text
//!  configuration ─┬─ kafka ─── topic ─── reading ───┐
//!                 └─ database ─ tables ─ rights ────┴─ clocks
//!                        └───── run, server, space
//! ```
//!
//! A question whose answer needs one that failed is skipped. The exit code is that of the first failure; a warning is
//! none. Nothing is written: not to Kafka, not to the database.

mod kafka;
mod postgres;
mod report;

use std::path::PathBuf;

use citytide_connection::{Connection, KafkaArgs};
use citytide_domain::Domain;

use super::database::DatabaseArgs;
use super::ending::Ending;
use super::read_domain;
use super::source::{SourceArgs, SourceKind};
use crate::commit::postgres::Database;
use crate::commit::session;
pub use report::{Report, State};

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  citytide check -w 2 && citytide run -w 2")]
pub struct Args {
    /// The topic; by default the domain's
    #[arg(long, help_heading = "Kafka")]
    topic: Option<String>,
    /// A domain file; by default the built-in smart-city
    #[arg(long, value_name = "FILE", help_heading = "Domain")]
    domain: Option<PathBuf>,
    /// Worker threads per process that the run will have
    #[arg(short = 'w', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    #[arg(help_heading = "Run")]
    workers: u16,
    /// Processes that the run will have
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    #[arg(help_heading = "Run")]
    processes: u16,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
}

/// What a run would be made of.
pub struct Subject {
    /// The domain.
    pub domain: Domain,
    /// How Kafka is reached.
    pub connection: Connection,
    /// The topic.
    pub topic: String,
    /// The database.
    pub database: Database,
    /// Whether the readings come from Kafka.
    pub is_kafka: bool,
    /// Workers of all processes.
    pub workers: u32,
}

/// Checks and prints; returns the exit code.
pub fn run(args: &Args) -> i32 {
    let report = report(subject(args));
    if args.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    report.exit().code()
}

/// What `run --dry-run` does: the same for the run that was typed; returns the exit code.
pub fn dry_run(subject: Result<Subject, Ending>) -> i32 {
    let report = report(subject);
    print!("{report}");
    report.exit().code()
}

fn report(subject: Result<Subject, Ending>) -> Report {
    let mut report = Report::default();
    match subject {
        Ok(subject) => {
            report.ok("configuration", configured(&subject));
            session::runtime().block_on(examine(&subject, &mut report));
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

fn subject(args: &Args) -> Result<Subject, Ending> {
    let domain = read_domain(args.domain.as_deref())?;
    Ok(Subject {
        connection: args.kafka.connection()?,
        topic: args.topic.clone().unwrap_or_else(|| domain.topic.clone()),
        database: args.database.database()?,
        is_kafka: args.source.source == SourceKind::Kafka,
        workers: u32::from(args.workers) * u32::from(args.processes),
        domain,
    })
}

fn configured(subject: &Subject) -> String {
    let Domain { name, metrics, windows, .. } = &subject.domain;
    format!("domain {name}: {} metrics, {} windows; topic {}", metrics.len(), windows.len(), subject.topic)
}

/// Asks Kafka and PostgreSQL everything.
async fn examine(subject: &Subject, report: &mut Report) {
    let seen = if subject.is_kafka { kafka::examine(subject, report).await } else { None };
    postgres::examine(subject, seen.as_ref(), report).await;
}

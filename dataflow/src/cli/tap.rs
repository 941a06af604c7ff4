//! `citytide tap`: committed readings, dead letters and changes of incidents as they come, a line each.
//!
//! ```text
//!  PostgreSQL ── a step per commit ──▶ pages ──▶ lines ──▶ bounded queue ──▶ a thread ──▶ standard output
//! ```
//!
//! Invariants:
//! 1. each reading comes once, in the order of (epoch, partition, offset); of the epochs of a step, dead letters come
//!    behind the readings. Changes of incidents come first: where readings are still behind the newest commit, before those
//!    that they follow from;
//! 2. memory is bounded by the queue: whoever reads too slowly misses lines, and is told how many (see [`lines`]);
//! 3. it registers nowhere: neither retention nor a run waits for it.

mod changes;
mod lines;
pub mod print;

use std::time::Duration;

use citytide_domain::Domain;
use citytide_store::follow::{Follow, Only, Page, Start, Want, Wanted};
use citytide_store::postgres::{Database, DatabaseError};
use citytide_store::session;
use tokio_postgres::Client;

use super::exit_error::ExitError;
use super::incidents;
use super::tables::TablesArgs;
use super::verify;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use changes::Changes;
use lines::{Lines, Pace};
use print::Printer;

/// What the session calls itself.
const NAME: &str = "citytide:tap";
/// A commit notifies; without one it is looked after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Readings of a page: what waits in the queue are pages.
const PAGE_ROWS: i32 = 1_000;
/// Readings of a step, which is a transaction of the server.
const STEP_READINGS_MAX: i64 = 50_000;

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --anomalies, --late, --dead-letters and --incidents every reading is shown; with them, these \
    alone.\n\n\
    Examples:\n  citytide tap --incidents --zone Downtown\n  citytide tap --zone Downtown --anomalies\n  citytide tap --dead-letters --from 0\n  \
    citytide tap --json | jq -c 'select(.score > 0.9)'"
)]
pub struct Args {
    /// Only readings of this zone; may be repeated
    #[arg(id = "asked.zone", long = "zone", value_name = "ZONE")]
    zones: Vec<String>,
    /// Only readings of this sensor; may be repeated
    #[arg(id = "asked.sensor", long = "sensor", value_name = "SENSOR")]
    sensors: Vec<String>,
    /// Only readings with a value of this metric, and only this value; anomalies that are about it
    #[arg(id = "asked.metric", long = "metric", value_name = "METRIC")]
    metric: Option<String>,
    /// Readings of any kind, as by default; beside --dead-letters everything
    #[arg(id = "asked.readings", long = "readings")]
    readings: bool,
    /// Anomalous readings
    #[arg(id = "asked.anomalies", long = "anomalies")]
    anomalies: bool,
    /// Late readings
    #[arg(id = "asked.late", long = "late")]
    late: bool,
    /// Records that are no readings; they have neither zone nor sensor
    #[arg(id = "asked.dead_letters", long = "dead-letters")]
    dead_letters: bool,
    /// Changes of incidents: what the data say; what people do is in the view `incident_changes`
    #[arg(id = "asked.incidents", long = "incidents")]
    incidents: bool,
    /// Begin after this epoch; 0 begins with all that retention has left
    #[arg(id = "asked.from", long = "from", value_name = "now|EPOCH", default_value = "now", value_parser = from)]
    from: From,
    /// A JSON object per line instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tables: TablesArgs,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Now,
    Epoch(i64),
}

fn from(text: &str) -> Result<From, String> {
    match text.parse() {
        Ok(epoch) if epoch >= 0 => Ok(From::Epoch(epoch)),
        _ if text == "now" => Ok(From::Now),
        _ => Err("write now, or an epoch as 1795262449200".to_owned()),
    }
}

/// Follows until it is stopped or nobody reads it any more.
///
/// # Errors
///
/// When there is nothing to follow, or it cannot be followed any further.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    session::runtime().block_on(execute(args))
}

async fn execute(args: &Args) -> Result<i32, ExitError> {
    let (domain, database) = args.tables.read()?;
    if let Some(metric) = &args.metric {
        check_metric(&domain, metric)?;
    }
    let start = begin(args, &domain, &database).await?;
    let mut follow = Follow::open(&database, NAME, start, args.want()).await?;
    let printer = Printer::new(&domain, follow.metrics(), args.metric.as_deref(), args.json);
    let mut changes = Changes::new(&args.zones, &args.sensors, args.json);
    let mut lines = Lines::spawn(args.json);
    let mut pace = Pace::new(args.from == From::Now);
    loop {
        // Also while nothing is to be said: a filter may hold everything back for hours.
        if output::reader_is_gone() {
            output::end_without_reader();
        }
        let Some(mut step) = follow.step().await? else {
            pace.is_current();
            lines.say_what_is_missing();
            follow.wait(LOOK_AGAIN).await;
            continue;
        };
        let patience = pace.patience(step.tables_epoch() - step.epoch());
        while let Some(page) = step.page().await? {
            let (text, count) = match &page {
                Page::Readings(readings) => printer.readings(readings),
                Page::DeadLetters(letters) => printer.letters(letters),
                Page::Rows(table, rows) => changes.rows(table, rows),
                Page::Deleted(_) => unreachable!("deletions are not wanted"),
            };
            if count == 0 {
                continue;
            }
            lines.put(text, count, patience).await;
        }
        step.finish().await?;
        changes.end_step();
    }
}

/// Sees to it that there is something to follow, and finds where to begin.
async fn begin(args: &Args, domain: &Domain, database: &Database) -> Result<Start, ExitError> {
    let client = database.connect(NAME).await?;
    verify::check_fits(&client, database, domain).await?;
    if args.incidents {
        incidents::check(&client, database, domain).await?;
    }
    warn_of_unknown_zones(&client, &args.zones).await?;
    match args.from {
        From::Epoch(0) => Ok(Start::Everything),
        From::Epoch(epoch) => Ok(Start::Above(epoch)),
        From::Now => {
            let sql = "select coalesce(max(epoch), 0) from commits";
            let row = client.query_one(sql, &[]).await;
            let newest =
                row.map_err(|error| DatabaseError::statement("looking for the newest commit", &error))?;
            Ok(Start::Above(newest.get(0)))
        }
    }
}

/// A zone that nothing has come from may be a typing error, or one that comes later.
async fn warn_of_unknown_zones(client: &Client, zones: &[String]) -> Result<(), ExitError> {
    if zones.is_empty() {
        return Ok(());
    }
    let rows = client.query("select zone from zone_status order by zone", &[]).await;
    let rows = rows.map_err(|error| DatabaseError::statement("listing the zones", &error))?;
    let known: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    for zone in zones.iter().filter(|zone| !known.contains(zone)) {
        tracing::warn!("no reading has come from a zone {zone} yet; zones are: {}", known.join(", "));
    }
    Ok(())
}

/// Sees to it that the domain has the metric.
fn check_metric(domain: &Domain, metric: &str) -> Result<(), ExitError> {
    let names: Vec<&str> = domain.metrics.iter().map(|one| one.name.as_str()).collect();
    if names.contains(&metric) {
        return Ok(());
    }
    let why =
        format!("the domain {} has no metric {metric}; its metrics are {}", domain.name, names.join(", "));
    Err(ExitError::new(Exit::Usage, why))
}

impl Args {
    fn want(&self) -> Want {
        let readings = match (self.anomalies, self.late) {
            _ if self.readings => Wanted::All,
            (true, true) => Wanted::AnomaliesAndLate,
            (true, false) => Wanted::Anomalies,
            (false, true) => Wanted::Late,
            (false, false) if self.dead_letters || self.incidents => Wanted::None,
            (false, false) => Wanted::All,
        };
        Want {
            readings,
            only: Only {
                zones: self.zones.clone(),
                sensors: self.sensors.clone(),
                metric: self.metric.clone(),
            },
            dead_letters: self.dead_letters,
            windows: false,
            views: self.incidents,
            only_views: changes::TABLES.map(str::to_owned).to_vec(),
            deletions: false,
            page_rows: PAGE_ROWS,
            step_readings_max: STEP_READINGS_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_now_or_after_an_epoch() {
        assert_eq!(from("now"), Ok(From::Now));
        assert_eq!(from("1795262449200"), Ok(From::Epoch(1_795_262_449_200)));
        for wrong in ["", "-1", "yesterday", "1.5"] {
            assert!(from(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_metric_that_the_domain_does_not_have_is_refused_with_those_that_it_has() {
        let domain = Domain::smart_city();
        assert!(check_metric(&domain, "aqi").is_ok());
        let refused = check_metric(&domain, "agi").expect_err("a typing error");
        assert_eq!(refused.exit(), Exit::Usage);
        assert!(refused.to_string().contains("temperature, humidity, aqi"), "{refused}");
    }
}

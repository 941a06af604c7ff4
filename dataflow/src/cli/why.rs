//! `citytide why`: what became of a reading, or how a window came about, in words.
//!
//! Everything is read in one snapshot, and nothing is recomputed: it tells what the tables hold. What the tables do not hold
//! is not guessed: when Kafka stamped a reading, and what was typical for a normal one.

mod facts;
mod reading;
mod window;
mod words;

use chrono::{DateTime, NaiveDateTime};
use citytide_core::floor_to;
use citytide_domain::{Domain, Window};
use citytide_store::session;
use clap::ArgGroup;
use tokio_postgres::{IsolationLevel, Transaction};

use super::dead_letters::place;
use super::exit_error::ExitError;
use super::tables::TablesArgs;
use super::verify;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use facts::{AsOf, failed};

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("asked").required(true).args(["asked.reading", "asked.window"]))]
#[command(after_help = "Examples:\n  citytide why --reading 0:4711\n  \
    citytide why --zone Downtown --window 2026-11-26T14:05\n  \
    citytide why --zone Downtown --window 2026-11-26T14:05:00Z --name 5min --json")]
pub struct Args {
    /// What became of this record
    #[arg(id = "asked.reading", long = "reading", value_name = "PARTITION:OFFSET", value_parser = place)]
    reading: Option<(i32, i64)>,
    /// How the window came about that began last at this time; UTC, unless an offset is given
    #[arg(id = "asked.window", long = "window", value_name = "TIME", value_parser = time, requires = "asked.zone")]
    window: Option<i64>,
    /// The window's zone
    #[arg(id = "asked.zone", long = "zone", value_name = "ZONE")]
    #[arg(requires = "asked.window", conflicts_with = "asked.reading")]
    zone: Option<String>,
    /// The window's name; by default that of the domain's first window
    #[arg(id = "asked.name", long = "name", value_name = "NAME")]
    #[arg(requires = "asked.window", conflicts_with = "asked.reading")]
    name: Option<String>,
    /// Print a JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tables: TablesArgs,
}

/// What is asked for.
enum Question {
    Reading(i32, i64),
    Window { window: Window, zone: String, start_us: i64 },
}

fn time(text: &str) -> Result<i64, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.timestamp_micros());
    }
    let forms = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f"];
    let parsed = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let wrong = || "write a time as 2026-11-26T14:05 or 2026-11-26T15:05:00+01:00".to_owned();
    parsed.map(|at| at.and_utc().timestamp_micros()).ok_or_else(wrong)
}

/// Answers; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    session::runtime().block_on(execute(args))?;
    Ok(Exit::Done.code())
}

async fn execute(args: &Args) -> Result<(), ExitError> {
    let (domain, database) = args.tables.read()?;
    let question = args.question(&domain.windows)?;
    let mut client = database.connect("citytide:why").await?;
    let snapshot = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(failed("beginning a snapshot"))?;
    verify::check_fits(&snapshot, &database, &domain).await?;
    let as_of = AsOf::read(&snapshot).await?;
    answer(args.json, &snapshot, &domain, &as_of, question).await
}

async fn answer(
    json: bool,
    snapshot: &Transaction<'_>,
    domain: &Domain,
    as_of: &AsOf,
    question: Question,
) -> Result<(), ExitError> {
    match question {
        Question::Reading(partition, offset) => {
            let found = reading::Answer::read(snapshot, domain, (partition, offset)).await?;
            match json {
                true => output::print_line(found.json(domain, as_of)),
                false => output::print(words::of_reading(&found, domain, as_of)),
            }
        }
        Question::Window { window, zone, start_us } => {
            let found = window::Answer::read(snapshot, domain, window, zone, start_us).await?;
            match json {
                true => output::print_line(found.json(domain, as_of)),
                false => output::print(words::of_window(&found, domain, as_of)),
            }
        }
    }
    Ok(())
}

impl Args {
    fn question(&self, windows: &[Window]) -> Result<Question, ExitError> {
        if let Some((partition, offset)) = self.reading {
            return Ok(Question::Reading(partition, offset));
        }
        let (Some(at_us), Some(zone)) = (self.window, self.zone.clone()) else {
            unreachable!("a window and its zone are required where there is no reading");
        };
        let named = |one: &&Window| self.name.as_ref().is_none_or(|name| one.name == *name);
        let Some(window) = windows.iter().find(named) else {
            let names = windows.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
            let why = format!("the domain has no such window: give --name one of {names}");
            return Err(ExitError::new(Exit::Usage, why));
        };
        let start_us = floor_to(at_us, window.slide_us);
        Ok(Question::Window { window: window.clone(), zone, start_us })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    fn question(words: &str) -> Result<Question, String> {
        let typed = format!("why --database-url postgresql://db/x {words}");
        let typed = Typed::try_parse_from(typed.split_whitespace()).map_err(|error| error.to_string())?;
        typed.args.question(&Domain::smart_city().windows).map_err(|error| error.to_string())
    }

    #[test]
    fn a_time_is_utc_unless_it_says_otherwise() {
        let at_us = 1_795_701_900_000_000;
        for text in [
            "2026-11-26T14:05",
            "2026-11-26 14:05",
            "2026-11-26T14:05:00Z",
            "2026-11-26T15:05:00+01:00",
            "2026-11-26T14:05:00.0",
        ] {
            assert_eq!(time(text), Ok(at_us), "{text}");
        }
        for wrong in ["14:05", "2026-11-26", "soon"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_window_is_the_one_that_began_last_at_the_time() {
        let begins = |words: &str| match question(words) {
            Ok(Question::Window { window, start_us, .. }) => (window.name, start_us),
            _ => panic!("{words}"),
        };
        let at_us = 1_795_701_900_000_000;
        assert_eq!(begins("--zone A --window 2026-11-26T14:05:59"), ("1min".to_owned(), at_us));
        assert_eq!(begins("--zone A --window 2026-11-26T14:05:00 --name 5min"), ("5min".to_owned(), at_us));
    }

    #[test]
    fn a_question_that_is_none_says_what_is_missing() {
        for (words, said) in [
            ("", "--reading <PARTITION:OFFSET>|--window <TIME>"),
            ("--reading 0:1 --window 2026-11-26T14:05", "--window"),
            ("--reading 0:1 --zone A", "--reading"),
            ("--reading 0:1 --name 5min", "--reading"),
            ("--zone A", "--window"),
            ("--window 2026-11-26T14:05", "--zone"),
            ("--window 2026-11-26T14:05 --zone A --name 7min", "1min, 5min"),
        ] {
            let refused = question(words).err().expect("refused");
            assert!(refused.contains(said), "{words}: {refused}");
        }
    }
}

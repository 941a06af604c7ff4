//! `citytide dead-letters`: lists and shows records that are not readings, and replays them after the domain file was
//! corrected.

pub mod print;

use std::sync::Arc;

use citytide_core::decode::Reason;
use citytide_domain::Domain;
use citytide_store::postgres::{Database, DatabaseError};
use citytide_store::takeover::{self, Patience, Takeover};
use citytide_store::{ledger, migrate, session, upkeep};
use clap::{Args as ClapArgs, Subcommand};
use tokio_postgres::Client;

use super::exit_error::ExitError;
use super::run::start::host_name;
use super::status::thousands;
use super::tables::TablesArgs;
use super::verify;
use crate::replay::{self, Outcome, Selection};
use crate::runtime::exit::Exit;
use crate::runtime::output;
use crate::views::schema;
use print::{described, heading, line};

/// What was typed.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  citytide dead-letters list --reason bad_number\n  \
    citytide dead-letters show 0:4711\n  \
    citytide dead-letters replay --domain mended.toml --dry-run")]
// They may stand behind the subcommand too; clap cannot require what is global.
#[command(mut_args(|argument| argument.global(true).required(false)))]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    tables: TablesArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one line per letter, oldest first, and the number of letters for each reason
    List {
        #[command(flatten)]
        which: Which,
        /// Print at most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Print a JSON object per letter instead, with all that is known about it
        #[arg(long)]
        json: bool,
    },
    /// Print all that is known about one letter, and what a replay would make of it
    Show {
        /// Partition and offset of the letter
        #[arg(value_name = "PARTITION:OFFSET", value_parser = place)]
        letter: (i32, i64),
    },
    /// Decode letters again: one commit moves those that are readings now into their windows
    ///
    /// No run may write meanwhile. With --take-over a supervised run ends, and continues after the replay.
    Replay {
        #[command(flatten)]
        which: Which,
        /// Only these letters
        #[arg(value_name = "PARTITION:OFFSET", value_parser = place)]
        letters: Vec<(i32, i64)>,
        /// Print what would become of the letters, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Replace an active run; a supervised one continues after the replay
        #[arg(long)]
        take_over: bool,
    },
}

/// Which letters are meant.
#[derive(Debug, ClapArgs)]
struct Which {
    /// Only letters with this reason; may be repeated
    #[arg(long = "reason", value_name = "REASON", value_parser = Reason::ALL.map(Reason::as_str))]
    reasons: Vec<String>,
    /// Only letters of this partition
    #[arg(long, value_name = "P")]
    partition: Option<i32>,
}

/// A partition and an offset as they are typed.
pub fn place(text: &str) -> Result<(i32, i64), String> {
    let parsed = text.split_once(':').and_then(|(partition, offset)| {
        Some((partition.parse().ok()?, offset.parse().ok().filter(|offset| *offset >= 0)?))
    });
    parsed.ok_or_else(|| "write a partition and an offset as 0:4711".to_owned())
}

/// Does what was asked for; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    session::runtime().block_on(execute(args))?;
    Ok(Exit::Done.code())
}

async fn execute(args: &Args) -> Result<(), ExitError> {
    let (domain, database) = args.tables.read()?;
    let domain = Arc::new(domain);
    let client = database.connect("citytide:dead-letters").await?;
    verify::check_fits(&client, &database, &domain).await?;
    match &args.command {
        Command::List { which, limit, json } => {
            list(&client, &which.selection(&[]), i64::from(*limit), *json).await
        }
        Command::Show { letter } => show(&client, &domain, *letter).await,
        Command::Replay { which, letters, dry_run: true, .. } => {
            preview(&client, &domain, &which.selection(letters)).await
        }
        Command::Replay { which, letters, take_over, .. } => {
            replay(client, database, domain, &which.selection(letters), *take_over).await
        }
    }
}

impl Which {
    fn selection(&self, letters: &[(i32, i64)]) -> Selection {
        Selection { reasons: self.reasons.clone(), partition: self.partition, letters: letters.to_vec() }
    }
}

async fn list(client: &Client, selection: &Selection, limit: i64, json: bool) -> Result<(), ExitError> {
    let letters = replay::page(client, selection, None, limit).await?;
    if json {
        letters.iter().for_each(|letter| output::print_line(print::json(letter)));
        return Ok(());
    }
    let counts = client
        .query(
            "select reason, count(*) from dead_letters where (cardinality($1::text[]) = 0 or reason = any($1)) \
             and ($2::integer is null or kafka_partition = $2) group by reason order by count(*) desc, reason",
            &[&selection.reasons, &selection.partition],
        )
        .await
        .map_err(|error| DatabaseError::statement("counting dead letters", &error))?;
    if letters.is_empty() {
        output::print_line("no dead letters");
        return Ok(());
    }
    output::print_line(heading());
    letters.iter().for_each(|letter| output::print_line(line(letter)));
    let total: i64 = counts.iter().map(|row| row.get::<_, i64>(1)).sum();
    let by_reason: Vec<String> =
        counts.iter().map(|row| format!("{} {}", row.get::<_, &str>(0), thousands(row.get(1)))).collect();
    output::print_line(format_args!("{} of {}: {}", letters.len(), thousands(total), by_reason.join(" · ")));
    Ok(())
}

async fn show(client: &Client, domain: &Domain, letter: (i32, i64)) -> Result<(), ExitError> {
    let selection = Selection { letters: vec![letter], ..Selection::default() };
    let letters = replay::page(client, &selection, None, 1).await?;
    let Some(found) = letters.first() else {
        let (partition, offset) = letter;
        let why = format!(
            "there is no dead letter {partition}:{offset}; citytide dead-letters list shows the existing ones"
        );
        return Err(ExitError::new(Exit::Config, why));
    };
    let mut outcome = Outcome::default();
    reader(client, domain).await?.read(&letters, &mut outcome);
    output::print(described(found, &outcome));
    Ok(())
}

async fn reader(client: &Client, domain: &Domain) -> Result<replay::LetterReader, ExitError> {
    Ok(replay::LetterReader::new(domain, &ledger::read_positions(client).await?))
}

async fn preview(client: &Client, domain: &Domain, selection: &Selection) -> Result<(), ExitError> {
    let mut reader = reader(client, domain).await?;
    let (mut outcome, mut after) = (Outcome::default(), None);
    loop {
        let letters = replay::page(client, selection, after, replay::PAGE_LETTERS_MAX).await?;
        let Some(last) = letters.last() else { break };
        after = Some(last.key());
        reader.read(&letters, &mut outcome);
    }
    output::print_line(summary(&outcome, "would be readings"));
    Ok(())
}

async fn replay(
    mut client: Client,
    database: Database,
    domain: Arc<Domain>,
    selection: &Selection,
    take_over: bool,
) -> Result<(), ExitError> {
    let request = Takeover {
        host: host_name(),
        process_id: std::process::id() as i32,
        processes: 0,
        workers: 0,
        take_over,
        patience: Patience::default(),
    };
    let run = takeover::take(&mut client, &request, upkeep::delete_uncommitted).await?;
    let topic = migrate::declared_topic(&client).await?;
    migrate::apply(&mut client, &schema(&domain), &topic).await?;
    let said = |outcome: &Outcome| {
        let done: i64 = outcome.accepted + outcome.dead.values().sum::<i64>() + outcome.cut + outcome.expired;
        tracing::info!("{} letters", thousands(done));
    };
    let (client, outcome) = replay::replay(client, database, domain, run, selection, said).await?;
    takeover::finish(&client, run.run_id, "dead letters replayed").await?;
    output::print_line(summary(&outcome, "are readings now"));
    Ok(())
}

/// What became of the letters, as a line.
fn summary(outcome: &Outcome, accepted: &str) -> String {
    let Outcome { accepted: readings, dead, cut, expired } = outcome;
    if *outcome == Outcome::default() {
        return "no dead letters".to_owned();
    }
    let mut parts = vec![format!("{} {accepted}", thousands(*readings))];
    for (reason, count) in dead {
        parts.push(format!("{} still {reason}", thousands(*count)));
    }
    if *cut > 0 {
        parts.push(format!("{} kept in part only", thousands(*cut)));
    }
    if *expired > 0 {
        parts.push(format!("{} older than retention.windows", thousands(*expired)));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_letter_is_named_by_partition_and_offset() {
        assert_eq!(place("3:4711"), Ok((3, 4711)));
        for wrong in ["3", "3:", ":1", "a:1", "3:-1", "3:1:2"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_outcome_names_each_kind_of_letter_that_is_left() {
        let dead = BTreeMap::from([("not_json", 2), ("bad_number", 1200)]);
        let outcome = Outcome { accepted: 1, dead, cut: 3, expired: 4 };
        assert_eq!(
            summary(&outcome, "are readings now"),
            "1 are readings now · 1,200 still bad_number · 2 still not_json · 3 kept in part only · \
             4 older than retention.windows"
        );
        assert_eq!(summary(&Outcome::default(), "x"), "no dead letters");
    }
}

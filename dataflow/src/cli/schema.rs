//! `citytide schema`: the DDL of a domain, the database brought up to it, and how the two differ.

use citytide_store::migrate::{self, Difference};
use citytide_store::takeover::{self, Patience, Takeover};
use citytide_store::{session, upkeep};
use clap::{Args as ClapArgs, Subcommand};

use super::exit_error::ExitError;
use super::run::start::host_name;
use super::tables::TablesArgs;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use crate::views;

/// What was typed.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  citytide schema print --domain harbour.toml | psql\n  citytide schema diff"
)]
// They may stand behind the subcommand too; clap cannot require what is global.
#[command(mut_args(|argument| argument.global(true).required(false)))]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    tables: TablesArgs,
    /// Where the readings come from; by default the domain's topic
    #[arg(long, help_heading = "Kafka")]
    topic: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the statements that create the tables in an empty database; needs no database
    Print,
    /// Create the tables, or update them to the domain file; exits with 73 if a run is active
    Apply,
    /// List how the tables differ from the domain file; exits with 0 if they do not, else with 1
    Diff,
}

/// Does what was asked for; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    session::runtime().block_on(execute(args)).map(Exit::code)
}

async fn execute(args: &Args) -> Result<Exit, ExitError> {
    let domain = args.tables.domain()?;
    let topic = args.topic.as_deref().unwrap_or(&domain.topic);
    if let Command::Print = args.command {
        output::print(views::schema(&domain).create(topic));
        return Ok(Exit::Done);
    }
    let database = args.tables.database()?;
    let schema = views::schema(&domain);
    let mut client = database.connect("citytide:schema").await?;
    // Only what was typed is compared: a database whose topic another flag named is still this domain's.
    let Some(found) = migrate::examine(&mut client, &schema, args.topic.as_deref()).await? else {
        return match args.command {
            Command::Apply => {
                migrate::prepare(&mut client, &schema, topic).await?;
                output::print_line(format_args!("✓ {database}: created the tables of {}", domain.name));
                Ok(Exit::Done)
            }
            _ => {
                output::print_line(format_args!(
                    "✗ {database} holds no tables of citytide; citytide schema apply creates them"
                ));
                Ok(Exit::Differs)
            }
        };
    };
    if found.is_empty() {
        output::print_line(format_args!("✓ {database}: the tables match the domain file {}", domain.name));
        return Ok(Exit::Done);
    }
    if let Command::Diff = args.command {
        for difference in &found {
            output::print_line(format_args!("✗ {difference}{}", remedy(difference)));
        }
        return Ok(Exit::Differs);
    }
    if found.iter().any(Difference::is_migrated) && !found.iter().any(Difference::breaks) {
        // As a run does: whoever changes the tables has taken the database over, and ends with that.
        let request = Takeover {
            host: host_name(),
            process_id: std::process::id() as i32,
            processes: 0,
            workers: 0,
            take_over: false,
            patience: Patience::default(),
        };
        let run = takeover::take(&mut client, &request, upkeep::delete_uncommitted).await?;
        let there = migrate::declared_topic(&client).await?;
        for mended in migrate::apply(&mut client, &schema, &there).await? {
            output::print_line(format_args!("✓ {mended}: fixed"));
        }
        takeover::finish(&client, run.run_id, "schema apply").await?;
    }
    for difference in found.iter().filter(|difference| !difference.is_migrated()) {
        output::print_line(format_args!("✗ {difference}{}", remedy(difference)));
    }
    Ok(if found.iter().all(Difference::is_migrated) { Exit::Done } else { Exit::Differs })
}

/// What to do about a difference.
fn remedy(difference: &Difference) -> &'static str {
    if difference.is_migrated() {
        "; citytide schema apply fixes it, and so does the next run"
    } else if difference.breaks() {
        "; a run refuses this: restore it as citytide schema print shows"
    } else {
        "; a run works with it"
    }
}

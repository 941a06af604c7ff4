//! `citytide models`: lists the models of the detector, shows one, and requests another one to be in force.
//!
//! Only a run's commit changes a model's status: the command writes a request.

pub mod print;

use citytide_detector::Layout;
use citytide_domain::Domain;
use citytide_store::detector::models::{self, PromoteError};
use citytide_store::postgres::Database;
use citytide_store::session;
use clap::{Args as ClapArgs, Subcommand};
use tokio_postgres::Client;

use super::exit_error::ExitError;
use super::tables::TablesArgs;
use super::verify;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use print::Described;

/// What was typed.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "A run trains a first model as soon as it can, and further ones on a schedule; each comes into \
                  force by itself.\nA model that was put into force by hand judges until the next scheduled \
                  training.\n\n\
    Examples:\n  citytide models list\n  citytide models show 3\n  citytide models promote 3\n  citytide models rollback"
)]
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
    /// Print one line per model, oldest first
    List {
        /// Print a JSON object per model instead, with all that is known about it
        #[arg(long)]
        json: bool,
    },
    /// Print all that is known about one model: how it was made, whether it can be used, when it was in force
    Show {
        /// Version of the model; by default the one in force
        #[arg(value_name = "VERSION")]
        version: Option<i32>,
        /// Print one JSON object instead
        #[arg(long)]
        json: bool,
    },
    /// Put a model into force: an active run does so with its next commit, else the next start
    Promote {
        /// Version of the model
        #[arg(value_name = "VERSION")]
        version: i32,
    },
    /// Put the previous model into force
    Rollback,
}

/// Does what was asked for; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    session::runtime().block_on(execute(args))?;
    Ok(Exit::Done.code())
}

async fn execute(args: &Args) -> Result<(), ExitError> {
    let (domain, database) = args.tables.read()?;
    let client = connect(&database, &domain, "citytide:models").await?;
    let layout = Layout::new(&domain);
    match args.command {
        Command::List { json } => list(&client, json).await,
        Command::Show { version, json } => show(&client, &layout, version, json).await,
        Command::Promote { version } => promote(&client, &layout, version).await,
        Command::Rollback => {
            let version = models::before(&client).await?;
            output::print_line(format_args!("rolling back to model {version}"));
            promote(&client, &layout, version).await
        }
    }
}

/// Opens a session on a database that fits the domain and has the tables of the detector.
pub(super) async fn connect(database: &Database, domain: &Domain, name: &str) -> Result<Client, ExitError> {
    let client = database.connect(name).await?;
    verify::check_fits(&client, database, domain).await?;
    if !models::are_kept(&client).await? {
        let why = "this database has no tables of the detector yet; citytide schema apply creates them, and so \
                   does the next start of citytide run";
        return Err(ExitError::new(Exit::Config, why));
    }
    Ok(client)
}

async fn list(client: &Client, json: bool) -> Result<(), ExitError> {
    let stored = models::list(client).await?;
    if json {
        stored.iter().for_each(|model| output::print_line(print::json(model)));
        return Ok(());
    }
    output::print(print::table(&stored));
    Ok(())
}

async fn show(client: &Client, layout: &Layout, version: Option<i32>, json: bool) -> Result<(), ExitError> {
    let stored = models::list(client).await?;
    let found = match version {
        Some(version) => {
            let found = stored.into_iter().find(|model| model.version == version);
            found.ok_or(PromoteError::Missing { version })?
        }
        None => stored.into_iter().find(models::StoredModel::is_in_force).ok_or_else(|| {
            let why = "no model is in force; citytide models list shows the existing ones".to_owned();
            ExitError::new(Exit::Config, why)
        })?,
    };
    let version = found.version;
    let refused = match models::read(client, layout, version).await {
        Ok(_) => None,
        Err(PromoteError::Refused(reason)) => Some(reason.to_string()),
        Err(error) => return Err(error.into()),
    };
    let mut terms = models::terms(client).await?;
    terms.retain(|term| term.version == version);
    let agreements = models::agreements(client, version).await?;
    let described = Described { model: &found, refused, terms, agreements };
    match json {
        true => output::print_line(described.json()),
        false => output::print(described.text()),
    }
    Ok(())
}

/// Puts a model in force, and prints what became of it.
pub(super) async fn promote(client: &Client, layout: &Layout, version: i32) -> Result<(), ExitError> {
    let promoted = models::promote(client, layout, version).await?;
    output::print_line(print::promoted(version, promoted));
    Ok(())
}

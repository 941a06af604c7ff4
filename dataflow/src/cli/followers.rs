//! `citytide followers`: lists the programs that follow the tables and how far each is, and drops one.

use std::fmt::Write;

use citytide_domain::Domain;
use citytide_store::clock::wall_ms;
use citytide_store::followers::{self, Follower};
use citytide_store::postgres::Database;
use citytide_store::session;
use citytide_store::upkeep::retention_horizon;
use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::exit_error::ExitError;
use super::models::print::{rfc3339, when};
use super::status::coarse;
use super::tables::TablesArgs;
use super::verify;
use crate::runtime::exit::Exit;
use crate::runtime::output;

/// What was typed.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Raw readings are kept, whatever retention.raw says, until every registered follower has taken them.\n\n\
    Examples:\n  citytide followers list\n  citytide followers drop parquet"
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
    /// One line per follower, the slowest first
    List {
        /// A JSON object per follower instead
        #[arg(long)]
        json: bool,
    },
    /// End a follower: retention no longer waits for it, and it fails when it next advances
    Drop {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Does what was asked for; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    session::runtime().block_on(execute(args))?;
    Ok(Exit::Done.code())
}

async fn execute(args: &Args) -> Result<(), ExitError> {
    let (domain, database) = args.tables.read()?;
    let client = connect(&database, &domain).await?;
    let horizon = domain.retention.raw_us.map(|raw_us| retention_horizon(raw_us, wall_ms()));
    match &args.command {
        Command::List { json } => {
            let found = followers::list(&client, horizon).await?;
            match json {
                true => found.iter().for_each(|one| output::print_line(object(one))),
                false => output::print(table(&found)),
            }
        }
        Command::Drop { name } => {
            let epoch = followers::drop(&client, name).await?;
            output::print_line(format_args!(
                "dropped the follower {name}, which had taken everything up to epoch {epoch}"
            ));
            let left = followers::list(&client, horizon).await?;
            output::print_line(waits_for(&left));
        }
    }
    Ok(())
}

/// Opens a session on a database that fits the domain and has the table of followers.
async fn connect(database: &Database, domain: &Domain) -> Result<Client, ExitError> {
    let client = database.connect("citytide:followers").await?;
    verify::check_fits(&client, database, domain).await?;
    if !followers::are_kept(&client).await? {
        let why = "this database has no table of followers yet; citytide schema apply makes it, and so does the next \
                   start of citytide run";
        return Err(ExitError::new(Exit::Config, why));
    }
    Ok(client)
}

/// All followers, a line for each.
fn table(found: &[Follower]) -> String {
    if found.is_empty() {
        return "no follower is registered\n".to_owned();
    }
    let width = found.iter().map(|one| one.name.chars().count()).max().unwrap_or_default().max(8);
    let mut text = format!("{:width$}  {:>13}  behind  last advanced (UTC)\n", "follower", "epoch");
    for one in found {
        let behind = coarse(one.behind_ms.max(0) as u64 / 1000);
        let updated = one.updated_us.map_or("never".to_owned(), when);
        let held = if one.holds_retention { "  holds retention up" } else { "" };
        writeln!(text, "{:width$}  {:>13}  {behind:>6}  {updated:<19}{held}", one.name, one.epoch)
            .expect("memory takes text");
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn object(one: &Follower) -> Value {
    json!({
        "name": one.name,
        "epoch": one.epoch,
        "updated_at": one.updated_us.and_then(rfc3339),
        "behind_ms": one.behind_ms,
        "holds_retention": one.holds_retention,
    })
}

/// What retention still waits for.
fn waits_for(left: &[Follower]) -> String {
    let held: Vec<&str> =
        left.iter().filter(|one| one.holds_retention).map(|one| one.name.as_str()).collect();
    match held[..] {
        [] => "retention waits for no follower now; a run removes what is too old within a minute".to_owned(),
        _ => format!("retention still waits for {}", held.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(name: &str, behind_ms: i64, holds_retention: bool) -> Follower {
        let epoch = 1_795_238_760_000 - behind_ms;
        Follower { name: name.to_owned(), epoch, updated_us: None, behind_ms, holds_retention }
    }

    #[test]
    fn the_list_tells_who_is_how_far_and_who_holds_retention_up() {
        let page = Follower { updated_us: Some(1_795_238_760_000_000), ..follower("page", 400, false) };
        assert_eq!(
            table(&[follower("parquet", 777_600_000, true), page]),
            "follower          epoch  behind  last advanced (UTC)\n\
             parquet   1794461160000     9 d  never                holds retention up\n\
             page      1795238759600     0 s  2026-11-21 05:26:00\n"
        );
        assert_eq!(table(&[]), "no follower is registered\n");
    }

    #[test]
    fn after_a_drop_it_says_whom_retention_still_waits_for() {
        assert!(waits_for(&[follower("page", 400, false)]).starts_with("retention waits for no follower"));
        assert_eq!(waits_for(&[follower("parquet", 0, true)]), "retention still waits for parquet");
    }
}

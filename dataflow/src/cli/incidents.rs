//! `citytide incidents`: lists what is wrong, shows all that is known about one incident, and acts on it for people.

pub mod print;

use citytide_core::batch::Severity;
use citytide_core::incidents::{Condition, Kind};
use citytide_domain::Domain;
use citytide_store::compare::AsOf;
use citytide_store::incidents::shown::{self, Selection};
use citytide_store::incidents::{Action, act};
use citytide_store::postgres::{Database, DatabaseError};
use citytide_store::session;
use clap::{Args as ClapArgs, Subcommand};
use tokio_postgres::{Client, GenericClient, IsolationLevel};

use super::exit_error::ExitError;
use super::tables::TablesArgs;
use super::verify;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use print::{Described, Listed};

/// What was typed.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  citytide incidents list --severity high\n  \
                        citytide incidents list --all --zone Downtown\n  citytide incidents show 1a2b3c4d\n  citytide incidents load\n  \
                        citytide incidents ack 1a2b3c4d --comment \"on it\"\n  \
                        citytide incidents shelve 1a2b3c4d --for 2h --comment \"works in the street\"")]
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
    /// Print one line per incident that is open or pending, the worst first, of these the oldest
    List {
        #[command(flatten)]
        which: Which,
        /// Print at most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Print a JSON object per incident instead, with all columns of the view incidents
        #[arg(long)]
        json: bool,
    },
    /// Print all that is known about one incident, and everything that happened to it
    Show {
        #[command(flatten)]
        one: One,
        /// Print one JSON object instead
        #[arg(long)]
        json: bool,
    },
    /// Print how much incidents ask of people, by ten minutes: the view `alarm_load`, the newest last
    Load {
        /// Print the newest so many
        #[arg(id = "asked.load_limit", long = "limit", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Print a JSON object per ten minutes instead
        #[arg(long)]
        json: bool,
    },
    /// Acknowledge: somebody has seen it. A rise of its severity calls for attention again
    Ack {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        said: Said,
    },
    /// Assign it to somebody, or to nobody
    Assign {
        #[command(flatten)]
        one: One,
        /// Who takes care of it; without a name, nobody does
        #[arg(value_name = "WHO")]
        assignee: Option<String>,
        #[command(flatten)]
        said: Said,
    },
    /// Add a comment to it
    Comment {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        said: Said,
    },
    /// Keep it from calling for attention for a time, at most `shelve_max` of the domain
    Shelve {
        #[command(flatten)]
        one: One,
        /// For how long: 30m, 2h
        #[arg(long = "for", value_name = "DURATION", value_parser = citytide_domain::parse_duration)]
        for_us: i64,
        #[command(flatten)]
        said: Said,
    },
    /// End shelving before its time
    Unshelve {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        said: Said,
    },
    /// Say that what it is about is out of service, or back in service
    Service {
        #[command(flatten)]
        one: One,
        /// Out of service or back in
        #[arg(value_parser = ["out", "in"])]
        state: String,
        #[command(flatten)]
        said: Said,
    },
}

/// Which incident is meant.
#[derive(Debug, ClapArgs)]
struct One {
    /// Its identity, or as much of its beginning as no other one has
    #[arg(value_name = "ID")]
    incident: String,
}

/// What is said along with an action.
#[derive(Debug, ClapArgs)]
struct Said {
    /// Why, or what there is to say; `shelve` and `comment` need it
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// In whose name; by default the database role
    #[arg(long = "as", value_name = "WHO")]
    actor: Option<String>,
}

impl Command {
    /// What is to be done to which incident; `None` where something is only shown.
    fn action(&self) -> Option<(&One, Action, &Said)> {
        Some(match self {
            Command::List { .. } | Command::Show { .. } | Command::Load { .. } => return None,
            Command::Ack { one, said } => (one, Action::Acknowledge, said),
            Command::Assign { one, assignee, said } => (one, Action::Assign(assignee.clone()), said),
            Command::Comment { one, said } => (one, Action::Comment, said),
            Command::Shelve { one, for_us, said } => (one, Action::Shelve(*for_us), said),
            Command::Unshelve { one, said } => (one, Action::Unshelve, said),
            Command::Service { one, state, said } => (one, Action::Service { is_out: state == "out" }, said),
        })
    }
}

/// Which incidents are meant.
#[derive(Debug, ClapArgs)]
struct Which {
    /// Only of this zone; may be repeated
    #[arg(id = "asked.zone", long = "zone", value_name = "ZONE")]
    zones: Vec<String>,
    /// Only of this kind; may be repeated
    #[arg(id = "asked.kind", long = "kind", value_name = "KIND", value_parser = Kind::ALL.map(Kind::as_str))]
    kinds: Vec<String>,
    /// Only of this severity, or worse
    #[arg(id = "asked.severity", long = "severity", value_name = "SEVERITY", value_parser = Severity::ALL.map(Severity::as_str))]
    severity: Option<String>,
    /// Only in this condition, instead of open and pending; may be repeated
    #[arg(id = "asked.condition", long = "condition", value_name = "CONDITION", value_parser = Condition::ALL.map(Condition::as_str))]
    conditions: Vec<String>,
    /// In any condition
    #[arg(id = "asked.all", long = "all")]
    all: bool,
}

impl Which {
    fn selection(&self) -> Selection {
        let conditions = match self.conditions[..] {
            [] if !self.all => vec!["pending".to_owned(), "open".to_owned()],
            _ => self.conditions.clone(),
        };
        let Which { zones, kinds, severity, .. } = self;
        Selection { zones: zones.clone(), kinds: kinds.clone(), conditions, severity: severity.clone() }
    }
}

/// Does what was asked for; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    session::runtime().block_on(execute(args))?;
    Ok(Exit::Done.code())
}

async fn execute(args: &Args) -> Result<(), ExitError> {
    let (domain, database) = args.tables.read()?;
    let mut client = database.connect("citytide:incidents").await?;
    if let Some((one, action, said)) = args.command.action() {
        check(&client, &database, &domain).await?;
        return change(&client, &one.incident, &action, said).await;
    }
    // What is printed belongs together.
    let snapshot =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
    let snapshot =
        snapshot.await.map_err(|error| DatabaseError::statement("beginning a snapshot", &error))?;
    check(&snapshot, &database, &domain).await?;
    let as_of = AsOf::read(&snapshot).await?;
    match &args.command {
        Command::List { which, limit, json } => {
            let (incidents, all) = shown::list(&snapshot, &which.selection(), i64::from(*limit)).await?;
            if *json {
                incidents.iter().for_each(|one| output::print_line(print::json(one)));
                return Ok(());
            }
            let counts = shown::counts(&snapshot).await?;
            output::print(Listed { incidents: &incidents, all, counts, as_of }.text());
            Ok(())
        }
        Command::Load { limit, json } => {
            let load = shown::load(&snapshot, i64::from(*limit)).await?;
            match json {
                true => load.iter().for_each(|one| output::print_line(print::load_json(one))),
                false => output::print(print::load(&load, &as_of)),
            }
            Ok(())
        }
        Command::Show { one, json } => show(&snapshot, &domain, as_of, &one.incident, *json).await,
        _ => unreachable!("actions are done without a snapshot"),
    }
}

/// Refuses a database of another domain, and one without incidents.
pub(super) async fn check(
    client: &impl GenericClient,
    database: &Database,
    domain: &Domain,
) -> Result<(), ExitError> {
    verify::check_fits(client, database, domain).await?;
    if !shown::are_kept(client).await? {
        let why = "this database has no incidents yet; citytide schema apply creates their tables, and so does the \
                   next start of citytide run";
        return Err(ExitError::new(Exit::Config, why));
    }
    Ok(())
}

/// Does what people do, and prints the incident's line as it is then.
async fn change(client: &Client, typed: &str, action: &Action, said: &Said) -> Result<(), ExitError> {
    let id = identity(client, typed).await?;
    act(client, &id, action, said.comment.as_deref(), said.actor.as_deref()).await?;
    let Some(incident) = shown::incident(client, &id).await? else { return Err(unknown(typed)) };
    let as_of = AsOf::read(client).await?;
    output::print(print::line(&incident, &as_of));
    Ok(())
}

async fn show(
    snapshot: &impl GenericClient,
    domain: &Domain,
    as_of: AsOf,
    typed: &str,
    json: bool,
) -> Result<(), ExitError> {
    let id = identity(snapshot, typed).await?;
    let Some(incident) = shown::incident(snapshot, &id).await? else { return Err(unknown(typed)) };
    let occurrences = shown::occurrences(snapshot, domain, &incident).await?;
    let changes = shown::changes(snapshot, &id).await?;
    let described = Described { incident, occurrences, changes, as_of };
    match json {
        true => output::print_line(described.json()),
        false => output::print(described.text()),
    }
    Ok(())
}

/// The one identity that begins as typed.
async fn identity(client: &impl GenericClient, typed: &str) -> Result<String, ExitError> {
    let mut found = shown::beginning(client, typed).await?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(unknown(typed)),
        _ => {
            let why = format!(
                "several incidents begin with {typed}: {}; type more of the one meant",
                found.join(", ")
            );
            Err(ExitError::new(Exit::Config, why))
        }
    }
}

fn unknown(typed: &str) -> ExitError {
    let why = format!("there is no incident {typed}; citytide incidents list --all shows the existing ones");
    ExitError::new(Exit::Config, why)
}

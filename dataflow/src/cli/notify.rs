//! `citytide notify`: tells receivers of incidents, by the routes of `citytide.toml`; also beside a run.

pub mod beside;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use citytide_notify::retry::Outcome;
use citytide_notify::routes::{self, Route, read_secrets};
use citytide_notify::{Ends, NotifyError};
use citytide_store::session;
use clap::Subcommand;

use super::exit_error::ExitError;
use super::settings::{self, Configuration, OwnSection};
use super::tables::TablesArgs;
use super::verify;
use crate::runtime::backoff::Backoff;
use crate::runtime::exit::Exit;
use crate::runtime::{output, signals};

/// The section of the file that holds routes.
pub const SECTION: OwnSection = OwnSection { name: routes::SECTION, check: routes::check };

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Routes are written in citytide.toml; docs/notifications.md has an example of each kind.\n\n\
    Examples:\n  citytide notify\n  citytide notify test duty\n  citytide notify --until-caught-up"
)]
// They may stand behind the subcommand too; clap cannot require what is global.
#[command(mut_args(|argument| argument.global(true).required(false)))]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// End once everything that is new is delivered or given up
    #[arg(id = "asked.until_caught_up", long = "until-caught-up")]
    until_caught_up: bool,
    #[command(flatten)]
    tables: TablesArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send one test message by a route, and say what the receiver said
    Test {
        /// The route's name
        #[arg(value_name = "ROUTE")]
        route: String,
    },
}

/// Notifies until it is stopped, or sends a test message; returns the exit code.
pub fn run(args: &Args, configuration: &Configuration) -> Result<i32, ExitError> {
    match &args.command {
        Some(Command::Test { route }) => session::runtime().block_on(test(route, configuration)),
        None => notify(args, configuration),
    }
}

/// The routes of the file; there is at least one.
fn read_routes(configuration: &Configuration) -> Result<Vec<Route>, ExitError> {
    let wrong = |why: String| ExitError::new(Exit::Config, why);
    let Some((path, text)) = &configuration.file else {
        return Err(wrong(format!("there are no routes: {ADVICE}")));
    };
    let routes = routes::parse(path, text).map_err(|mistakes| wrong(mistakes.to_string()))?;
    if routes.is_empty() {
        return Err(wrong(format!("{} has no routes: {ADVICE}", path.display())));
    }
    Ok(routes)
}

/// What to do without routes.
const ADVICE: &str = "write them into citytide.toml, for example\n  [routes.duty]\n  kind = \"webhook\"\n  \
                      url = \"https://example.org/hook\"";

/// Reads the secrets of some routes.
fn with_secrets(mut routes: Vec<Route>, configuration: &Configuration) -> Result<Vec<Route>, ExitError> {
    let environment = |name: &str| settings::environment(name)?.into_string().ok();
    let file = configuration.file.as_ref().map_or(String::new(), |(path, _)| path.display().to_string());
    read_secrets(&mut routes, &file, &environment)
        .map_err(|wrong| ExitError::new(Exit::Config, format!("a secret is missing\n{wrong}")))?;
    Ok(routes)
}

async fn test(name: &str, configuration: &Configuration) -> Result<i32, ExitError> {
    let all = read_routes(configuration)?;
    let names: Vec<String> = all.iter().map(|route| route.name.clone()).collect();
    let one: Vec<Route> = all.into_iter().filter(|route| route.name == name).collect();
    if one.is_empty() {
        let why = format!("there is no route {name}; routes are: {}", names.join(", "));
        return Err(ExitError::new(Exit::Config, why));
    }
    let route = with_secrets(one, configuration)?.remove(0);
    let failed = |why: String, exit| Err(ExitError::new(exit, format!("route {name} does not work: {why}")));
    match citytide_notify::test(&route).await {
        Err(error) => failed(error.to_string(), Exit::Config),
        Ok(answer) => match answer.outcome {
            Outcome::Sent => {
                output::print_line(format_args!("route {name} works: {}", answer.reason));
                Ok(Exit::Done.code())
            }
            Outcome::Retry { .. } => failed(answer.reason, Exit::Away),
            Outcome::Rejected => failed(answer.reason, Exit::Config),
        },
    }
}

fn notify(args: &Args, configuration: &Configuration) -> Result<i32, ExitError> {
    let routes = with_secrets(read_routes(configuration)?, configuration)?;
    let (domain, database) = args.tables.read()?;
    let stop = Arc::new(AtomicBool::new(false));
    signals::drain_on_signal(stop.clone())
        .map_err(|error| ExitError::new(Exit::Bug, format!("cannot listen to signals: {error}")))?;
    let asked = stop.clone();
    let ends =
        Ends { until_caught_up: args.until_caught_up, stop: Arc::new(move || asked.load(Ordering::Relaxed)) };
    let mut backoff = Backoff::default();
    loop {
        let began = citytide_store::clock::instant();
        let ended: Result<(), ExitError> = session::runtime().block_on(async {
            let client = database.connect("citytide:notify").await?;
            verify::check_fits(&client, &database, &domain).await?;
            drop(client);
            tracing::info!("notifying by {} routes", routes.len());
            Ok(citytide_notify::run(&database, routes.clone(), &ends).await?)
        });
        match ended {
            Err(error) if error.exit() == Exit::Away && !args.until_caught_up && !(ends.stop)() => {
                let pause = backoff.after(began.elapsed());
                tracing::warn!("{error}; trying again in {:.1} s", pause.as_secs_f64());
                std::thread::sleep(pause);
            }
            ended => return ended.map(|()| Exit::Done.code()),
        }
    }
}

impl From<NotifyError> for ExitError {
    fn from(error: NotifyError) -> ExitError {
        match error {
            NotifyError::Database(error) => error.into(),
            NotifyError::Held => ExitError::new(Exit::Held, error),
            NotifyError::NoTables | NotifyError::Route { .. } => ExitError::new(Exit::Config, error),
        }
    }
}

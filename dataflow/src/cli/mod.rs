//! The command line: one file per command, and what they share: configuration, exit errors, the log, the status line.
//!
//! To add a flag, add a clap argument to the `Args` of its command (or flatten an `Args` of your own into it), with a
//! `help_heading` that names its section of `citytide.toml`; environment, file, `config show` and the table in
//! `docs/configuration.md` follow from it (see [`settings::Setting`]). What it has to do with other settings goes into
//! the command's [`settings::Relations`], not into clap's `requires` or `conflicts_with`.
pub mod check;
pub mod config;
pub mod dead_letters;
#[cfg(test)]
mod documented;
pub mod evaluate;
pub mod exit_error;
pub mod followers;
pub mod incidents;
pub mod log;
pub mod models;
pub mod notify;
pub mod pages;
pub mod run;
pub mod schema;
mod screen;
pub mod serve;
pub mod settings;
pub mod setup;
pub mod show;
pub mod source;
pub mod status;
pub mod tables;
pub mod tap;
pub mod topics;
pub mod train;
pub mod verify;
pub mod version;
pub mod why;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use settings::{Configuration, OwnSection, Relations};

use crate::runtime::output;

/// From a Kafka topic of sensor readings to exactly-once tables in PostgreSQL
#[derive(Debug, Parser)]
#[command(name = "citytide", version, long_version = version::long(), arg_required_else_help = true)]
#[command(
    after_help = "Exit codes are explained in docs/operations.md, citytide.toml and the environment in docs/configuration.md.\n\nExamples:\n  \
                        citytide run --topic sensor-data -w 2\n  citytide run --source simulation --count 100000 --until-caught-up\n  citytide run --source files readings --follow\n  citytide config show\n  citytide verify"
)]
pub struct Typed {
    #[command(subcommand)]
    command: Command,
    /// Read this configuration file [default: citytide.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    log: log::LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read readings, score, aggregate and commit them, until stopped
    Run(Box<run::Args>),
    /// Check everything that a run needs, one line each: ok, or what to do
    Check(Box<check::Args>),
    /// Recompute every window from sensor_data and list each difference
    Verify(verify::Args),
    /// Measure the detector's precision and recall on labelled readings
    Evaluate(evaluate::Args),
    /// Train a model by hand, and print how its verdicts would differ
    Train(train::Args),
    /// List the detector's models, show one, put one into force, or go back to the one before
    Models(models::Args),
    /// Print committed readings and dead letters as they arrive, one line each
    Tap(tap::Args),
    /// Explain what became of a record, or how a window came about
    Why(why::Args),
    /// List incidents, and show all that is known about one
    Incidents(incidents::Args),
    /// Tell webhooks, chats, mail and SMS of incidents, by the routes of citytide.toml
    Notify(notify::Args),
    /// Serve the page and the API at http://127.0.0.1:8501
    Serve(serve::Args),
    /// List programs that follow the tables and how far each is, or drop one that retention waits for
    Followers(followers::Args),
    /// List and show records that are not readings, and replay them after the domain file is corrected
    DeadLetters(dead_letters::Args),
    /// Create the topic as citytide needs it
    Topics(topics::Args),
    /// Print, create or compare the tables of a domain
    Schema(schema::Args),
    /// Show what is configured, and where
    #[command(subcommand)]
    Config(config::Commands),
    /// Print a script that completes citytide's command line in a shell
    Completions(pages::Completions),
    /// Print the manual, or write its pages
    Man(pages::Man),
}

impl Relations for Typed {
    fn check(&self, wrong: &mut Vec<String>) {
        match &self.command {
            Command::Run(args) => args.check(wrong),
            Command::Serve(args) => args.check(wrong),
            Command::Config(commands) => commands.check(wrong),
            _ => {}
        }
    }

    fn own_sections() -> &'static [OwnSection] {
        &[notify::SECTION]
    }
}

/// Runs the command; returns the exit code.
pub fn run(typed: Typed, configuration: &Configuration) -> i32 {
    let is_handed_over = matches!(&typed.command, Command::Run(args) if args.report.is_handed_over());
    let log = log::start(&typed.log, is_handed_over);
    if matches!(&typed.command, Command::Run(args) if !args.dry_run) {
        let draws = !is_handed_over && log.is_for_a_terminal;
        screen::begin(draws.then_some(log.colours), log.missing());
    }
    configuration.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let code = match typed.command {
        Command::Run(args) => run::run(*args, configuration),
        Command::Verify(args) => verify::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Tap(args) => tap::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Incidents(args) => incidents::run(&args),
        Command::Notify(args) => notify::run(&args, configuration),
        Command::Serve(args) => serve::run(&args),
        Command::Followers(args) => followers::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Check(args) => Ok(check::run(&args)),
        Command::Topics(args) => topics::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Config(commands) => Ok(config::run(&commands, configuration, &Typed::command())),
        Command::Completions(args) => Ok(pages::completions(&args, Typed::command())),
        Command::Man(args) => pages::man(&args, Typed::command()),
    };
    let code = code.unwrap_or_else(|error| error.report());
    output::flush();
    code
}

//! The configuration: what was typed, what the environment and `citytide.toml` say, and what is used of it.
//!
//! ```text
//!  flags ───────┐
//!  environment ─┼─ resolve ─▶ Configuration (each value with its origin) ─▶ clap's own structs, as if all were typed
//!  file ────────┤                      │
//!  defaults ────┘                      └─▶ config show, and the environment of the supervisor's members
//! ```
//!
//! 1. A setting has one declaration: its clap argument. What it is called in the environment and in the file follows
//!    from that (see [`setting`]); to add one, add the argument to the `Args` of its command, and nothing here.
//! 2. Flag before environment before file before default. A list is taken whole from the first that has it.
//! 3. Whatever it came from, a value goes through the argument's own value parser. All mistakes are told at once.
//! 4. What settings have to do with each other is checked afterwards, on the finished structs (`Relations`): clap's
//!    `requires` and `conflicts_with` see flags only.
//! 5. Nothing secret is shown; this room is the only one that reads the environment.

mod file;
mod mask;
mod reference;
mod resolve;
mod setting;
mod show;
mod typed;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::run;
use crate::launch::exit::Exit;
use resolve::Mistaken;
pub use setting::Setting;
pub use show::Show;

/// The file that is read when none is named.
const FILE: &str = "citytide.toml";
/// Separates the values of a list in the environment of the supervisor's members.
const LIST_OF_MEMBER: char = '\u{1f}';

/// Flags of every command that concern the configuration.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs {
    /// The configuration file [default: citytide.toml, when there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `citytide config`.
#[derive(Debug, clap::Subcommand)]
pub enum Commands {
    /// Print every setting of a run that is used, and where it came from
    Show(Show),
    /// Print the table of flags of docs/configuration.md
    #[command(hide = true)]
    Reference,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was typed.
    Flag,
    /// An environment variable.
    Environment(String),
    /// A line, counted from 1, of the configuration file.
    File(PathBuf, usize),
    /// Nobody said anything.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Flag => write!(f, "flag"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Default => write!(f, "default"),
        }
    }
}

/// A setting with what is used.
#[derive(Debug, Clone)]
pub struct Used {
    /// The setting.
    pub setting: Setting,
    /// Its values: at most one unless it is a list; none when it is not set.
    pub values: Vec<OsString>,
    /// Where they came from.
    pub origin: Origin,
}

/// Everything that the command that was typed uses.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The settings of the command, in the order of `--help`.
    pub used: Vec<Used>,
    /// What is right but unwise.
    pub warnings: Vec<String>,
}

/// What settings have to do with each other.
pub trait Relations {
    /// Adds a sentence for each pair of settings that does not fit together: what is wrong, and what would be right.
    fn check(&self, wrong: &mut Vec<String>);
}

/// Flags that a command knows because another command takes them; `None` where they do not suffice for that one.
#[derive(Debug)]
pub struct Declared<A>(pub Option<Box<A>>);

impl<A: clap::Args> clap::Args for Declared<A> {
    fn augment_args(command: Command) -> Command {
        A::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        A::augment_args_for_update(command)
    }
}

impl<A: FromArgMatches> FromArgMatches for Declared<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Declared(A::from_arg_matches(matches).ok().map(Box::new)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Declared::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Why a command does not begin.
#[derive(Debug)]
pub enum Stop {
    /// clap has something to say: help, the version, or a usage that it does not know.
    Said(clap::Error),
    /// The configuration is wrong: every mistake, and the exit code.
    Wrong(String, Exit),
}

impl Stop {
    /// Says it and ends the process.
    pub fn exit(self) -> ! {
        match self {
            Stop::Said(said) => said.exit(),
            Stop::Wrong(text, exit) => {
                eprintln!("{text}");
                std::process::exit(exit.code())
            }
        }
    }
}

/// Reads the command line `arguments` (the program's name first) for the command `T`, with what the environment and
/// the file add to it.
///
/// # Errors
///
/// Help or version were asked for, or the configuration has mistakes: all of them.
pub fn read<T: CommandFactory + FromArgMatches + Relations>(
    arguments: &[OsString],
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(T, Configuration), Stop> {
    let command = T::command();
    let settings = setting::all(&command);
    let typed = typed::read(&command, arguments).map_err(Stop::Said)?;
    let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
    let resolved = resolve::resolve(&settings, &typed, &environment);
    let configuration = resolved.map_err(Mistaken::into_stop)?;
    let matches = typed::again(command, arguments, &configuration).map_err(Stop::Said)?;
    let told = T::from_arg_matches(&matches).map_err(Stop::Said)?;
    let mut wrong = Vec::new();
    told.check(&mut wrong);
    if wrong.is_empty() { Ok((told, configuration)) } else { Err(configuration.misfit(&wrong)) }
}

/// The environment of this process.
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl Configuration {
    /// The environment that gives another process exactly these settings, whatever the file has become meanwhile.
    /// Switches that `but` names are off in it.
    pub fn of_members(&self, but: &[&str]) -> Vec<(OsString, OsString)> {
        let mut variables = Vec::new();
        for used in &self.used {
            let name = OsString::from(&used.setting.environment[0]);
            let value = match used.values.as_slice() {
                _ if used.setting.name == "config" => Path::new("/dev/null").into(),
                _ if but.contains(&used.setting.name.as_str()) => "false".into(),
                [] => OsString::new(),
                [one] if !used.setting.is_list => one.clone(),
                many => many.join(std::ffi::OsStr::new(&LIST_OF_MEMBER.to_string())),
            };
            variables.push((name, value));
        }
        variables
    }

    /// What to say when settings do not fit together; wrong usage when a flag is among them all.
    fn misfit(&self, wrong: &[String]) -> Stop {
        let file = self.used.iter().find_map(|used| match &used.origin {
            Origin::File(path, _) => Some(path.display().to_string()),
            _ => None,
        });
        let text: Vec<String> = wrong.iter().map(|sentence| format!("error: {sentence}")).collect();
        let source = match file {
            Some(file) => format!("\ncitytide config show tells what came from {file}"),
            None => String::new(),
        };
        Stop::Wrong(text.join("\n") + &source, Exit::Usage)
    }
}

impl Commands {
    /// Runs it; returns the exit code.
    pub fn run(&self, configuration: &Configuration) -> i32 {
        match self {
            Commands::Show(show) => show.run(configuration),
            Commands::Reference => {
                print!("{}", reference::table(&crate::cli::Typed::command()));
                Exit::Done.code()
            }
        }
    }

    /// The settings of a run, as far as they are complete.
    pub fn settings(&self) -> Option<&run::Args> {
        match self {
            Commands::Show(show) => show.settings.0.as_deref(),
            Commands::Reference => None,
        }
    }
}

#[cfg(test)]
mod tests;

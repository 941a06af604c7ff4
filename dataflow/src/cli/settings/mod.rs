//! The settings of a command: what was typed, what the environment and `citytide.toml` say, and what is used of it.
//!
//! ```text
//!  flags ───────┐
//!  environment ─┼─ resolve ─▶ Configuration (each value with its origin) ─▶ clap's own structs, as if all were typed
//!  file ────────┤                      │
//!  defaults ────┘                      └─▶ config show, and the environment of the supervisor's members
//! ```
//!
//! 1. A setting has one declaration: its clap argument. What it is called in the environment and in the file follows
//!    from that (see [`Setting`]); to add one, add the argument to the `Args` of its command, and nothing here.
//! 2. Flag before environment before file before default. A list is taken whole from the first that has it.
//! 3. Whatever it came from, a value goes through the argument's own value parser. All mistakes are reported at once.
//! 4. What settings have to do with each other is checked afterwards, on the finished structs ([`Relations`]): clap's
//!    `requires` and `conflicts_with` see flags only.
//! 5. Nothing secret is shown; this room is the only one that reads the environment. It knows no command.

mod file;
mod layers;
mod mask;
mod setting;

use std::ffi::OsString;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches};
use toml::Spanned;
use toml::de::DeValue;

use crate::runtime::exit::Exit;
pub use setting::{Setting, TEXT};

/// The file that is read when none is named.
const FILE: &str = "citytide.toml";
/// Ends a value in the environment of the supervisor's members, where it is one of a list, or empty.
const MEMBER_END: &str = "\u{1f}";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag,
    /// The variable's name.
    Environment(String),
    /// The configuration file, and a line counted from 1.
    File(PathBuf, usize),
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
    pub setting: Setting,
    /// At most one unless it is a list; none when it is not set.
    pub values: Vec<OsString>,
    pub origin: Origin,
}

/// A mistake in the file: its place, and what is wrong.
pub type Finding = (Range<usize>, String);

/// A section of the file that holds no settings: whoever uses it reads it from [`Configuration::file`].
pub struct OwnSection {
    pub name: &'static str,
    /// Everything that is wrong with it, by place; told whether the file is broken as TOML.
    pub check: fn(&Spanned<DeValue<'_>>, bool) -> Vec<Finding>,
}

/// Everything that the command that was typed uses.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The settings of the command, in the order of `--help`.
    pub used: Vec<Used>,
    /// What is right but unwise.
    pub warnings: Vec<String>,
    /// The configuration file and its text, if there is one.
    pub file: Option<(PathBuf, String)>,
}

/// What settings have to do with each other.
pub trait Relations {
    /// Adds a sentence for each pair of settings that does not fit together: what is wrong, and what would be right.
    fn check(&self, wrong: &mut Vec<String>);

    /// Sections of the file that hold no settings.
    fn own_sections() -> &'static [OwnSection] {
        &[]
    }
}

/// Why a command does not begin.
#[derive(Debug)]
pub enum Stop {
    /// clap has something to say: help, the version, or a usage that it does not know.
    Clap(clap::Error),
    /// The configuration is wrong: every mistake, and the exit code.
    Wrong(String, Exit),
}

impl From<clap::Error> for Stop {
    fn from(said: clap::Error) -> Stop {
        Stop::Clap(said)
    }
}

impl Stop {
    /// Says it and ends the process.
    pub fn exit(self) -> ! {
        match self {
            Stop::Clap(said) => said.exit(),
            Stop::Wrong(text, exit) => {
                // If standard error is closed, the exit code has to do.
                let _ = writeln!(std::io::stderr(), "{text}");
                std::process::exit(exit.code())
            }
        }
    }
}

/// Reads the command line `arguments` (the program's name first) for the command `T`, with what the environment and
/// the file, which `file` reads, add to it.
///
/// # Errors
///
/// Help or version were asked for, or the configuration has mistakes: all of them.
pub fn read<T: CommandFactory + FromArgMatches + Relations>(
    arguments: &[OsString],
    environment: &dyn Fn(&str) -> Option<OsString>,
    file: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<(T, Configuration), Stop> {
    let configuration = layers::resolve(&T::command(), arguments, environment, file, T::own_sections())?;
    let typed = T::from_arg_matches(&layers::parse(T::command(), arguments, &configuration)?)?;
    let mut wrong = Vec::new();
    typed.check(&mut wrong);
    if wrong.is_empty() {
        return Ok((typed, configuration));
    }
    let mut text: Vec<String> = wrong.iter().map(|sentence| format!("error: {sentence}")).collect();
    let mut files = configuration.used.iter().filter_map(|used| match &used.origin {
        Origin::File(path, _) => Some(path.display()),
        _ => None,
    });
    text.extend(files.next().map(|file| format!("citytide config show prints what comes from {file}")));
    Err(Stop::Wrong(text.join("\n"), Exit::Usage))
}

/// The environment of this process.
pub fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl Configuration {
    /// The environment that gives another process exactly these settings, whatever the file has become meanwhile.
    /// Switches that `but` names are off in it.
    pub fn member_environment(&self, but: &[&str]) -> Vec<(OsString, OsString)> {
        let variable = |used: &Used| {
            let value = match (used.setting.name.as_str(), used.values.as_slice()) {
                ("config", _) => "/dev/null".into(),
                (name, _) if but.contains(&name) => "false".into(),
                (_, []) => OsString::new(),
                (_, [one]) if !used.setting.is_list && !one.is_empty() => one.clone(),
                (_, values) => values.iter().flat_map(|one| [one.as_os_str(), MEMBER_END.as_ref()]).collect(),
            };
            (OsString::from(&used.setting.variables[0]), value)
        };
        self.used.iter().map(variable).collect()
    }
}

//! What was typed, before and after the rest is known: clap reads the same arguments twice.
//!
//! 1. First without types, defaults, environment and required settings: only the form counts, a word that clap does
//!    not know ends here.
//! 2. Then with everything: what was not typed has the value of the environment or the file for its default.
//!
//! A switch may be typed as `--show=false`, so that one that is on in the file can be turned off.

use std::collections::BTreeMap;
use std::ffi::OsString;

use citytide_domain::nearest;
use clap::builder::{BoolishValueParser, Resettable, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::setting::{is_setting, is_switch, name};
use super::{Configuration, Origin};

/// What was typed.
#[derive(Debug, Default)]
pub(super) struct Typed {
    /// The command's words, without the program's name.
    pub path: Vec<String>,
    /// The names of all settings that the command takes, in the order of their declaration.
    pub takes: Vec<String>,
    /// The values that were typed, by the setting's name.
    pub values: BTreeMap<String, Vec<OsString>>,
}

/// Reads what was typed.
///
/// # Errors
///
/// clap's own: help, version, or a word that it does not know.
pub(super) fn read(command: &Command, arguments: &[OsString]) -> Result<Typed, clap::Error> {
    let bare = each_argument(command.clone(), &|argument| match is_setting(&argument) {
        true => bare(argument),
        false => argument,
    });
    let matches = bare.clone().try_get_matches_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let shown = each_argument(command.clone(), &|argument| argument.hide_env_values(true));
            shown.try_get_matches_from(arguments).err().unwrap_or(error)
        }
        _ => suggest(error, command),
    })?;
    let mut typed = Typed::default();
    let (mut command, mut matches) = (&bare, &matches);
    loop {
        for argument in command.get_arguments().filter(|argument| is_setting(argument)) {
            let id = argument.get_id().as_str();
            typed.takes.push(name(argument));
            if matches.value_source(id) == Some(ValueSource::CommandLine) {
                let values = matches.get_raw(id).into_iter().flatten().map(ToOwned::to_owned).collect();
                typed.values.insert(name(argument), values);
            }
        }
        let Some((word, below)) = matches.subcommand() else { return Ok(typed) };
        typed.path.push(word.to_owned());
        command = command.find_subcommand(word).expect("clap has just found it");
        matches = below;
    }
}

/// Reads the same arguments once more, now with everything else that is known.
///
/// # Errors
///
/// None that is known of: all values have been parsed before.
pub(super) fn again(
    command: Command,
    arguments: &[OsString],
    configuration: &Configuration,
) -> Result<ArgMatches, clap::Error> {
    let whole = each_argument(command, &|argument| {
        if !is_setting(&argument) {
            return argument;
        }
        let name = name(&argument);
        let argument = switchable(argument.required(false).env(Resettable::Reset));
        match configuration.used.iter().find(|used| used.setting.name == name) {
            Some(used) if matches!(used.origin, Origin::Environment(_) | Origin::File(..)) => {
                argument.default_values(used.values.clone())
            }
            _ => argument,
        }
    });
    whole.try_get_matches_from(arguments)
}

/// clap finds the word that was meant only where words are long; `rnu` is near enough to `run` for us.
fn suggest(mut error: clap::Error, command: &Command) -> clap::Error {
    if error.kind() == ErrorKind::InvalidSubcommand
        && error.get(ContextKind::SuggestedSubcommand).is_none()
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(near) = nearest(word, command.get_subcommands().map(Command::get_name))
    {
        let near = ContextValue::Strings(vec![near.to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, near);
    }
    error
}

/// Changes each argument of a command and of those below it.
fn each_argument(command: Command, change: &dyn Fn(Arg) -> Arg) -> Command {
    command.mut_args(change).mut_subcommands(|below| each_argument(below, change))
}

/// Any text or none will do.
fn bare(argument: Arg) -> Arg {
    let argument = switchable(argument.required(false).env(Resettable::Reset));
    argument.default_values(Vec::<OsString>::new()).value_parser(ValueParser::os_string())
}

/// Lets a switch be turned off, too.
fn switchable(argument: Arg) -> Arg {
    if !is_switch(&argument) {
        return argument;
    }
    let argument = argument.action(ArgAction::Set).num_args(0..=1).require_equals(true);
    argument.default_value("false").default_missing_value("true").value_parser(BoolishValueParser::new())
}

//! Which value of a setting counts, and everything that is wrong with the values.
//!
//! clap reads the same arguments twice:
//! 1. first without types, defaults and required settings: only the form counts, and a word that clap does not know
//!    ends here ([`resolve`]);
//! 2. then with everything: what was not typed has the value of the environment or the file for its default
//!    ([`parse`]).
//!
//! A switch may be typed as `--show=false`, so that one that is on in the file can be turned off.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use citytide_domain::nearest;
use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::file::{self, Contents};
use super::setting::Setting;
use super::{Configuration, FILE, MEMBER_END, Origin, OwnSection, Stop, Used};
use crate::runtime::exit::Exit;

/// Separates the values of a list in the environment.
const LIST_SEPARATOR: char = ';';

/// Finds what is used of every setting that the command which was typed takes.
///
/// # Errors
///
/// clap's own (help, version, a word that it does not know), or every mistake in the values.
pub(super) fn resolve(
    command: &Command,
    arguments: &[OsString],
    environment: &dyn Fn(&str) -> Option<OsString>,
    file: &dyn Fn(&Path) -> std::io::Result<String>,
    sections: &[OwnSection],
) -> Result<Configuration, Stop> {
    let mut used = Vec::new();
    collect(command, &parse_form(command, arguments)?, environment, &mut used);
    let named = used.iter().find(|used| used.setting.name == "config").and_then(|used| used.values.first());
    let (mut usage, mut elsewhere, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    let path = PathBuf::from(named.map_or(FILE.as_ref(), OsString::as_os_str));
    let mut read = None;
    let contents = match file(&path) {
        Ok(text) => {
            let contents = file::parse(&path, &text, &Setting::all(command), sections);
            read = Some((path.clone(), text));
            contents.map_err(|mistakes| mistakes.to_string())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(Contents::new()),
        Err(error) => Err(format!("error: cannot read the configuration file {}: {error}", path.display())),
    };
    let contents = contents.map_err(|mistakes| elsewhere.push(mistakes)).ok();
    for used in &mut used {
        if used.origin == Origin::Default
            && let Some((values, line)) = contents.as_ref().and_then(|all| all.get(&used.setting.name))
        {
            (used.values, used.origin) = (values.clone(), Origin::File(path.clone(), *line));
        }
        let Used { setting, values, origin } = used;
        let refused = values.iter().filter_map(|value| Some((setting.shown(value), setting.refuses(value)?)));
        match origin {
            Origin::Flag => {
                let (flag, is_masked) =
                    (setting.flag(), |value: &OsString| setting.shown(value) != value.to_string_lossy());
                let flag = flag.rsplit(", ").next().unwrap_or_default();
                usage.extend(refused.map(|(value, why)| format!("error: {flag} {value}: {why}")));
                warnings.extend(values.iter().any(is_masked).then(|| {
                    let ways = setting.ways();
                    format!(
                        "{flag} holds a secret that everybody on this machine can read in the process list; \
                         instead, {ways}"
                    )
                }));
            }
            Origin::Environment(name) => {
                elsewhere.extend(refused.map(|(value, why)| format!("error: {name}={value}: {why}")));
            }
            // What a broken file would have said is not missing.
            Origin::Default
                if values.is_empty() && setting.argument.is_required_set() && contents.is_some() =>
            {
                usage.push(format!("error: {}", setting.missing()));
            }
            // The file's values have been refused with their places.
            Origin::File(..) | Origin::Default => {}
        }
    }
    let exit = if usage.is_empty() { Exit::Config } else { Exit::Usage };
    usage.append(&mut elsewhere);
    if usage.is_empty() {
        Ok(Configuration { used, warnings, file: read })
    } else {
        Err(Stop::Wrong(usage.join("\n"), exit))
    }
}

/// Reads the same arguments once more, now with everything else that is known.
///
/// # Errors
///
/// None that is known of: all values have been parsed before.
pub(super) fn parse(
    command: Command,
    arguments: &[OsString],
    configuration: &Configuration,
) -> Result<ArgMatches, clap::Error> {
    let whole = with_settings(command, &|setting| {
        let used = configuration.used.iter().find(|used| used.setting.name == setting.name);
        match used.filter(|used| matches!(used.origin, Origin::Environment(_) | Origin::File(..))) {
            Some(used) => setting.argument.default_values(used.values.clone()),
            None => setting.argument,
        }
    });
    whole.try_get_matches_from(arguments)
}

/// Reads the form of what was typed: any text or none will do for a value.
fn parse_form(command: &Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let bare = with_settings(command.clone(), &|setting| {
        setting.argument.default_values(Vec::<OsString>::new()).value_parser(ValueParser::os_string())
    });
    bare.try_get_matches_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let shown = each_argument(command.clone(), &|argument| argument.hide_env_values(true));
            shown.try_get_matches_from(arguments).err().unwrap_or(error)
        }
        _ => suggest(error, command),
    })
}

/// The settings of the command that was typed: what was typed, or else what the environment holds, or the default.
fn collect(
    command: &Command,
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<OsString>,
    used: &mut Vec<Used>,
) {
    for setting in command.get_arguments().filter_map(Setting::of) {
        let id = setting.argument.get_id().as_str();
        let is_typed = matches.value_source(id) == Some(ValueSource::CommandLine);
        let variable = |name: &String| {
            let value = environment(name).filter(|value| !value.is_empty())?;
            Some((listed(&setting, value), Origin::Environment(name.clone())))
        };
        let (values, origin) = match matches.get_raw(id).filter(|_| is_typed) {
            Some(values) => (values.map(ToOwned::to_owned).collect(), Origin::Flag),
            None => {
                setting.variables.iter().find_map(variable).unwrap_or((setting.default(), Origin::Default))
            }
        };
        used.push(Used { setting, values, origin });
    }
    if let Some((word, matches)) = matches.subcommand() {
        let below = command.find_subcommand(word).expect("clap has just found it");
        collect(below, matches, environment, used);
    }
}

/// The values that an environment variable holds.
fn listed(setting: &Setting, value: OsString) -> Vec<OsString> {
    match value.to_str() {
        Some(text) if text.ends_with(MEMBER_END) => {
            text.split_terminator(MEMBER_END).map(OsString::from).collect()
        }
        Some(text) if setting.is_list => {
            text.split(LIST_SEPARATOR).filter(|one| !one.is_empty()).map(OsString::from).collect()
        }
        _ => vec![value],
    }
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

/// Changes each setting of a command and of those below it; none of them is required any more.
fn with_settings(command: Command, change: &dyn Fn(Setting) -> Arg) -> Command {
    each_argument(command, &|argument| match Setting::of(&argument) {
        Some(setting) => change(setting).required(false),
        None => argument,
    })
}

fn each_argument(command: Command, change: &dyn Fn(Arg) -> Arg) -> Command {
    command.mut_args(change).mut_subcommands(|below| each_argument(below, change))
}

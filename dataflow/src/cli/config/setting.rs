//! A setting is a flag: its one declaration is a clap argument, and what else is known of it follows from that.
//!
//! | of the argument | follows |
//! |---|---|
//! | `--kafka-property` | the variable `CITYTIDE_KAFKA_PROPERTY`; what `env` names (`KAFKA_BROKERS`) counts after it |
//! | `help_heading = "Kafka"` | the section `[kafka]` of the file; without a heading it does not stand in the file |
//! | the long name | the key: without the section's name in front, `-` as `_`, a list in the plural: `properties` |
//! | `--listen <ADDRESS>` under `Listen` | where nothing is left of the name, the value's: `[listen] address` |
//! | `hide_env_values` | it may hold a password: that is shown as `***` wherever values are |
//! | its type | numbers, switches and paths are such in the file too; a path there is relative to the file |
//!
//! A positional argument is a setting when it has a heading; its name is its id. What is hidden does not stand in
//! the file.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

/// What the values of a setting are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Switch,
    /// A whole number.
    Whole,
    /// Any number.
    Decimal,
    /// A path.
    Path,
    /// Anything else.
    Text,
}

/// A setting, as its argument declares it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The long name of its flag, or the id of a positional argument.
    pub name: String,
    /// How it is typed: `-w, --workers`.
    pub flag: String,
    /// Section and key in the file, if it may stand there.
    pub key: Option<(String, String)>,
    /// The environment variables that set it, the first before the others.
    pub environment: Vec<String>,
    /// What its values are.
    pub kind: Kind,
    /// Whether it has any number of values.
    pub is_list: bool,
    /// Whether it may hold a password.
    pub is_secret: bool,
    /// Whether there must be a value.
    pub is_required: bool,
    /// Whether `--help` leaves it out.
    pub is_hidden: bool,
    /// The name of its value.
    pub value_name: String,
    /// What `--help` says.
    pub help: String,
    /// Its values when nobody says anything.
    pub default: Vec<OsString>,
    parser: ValueParser,
}

/// Whether an argument is a setting.
pub(super) fn is_setting(argument: &Arg) -> bool {
    let is_set_by_value = !matches!(
        argument.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    is_set_by_value && (argument.get_long().is_some() || argument.get_help_heading().is_some())
}

/// Whether an argument is on or off.
pub(super) fn is_switch(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::SetTrue)
}

/// The setting's name.
pub(super) fn name(argument: &Arg) -> String {
    argument.get_long().unwrap_or(argument.get_id().as_str()).to_owned()
}

/// Every setting of a command and of those below it, each once.
pub fn all(command: &Command) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    let mut commands = vec![command];
    while let Some(command) = commands.pop() {
        for argument in command.get_arguments().filter(|argument| is_setting(argument)) {
            let setting = Setting::of(argument);
            match settings.iter_mut().find(|known| known.name == setting.name) {
                // clap cannot require what is global: one command that requires it suffices.
                Some(known) => known.is_required |= setting.is_required,
                None => settings.push(setting),
            }
        }
        let mut below: Vec<&Command> = command.get_subcommands().collect();
        below.reverse();
        commands.extend(below);
    }
    settings
}

impl Setting {
    /// The setting that an argument declares.
    pub(super) fn of(argument: &Arg) -> Setting {
        let name = name(argument);
        let list_of = argument.get_num_args().is_some_and(|values| values.max_values() > 1);
        let is_list = list_of || matches!(argument.get_action(), ArgAction::Append);
        let value_name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let value_name = value_name.unwrap_or_else(|| name.to_uppercase().replace('-', "_"));
        let heading = argument.get_help_heading().filter(|_| !argument.is_hide_set());
        let mut environment = vec![format!("CITYTIDE_{}", name.to_uppercase().replace('-', "_"))];
        environment.extend(argument.get_env().map(|other| other.to_string_lossy().into_owned()));
        let flag = match (argument.get_short(), argument.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (None, Some(long)) => format!("--{long}"),
            _ => value_name.clone(),
        };
        Setting {
            key: heading.map(|heading| key(heading, &name, &value_name, is_list)),
            flag,
            environment,
            kind: kind(argument),
            is_list,
            is_secret: argument.is_hide_env_values_set(),
            is_required: argument.is_required_set(),
            is_hidden: argument.is_hide_set(),
            help: argument.get_help().map(ToString::to_string).unwrap_or_default(),
            default: match is_switch(argument) {
                true => vec!["false".into()],
                false => argument.get_default_values().iter().map(|value| value.to_os_string()).collect(),
            },
            parser: match is_switch(argument) {
                true => clap::builder::BoolishValueParser::new().into(),
                false => argument.get_value_parser().clone(),
            },
            name,
            value_name,
        }
    }

    /// Why the argument's own parser refuses a value, if it does.
    pub fn refuses(&self, value: &OsStr) -> Option<String> {
        let mut typed = OsString::from("--value=");
        typed.push(value);
        let alone = Arg::new("value").long("value").value_parser(self.parser.clone());
        let alone = Command::new("value").no_binary_name(true).arg(alone);
        let error = alone.try_get_matches_from([typed]).err()?;
        if let Some(reason) = std::error::Error::source(&error) {
            return Some(reason.to_string());
        }
        let known = match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) if !values.is_empty() => values.join(", "),
            _ => return Some("it is not understood".to_owned()),
        };
        Some(match error.get(ContextKind::SuggestedValue) {
            Some(ContextValue::String(near)) => format!("did you mean {near}? It is one of {known}"),
            _ => format!("it is one of {known}"),
        })
    }

    /// How to give it, for somebody who has not.
    pub fn ways(&self) -> String {
        let variable = self.environment.last().map(String::as_str).unwrap_or_default();
        let file = self
            .key
            .as_ref()
            .map(|(section, key)| format!(", or write {key} under [{section}] in {}", super::FILE));
        format!("type it, set {variable}{}", file.unwrap_or_default())
    }
}

/// Section and key of a flag under a heading.
fn key(heading: &str, name: &str, value_name: &str, is_list: bool) -> (String, String) {
    let section = heading.to_lowercase().replace([' ', '-'], "_");
    let name = name.replace('-', "_");
    let rest = match name.strip_prefix(&section) {
        Some("") => value_name.to_lowercase().replace('-', "_"),
        Some(rest) if rest.starts_with('_') => rest[1..].to_owned(),
        _ => name,
    };
    let key = match rest.strip_suffix('y') {
        _ if !is_list || rest.ends_with('s') => rest,
        Some(stem) => format!("{stem}ies"),
        None => rest + "s",
    };
    (section, key)
}

fn kind(argument: &Arg) -> Kind {
    let is = argument.get_value_parser().type_id();
    let whole = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
    ];
    if is_switch(argument) || is == TypeId::of::<bool>() {
        Kind::Switch
    } else if whole.iter().any(|whole| is == *whole) {
        Kind::Whole
    } else if is == TypeId::of::<f64>() {
        Kind::Decimal
    } else if is == TypeId::of::<PathBuf>() {
        Kind::Path
    } else {
        Kind::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_and_key_follow_from_heading_and_name() {
        let key = |heading, name, value, is_list| {
            let (section, key) = key(heading, name, value, is_list);
            format!("{section}.{key}")
        };
        assert_eq!(key("Kafka", "brokers", "HOST:PORT", false), "kafka.brokers");
        assert_eq!(key("Kafka", "kafka-password-file", "FILE", false), "kafka.password_file");
        assert_eq!(key("Kafka", "kafka-property", "K=V", true), "kafka.properties");
        assert_eq!(key("Listen", "listen", "ADDRESS", false), "listen.address");
        assert_eq!(key("Listen", "listening", "ADDRESS", false), "listen.listening");
        assert_eq!(key("Source", "path", "PATH", true), "source.paths");
    }

    #[test]
    fn a_value_is_refused_by_the_arguments_own_parser_in_its_own_words() {
        let workers =
            Arg::new("workers").long("workers").value_parser(clap::value_parser!(u16).range(1..=64));
        let setting = Setting::of(&workers);
        assert_eq!(setting.refuses(OsStr::new("4")), None);
        assert_eq!(setting.refuses(OsStr::new("0")).as_deref(), Some("0 is not in 1..=64"));
        assert!(setting.refuses(OsStr::new("four")).is_some());
        let format = Arg::new("format").long("format").value_parser(["text", "json"]);
        let said = Setting::of(&format).refuses(OsStr::new("jsno")).expect("a slip");
        assert_eq!(said, "did you mean json? It is one of text, json");
    }
}

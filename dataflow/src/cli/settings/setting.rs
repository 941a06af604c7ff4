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
//! A positional argument is a setting when it has a heading; its name is its id. A flag whose id begins with [`ASKED`] is
//! none. What is hidden does not stand in the file.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

use super::mask::masked;

// What the values of a setting are, in the words of messages.
pub const TEXT: &str = "text";
pub const SWITCH: &str = "true or false";
pub const WHOLE: &str = "a whole number";
pub const NUMBER: &str = "a number";

/// What the id of a flag begins with that is no setting: it says what one command is asked for, is typed each time, and may
/// have a name that is a setting of another command.
pub const ASKED: &str = "asked.";

/// A setting, as its argument declares it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The long name of its flag, or the id of a positional argument.
    pub name: String,
    /// Section and key in the file, if it may stand there.
    pub key: Option<(String, String)>,
    /// The environment variables that set it, the first before the others.
    pub variables: Vec<String>,
    /// What its values are: [`TEXT`], [`SWITCH`], [`WHOLE`] or [`NUMBER`].
    pub kind: &'static str,
    pub is_path: bool,
    pub is_list: bool,
    /// Whether it may hold a password.
    pub is_secret: bool,
    /// Its declaration, changed so that a switch takes `=false` and nothing but the flag counts.
    pub argument: Arg,
}

impl Setting {
    /// The setting that an argument declares, if it declares one.
    pub fn of(argument: &Arg) -> Option<Setting> {
        argument.get_long().or(argument.get_help_heading())?;
        if argument.get_id().as_str().starts_with(ASKED) {
            return None;
        }
        let name = argument.get_long().unwrap_or(argument.get_id().as_str()).to_owned();
        let is_list = matches!(argument.get_action(), ArgAction::Append);
        let heading = argument.get_help_heading().filter(|_| !argument.is_hide_set());
        let mut variables = vec![format!("CITYTIDE_{}", name.to_uppercase().replace('-', "_"))];
        variables.extend(argument.get_env().map(|other| other.to_string_lossy().into_owned()));
        Some(Setting {
            key: heading.map(|heading| key(heading, &name, value_name(argument), is_list)),
            variables,
            kind: kind(argument),
            is_path: argument.get_value_parser().type_id() == TypeId::of::<PathBuf>(),
            is_list,
            is_secret: argument.is_hide_env_values_set(),
            argument: without_environment(argument.clone()),
            name,
        })
    }

    /// Every setting of a command and of those below it, each once.
    pub fn all(command: &Command) -> Vec<Setting> {
        let mut settings: Vec<Setting> = command.get_arguments().filter_map(Setting::of).collect();
        for setting in command.get_subcommands().flat_map(Setting::all) {
            if settings.iter().all(|known| known.name != setting.name) {
                settings.push(setting);
            }
        }
        settings
    }

    /// Section and key in the file, if it may stand there.
    pub fn in_file(&self) -> Option<(&str, &str)> {
        self.key.as_ref().map(|(section, key)| (section.as_str(), key.as_str()))
    }

    /// How it is typed: `-w, --workers`, or the name of its value.
    pub fn flag(&self) -> String {
        match (self.argument.get_short(), self.argument.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (None, Some(long)) => format!("--{long}"),
            _ => value_name(&self.argument).to_owned(),
        }
    }

    pub fn help(&self) -> String {
        self.argument.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// Its default values.
    pub fn default(&self) -> Vec<OsString> {
        self.argument.get_default_values().iter().map(|value| value.to_os_string()).collect()
    }

    /// A value without what is secret in it.
    pub fn shown(&self, value: &OsStr) -> String {
        let value = value.to_string_lossy();
        if self.is_secret { masked(&value) } else { value.into_owned() }
    }

    /// Why the argument's own parser refuses a value, if it does.
    pub fn refuses(&self, value: &OsStr) -> Option<String> {
        let mut typed = OsString::from("--value=");
        typed.push(value);
        let alone = Arg::new("value").long("value").value_parser(self.argument.get_value_parser().clone());
        let alone = Command::new("value").no_binary_name(true).arg(alone);
        let error = alone.try_get_matches_from([typed]).err()?;
        if let Some(reason) = std::error::Error::source(&error) {
            return Some(reason.to_string());
        }
        let known = match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(values)) if !values.is_empty() => values.join(", "),
            _ => return Some("it cannot be understood".to_owned()),
        };
        Some(match error.get(ContextKind::SuggestedValue) {
            Some(ContextValue::String(near)) => format!("did you mean {near}? It is one of {known}"),
            _ => format!("it is one of {known}"),
        })
    }

    /// That it is missing, and every way to give it.
    pub fn missing(&self) -> String {
        let value = value_name(&self.argument);
        format!("--{} <{value}> is missing ({}); give the flag, {}", self.name, self.help(), self.ways())
    }

    /// The ways to give it that no process list shows.
    pub fn ways(&self) -> String {
        let variable = self.variables.last().map_or("", String::as_str);
        match &self.key {
            Some((section, key)) => {
                format!("set {variable}, or write {key} under [{section}] in {}", super::FILE)
            }
            None => format!("set {variable}"),
        }
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

fn value_name(argument: &Arg) -> &str {
    argument.get_value_names().and_then(|names| names.first()).map_or("", |name| name)
}

fn kind(argument: &Arg) -> &'static str {
    let parsed = argument.get_value_parser().type_id();
    let whole = [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<i32>()];
    match argument.get_action() {
        ArgAction::SetTrue => SWITCH,
        _ if whole.iter().any(|one| parsed == *one) => WHOLE,
        _ if parsed == TypeId::of::<f64>() => NUMBER,
        // Also what only becomes a number: the time that --start names.
        _ => TEXT,
    }
}

/// No environment variable counts for clap; a switch takes a value too, so that it can be turned off.
fn without_environment(argument: Arg) -> Arg {
    let argument = argument.env(Resettable::Reset);
    if !matches!(argument.get_action(), ArgAction::SetTrue) {
        return argument;
    }
    let argument = argument.action(ArgAction::Set).num_args(0..=1).require_equals(true);
    argument.default_value("false").default_missing_value("true").value_parser(BoolishValueParser::new())
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
        let setting = Setting::of(&workers).expect("it has a name");
        assert_eq!(setting.refuses(OsStr::new("4")), None);
        assert_eq!(setting.refuses(OsStr::new("0")).as_deref(), Some("0 is not in 1..=64"));
        assert!(setting.refuses(OsStr::new("four")).is_some());
        let format = Arg::new("format").long("format").value_parser(["text", "json"]);
        let said =
            Setting::of(&format).and_then(|format| format.refuses(OsStr::new("jsno"))).expect("a slip");
        assert_eq!(said, "did you mean json? It is one of text, json");
    }
}

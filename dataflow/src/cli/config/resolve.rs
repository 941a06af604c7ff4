//! Which value of a setting counts, and everything that is wrong with the values.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::file::{self, Contents};
use super::mask::masked;
use super::setting::{Kind, Setting};
use super::typed::Typed;
use super::{Configuration, FILE, LIST_OF_MEMBER, Origin, Stop, Used};
use crate::launch::exit::Exit;

/// Separates the values of a list in the environment.
const LIST: char = ';';

/// Every mistake.
#[derive(Debug, Default)]
pub(super) struct Mistaken {
    /// What was typed, or was not although it must be.
    usage: Vec<String>,
    /// What stands in the environment or in the file.
    elsewhere: Vec<String>,
}

impl Mistaken {
    pub(super) fn into_stop(self) -> Stop {
        let exit = if self.usage.is_empty() { Exit::Config } else { Exit::Usage };
        let said = self.usage.into_iter().map(|sentence| format!("error: {sentence}")).chain(self.elsewhere);
        Stop::Wrong(said.collect::<Vec<String>>().join("\n"), exit)
    }
}

/// Finds what is used.
///
/// # Errors
///
/// Every mistake, wherever it is.
pub(super) fn resolve(
    settings: &[Setting],
    typed: &Typed,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Configuration, Mistaken> {
    let mut mistaken = Mistaken::default();
    let (path, contents) = read_file(settings, typed, environment).unwrap_or_else(|mistakes| {
        mistaken.elsewhere.push(mistakes);
        (PathBuf::new(), Contents::new())
    });
    // What a broken file would have said is not missing.
    let file_is_read = mistaken.elsewhere.is_empty();
    let is_shown_only = typed.path.first().is_some_and(|word| word == "config");
    let mut configuration = Configuration { used: Vec::new(), warnings: Vec::new() };
    for setting in settings.iter().filter(|setting| typed.takes.contains(&setting.name)) {
        let said = || {
            let variable = setting.environment.iter().find_map(|name| Some((name, environment(name)?)));
            if let Some(values) = typed.values.get(&setting.name) {
                return Some((values.clone(), Origin::Flag));
            }
            if let Some((name, value)) = variable {
                return Some((listed(setting, value), Origin::Environment(name.clone())));
            }
            let written = contents.get(&setting.name)?;
            Some((written.values.clone(), Origin::File(path.clone(), written.line)))
        };
        let (values, origin) = said().unwrap_or_else(|| (setting.default.clone(), Origin::Default));
        // The file's values have been refused with their places.
        let refused = |value: &OsString| setting.refuses(value).map(|why| (value.clone(), why));
        match &origin {
            Origin::Flag => {
                let typed_as = if setting.flag.contains("--") {
                    format!("--{}", setting.name)
                } else {
                    setting.flag.clone()
                };
                for (value, why) in values.iter().filter_map(refused) {
                    mistaken.usage.push(format!("{typed_as} {}: {why}", shown(setting, &value)));
                }
                warn_of_secrets(setting, &values, &mut configuration.warnings);
            }
            Origin::Environment(name) => {
                for (value, why) in values.iter().filter_map(refused) {
                    mistaken.elsewhere.push(format!("error: {name}={}: {why}", shown(setting, &value)));
                }
            }
            Origin::File(..) => {}
            Origin::Default if values.is_empty() && setting.is_required && !is_shown_only && file_is_read => {
                let what =
                    format!("--{} <{}> is missing: {}", setting.name, setting.value_name, setting.help);
                mistaken.usage.push(format!("{what}; {}", setting.ways()));
            }
            Origin::Default => {}
        }
        configuration.used.push(Used { setting: setting.clone(), values, origin });
    }
    let is_right = mistaken.usage.is_empty() && mistaken.elsewhere.is_empty();
    if is_right { Ok(configuration) } else { Err(mistaken) }
}

/// The values that an environment variable holds.
fn listed(setting: &Setting, value: OsString) -> Vec<OsString> {
    let Some(text) = value.to_str().filter(|_| setting.is_list) else { return vec![value] };
    let separator = if text.contains(LIST_OF_MEMBER) { LIST_OF_MEMBER } else { LIST };
    text.split(separator).filter(|one| !one.is_empty()).map(OsString::from).collect()
}

/// A value, for people.
pub(super) fn shown(setting: &Setting, value: &OsStr) -> String {
    let value = value.to_string_lossy();
    if setting.is_secret { masked(&value) } else { value.into_owned() }
}

/// Everybody on the machine can read what was typed.
fn warn_of_secrets(setting: &Setting, values: &[OsString], warnings: &mut Vec<String>) {
    if values.iter().any(|value| shown(setting, value) != value.to_string_lossy()) {
        warnings.push(format!(
            "--{} holds a secret that everybody on this machine can read in the process list; {} instead",
            setting.name,
            setting.ways().replace("type it, ", "")
        ));
    }
}

/// The configuration file's name and contents, if there is one.
fn read_file(
    settings: &[Setting],
    typed: &Typed,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(PathBuf, Contents), String> {
    let config = settings.iter().find(|setting| setting.name == "config" && setting.kind == Kind::Path);
    let Some(config) = config else { return Ok((PathBuf::new(), Contents::new())) };
    let named = typed.values.get("config").and_then(|values| values.first().cloned());
    let named = named.or_else(|| environment(&config.environment[0]));
    let is_named = named.is_some();
    let path = named.map_or_else(|| PathBuf::from(FILE), PathBuf::from);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let contents = file::parse(&path, &text, settings).map_err(|mistakes| mistakes.to_string())?;
            Ok((path, contents))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => {
            Ok((path, Contents::new()))
        }
        Err(error) => Err(format!("error: cannot read the configuration file {}: {error}", path.display())),
    }
}

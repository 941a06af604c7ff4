//! `citytide config show`: every setting of a run, what is used, and where it came from.
//!
//! What is printed for people is a configuration file itself; a setting that is not set stands in it as a comment.

use serde_json::json;

use super::resolve::shown;
use super::setting::Kind;
use super::{Configuration, Declared, Used};
use crate::cli::run;
use crate::launch::exit::Exit;

/// The column at which the origin begins, where the line is short enough.
const ORIGIN_COLUMN: usize = 48;

/// What `citytide config show` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  citytide config show\n  citytide config show -w 4 >citytide.toml\n  \
    citytide config show --json | jq '.[] | select(.origin != \"default\")'")]
pub struct Show {
    /// Print JSON: an object per setting with section, key, values, origin
    #[arg(long)]
    pub json: bool,
    /// The flags of `run`: what would a run with them use?
    #[command(flatten)]
    pub settings: Declared<run::Args>,
}

impl Show {
    /// Prints; returns the exit code.
    pub fn run(&self, configuration: &Configuration) -> i32 {
        print!("{}", if self.json { as_json(configuration) } else { as_file(configuration) });
        Exit::Done.code()
    }
}

/// The settings that stand in the file, by section, in the order of the sections' first appearance.
fn sections(configuration: &Configuration) -> Vec<(&str, Vec<(&str, &Used)>)> {
    let mut sections: Vec<(&str, Vec<(&str, &Used)>)> = Vec::new();
    for used in &configuration.used {
        let Some((section, key)) = &used.setting.key else { continue };
        match sections.iter_mut().find(|(known, _)| known == section) {
            Some((_, settings)) => settings.push((key, used)),
            None => sections.push((section, vec![(key, used)])),
        }
    }
    sections
}

pub(super) fn as_file(configuration: &Configuration) -> String {
    let mut text = String::new();
    for (section, settings) in sections(configuration) {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("[{section}]\n");
        for (key, used) in settings {
            let line = match used.values.as_slice() {
                [] => format!("# {key} is not set"),
                _ => format!("{key} = {}", written(used)),
            };
            text += &format!("{line:ORIGIN_COLUMN$}  # {}\n", used.origin);
        }
    }
    text
}

/// The value as the file would have it.
fn written(used: &Used) -> String {
    let one = |value: &std::ffi::OsString| {
        let value = shown(&used.setting, value);
        match used.setting.kind {
            Kind::Text | Kind::Path => json!(value).to_string(),
            Kind::Switch | Kind::Whole | Kind::Decimal => value,
        }
    };
    let values: Vec<String> = used.values.iter().map(one).collect();
    if used.setting.is_list { format!("[{}]", values.join(", ")) } else { values.concat() }
}

fn as_json(configuration: &Configuration) -> String {
    let mut settings = Vec::new();
    for (section, of_section) in sections(configuration) {
        for (key, used) in of_section {
            let values: Vec<String> = used.values.iter().map(|value| shown(&used.setting, value)).collect();
            settings.push(json!({
                "section": section,
                "key": key,
                "flag": used.setting.flag,
                "values": values,
                "origin": used.origin.to_string(),
            }));
        }
    }
    format!("{:#}\n", serde_json::Value::Array(settings))
}

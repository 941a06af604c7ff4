//! `citytide config`: every setting of a run, its value, and where the value comes from.
//!
//! The output is itself a configuration file; a setting without a value is a comment in it.

mod reference;

use clap::Command;
use serde_json::json;

use super::settings::{Configuration, Relations, Setting, TEXT, Used};
use crate::runtime::exit::Exit;
use crate::runtime::output;

/// The column at which the origin begins, where the line is short enough.
const ORIGIN_COLUMN: usize = 48;

#[derive(Debug, clap::Subcommand)]
pub enum Commands {
    /// Print every setting that a run would use, and where it comes from
    Show(Box<Show>),
    /// Print the table of flags of docs/configuration.md
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  citytide config show\n  citytide config show -w 4 >citytide.toml\n  \
    citytide config show --json | jq '.[] | select(.origin != \"default\")'")]
// What is missing can be shown too.
#[command(mut_args(|argument| argument.required(false)))]
pub struct Show {
    /// Print JSON: an object per setting with section, key, values, origin
    #[arg(long)]
    json: bool,
    /// The flags of `run` whose settings to print
    #[command(flatten)]
    settings: super::run::Args,
}

impl Relations for Commands {
    fn check(&self, wrong: &mut Vec<String>) {
        if let Commands::Show(show) = self {
            show.settings.check(wrong);
        }
    }
}

/// Prints what was asked for; `citytide` is the command line as a whole. Returns the exit code.
pub fn run(asked: &Commands, configuration: &Configuration, citytide: &Command) -> i32 {
    let text = match asked {
        Commands::Show(show) if show.json => as_json(configuration),
        Commands::Show(_) => as_file(configuration),
        Commands::Reference => reference::table(citytide),
    };
    output::print(&text);
    Exit::Done.code()
}

/// Brings the settings of one section together; the order is that of their first appearance.
fn by_section<T>(list: &mut [T], setting: impl Fn(&T) -> &Setting) {
    let section = |one: &T| setting(one).key.as_ref().map(|(section, _)| section.clone());
    let sections: Vec<Option<String>> = list.iter().map(section).collect();
    list.sort_by_key(|one| sections.iter().position(|known| *known == section(one)));
}

/// The settings that stand in the file, with section and key.
fn in_file(configuration: &Configuration) -> Vec<(&str, &str, &Used)> {
    let mut used: Vec<&Used> = configuration.used.iter().collect();
    by_section(&mut used, |used| &used.setting);
    used.into_iter()
        .filter_map(|used| used.setting.in_file().map(|(section, key)| (section, key, used)))
        .collect()
}

fn as_file(configuration: &Configuration) -> String {
    let mut text = String::new();
    let mut before = "";
    for (section, key, used) in in_file(configuration) {
        if section != before {
            text += &format!("{}[{section}]\n", if before.is_empty() { "" } else { "\n" });
            before = section;
        }
        let line = match used.values.as_slice() {
            [] => format!("# {key} is not set"),
            _ => format!("{key} = {}", written(used)),
        };
        text += &format!("{line:ORIGIN_COLUMN$}  # {}\n", used.origin);
    }
    text
}

/// The value as the file would have it.
fn written(used: &Used) -> String {
    let one = |value: String| if used.setting.kind == TEXT { json!(value).to_string() } else { value };
    let values: Vec<String> = shown(used).into_iter().map(one).collect();
    if used.setting.is_list { format!("[{}]", values.join(", ")) } else { values.concat() }
}

fn shown(used: &Used) -> Vec<String> {
    used.values.iter().map(|value| used.setting.shown(value)).collect()
}

fn as_json(configuration: &Configuration) -> String {
    let settings = in_file(configuration).into_iter().map(|(section, key, used)| {
        json!({
            "section": section,
            "key": key,
            "flag": used.setting.flag(),
            "values": shown(used),
            "origin": used.origin.to_string(),
        })
    });
    format!("{:#}\n", serde_json::Value::Array(settings.collect()))
}

#[cfg(test)]
mod tests;

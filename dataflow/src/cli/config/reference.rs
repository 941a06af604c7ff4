//! The table of a run's flags in `docs/configuration.md`, made from their declaration; a test holds it equal.

use clap::Command;

use super::setting::{Setting, is_setting};

/// The command whose flags are listed.
const RUN: &str = "run";

/// The table, in Markdown: the flags of `run` in the order of `--help`, then those of every command.
pub(super) fn table(command: &Command) -> String {
    let run = command.find_subcommand(RUN).expect("there is such a command");
    let settings = run.get_arguments().chain(command.get_arguments()).filter(|argument| is_setting(argument));
    let mut settings: Vec<Setting> = settings.map(Setting::of).filter(|setting| !setting.is_hidden).collect();
    let mut sections: Vec<Option<String>> = Vec::new();
    let section = |setting: &Setting| setting.key.as_ref().map(|(section, _)| section.clone());
    for setting in &settings {
        if !sections.contains(&section(setting)) {
            sections.push(section(setting));
        }
    }
    settings.sort_by_key(|setting| sections.iter().position(|known| *known == section(setting)));
    let mut table = "| flag of `run` | in `citytide.toml` | default | |\n|---|---|---|---|\n".to_owned();
    settings.iter().for_each(|setting| table += &row(setting));
    table
}

fn row(setting: &Setting) -> String {
    let flag = setting.flag.replace(", ", "`, `");
    let others = setting.environment[1..].iter().map(|name| format!(", `{name}`")).collect::<String>();
    let key = setting.key.as_ref().map(|(section, key)| format!("`[{section}] {key}`")).unwrap_or_default();
    let default = match setting.default.as_slice() {
        _ if setting.is_required => "required".to_owned(),
        [one] if one != "false" => format!("`{}`", one.to_string_lossy()),
        _ => String::new(),
    };
    format!("| `{flag}`{others} | {key} | {default} | {} |\n", setting.help.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Typed;

    #[test]
    fn the_page_lists_what_clap_knows() {
        let page = include_str!("../../../../docs/configuration.md");
        let (_, written) = page.split_once("<!-- reference: begin -->\n\n").expect("the table's begin");
        let (written, _) = written.split_once("\n<!-- reference: end -->").expect("the table's end");
        let known = table(&Typed::command());
        for (written, known) in written.lines().zip(known.lines()) {
            assert_eq!(
                written, known,
                "put the output of `citytide config reference` into docs/configuration.md"
            );
        }
        assert_eq!(written, known);
    }
}

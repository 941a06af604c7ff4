//! The table of a run's flags in `docs/configuration.md`, made from their declaration; a test holds it equal.

use clap::Command;

use super::{Setting, by_section};

/// The table, in Markdown: the flags of `run` in the order of `--help`, then those of every command.
pub(super) fn table(command: &Command) -> String {
    let run = command.find_subcommand("run").expect("there is such a command");
    let mut settings: Vec<Setting> =
        run.get_arguments().chain(command.get_arguments()).filter_map(Setting::of).collect();
    settings.retain(|setting| !setting.argument.is_hide_set());
    by_section(&mut settings, |setting| setting);
    let rows: String = settings.iter().map(row).collect();
    format!("| flag of `run` | in `citytide.toml` | default | |\n|---|---|---|---|\n{rows}")
}

fn row(setting: &Setting) -> String {
    let flag = setting.flag().replace(", ", "`, `");
    let others = setting.variables[1..].iter().map(|name| format!(", `{name}`")).collect::<String>();
    let key = setting.key.as_ref().map(|(section, key)| format!("`[{section}] {key}`")).unwrap_or_default();
    let default = match setting.default().as_slice() {
        _ if setting.argument.is_required_set() => "required".to_owned(),
        [one] if one != "false" => format!("`{}`", one.to_string_lossy()),
        _ => String::new(),
    };
    format!("| `{flag}`{others} | {key} | {default} | {} |\n", setting.help().replace('|', "\\|"))
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

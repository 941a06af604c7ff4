//! `citytide completions` and `citytide man`: what clap can make of the command line's own declaration.

use std::path::{Path, PathBuf};

use clap::Command;

use super::exit_error::ExitError;
use crate::runtime::exit::Exit;
use crate::runtime::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  source <(citytide completions bash)\n  \
                        citytide completions fish >~/.config/fish/completions/citytide.fish")]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  citytide man | man -l -\n  citytide man --output /usr/local/share/man/man1"
)]
pub struct Man {
    /// Write a page for citytide and one for each of its commands into this directory
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

/// Prints a script that completes citytide's command line; returns the exit code.
pub fn completions(args: &Completions, mut citytide: Command) -> i32 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut citytide, "citytide", &mut script);
    printed(&script)
}

/// Prints the manual's page, or writes all of its pages; returns the exit code.
pub fn man(args: &Man, citytide: Command) -> Result<i32, ExitError> {
    let Some(directory) = &args.output else {
        let whole = pages(citytide).into_iter().flat_map(|(_, page)| page).collect::<Vec<u8>>();
        return Ok(printed(&whole));
    };
    write_all(directory, citytide).map_err(|reason| {
        let why = format!("cannot write the manual into {}: {reason}", directory.display());
        ExitError::new(Exit::Config, why)
    })?;
    Ok(Exit::Done.code())
}

fn write_all(directory: &Path, citytide: Command) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    pages(citytide)
        .into_iter()
        .try_for_each(|(name, page)| std::fs::write(directory.join(format!("{name}.1")), page))
}

/// Every page with its name, `citytide` first.
fn pages(citytide: Command) -> Vec<(String, Vec<u8>)> {
    let mut pages = Vec::new();
    let mut commands: Vec<(String, Command)> = vec![("citytide".to_owned(), citytide)];
    while let Some((name, command)) = commands.pop() {
        let mut below: Vec<(String, Command)> = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set())
            .map(|below| (format!("{name}-{}", below.get_name()), below.clone()))
            .collect();
        below.reverse();
        commands.extend(below);
        let mut page = Vec::new();
        let title = name.replace('-', " ");
        let command = command.name(name.clone()).bin_name(title).disable_help_subcommand(true);
        clap_mangen::Man::new(command).render(&mut page).expect("memory takes everything");
        pages.push((name, page));
    }
    pages
}

fn printed(page: &[u8]) -> i32 {
    output::print(String::from_utf8_lossy(page));
    Exit::Done.code()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Typed;

    #[test]
    fn every_command_has_a_page_that_names_its_flags() {
        let pages: std::collections::BTreeMap<String, String> = pages(Typed::command())
            .into_iter()
            .map(|(name, page)| (name, String::from_utf8(page).expect("text")))
            .collect();
        for name in ["citytide", "citytide-run", "citytide-verify", "citytide-config-show", "citytide-man"] {
            let page = pages.get(name).unwrap_or_else(|| panic!("{name} has no page"));
            assert!(page.contains(&format!(".TH {name} 1")), "{page}");
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(pages["citytide-run"].contains("\\-\\-until\\-caught\\-up"));
        let first = &pages["citytide"];
        for command in Typed::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name().replace('-', "\\-");
            assert!(first.contains(&format!("citytide\\-{name}")), "{name} is not in the first page");
        }
    }
}

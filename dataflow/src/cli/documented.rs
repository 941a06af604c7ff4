//! Each command line in README.md, docs/ and the help texts is one that the program takes: a test finds stale flags.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;

use clap::CommandFactory;

use super::{Typed, settings};

/// Pages with command lines, by name.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let docs = std::fs::read_dir(root.join("docs")).expect("docs/").map(|entry| entry.expect("docs/").path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let read = |path: std::path::PathBuf| {
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_name().expect("a file").to_string_lossy().into_owned(), text)
    };
    pages.chain([root.join("README.md")]).map(read).collect()
}

/// The fenced blocks of a page.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("\n```").skip(1).step_by(2)
}

/// The command lines of a block: those behind a prompt if there is one, else all. A line that ends with `\` or `|` goes
/// on in the next one.
fn lines(block: &str) -> Vec<String> {
    let behind_prompt = |line: &str| line.split_once("$ ").map(|(_, command)| command.to_owned());
    let has_prompt = block.lines().any(|line| {
        line.split_once('$').is_some_and(|(host, rest)| {
            rest.starts_with(' ') && host.chars().all(|letter| letter.is_ascii_alphanumeric())
        })
    });
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in block.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim_end();
        let command = if goes_on || !has_prompt { Some(line.to_owned()) } else { behind_prompt(line) };
        let Some(command) = command else { continue };
        match commands.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(&command),
            None => commands.push(command.clone()),
        }
        goes_on = command.ends_with(['\\', '|']);
        if let Some(last) = commands.last_mut().filter(|last| last.ends_with('\\')) {
            last.pop();
        }
    }
    commands
}

/// The words of a command line without quotes and brackets. Between double quotes, spaces belong to the word.
fn words(line: &str) -> Vec<String> {
    let mut is_quoted = false;
    let ends_word = |letter: char| {
        is_quoted ^= letter == '"';
        letter.is_whitespace() && !is_quoted
    };
    let words = line.split(ends_word).filter(|word| !word.is_empty());
    words.map(|word| word.replace(['[', ']', '"', '\''], "")).collect()
}

/// The words of each call of `citytide` in a command line, which may be a pipe or set variables first.
fn calls(line: &str) -> Vec<Vec<String>> {
    let of_part = |part: &str| {
        let part = part.split(" >").next().unwrap_or_default();
        let words = words(part).into_iter();
        let call: Vec<String> =
            words.skip_while(|word| word.contains('=') && !word.starts_with('-')).collect();
        call.first().is_some_and(|word| word == "citytide").then_some(call)
    };
    line.split(['|', ';', '&', '(', ')']).filter_map(of_part).collect()
}

/// Why a call is refused, in an environment that names Kafka and a database. Files that it names need not be there.
fn refusal(call: &[String]) -> Option<String> {
    let arguments: Vec<OsString> = call.iter().map(OsString::from).collect();
    let environment = |name: &str| match name {
        "KAFKA_BROKERS" => Some("kafka:9092".into()),
        "DATABASE_URL" => Some("postgresql://citytide@db:5432/citytide".into()),
        _ => None,
    };
    let file = |path: &Path| match path.to_str() {
        Some("citytide.toml") => Err(ErrorKind::NotFound.into()),
        _ => Ok(String::new()),
    };
    match settings::read::<Typed>(&arguments, &environment, &file) {
        Ok(_) => None,
        Err(settings::Stop::Wrong(mistakes, _)) => {
            let is_other = |mistake: &&str| !mistake.contains("cannot read the hostfile");
            let others: Vec<&str> = mistakes.lines().filter(is_other).collect();
            (!others.is_empty()).then(|| others.join("\n"))
        }
        Err(settings::Stop::Clap(error)) => error.use_stderr().then(|| error.to_string()),
    }
}

#[test]
fn every_command_in_the_pages_is_taken_as_it_stands() {
    let (mut seen, mut refused) = (0, Vec::new());
    for (page, text) in pages() {
        for call in blocks(&text).flat_map(lines).flat_map(|line| calls(&line)) {
            seen += 1;
            refused.extend(refusal(&call).map(|why| format!("{page}: {}: {why}", call.join(" "))));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(seen > 30, "only {seen} commands were found");
}

/// Commands in running text may have a placeholder in capitals for a value, and leave out what is required.
#[test]
fn every_command_in_running_text_has_commands_and_flags_that_there_are() {
    let (mut seen, mut refused) = (0, Vec::new());
    for (page, text) in pages() {
        let outside = text.split("\n```").step_by(2);
        for span in outside.flat_map(|part| part.split('`').skip(1).step_by(2)) {
            for call in calls(span).into_iter().filter(|call| call.len() > 1) {
                seen += 1;
                let has_placeholder = call.iter().any(|word| word.chars().all(|l| l.is_ascii_uppercase()));
                let Some(why) = refusal(&call) else { continue };
                if !has_placeholder && !why.contains("is missing") {
                    refused.push(format!("{page}: {span}: {why}"));
                }
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(seen > 20, "only {seen} commands were found");
}

#[test]
fn every_example_in_the_help_is_taken_as_it_stands() {
    let mut open = vec![Typed::command()];
    let (mut seen, mut refused) = (0, Vec::new());
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().cloned());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let Some((_, examples)) = help.split_once("Examples:") else { continue };
        let examples = examples.split("\n\n").next().unwrap_or_default();
        for call in lines(examples).iter().flat_map(|line| calls(line)) {
            seen += 1;
            refused.extend(refusal(&call).map(|why| format!("{}: {why}", call.join(" "))));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(seen > 20, "only {seen} examples were found");
}

#[test]
fn a_flag_that_there_is_not_is_found() {
    let page = "text\n```\n$ A=1 citytide run -w 2 --domain \"a b\" \\\n    --no-such-flag   # comment\noutput\n```\n";
    let calls: Vec<Vec<String>> = blocks(page).flat_map(lines).flat_map(|line| calls(&line)).collect();
    assert_eq!(calls, [["citytide", "run", "-w", "2", "--domain", "a b", "--no-such-flag"]]);
    assert!(refusal(&calls[0]).expect("it is refused").contains("--no-such-flag"));
}

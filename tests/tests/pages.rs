//! What README.md and docs/ name is there: pages, headings, targets of make, scripts, tests, benchmarks, tables and their
//! columns. That each `citytide` command parses is tested beside the command line (`dataflow/src/cli/documented.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Most lines of README.md: what is more belongs in docs/.
const README_LINES_MAX: usize = 180;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README.md and every page below docs/, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
        let files = entries.map(|entry| entry.expect("an entry").path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// A page without its fenced blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept =
            words.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn the_readme_is_short() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines, at most {README_LINES_MAX}");
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_a_heading_that_are_there() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        let prose = prose(&text);
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            let has_heading = || heading.is_empty() || anchors(&read(&target)).contains(heading);
            if !target.exists() || !has_heading() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The words behind each `start` in a page, up to what cannot be in a name.
fn names<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '/' | '.');
    text.split(start).skip(1).map(move |rest| {
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        rest[..end].trim_end_matches('.')
    })
}

#[test]
fn every_target_script_test_and_benchmark_that_a_page_names_is_there() {
    let makefile = read(&root().join("Makefile"));
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let mut missing = Vec::new();
    for (page, text) in pages() {
        // `make` is also a word.
        let code = text.split("\n```").skip(1).step_by(2).flat_map(str::lines);
        let spans = text.split('`').skip(1).step_by(2).chain(code);
        for span in spans {
            let span = span.trim_start_matches("$ ");
            if let Some(target) = span.strip_prefix("make ").and_then(|rest| rest.split([' ', ';']).next())
                && !targets.contains(target)
            {
                missing.push(format!("{}: make {target}", page.display()));
            }
        }
        let named = |start: &'static str| names(&text, start).filter(|name| !name.is_empty());
        let mut paths: Vec<String> = named("scripts/").map(|name| format!("scripts/{name}")).collect();
        paths.extend(named("tests/tests/").map(|name| format!("tests/tests/{name}")));
        for (kind, folder) in [("--bench ", "benches"), ("--test ", "tests"), ("--example ", "examples")] {
            let commands = text.lines().filter(|line| line.contains("cargo ") && line.contains(kind));
            for part in
                commands.flat_map(|line| line.split("cargo ").skip(1).filter(|part| part.contains(kind)))
            {
                let package = names(part, "-p ").next().expect("a package");
                let package = package.strip_prefix("citytide-").unwrap_or("dataflow");
                paths.extend(names(part, kind).map(|name| format!("{package}/{folder}/{name}.rs")));
            }
        }
        let absent = paths.into_iter().filter(|path| !root().join(path).exists());
        missing.extend(absent.map(|path| format!("{}: {path}", page.display())));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Columns by table or view, by the comment that each column has in the schema.
fn columns() -> BTreeMap<String, BTreeSet<String>> {
    let schema = read(&root().join("sql/smart-city.sql"));
    let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in schema.lines() {
        let Some(column) = line.strip_prefix("comment on column ") else { continue };
        let (table, column) =
            column.split(' ').next().and_then(|name| name.split_once('.')).expect("a column");
        columns.entry(table.to_owned()).or_default().insert(column.to_owned());
    }
    columns
}

#[test]
fn every_column_that_the_readme_lists_is_in_its_table_and_has_a_comment() {
    let columns = columns();
    let readme = read(&root().join("README.md"));
    let (_, rest) = readme.split_once("\n## Tables\n").expect("the section");
    let rows = rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let mut checked = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let mut cells = row.split('|').skip(1);
        let (tables, _, listed) =
            (cells.next().expect("tables"), cells.next(), cells.next().expect("columns"));
        let spans =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        // In each of the tables of a row, or in one of them: `models`, `model_changes`.
        for column in
            spans(listed).iter().filter(|name| name.chars().all(|l| l.is_ascii_lowercase() || l == '_'))
        {
            checked += 1;
            let is_there =
                |table: &String| columns.get(table).is_some_and(|columns| columns.contains(column));
            assert!(spans(tables).iter().any(is_there), "{column} is in none of{tables}");
        }
    }
    assert!(checked > 60, "only {checked} columns were found");
}

#[test]
fn every_column_of_a_table_has_a_comment() {
    let (commented, schema) = (columns(), read(&root().join("sql/smart-city.sql")));
    let mut bare = Vec::new();
    for table in schema.split("\ncreate table ").skip(1) {
        let (name, rest) = table.split_once(" (\n").expect("columns");
        for line in rest.lines().take_while(|line| !line.starts_with(')')) {
            let Some(word) = line.strip_prefix("    ").and_then(|line| line.split(' ').next()) else {
                continue;
            };
            let is_constraint = ["primary", "unique", "check", "foreign", "constraint", ""].contains(&word);
            if !is_constraint && !commented.get(name).is_some_and(|columns| columns.contains(word)) {
                bare.push(format!("{name}.{word}"));
            }
        }
    }
    assert!(bare.is_empty(), "{}", bare.join(", "));
}

//! Mistakes in a file, formatted in the manner of rustc: place, message, and the line with carets under it.
//!
//! Columns count characters, from 1. The quoted line shows a tab as four spaces and any other control character as
//! U+FFFD, so that the carets are aligned on every terminal.

use std::fmt;
use std::ops::Range;

/// A tab in the quoted line.
const TAB: &str = "    ";

/// A mistake: its place and a sentence that says what is wrong and, if possible, how to correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The message, in lower case and without a period.
    pub sentence: String,
    /// The line itself, as it was typed.
    quoted: String,
    /// Number of characters to mark, at least 1.
    width: usize,
}

/// The mistakes of a file, in the order of their places. `Display` formats them for users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    /// The name of the file, for messages.
    pub file: String,
    /// The mistakes; never empty.
    pub list: Vec<Mistake>,
}

impl Mistake {
    /// A mistake at the byte range `span` of `text`. A span beyond the text becomes its end; of a span over several
    /// lines, only the first line is marked.
    pub fn at(text: &str, span: Range<usize>, sentence: String) -> Mistake {
        let start = boundary_at_or_before(text, span.start);
        let end = boundary_at_or_before(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let quoted = text[line_start..line_end].trim_end_matches('\r');
        let meant = &text[start..end.min(line_end)];
        Mistake {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            sentence,
            quoted: quoted.to_owned(),
            width: meant.trim_end_matches('\r').chars().count().max(1),
        }
    }
}

impl Mistake {
    /// The line, as it was typed.
    pub fn quoted(&self) -> &str {
        &self.quoted
    }

    /// Hides the value after `=` in the quoted line, because it is secret.
    pub fn conceal(&mut self) {
        let kept = self.quoted.split_inclusive('=').next().unwrap_or_default().trim_end_matches('\n');
        self.quoted = if kept.ends_with('=') { format!("{kept} ***") } else { "***".to_owned() };
        let width = self.quoted.chars().count();
        self.column = self.column.min(width.saturating_sub(2).max(1));
        self.width = self.width.min(width + 1 - self.column);
    }
}

impl Mistakes {
    /// Combines the syntax errors of `text` with the mistakes in its values; `None` when there are none. Drops mistakes
    /// in lines with a syntax error, because the values recovered from them are guesses.
    pub fn of(
        file: &str,
        text: &str,
        syntax: &[toml::de::Error],
        found: Vec<(Range<usize>, String)>,
    ) -> Option<Mistakes> {
        let first_line = |message: &str| message.lines().next().unwrap_or_default().to_owned();
        let mut list: Vec<Mistake> = syntax
            .iter()
            .map(|error| Mistake::at(text, error.span().unwrap_or(0..0), first_line(error.message())))
            .collect();
        let broken: Vec<usize> = list.iter().map(|mistake| mistake.line).collect();
        let found = found.into_iter().map(|(span, sentence)| Mistake::at(text, span, sentence));
        list.extend(found.filter(|mistake| !broken.contains(&mistake.line)));
        list.sort_by_key(|mistake| (mistake.line, mistake.column));
        list.dedup();
        (!list.is_empty()).then(|| Mistakes { file: file.to_owned(), list })
    }
}

fn boundary_at_or_before(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Appends a character of the quoted line as it is shown.
fn shown(character: char, into: &mut String) {
    match character {
        '\t' => into.push_str(TAB),
        control if control.is_control() => into.push('\u{fffd}'),
        other => into.push(other),
    }
}

/// The width of characters as they are shown, in columns.
fn shown_width(characters: impl Iterator<Item = char>) -> usize {
    characters.map(|character| if character == '\t' { TAB.len() } else { 1 }).sum()
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.list {
            let number = mistake.line.to_string();
            let gutter = number.len();
            let mut quoted = String::new();
            mistake.quoted.chars().for_each(|character| shown(character, &mut quoted));
            let before = shown_width(mistake.quoted.chars().take(mistake.column - 1));
            let meant =
                shown_width(mistake.quoted.chars().skip(mistake.column - 1).take(mistake.width)).max(1);
            writeln!(f, "error: {}", mistake.sentence)?;
            writeln!(f, "{:gutter$}--> {}:{}:{}", "", self.file, mistake.line, mistake.column)?;
            writeln!(f, "{:gutter$} |", "")?;
            writeln!(f, "{number} | {}", quoted.trim_end())?;
            writeln!(f, "{:gutter$} | {:before$}{:^<meant$}", "", "", "")?;
            writeln!(f)?;
        }
        match self.list.len() {
            1 => write!(f, "error: {} has 1 mistake", self.file),
            count => write!(f, "error: {} has {count} mistakes", self.file),
        }
    }
}

impl std::error::Error for Mistakes {}

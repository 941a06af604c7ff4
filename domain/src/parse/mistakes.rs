//! Mistakes in a file a person wrote: where, what, and the line with a caret under it, in the manner of rustc.
//!
//! Columns count characters, from 1. In the quoted line a tab is shown as four spaces and any other control
//! character as U+FFFD, so that the caret stands under what it means on every terminal.

use std::fmt;
use std::ops::Range;

/// What a tab is shown as.
const TAB: &str = "    ";

/// One mistake: its place and a sentence that says what is wrong and, where it can, what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, in lower case and without a final period.
    pub sentence: String,
    /// The line itself, as it was typed.
    quoted: String,
    /// How many characters of it are meant; 1 at least.
    width: usize,
}

/// Every mistake of one file, in the order of their places. `Display` is what a person reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    /// The file's name, as it was given.
    pub file: String,
    /// The mistakes; never empty.
    pub list: Vec<Mistake>,
}

impl Mistake {
    /// The mistake at the bytes `span` of `text`. A span beyond the text means its end; one that crosses lines
    /// means its part of the first.
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

    /// Shows what stands behind the line's `=` no more: it is secret.
    pub fn conceal(&mut self) {
        let kept = self.quoted.split_inclusive('=').next().unwrap_or_default().trim_end_matches('\n');
        self.quoted = if kept.ends_with('=') { format!("{kept} ***") } else { "***".to_owned() };
        let width = self.quoted.chars().count();
        self.column = self.column.min(width.saturating_sub(2).max(1));
        self.width = self.width.min(width + 1 - self.column);
    }
}

impl Mistakes {
    /// The mistakes of `text`: its errors of syntax, and what was found in the rest of it. In a line with an error of
    /// syntax nothing else counts, for what was read from it is a guess. `None` when there are none.
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

/// How a character of the quoted line appears.
fn shown(character: char, into: &mut String) {
    match character {
        '\t' => into.push_str(TAB),
        control if control.is_control() => into.push('\u{fffd}'),
        other => into.push(other),
    }
}

/// The columns a run of characters takes once it is shown.
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

//! The domain file: from text to a [`Domain`], or to every mistake in it at once.
//!
//! ```text
//!  text ── toml's recovering parser ──▶ DOM with places   (every error of syntax)
//!       ── typed: keys, types ────────▶ what was typed    (unknown keys, wrong types, what is missing)
//!       ── used: defaults, relations ─▶ what is used      (names, ranges, what does not fit together)
//! ```
//!
//! Each stage goes on after a mistake. In a file that is broken as TOML nothing is called missing, and a line with
//! an error of syntax gets no further mistakes, for what was read from it is a guess.

mod detector;
mod duration;
mod mistakes;
mod names;
mod nearest;
mod reader;
#[cfg(test)]
mod tests;
mod typed;
mod used;
mod windows;

use toml::de::DeTable;

use crate::Domain;
pub use mistakes::{Mistake, Mistakes};
use reader::Findings;

/// The file that is built in.
const SMART_CITY: &str = include_str!("../smart-city.toml");

impl Domain {
    /// Parses a domain file. `file` is the name that mistakes show; nothing is read from it.
    ///
    /// # Errors
    ///
    /// Every mistake of the file, in the order of their places.
    pub fn parse(file: &str, text: &str) -> Result<Domain, Mistakes> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let syntax: Vec<Mistake> = errors
            .iter()
            .map(|error| Mistake::at(text, error.span().unwrap_or(0..0), first_line(error.message())))
            .collect();
        let mut findings = Findings { is_broken: !syntax.is_empty(), ..Findings::default() };
        let typed = typed::read(table.get_ref(), 0..0, &mut findings);
        let domain = typed.used(&mut findings);

        let mut list = syntax.clone();
        for (span, sentence) in findings.list {
            let mistake = Mistake::at(text, span, sentence);
            if syntax.iter().all(|error| error.line != mistake.line) {
                list.push(mistake);
            }
        }
        if list.is_empty() {
            return Ok(domain);
        }
        list.sort_by_key(|mistake| (mistake.line, mistake.column));
        list.dedup();
        Err(Mistakes { file: file.to_owned(), list })
    }

    /// The domain that is built in and the default.
    pub fn smart_city() -> Domain {
        match Domain::parse("smart-city.toml", SMART_CITY) {
            Ok(domain) => domain,
            Err(mistakes) => panic!("the built-in domain is wrong:\n{mistakes}"),
        }
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

//! Parses a domain file to a [`Domain`], or reports all mistakes in it at once.
//!
//! ```text
//!  text ── toml's recovering parser ──▶ tables with places   (every error of syntax)
//!       ── section ───────────────────▶ values with places   (unknown keys, wrong types, missing keys)
//!       ── domain, windows, … ────────▶ validated settings   (defaults, names, ranges, contradictions)
//! ```
//!
//! Parsing continues after a mistake. In a file with syntax errors no key is reported as missing, and a line with a
//! syntax error gets no further mistakes, because the values recovered from it are guesses.

mod detector;
mod domain;
mod duration;
mod generator;
mod incidents;
mod mistakes;
mod names;
mod nearest;
mod pattern;
mod section;
#[cfg(test)]
mod tests;
mod typed;
mod windows;

use toml::de::DeTable;

use crate::Domain;
pub use duration::parse_duration;
pub use mistakes::{Mistake, Mistakes};
pub use nearest::nearest;
pub use section::Section;
pub use typed::{Findings, Typed};

/// The built-in domain file.
const SMART_CITY: &str = include_str!("../smart-city.toml");

impl Domain {
    /// Parses the domain file `text`. `file` is only the name shown in mistakes.
    ///
    /// # Errors
    ///
    /// Lists every mistake, in the order of their places.
    pub fn parse(file: &str, text: &str) -> Result<Domain, Mistakes> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let findings = Findings { list: Default::default(), is_broken: !errors.is_empty() };
        let domain = domain::read_domain(&Section::file(table.get_ref(), &findings));
        match Mistakes::of(file, text, &errors, findings.list.into_inner()) {
            None => Ok(domain),
            Some(mistakes) => Err(mistakes),
        }
    }

    /// The built-in default domain.
    pub fn smart_city() -> Domain {
        match Domain::parse("smart-city.toml", SMART_CITY) {
            Ok(domain) => domain,
            Err(mistakes) => panic!("the built-in domain is wrong:\n{mistakes}"),
        }
    }
}

//! The domain file: from text to a [`Domain`], or to every mistake in it at once.
//!
//! ```text
//!  text ── toml's recovering parser ──▶ tables with places   (every error of syntax)
//!       ── section ───────────────────▶ values with places   (unknown keys, wrong types, what is missing)
//!       ── domain, windows, … ────────▶ what is used         (defaults, names, ranges, what does not fit together)
//! ```
//!
//! Reading goes on after a mistake. In a file that is broken as TOML nothing is called missing, and a line with an
//! error of syntax gets no further mistakes, for what was read from it is a guess.

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
        let findings = Findings { list: Default::default(), is_broken: !errors.is_empty() };
        let domain = domain::read_domain(&Section::file(table.get_ref(), &findings));
        match Mistakes::of(file, text, &errors, findings.list.into_inner()) {
            None => Ok(domain),
            Some(mistakes) => Err(mistakes),
        }
    }

    /// The domain that is built in and the default.
    pub fn smart_city() -> Domain {
        match Domain::parse("smart-city.toml", SMART_CITY) {
            Ok(domain) => domain,
            Err(mistakes) => panic!("the built-in domain is wrong:\n{mistakes}"),
        }
    }
}

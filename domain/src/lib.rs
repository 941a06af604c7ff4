//! Defines domains and readings for the dataflow and the generator, and parses domain files. No I/O, no clock.
//!
//! ```text
//!  domain file (TOML) ── parse ──▶ typed values, and every mistake with line and caret
//!                                    │ validate, derive
//!                                    ▼
//!                                  Domain: topic, fields, metrics, windows, panes, zones, limits, patterns
//! ```
//!
//! `smart-city` is built in and the default; another domain is another file and needs no code.

#![forbid(unsafe_code)]

mod kind;
mod model;
mod parse;
mod pattern;
mod units;

pub use kind::Kind;
pub use model::*;
pub use parse::{Findings, Mistake, Mistakes, Section, Typed, nearest, parse_duration};
pub use pattern::*;
pub use units::*;

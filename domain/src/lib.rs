//! What a domain and a reading are, shared by the dataflow and the generator. No I/O, no clock.
//!
//! ```text
//!  domain file (TOML) ── parse ──▶ what was typed, every mistake with line and caret
//!                                    │ validate, derive
//!                                    ▼
//!                                  Domain: topic, fields, metrics, windows, panes, zones, limits, patterns
//! ```
//!
//! `smart-city` is embedded and the default; any other domain is another file, no other code.

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

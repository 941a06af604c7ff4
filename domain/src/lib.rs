//! What a domain and a reading are, shared by the dataflow and the generator. No I/O, no clock.
//!
//! ```text
//!  domain file (TOML) ── parse ──▶ what was typed, every mistake with line and caret
//!                                    │ validate, derive
//!                                    ▼
//!                                  Domain: topic, fields, metrics, windows, panes, zones, limits
//! ```
//!
//! `smart-city` is embedded and the default; any other domain is another file, no other code.

#![forbid(unsafe_code)]

mod model;
mod parse;

pub use model::*;
pub use parse::{Mistake, Mistakes, nearest, parse_duration};

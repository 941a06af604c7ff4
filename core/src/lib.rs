//! What citytide does with readings, as plain structs: no thread, no clock, no I/O, no async. The manifest keeps
//! timely, tokio and rdkafka out.
//!
//! ```text
//!  chunk ─ batch ─▶ decode ─▶ batch ─ window ─▶ lateness ─ detect ─▶ verdicts ─ window ─▶ partials, windows
//! ```

pub mod batch;
pub mod decode;
pub mod detect;
pub mod incidents;
pub mod position;
pub mod sensors;
mod time;
pub mod window;

pub use time::{NEVER, floor_to};

//! How good a detector is, on labelled readings: figures, the detector itself as it would have judged, and others.
//!
//! Nothing here reads a file: `citytide evaluate` hands in the bytes of a table, or readings one by one.

pub mod comparison;
mod csv;
pub mod figures;
mod judge;
pub mod metrics;
pub mod nab;
mod oracle;
mod recording;
pub mod table;
mod time;
mod watch;

pub use csv::{Columns, read_csv};
pub use judge::{AsTable, Judged, judge, judge_any};
pub use time::time_us;
pub use watch::Watch;

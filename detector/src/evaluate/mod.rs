//! How good a detector is, on labelled readings: figures, the detector itself as it would have judged, and others.
//!
//! Nothing here reads a file: `citytide evaluate` and the ablation hand in the text of a table.

pub mod comparison;
pub mod metrics;
pub mod nab;
pub mod table;
mod watch;

pub use watch::Watch;

//! How good a detector is, on labelled readings.

pub mod metrics;

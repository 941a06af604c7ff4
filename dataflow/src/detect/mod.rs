//! The detector in the dataflow: its loop, when what it knows is written down, and training beside the stream.

mod attach;
mod training;

pub use attach::{Detected, DetectorStart, attach};
pub use training::{Ready, SnapshotPolicy, TrainAnswer, TrainJob, Training};

//! What is odd, how odd, and why: rules, baselines, slow averages and an isolation forest, one verdict.
//!
//! ```text
//!  rows of a partition ──▶ Scorer ──▶ Verdicts (a score for each row; why, for the flagged ones)
//!    SensorStates ⇄ ┘  ▲       └────▶ TrainingData: SufficientStats per (zone, tick), a Sample for training
//!    (per partition)   │                        │ merge, in any order
//!                 ZoneModels ◀── close ─────────┘            Model ◀── train ── Sample
//!                 (snapshots, per zone)                      (a forest, with its version)
//! ```
//!
//! A pure library: no I/O, no clock, no threads. What the dataflow, `citytide evaluate` and training do with it is the
//! same code.
//!
//! 1. A verdict is a function of the reading, the earlier readings of its sensor in its partition, the snapshot of the
//!    zone's model and the trained model.
//! 2. While it scores, no model changes: rows teach [`SufficientStats`], which are integers and merge in any order to
//!    the same bits; closing a tick makes the next snapshot.
//! 3. What is missing is missing: NaN never reaches a forest, and an unknown level says nothing.

#![forbid(unsafe_code)]
// Loops over the lanes of a block index several arrays at once.
#![allow(clippy::needless_range_loop)]

mod bytes;
mod close;
mod explain;
pub mod forest;
mod layout;
mod member;
mod model;
mod models;
mod observe;
mod sample;
mod scorer;
mod sensors;
mod stats;
mod stray;
mod tails;
mod teach;
#[cfg(test)]
mod tests;
mod transcendental;
mod verdict;
mod zone;
mod zone_bytes;

pub use bytes::StateError;
pub use layout::{BLOCK, Layout, MINUTE_US, MetricLayout};
pub use member::{CERTAIN, MEMBERS, Member, Surprises};
pub use model::{About, Model, ModelError, TrainError};
pub use models::{ZONES_MAX, ZoneModels};
pub use sample::{Chosen, READMITTED_SHARE, Sample, SampleRow};
pub use scorer::{Rows, Scorer, TrainingData};
pub use sensors::SensorStates;
pub use stats::{ROWS_MAX, SufficientStats, ZoneStats};
pub use verdict::{Beside, FlaggedBy, Severity, Verdict, Verdicts, score_of};
pub use zone::{Level, ZoneModel};

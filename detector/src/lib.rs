//! Anomaly detection: which readings are anomalous, how much, and why. Rules, baselines, slow averages and an isolation
//! forest are combined to one verdict.
//!
//! ```text
//!  rows of a partition ──▶ Scorer ──▶ Verdicts (a score for each row; reasons for the flagged ones)
//!    SensorStates ⇄ ┘  ▲       └────▶ TrainingData: SufficientStats per (zone, tick), a Sample for training
//!    (per partition)   │                        │ merge, in any order
//!                 ZoneModels ◀── close ─────────┘            Model ◀── train ── Sample
//!                 (snapshots, per zone)                      (a forest, with its version)
//! ```
//!
//! A pure library: no I/O, no clock, no threads. The dataflow, `citytide evaluate` and training run the same code.
//!
//! The *surprise* of a statistic (information theory's surprisal) is −log₁₀ of the chance that a normal reading has one
//! as large or larger: 3 stands for one in a thousand. It is what the members of the detector are compared by.
//!
//! 1. A verdict is a function of the reading, the earlier readings of its sensor in its partition, the snapshot of the
//!    zone's model and the trained model.
//! 2. No model changes during scoring: rows teach [`SufficientStats`], which are integers and merge in any order to the
//!    same bits; closing a tick makes the next snapshot.
//! 3. A missing value is not replaced: NaN never reaches a forest, and a comparison with an unknown level finds
//!    nothing.

#![forbid(unsafe_code)]
// Loops over the lanes of a block index several arrays at once.
#![allow(clippy::needless_range_loop)]

mod bytes;
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
mod tails;
mod teach;
#[cfg(test)]
mod tests;
mod transcendental;
mod verdict;
mod zone;

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

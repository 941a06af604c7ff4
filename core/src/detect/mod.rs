//! Verdicts: which readings are anomalous, how much, and why.
//!
//! ```text
//!  batches ─▶ ScoringState (one per worker) ─▶ verdicts
//!              ▲   └─ statistics ─▶ Baselines (a worker's zones)
//!              │                     └─▶ Change: a minute is closed, a model comes into force
//!              └──────────────────────────── for every worker, from a later epoch on ─┘
//! ```
//!
//! The detector itself is the crate `citytide-detector`; here is what makes its verdicts a function of what is
//! committed: everything that a verdict depends on comes from the partition's earlier rows or is a [`Change`] that
//! holds from an epoch on, on all workers. [`Memory`] is all of it as of some epoch; what was committed since is
//! replayed through the same code.
//!
//! [`Rules`] alone judge where no detector is wanted, and replayed dead letters.

mod agreement;
mod baselines;
mod comparison;
mod memory;
mod rules;
mod scoring_state;

pub use agreement::Agreement;
pub use baselines::{Baselines, Closing, SampledRows, StatsUpdate};
pub use comparison::{Comparison, Difference};
pub use memory::{Blob, BlobKind, InForce, Memory, MemoryError, Past, sample_blob};
pub use rules::Rules;
pub use scoring_state::{Change, DetectorStatus, ScoringState};

/// From the epoch that decides something about the detector to the one from which it holds, milliseconds: by then every
/// worker has heard of it, without waiting.
pub const HOLDS_AFTER_MS: u64 = 500;

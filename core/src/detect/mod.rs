//! Verdicts: which readings are anomalous, how much, and why.
//!
//! ```text
//!  batches ─▶ ScoringState (one per worker) ─▶ verdicts
//!              ▲  └─ Taught, once a partition has passed a tick ─▶ Baselines (a worker's zones)
//!              │                                                     └─ Lesson: a tick that all have passed
//!              └─ Directive ◀───────── Schedule (when to train, when to write down) ◀──┘
//! ```
//!
//! The detector itself is the crate `citytide-detector`; here is what makes its verdicts a function of the log: by what
//! a reading is judged follows from its partition's watermark (see [`ScoringState`]), and a tick is closed once all
//! partitions have passed it. Nothing depends on how fast or by how many workers the log is read. [`Detector`] is all of
//! it in one place, for evaluating, for restarting, and for checking.
//!
//! [`Rules`] alone judge where no detector is wanted, and replayed dead letters.

mod agreement;
mod baselines;
mod comparison;
mod detector;
mod event_time;
mod rules;
mod schedule;
mod scoring_state;
mod snapshot;
mod stragglers;

use std::sync::Arc;

use citytide_detector::{SampleRow, SufficientStats};
use serde::{Deserialize, Serialize};

pub use agreement::Agreement;
pub use baselines::Baselines;
pub use comparison::{Comparison, Difference};
pub use detector::{Detector, Past};
pub use event_time::{KNOWN_AFTER_MINUTES, TimeRules};
pub use rules::Rules;
pub use schedule::{Schedule, TrainJob};
pub use scoring_state::{DetectorStatus, Judged, Noted, ScoringState};
pub use snapshot::{Blob, BlobKind, SnapshotError, SnapshotRate};
pub use stragglers::Stragglers;

/// What a partition's readings have taught of the ticks before a minute: all there will be of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Taught {
    /// The partition.
    pub partition: i32,
    /// The minute that its watermark has come to.
    pub minute: i64,
    /// Statistics of the ticks before it that were not handed out before.
    pub stats: SufficientStats,
    /// Rows of these ticks for the training's sample, with their hashes.
    pub rows: Vec<(u64, SampleRow)>,
    /// The tick of the last snapshot that the partition is in, and its size in bytes.
    pub written: i64,
    pub written_bytes: usize,
}

/// What every worker does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Directive {
    /// Closes ticks.
    Lesson(Lesson),
    /// Judges by this model what knows the ticks before `from`; `None`: the model before stays.
    Model { from: i64, model: Option<StoredModel> },
    /// Judges by this model from the next reading of each partition on, until one that is trained later.
    Promote(StoredModel),
    /// Takes a partition to be in a minute, wherever its watermark is.
    Lift { partition: i32, minute: i64 },
}

/// What one worker's zones were taught in ticks that all partitions have passed, and what is decided with them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lesson {
    /// The worker.
    pub by: usize,
    /// Its zones had closed all ticks before this one, and now those before `before`. Lessons may come in any order.
    pub after: i64,
    pub before: i64,
    /// What they were taught since the last lesson.
    pub stats: Arc<SufficientStats>,
    /// A model that judges what knows the ticks before `before`.
    pub model: Option<StoredModel>,
    /// Ticks from which on a model is to judge that is being trained.
    pub awaited: Vec<i64>,
    /// Whether all that is known as of the tick behind `before` is to be written down.
    pub snapshot: bool,
}

/// A model as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredModel {
    /// Its version.
    pub version: i32,
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
}

/// What was decided or found, for the commit to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// From this reading on, a partition's watermark is taken to be in a minute at least.
    Lifted {
        /// The partition.
        partition: i32,
        /// The reading's offset.
        offset: i64,
        /// Minutes since the Unix epoch.
        minute: i64,
    },
    /// A partition came while others were read, and teaches from a minute on.
    Joined {
        /// The partition.
        partition: i32,
        /// The offset of its first reading.
        offset: i64,
        /// Minutes since the Unix epoch.
        minute: i64,
    },
    /// A model judges what knows the readings before an event time.
    Model {
        /// Microseconds.
        from_us: i64,
        /// Its version; 0: rules alone judge.
        version: i32,
    },
    /// A model that was asked for by hand judges a partition from a reading on.
    Promoted {
        /// The partition.
        partition: i32,
        /// The reading's offset.
        offset: i64,
        /// Its version.
        version: i32,
        /// What that reading knows: it judges until a model from a later event time on, microseconds.
        from_us: i64,
    },
    /// How far a shadow model agreed with the one in force, of a zone on one worker.
    Agreed {
        /// The shadow's version.
        version: i32,
        /// The zone.
        zone: Arc<str>,
        /// Readings by who flags them.
        agreement: Agreement,
    },
}

//! What the detector knows as of a tick, in parts, as bytes.
//!
//! A snapshot is of a tick of event time, not of a moment: each zone is written down as it is then, each partition before
//! a reading that knows the ticks before, or more, with what it has taught since. So every part is a function of the
//! log, wherever the partitions stand when it is made, and a partition may be written down anew within a tick. It is
//! whole when its schedule is there, which is written last.

use citytide_detector::{Layout, StateError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// How often what is known is written down, by readings.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotRate {
    /// After so many: what a restart sees again.
    pub readings: i64,
    /// How much each of them pays for, bytes: a city of many sensors is written down more rarely.
    pub bytes_per_reading: i64,
}

impl Default for SnapshotRate {
    fn default() -> SnapshotRate {
        SnapshotRate { readings: 250_000, bytes_per_reading: 16 }
    }
}

impl SnapshotRate {
    /// Whether so many new readings are enough to write so many bytes.
    pub fn is_due(&self, readings: i64, bytes: usize) -> bool {
        readings >= self.readings.max(bytes as i64 / self.bytes_per_reading)
    }
}

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobKind {
    /// A partition: its sensors, and what they have taught; the key is its number.
    Partition,
    /// A zone's model; the key is the zone. Written when it has changed.
    Zone,
    /// The training's sample and when the next one is due; the key is empty. Completes a snapshot.
    Schedule,
}

impl BlobKind {
    /// All of them.
    pub const ALL: [BlobKind; 3] = [BlobKind::Partition, BlobKind::Zone, BlobKind::Schedule];

    /// Its word in `detector_state.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            BlobKind::Partition => "partition",
            BlobKind::Zone => "zone",
            BlobKind::Schedule => "schedule",
        }
    }

    /// The kind of that word.
    pub fn named(word: &str) -> Option<BlobKind> {
        BlobKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A part of what the detector knows, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it holds.
    pub kind: BlobKind,
    /// Which of its kind.
    pub key: String,
    /// Event time before which all ticks are known to it, microseconds.
    pub as_of_us: i64,
    /// The bytes.
    pub state: Vec<u8>,
}

/// Why what was written down cannot be used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Not of this program, of another form, or damaged.
    #[error("reading the detector's {what}: {why}; it is built again from the readings")]
    Unreadable {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Of other metrics.
    #[error("it has the metrics {found}, but the domain has {expected}")]
    OtherDomain {
        /// Its metrics.
        found: String,
        /// The domain's.
        expected: String,
    },
    /// The sensors of a partition, or a zone's model.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The form in which parts are written: to be raised with every change of a struct in them.
const FORM: u8 = 1;

fn head(kind: BlobKind) -> String {
    format!("citytide {} {FORM}\n", kind.as_str())
}

pub(super) fn write(kind: BlobKind, part: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(part, head(kind).into_bytes()).expect("writing to memory")
}

pub(super) fn read<T: DeserializeOwned>(
    kind: BlobKind,
    layout: &Layout,
    bytes: &[u8],
    metrics: impl Fn(&T) -> &String,
) -> Result<T, SnapshotError> {
    let unreadable = |why: String| SnapshotError::Unreadable { what: kind.as_str(), why };
    let Some(rest) = bytes.strip_prefix(head(kind).as_bytes()) else {
        return Err(unreadable("it is of another version of this program".to_owned()));
    };
    let part = postcard::from_bytes(rest).map_err(|error| unreadable(error.to_string()))?;
    let (found, expected) = (metrics(&part), layout.fingerprint());
    if expected != *found && !expected.starts_with(&format!("{found}, ")) {
        return Err(SnapshotError::OtherDomain { found: found.clone(), expected });
    }
    Ok(part)
}

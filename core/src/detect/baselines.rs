//! The sufficient statistics of the zones that are routed to one worker, until their minutes are closed.
//!
//! Invariants:
//! 1. a minute is closed in the epoch in which W passes its end, of all zones at once; what its rows taught up to and
//!    with that epoch is all that it teaches, and later rows of it teach nothing;
//! 2. statistics are integers: from any workers, in any order, they add up to the same bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_detector::{Layout, SampleRow, SufficientStats, ZoneStats};
use serde::{Deserialize, Serialize};

use super::memory::{Blob, BlobKind, MemoryError};

/// What a worker's rows of one epoch teach.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StatsUpdate {
    /// A zone and minute.
    Zone(Arc<str>, i64, Box<ZoneStats>),
    /// Rows for the training's sample.
    Sample(SampledRows),
}

/// Rows for a sample, with the hashes by which they were chosen.
pub type SampledRows = Vec<(u64, SampleRow)>;

/// That minutes were closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// In this epoch.
    pub epoch: u64,
    /// All minutes (ticks) before this one.
    pub before: i64,
    /// The epoch from which it holds.
    pub holds_from: u64,
}

/// Statistics of minutes that are open, or closed by a [`Closing`] that does not hold yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Baselines {
    /// The metrics that all of it is about, as [`Layout::fingerprint`](citytide_detector::Layout::fingerprint) says it.
    metrics: String,
    open: SufficientStats,
    /// Minutes before this one are closed.
    closed_before: Option<i64>,
    /// Closed ones, by the epoch from which it holds.
    coming: BTreeMap<u64, Arc<SufficientStats>>,
}

impl Baselines {
    /// Nothing learnt yet.
    pub fn new(layout: &Layout) -> Baselines {
        Baselines { metrics: layout.fingerprint(), ..Baselines::default() }
    }

    /// Adds what rows have taught a zone in a minute.
    pub fn add(&mut self, zone: Arc<str>, minute: i64, stats: ZoneStats) {
        if self.closed_before.is_none_or(|before| minute >= before) {
            self.open.add(minute, &zone, stats);
        }
    }

    /// The minute before which all are closed.
    pub fn closed_before(&self) -> Option<i64> {
        self.closed_before
    }

    /// Closes minutes; returns what they teach, which is kept until it holds.
    pub fn close(&mut self, closing: Closing) -> Arc<SufficientStats> {
        self.closed_before = Some(closing.before);
        let closed = Arc::new(self.open.take_before(closing.before));
        if !closed.is_empty() {
            self.coming.insert(closing.holds_from, closed.clone());
        }
        closed
    }

    /// Forgets what holds by `epoch`: the zones' models know it.
    pub fn advance_to(&mut self, epoch: u64) {
        self.coming.retain(|holds_from, _| *holds_from > epoch);
    }

    /// What is closed and holds later.
    pub(super) fn coming(&self) -> &BTreeMap<u64, Arc<SufficientStats>> {
        &self.coming
    }

    /// The part that belongs to some zones.
    pub fn of_zones(&self, is_mine: impl Fn(&str) -> bool) -> Baselines {
        let part = |stats: &SufficientStats| {
            let mut part = stats.clone();
            part.by_tick.retain(|(_, zone), _| is_mine(zone));
            part
        };
        Baselines {
            metrics: self.metrics.clone(),
            open: part(&self.open),
            closed_before: self.closed_before,
            coming: self.coming.iter().map(|(epoch, stats)| (*epoch, Arc::new(part(stats)))).collect(),
        }
    }

    /// Adds the part of another worker.
    pub(super) fn merge(&mut self, other: Baselines) {
        self.open.merge(&other.open);
        self.closed_before = self.closed_before.max(other.closed_before);
        for (epoch, stats) in other.coming {
            Arc::make_mut(self.coming.entry(epoch).or_default()).merge(&stats);
        }
    }

    /// What must be written down; `key` tells the workers' parts apart.
    pub fn blob(&self, key: &str) -> Blob {
        let state = bincode::serialize(self).expect("lists of numbers");
        Blob { kind: BlobKind::Lessons, key: key.to_owned(), state }
    }

    /// Reads what [`Baselines::blob`] wrote. The domain may have got further metrics since.
    ///
    /// # Errors
    ///
    /// When it is not of this program, damaged, or of other metrics.
    pub fn from_bytes(layout: &Layout, bytes: &[u8]) -> Result<Baselines, MemoryError> {
        let mut read: Baselines = bincode::deserialize(bytes).map_err(|error| MemoryError::Unreadable {
            what: "the statistics of open minutes".to_owned(),
            why: error.to_string(),
        })?;
        let expected = layout.fingerprint();
        if expected != read.metrics && !expected.starts_with(&format!("{}, ", read.metrics)) {
            return Err(MemoryError::OtherDomain { found: read.metrics, expected });
        }
        read.metrics = expected;
        Ok(read)
    }
}

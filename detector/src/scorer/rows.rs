//! What a [`Scorer`](crate::Scorer) takes and what it teaches: rows of a partition in, training data out.

use std::sync::Arc;

use crate::sample::{Chosen, SampleRow};
use crate::stats::SufficientStats;

/// Rows of one partition in offset order, by column; `range` says which of them to score.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Event time of each row, microseconds of the Unix epoch.
    pub event_times_us: &'a [i64],
    /// Zone of each row, as an index into `zone_names`.
    pub zones: &'a [u32],
    /// Names of the zones.
    pub zone_names: &'a [Arc<str>],
    /// Sensor ids, UTF-8, one after the other.
    pub sensors: &'a [u8],
    /// Where each row's sensor id ends in `sensors`.
    pub sensor_ends: &'a [u32],
    /// Values by metric, then row; NaN where a row has none. As many columns as the layout has metrics.
    pub metrics: &'a [Vec<f64>],
    /// Whether each row is late; empty if none is. Late rows do not teach.
    pub late: &'a [bool],
    /// The first tick that has not ended for the partition's watermark; rows of earlier ticks do not teach.
    pub passed: i64,
    /// The rows to score: the first, and one past the last.
    pub range: (usize, usize),
}

impl Rows<'_> {
    pub(super) fn sensor(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.sensor_ends[row - 1] } as usize;
        &self.sensors[start..self.sensor_ends[row] as usize]
    }
}

/// What the readings of a partition have taught and no model has learnt yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingData {
    /// Sufficient statistics for the zones' models.
    pub stats: SufficientStats,
    /// Rows for the training sample, each with the hash by which it was chosen ([`Sample::hash`](crate::Sample::hash)).
    pub sampled: Vec<(u64, SampleRow)>,
    /// Which rows are chosen.
    pub chosen: Chosen,
}

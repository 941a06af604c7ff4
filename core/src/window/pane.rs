//! What one pane of one zone adds up to. Merging is exact, commutative and associative.

use serde::{Deserialize, Serialize};

use super::ExactSum;
use crate::NEVER;

/// What the values of one metric add up to. Nulls do not count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricSums {
    /// Number of values.
    pub count: u64,
    /// Their exact sum.
    pub sum: ExactSum,
    /// The least; infinite when there is none.
    pub min: f64,
    /// The greatest; infinite when there is none.
    pub max: f64,
}

impl MetricSums {
    /// No values.
    pub const NONE: MetricSums =
        MetricSums { count: 0, sum: ExactSum::ZERO, min: f64::INFINITY, max: f64::NEG_INFINITY };

    /// Adds one value; NaN stands for none.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        self.count += 1;
        self.sum.add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    fn merge(&mut self, other: &MetricSums) {
        self.count += other.count;
        self.sum.merge(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Average, least and greatest value, or `None` without values.
    pub fn figures(&self) -> Option<(f64, f64, f64)> {
        (self.count > 0).then(|| (self.sum.average(self.count), self.min, self.max))
    }
}

/// What the accepted readings of one zone in one pane add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaneSums {
    /// Accepted readings.
    pub readings: u64,
    /// Anomalous ones among them.
    pub anomalies: u64,
    /// The latest event time among them, microseconds of the Unix epoch. Not kept in the panes table.
    pub last_event_us: i64,
    /// By metric.
    pub metrics: Vec<MetricSums>,
}

impl PaneSums {
    /// No readings.
    pub fn empty(metrics: usize) -> PaneSums {
        PaneSums { readings: 0, anomalies: 0, last_event_us: NEVER, metrics: vec![MetricSums::NONE; metrics] }
    }

    /// Adds what another part of the same pane, or another pane of the same window, holds.
    pub fn merge(&mut self, other: &PaneSums) {
        self.readings += other.readings;
        self.anomalies += other.anomalies;
        self.last_event_us = self.last_event_us.max(other.last_event_us);
        for (mine, theirs) in self.metrics.iter_mut().zip(&other.metrics) {
            mine.merge(theirs);
        }
    }
}

#[cfg(test)]
mod tests;

//! The threshold of the combined surprise, by which the model flags: learnt so that few flags are false.

use super::ZoneModel;
use crate::layout::Layout;
use crate::stats::{SURPRISE_BINS, SURPRISES_PER_UNIT};

/// Threshold until there is a learnt one.
pub(crate) const THRESHOLD_FIRST: f32 = 3.3;
/// Number of independent tests that the members amount to, as a Bonferroni factor: they are correlated.
pub(crate) const MEMBERS_IN_EFFECT: f32 = 4.0;
/// The least and the greatest threshold.
const THRESHOLDS: (f32, f32) = (1.5, 8.0);
/// The model flags at most this many times the expected share of anomalies.
const FLOOD: f64 = 3.0;
/// Least number of readings that a threshold is learnt from.
const THRESHOLD_ROWS: f64 = 5_000.0;

/// The bin of a combined surprise in histograms of [`SURPRISE_BINS`].
#[inline]
pub(crate) fn surprise_bin(surprise: f32) -> usize {
    ((surprise * SURPRISES_PER_UNIT) as i32).clamp(0, SURPRISE_BINS as i32 - 1) as usize
}

impl ZoneModel {
    /// The least surprise of which chance alone explains only the allowed share, as Benjamini and Hochberg do it
    /// (Controlling the false discovery rate, 1995), on the decayed histogram.
    pub(super) fn fit_threshold(&mut self, layout: &Layout) {
        let total: f64 = self.surprises.iter().sum();
        if total < THRESHOLD_ROWS * self.weight {
            (self.threshold, self.doubt) = (THRESHOLD_FIRST, Vec::new());
            return;
        }
        let mut share = vec![0.0; SURPRISE_BINS];
        let mut above = 0.0;
        for bin in (0..SURPRISE_BINS).rev() {
            above += self.surprises[bin] / total;
            share[bin] = above;
        }
        let at = |bin: usize| bin as f32 / SURPRISES_PER_UNIT;
        let by_chance = |bin: usize| f64::from(MEMBERS_IN_EFFECT) * 10f64.powf(-f64::from(at(bin)));
        let (first, last) = (surprise_bin(THRESHOLDS.0), surprise_bin(THRESHOLDS.1));
        let chosen = (first..last).find(|&bin| {
            by_chance(bin) <= layout.false_discoveries * share[bin]
                && share[bin] <= FLOOD * layout.contamination
        });
        self.threshold = at(chosen.unwrap_or(last));
        self.doubt =
            (0..SURPRISE_BINS).map(|bin| (by_chance(bin) / share[bin].max(1e-9)).min(1.0) as f32).collect();
    }

    /// The chance, 0 … 1, that a reading of this surprise is normal.
    pub(crate) fn doubt(&self, surprise: f32) -> f32 {
        match self.doubt.get(surprise_bin(surprise)) {
            Some(doubt) => *doubt,
            None => (MEMBERS_IN_EFFECT * 10f32.powf(-surprise)).min(1.0),
        }
    }
}

//! Adding rows to the statistics of their zone and tick.

use crate::layout::{BLOCK, Lanes};
use crate::member::{FIRST_TAILED, Member, TAILED};
use crate::observe::{BlockRules, Flags, Observation, RowStats};
use crate::stats::{BlockStats, MOMENT_ROOTS, PAIRS, SCALE_QUANTUM, ZoneStats};
use crate::transcendental::ln;
use crate::zone::{BlockView, FIFTH, pair};

/// Residuals are clipped to this for second moments, which only readings teach whose Mahalanobis distance chance
/// exceeds more often than this.
const MOMENT_CLIP: f32 = 4.0;
pub(crate) const MOMENT_CHANCE: f64 = 0.00125;
/// Of a zone with more readings in a tick than this, only every second, fourth, … reading teaches second moments.
pub(crate) const MOMENT_READINGS: u64 = 512;
/// Factor from a mean absolute to a standard deviation (√(π/2)), and the clip of a reading's share in a scale, in
/// scales.
const MEAN_TO_DEVIATION: f32 = 1.2533;
const SCALE_CLIP: f32 = 4.0;
/// Index of the member `Against` among the statistics.
const AGAINST: usize = Member::Against as usize - FIRST_TAILED;

/// What the rows of a zone and tick are compared with, and the statistics that they teach.
#[derive(Debug)]
pub(crate) struct ZoneView {
    pub(crate) zone: u32,
    pub(crate) tick: i64,
    pub(crate) blocks: Vec<BlockView>,
    /// A reading teaches second moments if its number has none of these bits.
    pub(crate) moments_skip: u32,
    /// Rows with a greater hash are not sampled.
    pub(crate) sample_until: u64,
    /// Number of rows that may still teach.
    pub(crate) room: u32,
    /// Whether the zone's model is too old to judge by, see [`ZoneModel::is_stale`](crate::ZoneModel).
    pub(crate) is_stale: bool,
    /// Whether any metric is known to correlate with others.
    pub(crate) goes_together: bool,
    pub(crate) stats: ZoneStats,
}

impl ZoneView {
    /// Adds the level of a row alone.
    #[inline]
    pub(crate) fn teach_level(&mut self, taught: &[RowStats]) {
        self.stats.stale += 1;
        for (stats, taught) in self.stats.blocks.iter_mut().zip(taught) {
            add(&mut stats.stale, &taught.present);
            for lane in 0..BLOCK {
                stats.stale_level[lane] += taught.level[lane];
            }
        }
    }

    /// Adds the scales that the rows were compared with: once, when all of them are in.
    pub(crate) fn teach_scales(&mut self) {
        for (stats, view) in self.stats.blocks.iter_mut().zip(&self.blocks) {
            for lane in 0..BLOCK {
                let scale = (ln(f64::from(view.scale[lane] * FIFTH)) / SCALE_QUANTUM).round() as i64;
                stats.scale[lane] += scale * i64::from(stats.present[lane]);
            }
        }
    }

    /// Adds a row. `near` is the squared distance below which it teaches second moments.
    #[inline]
    pub(crate) fn teach(
        &mut self,
        observations: &[Observation],
        taught: &[RowStats],
        rules: &[BlockRules],
        statistics: &[f32; TAILED - 1],
        teaches_moments: bool,
        near: f32,
    ) {
        if self.stats.rows == 0 {
            self.stats.unfold();
        }
        self.stats.rows += 1;
        for (at, statistic) in statistics.iter().enumerate() {
            if at != AGAINST || self.goes_together {
                self.stats.count(at, *statistic);
            }
        }
        for (stats, taught) in self.stats.blocks.iter_mut().zip(taught) {
            add(&mut stats.present, &taught.present);
            add(&mut stats.beyond, &taught.beyond);
            add(&mut stats.chances, &taught.chance);
            add(&mut stats.repeated, &taught.repeated);
            add(&mut stats.in_long_run, &taught.in_long_run);
            for lane in 0..BLOCK {
                stats.level[lane] += taught.level[lane];
                stats.moved[lane] += taught.moved[lane];
            }
        }
        if teaches_moments && statistics[1] * statistics[1] < near {
            let is_near_recent = statistics[2] * statistics[2] < near;
            for (((stats, observation), rules), view) in
                self.stats.blocks.iter_mut().zip(observations).zip(rules).zip(&self.blocks)
            {
                teach_moments(stats, observation, rules.metrics, view, is_near_recent);
            }
        }
    }
}

fn teach_moments(
    stats: &mut BlockStats,
    observation: &Observation,
    metrics: usize,
    view: &BlockView,
    is_near_recent: bool,
) {
    stats.near += 1;
    add_products(&mut stats.products, &observation.residual, metrics);
    for lane in 0..BLOCK {
        for (sum, value, scale) in [
            (&mut stats.apart[lane], observation.apart[lane], view.apart_scale[lane]),
            (&mut stats.band[lane], observation.band[lane], view.band_scale[lane]),
        ] {
            let value = (value.abs() * MEAN_TO_DEVIATION).min(SCALE_CLIP * scale);
            *sum += i64::from((value * (MOMENT_ROOTS * MOMENT_ROOTS)) as i32);
        }
    }
    if is_near_recent {
        stats.near_recent += 1;
        add_products(&mut stats.recent_products, &observation.recent, metrics);
    }
}

#[inline]
fn add(counts: &mut Flags, flags: &Flags) {
    for (count, flag) in counts.iter_mut().zip(flags) {
        *count += flag;
    }
}

/// Adds the products of the first `metrics` lanes to `sums`, in moment quanta.
#[inline]
fn add_products(sums: &mut [i64], of: &Lanes, metrics: usize) {
    let mut whole = [0i32; BLOCK];
    for lane in 0..BLOCK {
        whole[lane] = (of[lane].clamp(-MOMENT_CLIP, MOMENT_CLIP) * MOMENT_ROOTS) as i32;
    }
    let sums: &mut [i64; PAIRS] = sums.try_into().expect("a sum for each pair");
    for row in 0..metrics.min(BLOCK) {
        for column in row..metrics.min(BLOCK) {
            sums[pair(row, column)] += i64::from(whole[row] * whole[column]);
        }
    }
}

//! Sufficient statistics of the readings of a zone and tick (a minute, unless readings are rarer), until the tick is
//! closed: counts, sums and histograms.
//!
//! Invariant: everything is an integer (sums are in quanta, see [`MetricLayout`](crate::MetricLayout)), so that the
//! statistics of any number of workers merge in any order to the same bits. At most [`ROWS_MAX`] readings of a zone and
//! tick teach, so that no sum overflows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::layout::BLOCK;
use crate::member::TAILED;
use crate::tails::{BINS, bin};

/// Most readings of a zone and tick that teach, per partition.
pub const ROWS_MAX: u32 = 1 << 16;
/// Entries of the upper half of a block's matrix, the diagonal included.
pub(crate) const PAIRS: usize = BLOCK * (BLOCK + 1) / 2;
/// Units of a lane for second moments, per standard deviation; a product of two counts in [`MOMENT_QUANTUM`].
pub(crate) const MOMENT_ROOTS: f32 = 256.0;
/// Unit of the sums of second moments, in variances.
pub(crate) const MOMENT_QUANTUM: f32 = 1.0 / (MOMENT_ROOTS * MOMENT_ROOTS);
/// Unit of the sums of logarithms of scales.
pub(crate) const SCALE_QUANTUM: f64 = 1.0 / (1u64 << 32) as f64;
/// Bins of the histogram of the combined surprise, a tenth each.
pub(crate) const SURPRISE_BINS: usize = 128;
/// Bins for one unit of surprise.
pub(crate) const SURPRISES_PER_UNIT: f32 = 10.0;

/// Sufficient statistics of several zones and ticks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SufficientStats {
    /// By tick, the event time divided by [`Layout::tick_us`](crate::Layout::tick_us), then by zone.
    #[serde(with = "as_list")]
    pub by_tick: BTreeMap<(i64, Arc<str>), ZoneStats>,
}

impl SufficientStats {
    /// Adds the statistics of another worker, partition or batch.
    pub fn merge(&mut self, other: &SufficientStats) {
        for ((tick, zone), stats) in &other.by_tick {
            match self.by_tick.get_mut(&(*tick, zone.clone())) {
                Some(mine) => mine.merge(stats),
                None => {
                    self.by_tick.insert((*tick, zone.clone()), stats.clone());
                }
            }
        }
    }

    /// Adds the statistics of a zone and tick.
    pub fn add(&mut self, tick: i64, zone: &Arc<str>, stats: ZoneStats) {
        match self.by_tick.entry((tick, zone.clone())) {
            Entry::Occupied(mut mine) => mine.get_mut().merge(&stats),
            Entry::Vacant(free) => {
                free.insert(stats);
            }
        }
    }

    /// The statistics of a zone and tick.
    pub fn get(&self, tick: i64, zone: &Arc<str>) -> Option<&ZoneStats> {
        self.by_tick.get(&(tick, zone.clone()))
    }

    /// Removes and returns the statistics of all ticks before `tick`.
    pub fn take_before(&mut self, tick: i64) -> SufficientStats {
        let nobody: Arc<str> = Arc::from("");
        let kept = self.by_tick.split_off(&(tick, nobody));
        SufficientStats { by_tick: std::mem::replace(&mut self.by_tick, kept) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_tick.is_empty()
    }
}

/// Serialises a map as a list, for formats whose keys must be text.
mod as_list {
    use super::*;

    type Map = BTreeMap<(i64, Arc<str>), ZoneStats>;

    pub(super) fn serialize<S: serde::Serializer>(map: &Map, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Map, D::Error> {
        Ok(Vec::<((i64, Arc<str>), ZoneStats)>::deserialize(from)?.into_iter().collect())
    }
}

/// Sufficient statistics of one zone and tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneStats {
    /// Readings that taught.
    pub rows: u32,
    /// Readings that taught the level alone, because the zone's model was stale.
    pub(crate) stale: u32,
    pub(crate) blocks: Vec<BlockStats>,
    /// Counts by bin of the statistics with tails, one after the other.
    pub(crate) tail_counts: Histogram,
    /// Counts by bin of the combined surprise.
    pub(crate) surprises: Histogram,
}

/// Sufficient statistics of a block of metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlockStats {
    /// Readings with a value.
    pub(crate) present: [u32; BLOCK],
    /// Of these, with a residual beyond the scale.
    pub(crate) beyond: [u32; BLOCK],
    /// Sum of the logarithms of that scale, in [`SCALE_QUANTUM`].
    pub(crate) scale: [i64; BLOCK],
    /// Sum of levels (expected, plus the clipped residual), in the metric's quanta.
    pub(crate) level: [i64; BLOCK],
    /// The same with a wide clip: the zone's level even if the whole zone has moved.
    pub(crate) moved: [i64; BLOCK],
    /// Readings with a value that taught the level alone, and the sum of those levels.
    pub(crate) stale: [u32; BLOCK],
    pub(crate) stale_level: [i64; BLOCK],
    /// Repeated values in runs of at most [`crate::sensors::RUN_TAUGHT`] repeats.
    pub(crate) repeated: [u32; BLOCK],
    /// Readings that could have been such a repeat.
    pub(crate) chances: [u32; BLOCK],
    /// Readings in runs longer than that.
    pub(crate) in_long_run: [u32; BLOCK],
    /// Readings that teach the second moments.
    pub(crate) near: u32,
    /// Sums of products of residuals, upper half by rows, in moment quanta.
    pub(crate) products: Vec<i64>,
    /// Readings that teach the second moments of the recent averages.
    pub(crate) near_recent: u32,
    /// The same of the recent averages.
    pub(crate) recent_products: Vec<i64>,
    /// Sums of absolute values, in moment quanta: of the part of the slow averages that the other metrics do not
    /// explain, and of moves within minutes.
    pub(crate) apart: [i64; BLOCK],
    pub(crate) band: [i64; BLOCK],
}

impl BlockStats {
    fn merge(&mut self, other: &BlockStats) {
        add_counts(&mut self.present, &other.present);
        add_counts(&mut self.beyond, &other.beyond);
        add_sums(&mut self.scale, &other.scale);
        add_sums(&mut self.level, &other.level);
        add_sums(&mut self.moved, &other.moved);
        add_counts(&mut self.stale, &other.stale);
        add_sums(&mut self.stale_level, &other.stale_level);
        add_counts(&mut self.repeated, &other.repeated);
        add_counts(&mut self.chances, &other.chances);
        add_counts(&mut self.in_long_run, &other.in_long_run);
        self.near += other.near;
        add_lists(&mut self.products, &other.products, add_sums);
        self.near_recent += other.near_recent;
        add_lists(&mut self.recent_products, &other.recent_products, add_sums);
        add_sums(&mut self.apart, &other.apart);
        add_sums(&mut self.band, &other.band);
    }
}

impl ZoneStats {
    pub(crate) fn new(blocks: usize) -> ZoneStats {
        ZoneStats { blocks: vec![BlockStats::default(); blocks], ..ZoneStats::default() }
    }

    /// Whether nothing was taught.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0 && self.stale == 0
    }

    /// Allocates histograms and products, several kilobytes: statistics that hold levels alone do without.
    pub(crate) fn unfold(&mut self) {
        self.tail_counts.0.resize(TAILED * BINS, 0);
        self.surprises.0.resize(SURPRISE_BINS, 0);
        for block in &mut self.blocks {
            block.products.resize(PAIRS, 0);
            block.recent_products.resize(PAIRS, 0);
        }
    }

    /// Counts a value of a statistic whose tail is learnt.
    #[inline]
    pub(crate) fn count(&mut self, tail: usize, statistic: f32) {
        self.tail_counts.0[tail * BINS + bin(statistic)] += 1;
    }

    fn merge(&mut self, other: &ZoneStats) {
        self.rows += other.rows;
        self.stale += other.stale;
        for (mine, theirs) in self.blocks.iter_mut().zip(&other.blocks) {
            mine.merge(theirs);
        }
        add_lists(&mut self.tail_counts.0, &other.tail_counts.0, add_counts);
        add_lists(&mut self.surprises.0, &other.surprises.0, add_counts);
    }
}

/// Counts by bin. Serialised as pairs of bin and count, without the zeros.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Histogram(pub(crate) Vec<u32>);

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let counted = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        let pairs: Vec<(u32, u32)> = counted.map(|(bin, count)| (bin as u32, *count)).collect();
        (self.0.len() as u32, pairs).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Histogram, D::Error> {
        let (bins, pairs) = <(u32, Vec<(u32, u32)>)>::deserialize(from)?;
        let mut counts = vec![0; (bins as usize).min(TAILED * BINS)];
        for (bin, count) in pairs {
            if let Some(at) = counts.get_mut(bin as usize) {
                *at = count;
            }
        }
        Ok(Histogram(counts))
    }
}

/// Adds a list to another; each may still be empty.
fn add_lists<T: Clone>(mine: &mut Vec<T>, theirs: &[T], add: impl Fn(&mut [T], &[T])) {
    match mine.is_empty() {
        true => mine.extend_from_slice(theirs),
        false => add(mine, theirs),
    }
}

fn add_counts(mine: &mut [u32], theirs: &[u32]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

fn add_sums(mine: &mut [i64], theirs: &[i64]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

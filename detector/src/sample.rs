//! The training sample: at most so many rows of each of the last days, the same rows whichever worker takes it.
//!
//! Bottom-k sampling: each row has a hash of its sensor and time, and the rows with the least hashes of a day stay. So
//! rows of several partitions merge in any order to the same sample, and a row that comes twice counts once.
//!
//! Rows of high severity are left out of the training: the forest is to find such rows. If their share stays above
//! [`READMITTED_SHARE`] for three days in a row, they are the new normal and are used.

use std::collections::{BTreeMap, BTreeSet};

use citytide_domain::DAY_US;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// Share of severe rows in a day's sample above which the day counts towards readmission.
pub const READMITTED_SHARE: f64 = 0.2;
/// Number of such days in a row after which severe rows are readmitted.
const READMITTED_DAYS: usize = 3;

/// A row of the sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRow {
    /// Event time, microseconds.
    pub event_time_us: i64,
    /// Whether it was of high severity.
    pub is_severe: bool,
    /// The forest's features, as many as [`Layout::forest_features`].
    pub features: Vec<f32>,
}

/// A bounded sample of the last days' rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    per_day: usize,
    days: i64,
    /// By day: rows by their hash.
    by_day: BTreeMap<i64, BTreeMap<u64, SampleRow>>,
}

impl Sample {
    /// An empty sample of at most `rows_max` rows of the last `window_us` microseconds of event time.
    pub fn new(rows_max: usize, window_us: i64) -> Sample {
        let days = (window_us / DAY_US).max(1);
        Sample { per_day: (rows_max / days as usize).max(1), days, ..Sample::default() }
    }

    /// The hash by which a row is chosen: by its sensor's hash and its event time, microseconds.
    pub fn hash(sensor: u64, event_time_us: i64) -> u64 {
        let mut z = sensor ^ (event_time_us as u64).rotate_left(20) ^ 0x5851_f42d_4c95_7f2d;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Adds a row; it stays if its hash is among the least of its day.
    pub fn add(&mut self, hash: u64, row: SampleRow) {
        let rows = self.by_day.entry(row.event_time_us.div_euclid(DAY_US)).or_default();
        rows.insert(hash, row);
        if rows.len() > self.per_day {
            rows.pop_last();
        }
        while self.by_day.len() as i64 > self.days + 1 {
            self.by_day.pop_first();
        }
    }

    /// A filter, for one partition, of the rows that this sample may take.
    pub fn chosen(&self) -> Chosen {
        Chosen { per_day: self.per_day, by_day: BTreeMap::new() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.by_day.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_day.is_empty()
    }

    /// The rows of the training window that ends with `until_us`, by day and hash, without severe rows unless these are
    /// readmitted.
    pub fn rows(&self, until_us: i64) -> Vec<&SampleRow> {
        let from_us = until_us.saturating_sub(self.days * DAY_US);
        let in_window: Vec<Vec<&SampleRow>> = self
            .by_day
            .values()
            .map(|rows| {
                rows.values()
                    .filter(|row| row.event_time_us > from_us && row.event_time_us <= until_us)
                    .collect()
            })
            .filter(|rows: &Vec<&SampleRow>| !rows.is_empty())
            .collect();
        let is_severe_day = |rows: &Vec<&SampleRow>| {
            rows.iter().filter(|row| row.is_severe).count() as f64 > READMITTED_SHARE * rows.len() as f64
        };
        let last_days = in_window.iter().rev().take(READMITTED_DAYS);
        let is_readmitted = in_window.len() >= READMITTED_DAYS && last_days.clone().all(is_severe_day);
        in_window.into_iter().flatten().filter(|row| is_readmitted || !row.is_severe).collect()
    }

    /// An empty sample for a domain's settings.
    pub fn of(domain: &citytide_domain::Domain) -> Sample {
        Sample::new(domain.detector.train_rows_max, domain.detector.train_window_us)
    }

    /// Whether both have the same bounds.
    pub fn is_like(&self, other: &Sample) -> bool {
        (self.per_day, self.days) == (other.per_day, other.days)
    }

    /// Whether all rows have as many features as the layout's forest.
    pub fn fits(&self, layout: &Layout) -> bool {
        let mut rows = self.by_day.values().flat_map(BTreeMap::values);
        rows.all(|row| row.features.len() == layout.forest_features())
    }
}

/// Days for which a partition's offered hashes are kept.
const CHOSEN_DAYS: usize = 3;

/// Chooses the rows of a partition that are offered to a sample: those whose hash may still be among the least of their
/// day. Depends on the partition's rows alone, so that every run offers the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    per_day: usize,
    by_day: BTreeMap<i64, BTreeSet<u64>>,
}

impl Chosen {
    /// Whether both choose for samples of the same size.
    pub fn is_like(&self, other: &Chosen) -> bool {
        self.per_day == other.per_day
    }

    /// The greatest hash that the day of an event time still takes. It never rises.
    pub(crate) fn greatest(&self, event_time_us: i64) -> u64 {
        match self.by_day.get(&event_time_us.div_euclid(DAY_US)) {
            Some(hashes) if hashes.len() >= self.per_day => hashes.last().copied().unwrap_or(u64::MAX),
            _ => u64::MAX,
        }
    }

    /// Whether to offer a row of this hash and event time; notes the hash if so.
    pub(crate) fn choose(&mut self, hash: u64, event_time_us: i64) -> bool {
        if hash > self.greatest(event_time_us) {
            return false;
        }
        let hashes = self.by_day.entry(event_time_us.div_euclid(DAY_US)).or_default();
        hashes.insert(hash);
        if hashes.len() > self.per_day {
            hashes.pop_last();
        }
        while self.by_day.len() > CHOSEN_DAYS {
            self.by_day.pop_first();
        }
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::forest::tests::Numbers;

    /// A sample of so many rows of one day.
    pub(crate) fn filled(layout: &Layout, rows: usize) -> Sample {
        let mut sample = Sample::new(10_000, DAY_US);
        let mut numbers = Numbers(1);
        for offset in 0..rows {
            let features = (0..layout.forest_features()).map(|_| numbers.normal() as f32).collect();
            let row = SampleRow { event_time_us: offset as i64, is_severe: false, features };
            sample.add(Sample::hash(offset as u64, 0), row);
        }
        sample
    }

    fn row(event_time_us: i64, is_severe: bool) -> SampleRow {
        SampleRow { event_time_us, is_severe, features: vec![0.0] }
    }

    #[test]
    fn samples_merge_in_any_order_to_the_same_rows() {
        let mut whole = Sample::new(70, 7 * DAY_US);
        let (mut forwards, mut backwards) = (whole.clone(), whole.clone());
        let mut parts: [(Chosen, Vec<(u64, SampleRow)>); 3] = Default::default();
        parts.iter_mut().for_each(|(chosen, _)| *chosen = whole.chosen());
        for sensor in 0..3_000i64 {
            let row = row(sensor * DAY_US / 1_000, false);
            let hash = Sample::hash(sensor as u64, row.event_time_us);
            let (chosen, offered) = &mut parts[sensor as usize % 3];
            if chosen.choose(hash, row.event_time_us) {
                offered.push((hash, row.clone()));
            }
            whole.add(hash, row);
        }
        let offered = || parts.iter().flat_map(|(_, offered)| offered.iter().cloned());
        assert!(offered().count() < 1_000, "most rows are not offered");
        offered().for_each(|(hash, row)| forwards.add(hash, row));
        offered().collect::<Vec<_>>().into_iter().rev().for_each(|(hash, row)| backwards.add(hash, row));
        assert_eq!(forwards, backwards);
        assert_eq!(forwards, whole);
        assert_eq!(whole.len(), 30);
    }

    #[test]
    fn a_sample_stays_within_its_bounds_and_its_window() {
        let mut sample = Sample::new(70, 7 * DAY_US);
        for offset in 0..20_000i64 {
            sample.add(Sample::hash(offset as u64, 1), row(offset * DAY_US / 1_000, false));
        }
        assert!(sample.len() <= 80, "{}", sample.len());
        let rows = sample.rows(20 * DAY_US);
        assert!(rows.len() <= 70 && rows.iter().all(|row| row.event_time_us > 13 * DAY_US));
    }

    #[test]
    fn severe_rows_are_left_out_until_they_persist() {
        let mut sample = Sample::new(700, 7 * DAY_US);
        for offset in 0..200i64 {
            sample.add(Sample::hash(offset as u64, 0), row(offset, offset % 2 == 0));
        }
        let rows = sample.rows(DAY_US);
        assert!(rows.len() > 20 && rows.iter().all(|row| !row.is_severe));
        for day in 1..3i64 {
            for offset in 0..200 {
                sample.add(Sample::hash(offset as u64, day), row(day * DAY_US + offset, offset % 2 == 0));
            }
        }
        assert_eq!(sample.rows(3 * DAY_US).len(), 300);
    }
}

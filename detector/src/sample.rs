//! The rows that a training is made from: a bounded sample of the last days, the same whoever takes it.
//!
//! A row's place in the sample is a hash of its partition and offset; the least hashes of each day stay. So samples of
//! several workers merge in any order to the same one, and a row that comes twice counts once.
//!
//! Rows of high severity are set aside: they would teach the forest what it is to find. When a day's share of them is
//! still above [`READMITTED_SHARE`] on the third day in a row, they are the new normal and belong to the training.

use std::collections::BTreeMap;

use citytide_domain::DAY_US;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// Share of a day's sampled rows set aside, from which it counts towards readmission.
pub const READMITTED_SHARE: f64 = 0.2;
/// Days in a row after which rows set aside are readmitted.
const READMITTED_DAYS: usize = 3;

/// A row of the sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRow {
    /// Event time, microseconds.
    pub event_time_us: i64,
    /// Whether it was of high severity.
    pub is_severe: bool,
    /// What the forest sees of it.
    pub features: Vec<f32>,
}

/// A bounded sample of the last days' rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sample {
    per_day: usize,
    days: i64,
    /// By day: rows by their hash.
    by_day: BTreeMap<i64, BTreeMap<u64, SampleRow>>,
    /// Rows that came since they were last asked for.
    #[serde(skip)]
    new: Vec<(u64, SampleRow)>,
}

impl PartialEq for Sample {
    /// Whether the same rows are in it, however they came.
    fn eq(&self, other: &Sample) -> bool {
        (self.per_day, self.days, &self.by_day) == (other.per_day, other.days, &other.by_day)
    }
}

impl Sample {
    /// An empty sample of at most `rows_max` rows of the last `window_us` microseconds of event time.
    pub fn new(rows_max: usize, window_us: i64) -> Sample {
        let days = (window_us / DAY_US).max(1);
        Sample { per_day: (rows_max / days as usize).max(1), days, ..Sample::default() }
    }

    /// The hash by which a row is chosen.
    pub fn hash(partition: i32, offset: i64) -> u64 {
        let mut z = (offset as u64) ^ (partition as u64).rotate_left(40) ^ 0x5851_f42d_4c95_7f2d;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether a row of this hash and time would stay: to be asked before its features are put together.
    pub fn takes(&self, hash: u64, event_time_us: i64) -> bool {
        let greatest = self.greatest(event_time_us);
        hash < greatest || greatest == u64::MAX
    }

    /// The greatest hash of a day's rows once these are as many as there may be: it only falls.
    pub(crate) fn greatest(&self, event_time_us: i64) -> u64 {
        match self.by_day.get(&event_time_us.div_euclid(DAY_US)) {
            Some(rows) if rows.len() >= self.per_day => {
                rows.last_key_value().map_or(u64::MAX, |(greatest, _)| *greatest)
            }
            _ => u64::MAX,
        }
    }

    /// Takes a row, if it belongs into the sample.
    pub fn add(&mut self, hash: u64, row: SampleRow) {
        if !self.takes(hash, row.event_time_us) {
            return;
        }
        self.new.push((hash, row.clone()));
        let rows = self.by_day.entry(row.event_time_us.div_euclid(DAY_US)).or_default();
        rows.insert(hash, row);
        if rows.len() > self.per_day {
            rows.pop_last();
        }
        while self.by_day.len() as i64 > self.days + 1 {
            self.by_day.pop_first();
        }
    }

    /// The rows that came since this was last called, for a sample that is kept elsewhere: some of them may have been
    /// displaced by later ones.
    pub fn take_new(&mut self) -> Vec<(u64, SampleRow)> {
        std::mem::take(&mut self.new)
    }

    /// Takes in another sample of the same size.
    pub fn merge(&mut self, other: &Sample) {
        for rows in other.by_day.values() {
            for (hash, row) in rows {
                self.add(*hash, row.clone());
            }
        }
    }

    /// Rows now.
    pub fn len(&self) -> usize {
        self.by_day.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_day.is_empty()
    }

    /// The rows for a training that looks back from `until_us`, in the order of day and hash.
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

    /// Whether it is bounded as the other one.
    pub fn is_like(&self, other: &Sample) -> bool {
        (self.per_day, self.days) == (other.per_day, other.days)
    }

    /// Whether rows of this sample are of the layout's features.
    pub fn fits(&self, layout: &Layout) -> bool {
        let mut rows = self.by_day.values().flat_map(BTreeMap::values);
        rows.all(|row| row.features.len() == layout.forest_features())
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
            sample.add(Sample::hash(0, offset as i64), row);
        }
        sample
    }

    fn row(event_time_us: i64, is_severe: bool) -> SampleRow {
        SampleRow { event_time_us, is_severe, features: vec![0.0] }
    }

    #[test]
    fn samples_merge_in_any_order_to_the_same_rows() {
        let mut parts = vec![Sample::new(70, 7 * DAY_US); 3];
        let mut whole = Sample::new(70, 7 * DAY_US);
        for offset in 0..3_000i64 {
            let row = row(offset * DAY_US / 1_000, false);
            parts[offset as usize % 3].add(Sample::hash(0, offset), row.clone());
            whole.add(Sample::hash(0, offset), row);
        }
        let mut forwards = Sample::new(70, 7 * DAY_US);
        parts.iter().for_each(|part| forwards.merge(part));
        let mut backwards = Sample::new(70, 7 * DAY_US);
        parts.iter().rev().for_each(|part| backwards.merge(part));
        assert_eq!(forwards, backwards);
        assert_eq!(forwards, whole);
        assert_eq!(whole.len(), 30);
    }

    #[test]
    fn a_sample_stays_within_its_bounds_and_its_window() {
        let mut sample = Sample::new(70, 7 * DAY_US);
        for offset in 0..20_000i64 {
            sample.add(Sample::hash(1, offset), row(offset * DAY_US / 1_000, false));
        }
        assert!(sample.len() <= 80, "{}", sample.len());
        let rows = sample.rows(20 * DAY_US);
        assert!(rows.len() <= 70 && rows.iter().all(|row| row.event_time_us > 13 * DAY_US));
    }

    #[test]
    fn severe_rows_are_left_out_until_they_persist() {
        let mut sample = Sample::new(700, 7 * DAY_US);
        for offset in 0..200i64 {
            sample.add(Sample::hash(0, offset), row(offset, offset % 2 == 0));
        }
        let rows = sample.rows(DAY_US);
        assert!(rows.len() > 20 && rows.iter().all(|row| !row.is_severe));
        for day in 1..3i64 {
            for offset in 0..200 {
                sample.add(Sample::hash(day as i32, offset), row(day * DAY_US + offset, offset % 2 == 0));
            }
        }
        assert_eq!(sample.rows(3 * DAY_US).len(), 300);
    }
}

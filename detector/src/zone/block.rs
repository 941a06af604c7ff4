//! What is known of a block of eight metrics in a zone: levels, scales, repeats, second moments.

use super::calendar::{Calendar, DAY_BINS, DAY_HOURS, HALF_HOURS, HOURS};
use super::moments::Moments;
use crate::layout::{BLOCK, Lanes, Layout};

/// What is known of a block of metrics. Levels are on the judged scale of a metric, NaN where nothing is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ZoneBlock {
    /// Level by half-hour of the week, and by half-hour of the day.
    pub(crate) baseline: Vec<[f64; BLOCK]>,
    pub(crate) day: Vec<[f64; BLOCK]>,
    /// The first level ever seen.
    pub(crate) general: [f64; BLOCK],
    /// Offset of the zone from its baseline now.
    pub(crate) now: [f64; BLOCK],
    /// The same, followed slowly (see [`super::alarm`]), and the upper fifth of the distance from it.
    pub(crate) calm: [f64; BLOCK],
    pub(crate) stray: Lanes,
    /// Readings of the half-hour that is open: sum of levels, and count.
    pub(crate) bin_sum: [f64; BLOCK],
    pub(crate) bin_count: [f64; BLOCK],
    /// Upper fifth of the absolute residuals, by hour of the week, and over all.
    pub(crate) scale: Vec<Lanes>,
    pub(crate) scale_over_all: Lanes,
    /// Chance that a value repeats, by hour of the week.
    pub(crate) repeat: Vec<Lanes>,
    /// Share of readings in long runs of one value.
    pub(crate) still: Lanes,
    /// Second moments of residuals and of their recent averages, by hour of the day.
    pub(crate) moments: Vec<Moments>,
    pub(crate) recent_moments: Vec<Moments>,
    /// Standard deviation of the part of the slow average that the other metrics do not explain, and of the moves
    /// within minutes.
    pub(crate) apart_scale: Lanes,
    pub(crate) band_scale: Lanes,
    /// Readings of each metric.
    pub(crate) rows: [f64; BLOCK],
}

/// The source of a level, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Week,
    Day,
    General,
}

impl ZoneBlock {
    pub(super) fn new(layout: &Layout, block: usize) -> ZoneBlock {
        let metrics = layout.block(block);
        let first: Lanes =
            std::array::from_fn(|lane| metrics.get(lane).map_or(1.0, |metric| metric.scale_first));
        ZoneBlock {
            baseline: vec![[f64::NAN; BLOCK]; HALF_HOURS],
            day: vec![[f64::NAN; BLOCK]; DAY_BINS],
            general: [f64::NAN; BLOCK],
            now: [0.0; BLOCK],
            calm: [0.0; BLOCK],
            stray: first,
            bin_sum: [0.0; BLOCK],
            bin_count: [0.0; BLOCK],
            scale: vec![first; HOURS],
            scale_over_all: first,
            repeat: vec![[0.05; BLOCK]; HOURS],
            still: [0.0; BLOCK],
            moments: vec![Moments::new(metrics.len(), 1.0); DAY_HOURS],
            recent_moments: vec![Moments::new(metrics.len(), 0.4); DAY_HOURS],
            apart_scale: [0.5; BLOCK],
            band_scale: [0.3; BLOCK],
            rows: [0.0; BLOCK],
        }
    }

    /// How unsure the level is at a time, since the time of the step between two half-hours is unknown: the step,
    /// weighted by how near the time is to their edge.
    pub(crate) fn step(&self, lane: usize, at: &Calendar) -> f64 {
        let apart =
            |bins: &[[f64; BLOCK]], here: usize, there: usize| (bins[there][lane] - bins[here][lane]).abs();
        let apart = match self.baseline[at.bin][lane].is_nan() {
            true => apart(&self.day, at.bin % DAY_BINS, at.neighbour % DAY_BINS),
            false => apart(&self.baseline, at.bin, at.neighbour),
        };
        if apart.is_nan() { 0.0 } else { apart * at.towards }
    }

    /// The hour of the day whose moments are used at a time: its own, or the one before until it has been seen.
    pub(super) fn hour_of_day(&self, at: &Calendar) -> usize {
        let hour = at.hour % DAY_HOURS;
        let before = (hour + DAY_HOURS - 1) % DAY_HOURS;
        if self.moments[hour].rows == 0.0 { before } else { hour }
    }

    /// The level of a metric at a time, from the best source that has one, interpolated between half-hours; NaN if none
    /// has.
    pub(crate) fn level(&self, lane: usize, at: &Calendar) -> (f64, Source) {
        let blend = |here: f64, there: f64| {
            if there.is_nan() { here } else { here + (there - here) * at.towards }
        };
        let here = self.baseline[at.bin][lane];
        if !here.is_nan() {
            return (blend(here, self.baseline[at.neighbour][lane]), Source::Week);
        }
        let here = self.day[at.bin % DAY_BINS][lane];
        if !here.is_nan() {
            return (blend(here, self.day[at.neighbour % DAY_BINS][lane]), Source::Day);
        }
        (self.general[lane], Source::General)
    }
}

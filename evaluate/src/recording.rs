//! Scores a short recording as a whole: how unusual a row is among all rows of its series, the later ones included.
//!
//! A stream is scored by what was learnt before, and from a recording of some hours no baselines can be learnt. Instead
//! a running median is subtracted from each metric of a series, which removes the time of day and other slow changes.
//! The rest is scaled robustly, and its Mahalanobis distance becomes a surprise by a Weibull tail through the median
//! and the 90th percentile of all rows, so that a share of anomalies does not change it.
//!
//! No label is used. Not found are a shift of level that lasts longer than half of the running median's window, and a
//! stuck value unless the values around it move on.

use std::collections::VecDeque;

use citytide_detector::{CERTAIN, Layout, Member};

use crate::Table;
use crate::covariance::Moments;

/// Fewest rows of a series that is scored.
const ROWS_LEAST: usize = 50;
/// The running median spans this part of a series, within these numbers of rows: an event shorter than half of it
/// stands out.
const WINDOW_PART: usize = 8;
const WINDOW: (usize, usize) = (51, 1_001);
/// Most metrics that are used.
const METRICS_MAX: usize = 64;
/// Scaled values are clipped to this for the covariance.
const CLIP: f64 = 4.0;
/// Times that the covariance is computed, from the second time on without the farthest rows; share of rows that are
/// kept.
const ROUNDS: usize = 3;
const NEAREST: f64 = 0.9;
/// Share of a series' rows without a metric up to which such a row is certainly anomalous. A greater share makes it as
/// surprising as it is rare.
const MISSING_FEW: f64 = 0.001;
const SURPRISE_MAX: f64 = 30.0;

/// The surprise of a row and the member that found it.
pub type Surprise = (f32, Member);

/// The surprise of each row; 0 in series that are too short.
pub fn surprises(table: &Table) -> Vec<Surprise> {
    let rows = table.rows();
    let mut distances = vec![0.0; rows];
    let mut found = vec![(0.0, Member::Together); rows];
    for series in table.rows_by_series(0).into_iter().filter(|series| series.len() >= ROWS_LEAST) {
        let window = (series.len() / WINDOW_PART).clamp(WINDOW.0, WINDOW.1);
        let mut columns = Vec::new();
        for column in table.metrics.iter().take(METRICS_MAX) {
            let values: Vec<f64> = series.iter().map(|row| column[*row]).collect();
            let missing = values.iter().filter(|value| value.is_nan()).count();
            let share = missing as f64 / series.len() as f64;
            let surprise = if share <= MISSING_FEW { CERTAIN } else { -share.log10() as f32 };
            for (row, _) in series.iter().zip(&values).filter(|(_, value)| value.is_nan()) {
                if surprise > found[*row].0 {
                    found[*row] = (surprise, Member::Dropout);
                }
            }
            let medians = running_median(&values, window);
            let left: Vec<f64> = values.iter().zip(medians).map(|(value, median)| value - median).collect();
            columns.extend(scaled(&left));
        }
        for (row, distance) in series.iter().zip(distances_of(&columns, series.len())) {
            distances[*row] = distance;
        }
    }
    let tail = Tail::fit(&distances);
    for (found, distance) in found.iter_mut().zip(distances) {
        let surprise = tail.surprise(distance) as f32;
        if surprise > found.0 {
            *found = (surprise, Member::Together);
        }
    }
    found
}

/// The smallest threshold that keeps the share of false discoveries allowed (Benjamini and Hochberg) and flags no
/// larger share of rows than is expected to be anomalous.
pub fn threshold(surprises: &[Surprise], layout: &Layout) -> f32 {
    let mut sorted: Vec<f32> = surprises.iter().map(|(surprise, _)| *surprise).collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let rows = sorted.len() as f64;
    let is_allowed = |at: &usize| {
        let share = (at + 1) as f64 / rows;
        let by_chance = 10f64.powf(-f64::from(sorted[*at]));
        by_chance <= layout.false_discoveries * share && share <= layout.contamination
    };
    (0..sorted.len()).rev().find(is_allowed).map_or(f32::INFINITY, |at| sorted[at])
}

/// The median of the up to `window` values around each one, without missing ones; NaN if all are missing.
fn running_median(values: &[f64], window: usize) -> Vec<f64> {
    let half = window / 2;
    let mut sorted: Vec<f64> = Vec::with_capacity(window + 1);
    let mut inside: VecDeque<f64> = VecDeque::with_capacity(window + 1);
    let mut next = 0;
    let mut medians = Vec::with_capacity(values.len());
    for at in 0..values.len() {
        while next < values.len() && next <= at + half {
            let value = values[next];
            inside.push_back(value);
            if !value.is_nan() {
                sorted.insert(sorted.partition_point(|other| *other < value), value);
            }
            next += 1;
        }
        if at > half
            && let Some(value) = inside.pop_front()
            && !value.is_nan()
        {
            sorted.remove(sorted.partition_point(|other| *other < value));
        }
        medians.push(sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN));
    }
    medians
}

/// Values in robust standard deviations from their median, 0 if missing; `None` if all are equal.
fn scaled(values: &[f64]) -> Option<Vec<f64>> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    if sorted.is_empty() {
        return None;
    }
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let (middle, between) = (at(0.5), (at(0.75) - at(0.25)) / 1.349);
    let mut away: Vec<f64> = sorted.iter().map(|value| (value - middle).abs()).collect();
    let mean = away.iter().sum::<f64>() / away.len() as f64 * 1.2533;
    let half = away.len() / 2;
    let by_median = *away.select_nth_unstable_by(half, f64::total_cmp).1 * 1.4826;
    // In a metric that nearly always has the same value, the first scales are 0.
    let scale = [by_median, between, mean].into_iter().find(|scale| *scale > 0.0)?;
    Some(values.iter().map(|value| if value.is_nan() { 0.0 } else { (value - middle) / scale }).collect())
}

/// The Mahalanobis distance of each row, by the covariance of the nearest rows.
fn distances_of(columns: &[Vec<f64>], rows: usize) -> Vec<f64> {
    let mut distances = vec![0.0; rows];
    let mut nearest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let mut moments = Moments::new(columns.len());
        for row in (0..rows).filter(|row| distances[*row] <= nearest) {
            let clipped: Vec<f64> = columns.iter().map(|column| column[row].clamp(-CLIP, CLIP)).collect();
            moments.add(&clipped);
        }
        let Some(factor) = moments.factor() else { return distances };
        for (row, distance) in distances.iter_mut().enumerate() {
            *distance = factor.distance(&columns.iter().map(|column| column[row]).collect::<Vec<f64>>());
        }
        let mut sorted = distances.clone();
        nearest = *sorted.select_nth_unstable_by((rows as f64 * NEAREST) as usize, f64::total_cmp).1;
    }
    distances
}

/// A Weibull tail.
struct Tail {
    scale: f64,
    shape: f64,
}

impl Tail {
    /// Through the median and the 90th percentile; if these are degenerate, exponential by the mean.
    fn fit(values: &[f64]) -> Tail {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
        let (half, tenth) = (at(0.5), at(0.9));
        if half > 0.0 && tenth > half {
            let shape = (std::f64::consts::LN_10 / std::f64::consts::LN_2).ln() / (tenth / half).ln();
            return Tail { scale: half / std::f64::consts::LN_2.powf(1.0 / shape), shape };
        }
        Tail { scale: values.iter().sum::<f64>() / values.len() as f64, shape: 1.0 }
    }

    /// −log₁₀ of the probability of a value as large.
    fn surprise(&self, value: f64) -> f64 {
        if self.scale > 0.0 {
            ((value / self.scale).powf(self.shape) / std::f64::consts::LN_10).min(SURPRISE_MAX)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Numbers, build};

    #[test]
    fn the_running_median_is_that_of_the_values_around() {
        let values: Vec<f64> =
            (0..40).map(|at| if at == 7 { f64::NAN } else { f64::from(at * 31 % 17) }).collect();
        let medians = running_median(&values, 9);
        for (at, median) in medians.iter().enumerate() {
            let around = &values[at.saturating_sub(4)..(at + 5).min(values.len())];
            let mut sorted: Vec<f64> = around.iter().copied().filter(|value| !value.is_nan()).collect();
            sorted.sort_by(f64::total_cmp);
            assert_eq!(*median, sorted[sorted.len() / 2], "at {at}");
        }
    }

    #[test]
    fn a_level_shift_stands_out_against_its_surroundings() {
        let mut numbers = Numbers(5);
        let mut row = |step: usize, sensor: &'static str, level: f64| {
            let is_odd = sensor == "a" && (900..940).contains(&step);
            let wave = 2.0 * (step as f64 / 300.0).sin() + level;
            let heat = wave + 0.1 * numbers.normal() + if is_odd { 3.0 } else { 0.0 };
            (step as i64 * 5_000_000, sensor, is_odd.then_some("shift"), [heat, 4.0])
        };
        let rows: Vec<_> = (0..2_000).flat_map(|step| [row(step, "a", 0.0), row(step, "b", 30.0)]).collect();
        let table = build(&["heat", "still"], rows);
        let found = surprises(&table);
        let threshold = threshold(&found, &table.layout(None));
        let flagged = |is_odd: bool| {
            let rows = table.labels().into_iter().zip(&found).filter(|(label, _)| *label == is_odd);
            rows.filter(|(_, (surprise, _))| *surprise >= threshold).count()
        };
        assert_eq!(flagged(true), 40);
        assert!(flagged(false) < 10, "{} normal rows", flagged(false));
    }

    #[test]
    fn values_that_never_change_surprise_nobody() {
        let table = build(&["heat"], (0..100).map(|step| (step * 1_000_000, "all", None, [5.0])));
        let found = surprises(&table);
        assert!(found.iter().all(|(surprise, _)| *surprise == 0.0));
        assert!(found[0].0 < threshold(&found, &table.layout(None)));
    }
}

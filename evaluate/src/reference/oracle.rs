//! An oracle that looks at one reading at a time: how well knowing the labels would do.
//!
//! It is fitted on the rows that are labelled normal, over the whole table including the future: the level of each zone
//! at each hour of the day, the zone's deviation from it in each single hour, each sensor's offset, and the covariance
//! of the residuals by zone and hour of the day. The score of a row is its Mahalanobis distance; a metric that normal
//! rows nearly always have and this row lacks adds the largest distance.
//!
//! It is not an upper bound: what only shows over several readings (a stuck value, a slow drift) it cannot see.

use std::collections::HashMap;

use crate::Table;
use crate::covariance::{Factor, Moments};

/// Most metrics that are used.
const METRICS_MAX: usize = 64;
/// Number of rows at which a finer mean is weighted by one half.
const SHRINK: f64 = 20.0;
/// Share of normal rows with a metric above which a row without it is anomalous.
const PRESENT: f64 = 0.95;
/// Distance of a row per metric that it lacks.
const MISSING_DISTANCE: f64 = 1e6;
const HOUR_US: i64 = 3_600_000_000;

/// By key, then metric: the sum of the values and their number.
#[derive(Debug, Clone, Default)]
struct Means {
    by_key: HashMap<(u32, i64), Vec<(f64, f64)>>,
}

impl Means {
    /// The means of the residuals of normal rows by `key`, shrunk towards 0 if there are few: `shrink` counts as rows
    /// at 0.
    fn fit(
        residuals: &[Vec<f64>],
        is_normal: &[bool],
        key: &impl Fn(usize) -> (u32, i64),
        shrink: f64,
    ) -> Means {
        let mut means = Means::default();
        for row in (0..is_normal.len()).filter(|row| is_normal[*row]) {
            let sums = means.by_key.entry(key(row)).or_insert_with(|| vec![(0.0, shrink); residuals.len()]);
            for (sum, column) in sums.iter_mut().zip(residuals) {
                if !column[row].is_nan() {
                    *sum = (sum.0 + column[row], sum.1 + 1.0);
                }
            }
        }
        means
    }

    fn subtract(&self, residuals: &mut [Vec<f64>], key: &impl Fn(usize) -> (u32, i64)) {
        for row in 0..residuals.first().map_or(0, Vec::len) {
            let Some(means) = self.by_key.get(&key(row)) else { continue };
            for (column, (sum, count)) in residuals.iter_mut().zip(means) {
                column[row] -= if *count > 0.0 { sum / count } else { 0.0 };
            }
        }
    }
}

/// Scores all rows.
pub fn score(table: &Table) -> Vec<f32> {
    let is_normal: Vec<bool> = table.kinds.iter().map(Option::is_none).collect();
    let metrics = table.metrics.len().min(METRICS_MAX);
    let mut residuals: Vec<Vec<f64>> = table.metrics[..metrics].to_vec();
    let hour = |row: usize| table.event_times_us[row].div_euclid(HOUR_US);
    let of_day = |row: usize| (table.zones[row], hour(row).rem_euclid(24));
    let of_zone = |row: usize| (table.zones[row], 0);
    // From coarse to fine: an hour of the day without a normal row has at least the mean of the zone.
    Means::fit(&residuals, &is_normal, &of_zone, 0.0).subtract(&mut residuals, &of_zone);
    Means::fit(&residuals, &is_normal, &of_day, SHRINK).subtract(&mut residuals, &of_day);
    let of_hour = |row: usize| (table.zones[row], hour(row));
    Means::fit(&residuals, &is_normal, &of_hour, SHRINK).subtract(&mut residuals, &of_hour);
    let of_sensor = |row: usize| (table.series[row], 0);
    Means::fit(&residuals, &is_normal, &of_sensor, SHRINK).subtract(&mut residuals, &of_sensor);

    let mut moments: HashMap<(u32, i64), Moments> = HashMap::new();
    let mut present = vec![(0.0, 0.0); metrics];
    let mut row_of = vec![0.0; metrics];
    for row in (0..table.rows()).filter(|row| is_normal[*row]) {
        for (at, column) in residuals.iter().enumerate() {
            present[at] = (present[at].0 + f64::from(!column[row].is_nan()), present[at].1 + 1.0);
            row_of[at] = if column[row].is_nan() { 0.0 } else { column[row] };
        }
        for key in [(table.zones[row], -1), of_day(row)] {
            moments.entry(key).or_insert_with(|| Moments::new(metrics)).add(&row_of);
        }
    }
    let is_expected: Vec<bool> = present.iter().map(|(with, of)| *with > PRESENT * of).collect();
    let factors: HashMap<(u32, i64), Option<Factor>> =
        moments.iter().map(|(key, moments)| (*key, moments.factor())).collect();
    let distance = |row: usize| {
        for (value, column) in row_of.iter_mut().zip(&residuals) {
            *value = if column[row].is_nan() { 0.0 } else { column[row] };
        }
        let factor = factors.get(&of_day(row)).and_then(Option::as_ref);
        let factor = factor.or_else(|| factors.get(&(table.zones[row], -1)).and_then(Option::as_ref));
        let missing =
            residuals.iter().zip(&is_expected).filter(|(column, is)| **is && column[row].is_nan()).count();
        let within = factor.map_or(0.0, |factor| factor.distance(&row_of));
        (within + missing as f64 * MISSING_DISTANCE) as f32
    };
    (0..table.rows()).map(distance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Numbers, build};

    #[test]
    fn it_sees_what_breaks_a_correlation_and_what_is_missing() {
        let mut numbers = Numbers(3);
        let row = |minute: i64| {
            let hour = (minute / 60 % 24) as f64;
            let (a, b) = (hour + 0.1 * numbers.normal(), 0.02 * numbers.normal());
            let (kind, values) = match minute {
                700 => (Some("broken"), [hour + 0.25, 2.0 * hour - 0.25]),
                701 => (Some("missing"), [f64::NAN, 2.0 * hour]),
                _ => (None, [a, 2.0 * hour + (a - hour) + b]),
            };
            (minute * 60_000_000, "all", kind, values)
        };
        let scores = score(&build(&["a", "b"], (0..2_000).map(row)));
        let of_normal = (0..2_000).filter(|row| !(700..=701).contains(row)).map(|row| scores[row]);
        let greatest = of_normal.fold(0.0, f32::max);
        assert!(scores[700] > 2.0 * greatest, "{} and {greatest}", scores[700]);
        assert!(scores[701] > 1e5);
    }

    #[test]
    fn a_metric_that_never_moves_does_no_harm() {
        let row = |minute: i64| {
            let value = if minute == 100 { 50.0 } else { (minute % 7) as f64 };
            (minute * 60_000_000, "all", (minute == 100).then_some("spike"), [value, 3.0])
        };
        let scores = score(&build(&["a", "b"], (0..200).map(row)));
        assert!(scores.iter().all(|score| score.is_finite()));
        assert!((0..200).all(|row| row == 100 || scores[row] < scores[100]));
    }
}

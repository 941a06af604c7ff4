//! What knowing the truth about each moment would give: a pointwise oracle.
//!
//! It is told which rows are normal, and learns from these alone, over the whole table and its future: the level of each
//! zone at each hour of the day, how far the zone was from it in this very hour, each sensor's offset, and the
//! covariance of what is left, by zone and hour of the day. A row's score is its Mahalanobis distance; a metric that
//! normal rows nearly always have and this one lacks is as odd as can be.
//!
//! It is no upper bound: it looks at one reading at a time, and what is seen over several (a value that stands still, a
//! slow drift) it does not see.

use std::collections::HashMap;

use super::table::Table;

/// Most metrics that are looked at.
const METRICS_MAX: usize = 64;
/// Normal rows that a finer mean needs to count for half.
const SHRINK: f64 = 20.0;
/// Share of normal rows from which a metric is missed.
const PRESENT: f64 = 0.95;
/// The distance of a row that lacks such a metric.
const MISSED: f64 = 1e6;
/// Part of a variance that is added to it, so that the covariance of metrics that go together perfectly has an inverse.
const RIDGE: f64 = 1e-3;
const HOUR_US: i64 = 3_600_000_000;

/// Sums of values by metric, and how many there were.
#[derive(Debug, Clone, Default)]
struct Means {
    by_key: HashMap<(u32, i64), Vec<(f64, f64)>>,
}

impl Means {
    /// The mean of the residuals that normal rows have by `key`; shrunk towards nothing where there are few.
    fn learn(
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

    /// Takes the means off the residuals.
    fn take_off(&self, residuals: &mut [Vec<f64>], key: &impl Fn(usize) -> (u32, i64)) {
        for row in 0..residuals.first().map_or(0, Vec::len) {
            let Some(means) = self.by_key.get(&key(row)) else { continue };
            for (column, (sum, count)) in residuals.iter_mut().zip(means) {
                column[row] -= if *count > 0.0 { sum / count } else { 0.0 };
            }
        }
    }
}

/// Scores of all rows, by someone who knows which are normal.
pub fn oracle(table: &Table) -> Vec<f32> {
    let is_normal: Vec<bool> = table.kinds.iter().map(Option::is_none).collect();
    let metrics = table.metrics.len().min(METRICS_MAX);
    let mut residuals: Vec<Vec<f64>> = table.metrics[..metrics].to_vec();
    let hour = |row: usize| table.event_times_us[row].div_euclid(HOUR_US);
    let of_day = |row: usize| (table.zones[row], hour(row).rem_euclid(24));
    let of_zone = |row: usize| (table.zones[row], 0);
    // Coarse to fine: an hour of the day that no normal row shows has the zone's mean at least.
    Means::learn(&residuals, &is_normal, &of_zone, 0.0).take_off(&mut residuals, &of_zone);
    Means::learn(&residuals, &is_normal, &of_day, SHRINK).take_off(&mut residuals, &of_day);
    let of_hour = |row: usize| (table.zones[row], hour(row));
    Means::learn(&residuals, &is_normal, &of_hour, SHRINK).take_off(&mut residuals, &of_hour);
    let of_sensor = |row: usize| (table.series[row], 0);
    Means::learn(&residuals, &is_normal, &of_sensor, SHRINK).take_off(&mut residuals, &of_sensor);

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
    let is_missed: Vec<bool> = present.iter().map(|(with, of)| *with > PRESENT * of).collect();
    let factors: HashMap<(u32, i64), Option<Factor>> =
        moments.iter().map(|(key, moments)| (*key, moments.factor())).collect();
    let score = |row: usize| {
        for (value, column) in row_of.iter_mut().zip(&residuals) {
            *value = if column[row].is_nan() { 0.0 } else { column[row] };
        }
        let factor = factors.get(&of_day(row)).and_then(Option::as_ref);
        let factor = factor.or_else(|| factors.get(&(table.zones[row], -1)).and_then(Option::as_ref));
        let missed =
            residuals.iter().zip(&is_missed).filter(|(column, is)| **is && column[row].is_nan()).count();
        let distance = factor.map_or(0.0, |factor| factor.distance(&row_of));
        (distance + missed as f64 * MISSED) as f32
    };
    (0..table.rows()).map(score).collect()
}

/// Second moments of residuals, whose mean is nothing.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    count: f64,
    /// Row by row, the lower triangle.
    products: Vec<Vec<f64>>,
}

impl Moments {
    /// Of no row yet.
    pub(super) fn new(metrics: usize) -> Moments {
        Moments { count: 0.0, products: (0..metrics).map(|row| vec![0.0; row + 1]).collect() }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, residual: &[f64]) {
        self.count += 1.0;
        for (row, products) in self.products.iter_mut().enumerate() {
            for (column, product) in products.iter_mut().enumerate() {
                *product += residual[row] * residual[column];
            }
        }
    }

    /// The Cholesky factor of the covariance; `None` from too few rows.
    pub(super) fn factor(&self) -> Option<Factor> {
        let size = self.products.len();
        if self.count < 5.0 * size as f64 + 10.0 {
            return None;
        }
        let mut lower = self.products.clone();
        for row in 0..size {
            for column in 0..=row {
                let mut value = self.products[row][column] / self.count;
                if row == column {
                    // A metric that never moves has some small spread.
                    value = value.max(1e-12) * (1.0 + RIDGE);
                }
                let known: f64 = (0..column).map(|at| lower[row][at] * lower[column][at]).sum();
                lower[row][column] = if row == column {
                    (value - known).max(RIDGE * RIDGE * value).sqrt()
                } else {
                    (value - known) / lower[column][column]
                };
            }
        }
        Some(Factor { lower })
    }
}

/// A lower triangle of which the square is a covariance.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    lower: Vec<Vec<f64>>,
}

impl Factor {
    /// Mahalanobis' distance.
    pub(super) fn distance(&self, residual: &[f64]) -> f64 {
        let mut solved: Vec<f64> = Vec::with_capacity(residual.len());
        for (row, value) in self.lower.iter().zip(residual) {
            let known: f64 = row.iter().zip(&solved).map(|(factor, value)| factor * value).sum();
            let diagonal = row.last().copied().unwrap_or(1.0);
            solved.push((value - known) / diagonal);
        }
        solved.iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Gathered, Row};
    use super::*;
    use crate::forest::tests::Numbers;

    #[test]
    fn it_sees_what_breaks_a_correlation_and_what_is_missing() {
        let mut numbers = Numbers(3);
        let mut gathered = Gathered::new(2);
        for minute in 0..2_000i64 {
            let hour = (minute / 60 % 24) as f64;
            let (a, b) = (hour + 0.1 * numbers.normal(), 0.02 * numbers.normal());
            let (kind, values) = match minute {
                700 => (Some("broken"), [hour + 0.25, 2.0 * hour - 0.25]),
                701 => (Some("missing"), [f64::NAN, 2.0 * hour]),
                _ => (None, [a, 2.0 * hour + (a - hour) + b]),
            };
            let (line, at_us) = (minute as usize + 2, minute * 60_000_000);
            let row = Row { line, at_us, zone: "all", sensor: "all", kind };
            gathered.push(row, values.into_iter()).expect("few kinds");
        }
        let names = ["a", "b"].map(|name| Some(name.to_owned())).to_vec();
        let scores = oracle(&gathered.table(names).expect("rows"));
        let of_normal = (0..2_000).filter(|row| !(700..=701).contains(row)).map(|row| scores[row]);
        let greatest = of_normal.fold(0.0, f32::max);
        assert!(scores[700] > 2.0 * greatest, "{} and {greatest}", scores[700]);
        assert!(scores[701] > 1e5);
    }

    #[test]
    fn a_metric_that_never_moves_does_no_harm() {
        let mut gathered = Gathered::new(2);
        for minute in 0..200i64 {
            let kind = (minute == 100).then_some("spike");
            let value = if minute == 100 { 50.0 } else { (minute % 7) as f64 };
            let (line, at_us) = (minute as usize + 2, minute * 60_000_000);
            let row = Row { line, at_us, zone: "all", sensor: "all", kind };
            gathered.push(row, [value, 3.0].into_iter()).expect("few kinds");
        }
        let names = ["a", "b"].map(|name| Some(name.to_owned())).to_vec();
        let scores = oracle(&gathered.table(names).expect("rows"));
        assert!(scores.iter().all(|score| score.is_finite()));
        assert!((0..200).all(|row| row == 100 || scores[row] < scores[100]));
    }
}

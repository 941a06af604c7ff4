//! What any detector must be held against: simple ones, on the same rows. None of them sees a label.
//!
//! Each learns from the rows before the first that is scored, and where there are none from all rows: the middle and scale
//! of each zone's metrics (median and median absolute deviation), principal components, a forest on raw values the way
//! the usual tutorial does it.

use std::collections::HashMap;

use super::table::Table;
use crate::forest::{Block, FEATURES_MAX, Forest, ForestOptions, LANES, fit};
use crate::sample::Sample;

/// Readings of a sensor in one window of the principal components.
const WINDOW: usize = 8;
/// Most windows, and rows of a forest, that are learnt from; which ones is drawn by a hash of the row, for steps of a
/// fixed length would meet the same sensors again and again.
const LEARNT_MAX: usize = 20_000;
/// Trees of the forest on raw values: so many that two fits rank alike.
const RAW_TREES: usize = 500;
/// Forests that share them where there are more metrics than one takes.
const RAW_FORESTS: usize = 20;
/// Share of the variance that the kept components hold.
const KEPT: f64 = 0.9;
/// Most dimensions of a window: its metrics are cut to what fits.
const DIMENSIONS_MAX: usize = 64;
/// Factor from a median absolute deviation to a standard deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;
/// Standardised values are clipped to this for the principal components.
const CLIP: f64 = 10.0;

/// Middle and scale of each metric in each zone.
#[derive(Debug)]
pub struct Scales {
    by_zone: Vec<Vec<(f64, f64)>>,
}

impl Scales {
    /// From the rows that teach.
    pub fn learn(table: &Table, from: usize) -> Scales {
        let teach = teaching(table, from);
        let mut by_zone = vec![Vec::new(); table.zone_names.len()];
        for column in &table.metrics {
            let mut values: Vec<Vec<f64>> = vec![Vec::new(); table.zone_names.len()];
            for (zone, value) in table.zones[..teach].iter().zip(column).filter(|(_, value)| !value.is_nan())
            {
                values[*zone as usize].push(*value);
            }
            for (zone, mut values) in by_zone.iter_mut().zip(values) {
                let middle = median(&mut values);
                values.iter_mut().for_each(|value| *value = (*value - middle).abs());
                let scale = median(&mut values) * MAD_TO_DEVIATION;
                zone.push((middle, if scale > 0.0 { scale } else { 1.0 }));
            }
        }
        Scales { by_zone }
    }

    /// A value in standard deviations from its zone's middle; 0 where missing.
    fn standard(&self, table: &Table, metric: usize, row: usize) -> f64 {
        let (middle, scale) = self.by_zone[table.zones[row] as usize][metric];
        let value = table.metrics[metric][row];
        if value.is_nan() || middle.is_nan() { 0.0 } else { (value - middle) / scale }
    }
}

/// Rows that teach, from the first on: those before `from`, or all.
pub fn teaching(table: &Table, from: usize) -> usize {
    if from == 0 { table.rows() } else { from }
}

/// Whether a row is drawn among so many.
fn is_drawn(row: usize, of: usize) -> bool {
    of <= LEARNT_MAX || Sample::hash(0, row as i64) % (of as u64) < LEARNT_MAX as u64
}

fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let at = values.len() / 2;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

/// The largest deviation of a metric from its zone's middle.
pub fn largest(table: &Table, scales: &Scales) -> Vec<f32> {
    let row = |row: usize| {
        let all = (0..table.metrics.len()).map(|metric| scales.standard(table, metric, row).abs());
        all.fold(0.0, f64::max) as f32
    };
    (0..table.rows()).map(row).collect()
}

/// An isolation forest on raw values, one for all zones, missing values at the zone's middle. Where there are more
/// metrics than a forest takes, several forests share the trees, each on metrics drawn at random.
pub fn forest_on_raw(
    table: &Table,
    scales: &Scales,
    from: usize,
    options: &ForestOptions,
) -> Option<Vec<f32>> {
    let value = |metric: usize, row: usize| {
        let value = table.metrics[metric][row];
        let middle = scales.by_zone[table.zones[row] as usize][metric].0;
        if value.is_nan() { if middle.is_nan() { 0.0 } else { middle as f32 } } else { value as f32 }
    };
    let teach = teaching(table, from);
    let taught: Vec<usize> = (0..teach).filter(|row| is_drawn(*row, teach)).collect();
    let drawn = draws(table.metrics.len());
    let options = ForestOptions { trees: RAW_TREES / drawn.len(), ..*options };
    let mut sums = vec![0.0; table.rows()];
    for metrics in &drawn {
        let of_row = |row: &usize| metrics.iter().map(|metric| value(*metric, *row)).collect::<Vec<f32>>();
        let rows: Vec<f32> = taught.iter().flat_map(of_row).collect();
        let forest: Forest = fit(&rows, metrics.len(), &options).ok()?;
        let mut block = Block::default();
        for (at, sums) in sums.chunks_mut(LANES).enumerate() {
            for lane in 0..sums.len() {
                for (feature, metric) in metrics.iter().enumerate() {
                    block.set(lane, feature, value(*metric, at * LANES + lane));
                }
            }
            sums.iter_mut().zip(forest.score(&block)).for_each(|(sum, score)| *sum += score);
        }
    }
    sums.iter_mut().for_each(|sum| *sum /= drawn.len() as f32);
    Some(sums)
}

/// The metrics of each forest.
fn draws(metrics: usize) -> Vec<Vec<usize>> {
    if metrics <= FEATURES_MAX {
        return vec![(0..metrics).collect()];
    }
    let of_forest = |forest: usize| {
        let mut order: Vec<usize> = (0..metrics).collect();
        order.sort_by_key(|metric| Sample::hash(forest as i32 + 1, *metric as i64));
        order.truncate(FEATURES_MAX);
        order
    };
    (0..RAW_FORESTS).map(of_forest).collect()
}

/// The error of rebuilding a sensor's last eight readings from principal components.
pub fn windowed_pca(table: &Table, scales: &Scales, from: usize) -> Vec<f32> {
    let teach = teaching(table, from);
    let mut windows = Vec::new();
    each_window(table, scales, 0..teach, |row, window| {
        if is_drawn(row, teach) {
            windows.push(window.to_vec());
        }
    });
    let size = WINDOW * window_metrics(table);
    let components = Components::learn(&windows, size);
    let mut scores = vec![0.0; table.rows()];
    each_window(table, scales, 0..table.rows(), |row, window| scores[row] = components.error(window) as f32);
    scores
}

fn window_metrics(table: &Table) -> usize {
    table.metrics.len().min(DIMENSIONS_MAX / WINDOW)
}

/// Hands over each row with its sensor's last eight readings, standardised and end to end, once there are so many.
fn each_window(
    table: &Table,
    scales: &Scales,
    rows: std::ops::Range<usize>,
    mut take: impl FnMut(usize, &[f64]),
) {
    let metrics = window_metrics(table);
    let size = metrics * WINDOW;
    let mut last: HashMap<u32, Vec<f64>> = HashMap::new();
    for row in rows {
        let window = last.entry(table.series[row]).or_default();
        if window.len() == size {
            window.drain(..metrics);
        }
        window.extend((0..metrics).map(|metric| scales.standard(table, metric, row).clamp(-CLIP, CLIP)));
        if window.len() == size {
            take(row, window);
        }
    }
}

/// Mean and principal components of windows.
struct Components {
    mean: Vec<f64>,
    kept: Vec<Vec<f64>>,
}

impl Components {
    fn learn(windows: &[Vec<f64>], size: usize) -> Components {
        let count = windows.len().max(1) as f64;
        let mean: Vec<f64> =
            (0..size).map(|at| windows.iter().map(|window| window[at]).sum::<f64>() / count).collect();
        let mut covariance = vec![vec![0.0; size]; size];
        for window in windows {
            for row in 0..size {
                for column in 0..size {
                    covariance[row][column] +=
                        (window[row] - mean[row]) * (window[column] - mean[column]) / count;
                }
            }
        }
        let (values, vectors) = eigen(covariance);
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
        let all: f64 = values.iter().sum();
        let mut held = 0.0;
        let mut kept = Vec::new();
        for at in order {
            if held >= KEPT * all {
                break;
            }
            held += values[at];
            kept.push(vectors.iter().map(|row| row[at]).collect());
        }
        Components { mean, kept }
    }

    fn error(&self, window: &[f64]) -> f64 {
        let mut left: Vec<f64> = window.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect();
        for component in &self.kept {
            let along: f64 = left.iter().zip(component).map(|(value, axis)| value * axis).sum();
            left.iter_mut().zip(component).for_each(|(value, axis)| *value -= along * axis);
        }
        left.iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

/// Eigenvalues and, by column, eigenvectors of a symmetric matrix, by Jacobi's rotations.
fn eigen(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    /// Sweeps over all pairs; six are enough for matrices of this size.
    const SWEEPS: usize = 12;
    let size = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..size).map(|row| (0..size).map(|column| f64::from(row == column)).collect()).collect();
    for _ in 0..SWEEPS {
        for p in 0..size {
            for q in p + 1..size {
                if matrix[p][q].abs() < 1e-12 {
                    continue;
                }
                let angle = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let tangent = angle.signum() / (angle.abs() + (angle * angle + 1.0).sqrt());
                let tangent = if angle == 0.0 { 1.0 } else { tangent };
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for row in matrix.iter_mut().chain(&mut vectors) {
                    let (a, b) = (row[p], row[q]);
                    (row[p], row[q]) = (cosine * a - sine * b, sine * a + cosine * b);
                }
                for column in 0..size {
                    let (a, b) = (matrix[p][column], matrix[q][column]);
                    matrix[p][column] = cosine * a - sine * b;
                    matrix[q][column] = sine * a + cosine * b;
                }
            }
        }
    }
    ((0..size).map(|at| matrix[at][at]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Ranking;
    use super::super::table::{Gathered, Row};
    use super::*;
    use crate::forest::tests::Numbers;

    #[test]
    fn eigenvectors_rebuild_the_matrix() {
        let matrix = vec![vec![4.0, 1.0, -2.0], vec![1.0, 3.0, 0.5], vec![-2.0, 0.5, 5.0]];
        let (values, vectors) = eigen(matrix.clone());
        for row in 0..3 {
            for column in 0..3 {
                let rebuilt: f64 = (0..3).map(|at| values[at] * vectors[row][at] * vectors[column][at]).sum();
                assert!((rebuilt - matrix[row][column]).abs() < 1e-9);
            }
        }
    }

    /// scikit-learn 1.9: `IsolationForest(n_estimators=500)` reaches 0.942 on these rows, with a standard deviation of 0.002
    /// over twenty seeds.
    #[test]
    fn the_forest_on_raw_values_ranks_as_scikit_learns_does() {
        let mut numbers = Numbers(17);
        let auroc = auroc_on_raw(6, |row, metric, is_odd| {
            let middle = (row % 3) as f64 * if metric % 2 == 0 { 4.0 } else { -4.0 };
            middle + if is_odd { 2.2 } else { 1.0 } * numbers.normal()
        });
        assert!((auroc - 0.942).abs() < 0.01, "{auroc}");
    }

    /// scikit-learn 1.9.1: `IsolationForest(n_estimators=500)` reaches 0.661 on these rows, with a standard deviation of
    /// 0.003 over ten seeds. Splits on metrics that are constant among a node's rows must not use up depth.
    #[test]
    fn the_forest_on_mostly_zeros_ranks_as_scikit_learns_does() {
        let mut numbers = Numbers(18);
        let auroc = auroc_on_raw(16, |_, _, is_odd| {
            let value = if is_odd { 2.0 } else { 1.0 } * numbers.uniform();
            if numbers.uniform() < 0.1 { value } else { 0.0 }
        });
        assert!((auroc - 0.661).abs() < 0.01, "{auroc}");
    }

    /// AUROC of the forest on 3,000 rows, of which every twentieth is odd.
    fn auroc_on_raw(metrics: usize, mut value: impl FnMut(usize, usize, bool) -> f64) -> f64 {
        let mut gathered = Gathered::new(metrics);
        for row in 0..3_000usize {
            let is_odd = row % 20 == 0;
            let values: Vec<f64> = (0..metrics).map(|metric| value(row, metric, is_odd)).collect();
            let (line, at_us) = (row + 2, row as i64 * 1_000_000);
            let kind = is_odd.then_some("odd");
            let row = Row { line, at_us, zone: "all", sensor: "all", kind };
            gathered.push(row, values.into_iter()).expect("few kinds");
        }
        let names = (0..metrics).map(|metric| Some(format!("x{metric}"))).collect();
        let table = gathered.table(names).expect("rows");
        let scales = Scales::learn(&table, 0);
        let scores = forest_on_raw(&table, &scales, 0, &ForestOptions::default()).expect("rows enough");
        Ranking::new(&scores, &table.labels()).auroc().expect("both labels")
    }

    #[test]
    fn each_of_many_metrics_is_in_some_forest() {
        assert_eq!(draws(5), [[0, 1, 2, 3, 4]]);
        let drawn = draws(64);
        assert!(drawn.iter().all(|metrics| metrics.len() == FEATURES_MAX));
        assert!((0..64).all(|metric| drawn.iter().any(|metrics| metrics.contains(&metric))));
    }

    #[test]
    fn a_window_off_the_components_has_the_larger_error() {
        let windows: Vec<Vec<f64>> = (0..200)
            .map(|step| {
                let value = f64::from(step) / 50.0 - 2.0;
                vec![value, 2.0 * value, 0.01 * f64::from(step % 3)]
            })
            .collect();
        let components = Components::learn(&windows, 3);
        assert!(components.error(&[1.0, 2.0, 0.0]) < 0.1);
        assert!(components.error(&[1.0, -2.0, 0.0]) > 1.0);
    }
}

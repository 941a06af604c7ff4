//! Principal components over windows of a sensor's readings: the reconstruction error of the newest window.

use std::collections::HashMap;
use std::ops::Range;

use super::is_sampled;
use super::scales::Scales;
use crate::Table;

/// Readings of a sensor in a window.
const WINDOW: usize = 8;
/// Share of the variance that the kept components explain.
const KEPT: f64 = 0.9;
/// Most values in a window: more metrics than fit are left out.
const DIMENSIONS_MAX: usize = 64;
/// Standardised values are clipped to this.
const CLIP: f64 = 10.0;

/// For each row, the error of reconstructing its sensor's last readings from the components; 0 until there are enough.
/// The components are fitted on the first `fitted` rows.
pub fn score(table: &Table, scales: &Scales, fitted: usize) -> Vec<f32> {
    let mut windows = Vec::new();
    each_window(table, scales, 0..fitted, |row, window| {
        if is_sampled(row, fitted) {
            windows.push(window.to_vec());
        }
    });
    let components = Components::fit(&windows, WINDOW * window_metrics(table));
    let mut scores = vec![0.0; table.rows()];
    each_window(table, scales, 0..table.rows(), |row, window| scores[row] = components.error(window) as f32);
    scores
}

fn window_metrics(table: &Table) -> usize {
    table.metrics.len().min(DIMENSIONS_MAX / WINDOW)
}

/// Calls `visit` with each row and its sensor's last readings, standardised, oldest first, once there are enough.
fn each_window(table: &Table, scales: &Scales, rows: Range<usize>, mut visit: impl FnMut(usize, &[f64])) {
    let metrics = window_metrics(table);
    let size = metrics * WINDOW;
    let mut last: HashMap<u32, Vec<f64>> = HashMap::new();
    for row in rows {
        let window = last.entry(table.series[row]).or_default();
        if window.len() == size {
            window.drain(..metrics);
        }
        window.extend((0..metrics).map(|metric| scales.standardised(table, metric, row).clamp(-CLIP, CLIP)));
        if window.len() == size {
            visit(row, window);
        }
    }
}

/// Mean and principal components of windows.
struct Components {
    mean: Vec<f64>,
    kept: Vec<Vec<f64>>,
}

impl Components {
    fn fit(windows: &[Vec<f64>], size: usize) -> Components {
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

/// Eigenvalues and, by column, eigenvectors of a symmetric matrix, by Jacobi rotations.
#[expect(clippy::needless_range_loop, reason = "a rotation changes two rows and two columns at once")]
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
    use super::*;

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

    #[test]
    fn a_window_off_the_components_has_the_larger_error() {
        let windows: Vec<Vec<f64>> = (0..200)
            .map(|step| {
                let value = f64::from(step) / 50.0 - 2.0;
                vec![value, 2.0 * value, 0.01 * f64::from(step % 3)]
            })
            .collect();
        let components = Components::fit(&windows, 3);
        assert!(components.error(&[1.0, 2.0, 0.0]) < 0.1);
        assert!(components.error(&[1.0, -2.0, 0.0]) > 1.0);
    }
}

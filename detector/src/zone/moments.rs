//! Second moments of the residuals of a block: what correlations, Mahalanobis distances and regressions come from.

use crate::layout::{BLOCK, Lanes};
use crate::stats::PAIRS;

/// A metric goes with the others if they explain this share of its variance.
const TOGETHER_LEAST: f32 = 0.2;

/// Second moments of the lanes of a block, in standard deviations, and their inverse.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    /// Readings that they are a mean over, with older ones weighing less.
    pub(crate) rows: f64,
    /// Upper half by rows.
    pub(crate) upper: Vec<f64>,
    /// Full; rows and columns of metrics that are not there are 0.
    pub(crate) inverse: [Lanes; BLOCK],
    /// Standard deviation of each lane when the inverse was made.
    pub(crate) deviation: Lanes,
}

impl Moments {
    pub(super) fn new(metrics: usize, variance: f64) -> Moments {
        let mut moments = Moments {
            rows: 0.0,
            upper: vec![0.0; PAIRS],
            inverse: [[0.0; BLOCK]; BLOCK],
            deviation: [0.0; BLOCK],
        };
        for lane in 0..BLOCK {
            moments.upper[pair(lane, lane)] = variance;
        }
        moments.invert(metrics);
        moments
    }

    /// Updates inverse and deviations by Gauss-Jordan elimination. A thousandth of the diagonal is added (ridge), so
    /// that the matrix stays regular where metrics are fully correlated.
    pub(crate) fn invert(&mut self, metrics: usize) {
        self.deviation = std::array::from_fn(|lane| (self.upper[pair(lane, lane)] as f32).max(0.0).sqrt());
        let mut left = [[0.0f64; BLOCK]; BLOCK];
        let mut right = [[0.0f64; BLOCK]; BLOCK];
        for row in 0..BLOCK {
            right[row][row] = 1.0;
            for column in 0..BLOCK {
                left[row][column] = self.upper[pair(row.min(column), row.max(column))];
            }
            left[row][row] += 1e-3 * left[row][row].max(1e-3);
        }
        for pivot in 0..metrics {
            let by = left[pivot][pivot].max(1e-9);
            for column in 0..BLOCK {
                left[pivot][column] /= by;
                right[pivot][column] /= by;
            }
            for row in (0..metrics).filter(|row| *row != pivot) {
                let factor = left[row][pivot];
                for column in 0..BLOCK {
                    left[row][column] -= factor * left[pivot][column];
                    right[row][column] -= factor * right[pivot][column];
                }
            }
        }
        self.inverse = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                if row < metrics && column < metrics { right[row][column] as f32 } else { 0.0 }
            })
        });
    }

    /// Each lane's linear regression on the others: coefficients by the other's lane, then the lane's own, for values
    /// in their deviations and a prediction of deviation 1; and the multiple correlation. Both 0 where it explains less
    /// than a fifth of the variance.
    pub(super) fn regression(&self) -> ([Lanes; BLOCK], Lanes) {
        let (mut others, mut together) = ([[0.0; BLOCK]; BLOCK], [0.0; BLOCK]);
        let deviation = &self.deviation;
        for lane in 0..BLOCK {
            let inflation = self.inverse[lane][lane] * deviation[lane] * deviation[lane];
            let explained = 1.0 - 1.0 / inflation;
            if explained.is_nan() || explained <= TOGETHER_LEAST {
                continue;
            }
            together[lane] = explained.sqrt();
            for other in (0..BLOCK).filter(|other| *other != lane) {
                let shared = self.inverse[other][lane] * deviation[other] * deviation[lane] / inflation;
                others[other][lane] = -shared / together[lane];
            }
        }
        (others, together)
    }
}

/// Index of a pair of lanes, `row` ≤ `column`, in the upper half of the matrix stored by rows.
pub(crate) const fn pair(row: usize, column: usize) -> usize {
    row * BLOCK - row * (row + 1) / 2 + column
}

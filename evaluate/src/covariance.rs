//! A covariance matrix by its Cholesky factor, for Mahalanobis distances.

/// Part of a variance that is added to it, so that the covariance of perfectly correlated metrics has an inverse.
const RIDGE: f64 = 1e-3;

/// Second moments of residuals, whose mean is 0.
#[derive(Debug, Clone)]
pub struct Moments {
    count: f64,
    /// Row by row, the lower triangle.
    products: Vec<Vec<f64>>,
}

impl Moments {
    pub fn new(metrics: usize) -> Moments {
        Moments { count: 0.0, products: (0..metrics).map(|row| vec![0.0; row + 1]).collect() }
    }

    pub fn add(&mut self, residual: &[f64]) {
        self.count += 1.0;
        for (row, products) in self.products.iter_mut().enumerate() {
            for (column, product) in products.iter_mut().enumerate() {
                *product += residual[row] * residual[column];
            }
        }
    }

    /// The Cholesky factor of the covariance; `None` if there are too few rows.
    pub fn factor(&self) -> Option<Factor> {
        let size = self.products.len();
        if self.count < 5.0 * size as f64 + 10.0 {
            return None;
        }
        let mut lower = self.products.clone();
        for row in 0..size {
            for column in 0..=row {
                let mut value = self.products[row][column] / self.count;
                if row == column {
                    // A metric that never changes gets a small variance.
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

/// A lower triangular matrix L with L·Lᵀ the covariance.
#[derive(Debug, Clone)]
pub struct Factor {
    lower: Vec<Vec<f64>>,
}

impl Factor {
    /// The Mahalanobis distance of a residual from 0.
    pub fn distance(&self, residual: &[f64]) -> f64 {
        let mut solved: Vec<f64> = Vec::with_capacity(residual.len());
        for (row, value) in self.lower.iter().zip(residual) {
            let known: f64 = row.iter().zip(&solved).map(|(factor, value)| factor * value).sum();
            let diagonal = row.last().copied().unwrap_or(1.0);
            solved.push((value - known) / diagonal);
        }
        solved.iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

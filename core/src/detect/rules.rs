//! The domain's rules: a metric below or above its bound makes a reading anomalous, with the rule as the reason.
//!
//! A column is scanned at a time; what is normal, nearly everything, costs two comparisons a value. A missing
//! value (NaN) breaks no rule.

use std::fmt::Write;

use citytide_domain::Domain;

use crate::batch::{Anomaly, Batch, FlaggedBy, Severity};

/// The rules of a domain, one per metric.
pub struct Rules {
    bounds: Vec<Bounds>,
    names: Vec<String>,
    /// (row, metric) of each broken rule; reused.
    broken: Vec<(u32, u32)>,
}

struct Bounds {
    below: f64,
    above: f64,
}

impl Rules {
    /// The rules of a domain.
    pub fn new(domain: &Domain) -> Rules {
        let bounds = domain.metrics.iter().map(|metric| Bounds {
            below: metric.below.unwrap_or(f64::NEG_INFINITY),
            above: metric.above.unwrap_or(f64::INFINITY),
        });
        Rules {
            bounds: bounds.collect(),
            names: domain.metrics.iter().map(|metric| metric.name.clone()).collect(),
            broken: Vec::new(),
        }
    }

    /// Fills in the anomalies of a batch: score 1, severity high, one reason per broken rule in the metrics' order.
    pub fn score(&mut self, batch: &mut Batch) {
        self.broken.clear();
        for (metric, (column, bounds)) in batch.metrics.iter().zip(&self.bounds).enumerate() {
            for (row, value) in column.iter().enumerate() {
                if *value < bounds.below || *value > bounds.above {
                    self.broken.push((row as u32, metric as u32));
                }
            }
        }
        self.broken.sort_unstable();
        batch.anomalies.clear();
        for broken in self.broken.chunk_by(|a, b| a.0 == b.0) {
            let row = broken[0].0;
            let mut reasons = String::from("[");
            for (index, &(_, metric)) in broken.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let actual = batch.metrics[metric as usize][row as usize];
                let bounds = &self.bounds[metric as usize];
                let (sign, bound) =
                    if actual < bounds.below { ('<', bounds.below) } else { ('>', bounds.above) };
                // A metric's name is an identifier and needs no escaping; Rust prints the shortest digits
                // that read back as the same number, without exponent, which is JSON.
                write!(
                    reasons,
                    r#"{comma}{{"metric":"{}","actual":{actual},"rule":"{sign} {bound}"}}"#,
                    self.names[metric as usize]
                )
                .expect("writing to a string");
            }
            reasons.push(']');
            batch.anomalies.push(Anomaly {
                row,
                score: 1.0,
                severity: Severity::High,
                flagged_by: FlaggedBy::Rules,
                reasons,
            });
        }
    }
}

#[cfg(test)]
mod tests;

//! The domain's rules: a metric below or above its bound makes a reading anomalous, with the rule as the reason.
//!
//! A column is scanned at a time; what is normal, nearly everything, costs two comparisons a value. A missing
//! value (NaN) breaks no rule.

use std::fmt::Write;

use citytide_domain::Domain;

use crate::batch::{Anomaly, Batch, FlaggedBy, Member, Severity};

/// The rules of a domain, one per metric.
pub struct Rules {
    bounds: Vec<Bounds>,
    /// Names, and units as text within JSON.
    metrics: Vec<(String, String)>,
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
            metrics: domain
                .metrics
                .iter()
                .map(|metric| (metric.name.clone(), escaped(&metric.unit)))
                .collect(),
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
                if index > 0 {
                    reasons.push(',');
                }
                self.explain(metric as usize, batch.metrics[metric as usize][row as usize], &mut reasons);
            }
            reasons.push(']');
            batch.anomalies.push(Anomaly {
                row,
                score: 1.0,
                severity: Severity::High,
                flagged_by: FlaggedBy::Rules,
                found_by: Member::Rule,
                reasons,
            });
        }
    }

    /// One reason, in the form of the detector's, which also knows what is typical.
    fn explain(&self, metric: usize, actual: f64, reasons: &mut String) {
        let (bounds, (name, unit)) = (&self.bounds[metric], &self.metrics[metric]);
        let (sign, side, bound) =
            if actual < bounds.below { ('<', "below", bounds.below) } else { ('>', "above", bounds.above) };
        let space = if unit.is_empty() { "" } else { " " };
        // A metric's name is an identifier and needs no escaping; Rust prints the shortest digits that read back as the
        // same number, without exponent, which is JSON.
        write!(
            reasons,
            "{{\"metric\":\"{name}\",\"actual\":{actual},\"unit\":\"{unit}\",\"rule\":\"{sign} {bound}\",\
             \"text\":\"{name} {actual}{space}{unit}, {side} the bound of {bound}\"}}"
        )
        .expect("writing to a string");
    }
}

/// Text as it stands between the quotes of JSON.
fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("text is JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests;

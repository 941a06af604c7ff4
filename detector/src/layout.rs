//! A domain as the detector uses it: its metrics in blocks of eight, and the detector's settings.
//!
//! Eight is the width that compilers vectorise on all targets. Correlations are learnt within a block, everything else
//! metric by metric. A domain of up to eight metrics is one block.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use citytide_domain::{DetectorSettings, Domain};

use crate::forest::{FEATURES_MAX, ForestOptions};
use crate::transcendental::ln;

/// The default length of a tick.
pub use citytide_domain::MINUTE_US;

/// Metrics of a block.
pub const BLOCK: usize = 8;
/// A value for each metric of a block.
pub type Lanes = [f32; BLOCK];

/// Number of the forest's features beside the residuals: two slow statistics.
pub const SLOW_FEATURES: usize = 2;
/// Added to a metric before its logarithm is taken, so that small counts do not spread too far.
const LOGARITHM_SHIFT: f64 = 5.0;
/// Least scale of a metric, in units of its last decimal: smaller differences are rounding.
const SCALE_LEAST: f64 = 0.05;

/// A metric as the detector uses it. Its *judged scale* is its own unit, or the logarithm.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricLayout {
    /// Name, as in the domain file.
    pub name: String,
    /// Unit, for the text of reasons.
    pub unit: String,
    /// Decimals that are shown.
    pub decimals: u8,
    /// Breaks a rule when less than this.
    pub below: f64,
    /// Breaks a rule when greater than this.
    pub above: f64,
    /// Whether it is judged as its logarithm.
    pub is_logarithmic: bool,
    /// Unit of sums of levels: a power of two well below the last decimal, and large enough for the range.
    pub(crate) quantum: f64,
    pub(crate) per_quantum: f64,
    /// Smallest scale.
    pub(crate) scale_least: f32,
    /// Scale until one is learnt.
    pub(crate) scale_first: f32,
}

impl MetricLayout {
    /// A metric without rules.
    pub fn new(name: &str, decimals: u8, usual: (f64, f64), is_logarithmic: bool) -> MetricLayout {
        let last_decimal = 10f64.powi(-i32::from(decimals));
        let reach = usual.0.abs().max(usual.1.abs()).max(last_decimal);
        let (quantum, scale_least, scale_first) = if is_logarithmic {
            (2f64.powi(-24), 1e-3, 0.3)
        } else {
            // 2^43 quanta, what a sum of 2^20 readings has room for, reach to 32 times the usual range.
            let quantum = (last_decimal / 256.0).max(reach / 2f64.powi(38));
            let first = ((usual.1 - usual.0) / 50.0).max(last_decimal);
            (2f64.powi(quantum.log2().ceil() as i32), last_decimal * SCALE_LEAST, first)
        };
        MetricLayout {
            name: name.to_owned(),
            unit: String::new(),
            decimals,
            below: f64::NEG_INFINITY,
            above: f64::INFINITY,
            is_logarithmic,
            quantum,
            per_quantum: 1.0 / quantum,
            scale_least: scale_least as f32,
            scale_first: scale_first as f32,
        }
    }

    /// From the judged scale back to the metric's unit.
    pub(crate) fn shown(&self, judged: f64) -> f64 {
        if self.is_logarithmic { judged.exp() - LOGARITHM_SHIFT } else { judged }
    }
}

/// The logarithm of a value, for metrics that are judged so.
#[inline]
pub(crate) fn logarithmic(value: f64) -> f64 {
    const LN_SHIFT: f64 = 1.609_437_912_434_100_3;
    // Negative values continue along the tangent at 0, far from possible counts. NaN and infinity stay.
    if (0.0..f64::INFINITY).contains(&value) {
        ln(value + LOGARITHM_SHIFT)
    } else {
        LN_SHIFT + value / LOGARITHM_SHIFT
    }
}

/// A domain as the detector uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The metrics, in the order of a batch's columns.
    pub metrics: Vec<MetricLayout>,
    /// Length of a tick, in microseconds of event time: a minute, or the time between two readings of a sensor if that
    /// is longer. The zones' models change once a tick.
    pub tick_us: i64,
    /// Time zone of the baselines' hours of the week.
    pub time_zone: Tz,
    /// Expected share of anomalies.
    pub contamination: f64,
    /// Share of the model's flags that may be false: the false discovery rate.
    pub false_discoveries: f64,
    /// Sensors with full state, per partition.
    pub sensors_max: usize,
    /// Options of the forest.
    pub forest: ForestOptions,
}

impl Layout {
    /// The layout of a domain.
    pub fn new(domain: &Domain) -> Layout {
        let metrics = domain.metrics.iter().enumerate().map(|(index, metric)| {
            let is_logarithmic = domain.detector.logarithmic.contains(&index);
            MetricLayout {
                unit: metric.unit.clone(),
                below: metric.below.unwrap_or(f64::NEG_INFINITY),
                above: metric.above.unwrap_or(f64::INFINITY),
                ..MetricLayout::new(&metric.name, metric.decimals, metric.usual, is_logarithmic)
            }
        });
        Layout {
            metrics: metrics.collect(),
            tick_us: MINUTE_US,
            time_zone: domain.fields.time_zone,
            contamination: domain.detector.contamination,
            false_discoveries: domain.detector.false_discoveries,
            sensors_max: domain.limits.sensors_max,
            forest: ForestOptions {
                trees: domain.detector.trees,
                rows_per_tree: domain.detector.rows_per_tree,
                extension: domain.detector.extension,
            },
        }
    }

    /// The layout of metrics that no domain file describes.
    pub fn of_metrics(metrics: Vec<MetricLayout>) -> Layout {
        let settings = DetectorSettings::default();
        Layout {
            metrics,
            tick_us: MINUTE_US,
            time_zone: Tz::UTC,
            contamination: settings.contamination,
            false_discoveries: settings.false_discoveries,
            sensors_max: 20_000,
            forest: ForestOptions::default(),
        }
    }

    /// Number of blocks of metrics.
    pub fn blocks(&self) -> usize {
        self.metrics.len().div_ceil(BLOCK)
    }

    /// The metrics of a block.
    pub(crate) fn block(&self, block: usize) -> &[MetricLayout] {
        &self.metrics[block * BLOCK..self.metrics.len().min((block + 1) * BLOCK)]
    }

    /// Number of the forest's features: the residuals of the first metrics, then the slow statistics.
    pub fn forest_features(&self) -> usize {
        self.forest_metrics() + SLOW_FEATURES
    }

    /// Number of metrics whose residuals are features of the forest.
    pub(crate) fn forest_metrics(&self) -> usize {
        self.metrics.len().min(FEATURES_MAX - SLOW_FEATURES)
    }

    /// The metrics in their order with their scales, as text: equal for domains that can share a model.
    pub fn fingerprint(&self) -> String {
        let metrics = self
            .metrics
            .iter()
            .map(|metric| format!("{}{}", metric.name, if metric.is_logarithmic { " (log)" } else { "" }));
        metrics.collect::<Vec<_>>().join(", ")
    }

    /// Local time of the domain's time zone at an event time, in microseconds; it jumps where clocks are changed.
    pub(crate) fn local_us(&self, event_time_us: i64) -> i64 {
        let Some(at) = DateTime::from_timestamp_micros(event_time_us) else { return event_time_us };
        let offset = self.time_zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        event_time_us + i64::from(offset.local_minus_utc()) * 1_000_000
    }

    /// The number of the tick that an event time is in.
    pub fn tick(&self, event_time_us: i64) -> i64 {
        event_time_us.div_euclid(self.tick_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_of_the_domains_clocks_in_summer_and_winter() {
        use citytide_domain::HOUR_US;
        let berlin = Layout { time_zone: Tz::Europe__Berlin, ..Layout::of_metrics(Vec::new()) };
        // 2026-10-25, 00:00 and 02:00 UTC: clocks go back at 01:00.
        let (before, after) = (1_792_886_400_000_000, 1_792_893_600_000_000);
        assert_eq!(berlin.local_us(before) - before, 2 * HOUR_US);
        assert_eq!(berlin.local_us(after) - after, HOUR_US);
        assert_eq!(Layout::of_metrics(Vec::new()).local_us(before), before);
    }
}

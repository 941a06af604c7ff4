//! The detector's layout for a table: from a domain for the metrics that it describes, else from the values.

use std::collections::HashMap;

use citytide_detector::{Layout, MINUTE_US, MetricLayout};
use citytide_domain::Domain;

use super::Table;

/// Most decimals that are taken from the values.
const DECIMALS_MAX: usize = 6;
/// Below this a metric's decimals are counted from its first digit on, behind at most so many zeros.
const SMALL: f64 = 0.01;
const ZEROS_MAX: f64 = 60.0;
/// Most values that the decimals are taken from.
const DECIMALS_VALUES: usize = 1_000;
/// The longest tick, microseconds.
const TICK_MAX_US: i64 = 3_600_000_000;
/// Steps between readings of a sensor that the cadence is taken from.
const STEPS_MAX: usize = 100_000;
/// A metric that is never negative and whose 90th percentile is more than this many times its median is skewed: it is
/// judged on a logarithmic scale.
const SKEWED: f64 = 8.0;

impl Table {
    /// The layout of these metrics: as `domain` says for those that it has, else with decimals, range and scale from
    /// the values. A tick is a minute, as in a run of the domain, or the table's cadence where that is longer, or where no
    /// domain says what it is.
    pub fn layout(&self, domain: Option<&Domain>) -> Layout {
        let known = domain.map(Layout::new);
        let metrics = self.names.iter().zip(&self.metrics).map(|(name, column)| {
            let of_domain =
                known.iter().flat_map(|layout| &layout.metrics).find(|metric| metric.name == *name);
            of_domain.cloned().unwrap_or_else(|| metric_layout(name, column))
        });
        let metrics: Vec<MetricLayout> = metrics.collect();
        let sensors_max = self.series_count();
        match known {
            Some(layout) => {
                Layout { metrics, tick_us: self.tick_us().max(layout.tick_us), sensors_max, ..layout }
            }
            None => Layout { tick_us: self.tick_us(), sensors_max, ..Layout::of_metrics(metrics) },
        }
    }

    /// The median time between two readings of a sensor, in whole seconds.
    pub fn cadence_us(&self) -> i64 {
        let mut last: HashMap<u32, i64> = HashMap::new();
        let mut steps = Vec::new();
        for (series, at_us) in self.series.iter().zip(&self.event_times_us) {
            if let Some(before) = last.insert(*series, *at_us)
                && *at_us > before
                && steps.len() < STEPS_MAX
            {
                steps.push(at_us - before);
            }
        }
        steps.sort_unstable();
        let median = steps.get(steps.len() / 2).copied().unwrap_or(MINUTE_US);
        // Rounding to seconds removes jitter.
        ((median + 500_000).div_euclid(1_000_000) * 1_000_000).clamp(1_000_000, TICK_MAX_US)
    }

    /// The cadence; from a minute on in whole minutes.
    fn tick_us(&self) -> i64 {
        match self.cadence_us() {
            short @ ..MINUTE_US => short,
            long => (long as u64).next_multiple_of(MINUTE_US as u64) as i64,
        }
    }
}

/// The layout of a metric that no domain describes.
fn metric_layout(name: &str, column: &[f64]) -> MetricLayout {
    let mut sorted: Vec<f64> = column.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let quantile = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let is_logarithmic =
        quantile(0.0) >= 0.0 && quantile(0.5) > 5.0 && quantile(0.9) > SKEWED * quantile(0.5);
    let step = sorted.len().div_ceil(DECIMALS_VALUES);
    let zeros = zeros(quantile(0.01).abs().max(quantile(0.99).abs()));
    let decimals =
        sorted.iter().step_by(step).map(|value| zeros + decimals(*value * 10f64.powi(zeros.into()))).max();
    MetricLayout::new(name, decimals.unwrap_or(0), (quantile(0.01), quantile(0.99)), is_logarithmic)
}

/// Zeros behind the point of the greatest values of a metric, for metrics that are that small.
fn zeros(greatest: f64) -> u8 {
    if !(f64::MIN_POSITIVE..SMALL).contains(&greatest) {
        return 0;
    }
    (-greatest.log10()).floor().min(ZEROS_MAX) as u8
}

/// Decimals that a value is written with.
fn decimals(value: f64) -> u8 {
    (0..DECIMALS_MAX)
        .find(|decimals| {
            let scaled = value * 10f64.powi(*decimals as i32);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1e-3)
        })
        .unwrap_or(DECIMALS_MAX) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{build, one_metric};

    #[test]
    fn the_cadence_is_the_median_step_of_a_sensor() {
        let rows: Vec<_> =
            (0..50).flat_map(|step| [(step * 5, "a", None), (step * 5 + 2, "b", None)]).collect();
        assert_eq!(one_metric(&rows).cadence_us(), 5_000_000);
    }

    #[test]
    fn decimals_are_those_of_the_values_however_small() {
        let decimals = |unit: f64| {
            let rows = (0..9).map(|row| (row, "all", None, [(20.0 + 0.125 * row as f64) * unit]));
            build(&["heat"], rows).layout(None).metrics[0].decimals
        };
        assert_eq!([1.0, 1e-3, 1e-9, 1e-30].map(decimals), [3, 6, 12, 33]);
    }

    #[test]
    fn what_a_domain_says_of_a_metric_takes_precedence_over_its_values() {
        let table = build(&["temperature", "pressure"], [(0, "all", None, [20.0, 3.25])]);
        let layout = table.layout(Some(&Domain::smart_city()));
        assert!(layout.metrics[0].above.is_finite() && layout.metrics[1].above.is_infinite());
        assert_eq!(layout.metrics[1].decimals, 2);
    }
}

//! The limits of a metric's values: its decimals, its rules and its usual range.

use citytide_domain::Metric;

/// Greatest share of the band, at either end, in which values are compressed instead of clamped.
const SOFT_SHARE_MAX: f64 = 0.1;

/// Beyond this an f64 has no decimals to round.
const WHOLE_MAX: f64 = 9e15;

#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Range of normal values: the part of the usual range that violates no rule.
    band: (f64, f64),
    below: Option<f64>,
    above: Option<f64>,
    usual: (f64, f64),
    /// 10^decimals.
    scale: f64,
}

impl Bounds {
    pub(crate) fn new(metric: &Metric) -> Bounds {
        let (low, high) = metric.usual;
        let band = (
            metric.below.map_or(low, |below| below.max(low)),
            metric.above.map_or(high, |above| above.min(high)),
        );
        let between_rules = (metric.below.unwrap_or(f64::MIN), metric.above.unwrap_or(f64::MAX));
        Bounds {
            // If the rules leave nothing of the usual range, only they count.
            band: if band.0 < band.1 { band } else { between_rules },
            below: metric.below,
            above: metric.above,
            usual: metric.usual,
            scale: 10f64.powi(i32::from(metric.decimals)),
        }
    }

    /// The smallest difference that the decimals can show.
    pub(crate) fn least_deviation(&self) -> f64 {
        1.0 / self.scale
    }

    pub(crate) fn usual(&self) -> (f64, f64) {
        self.usual
    }

    /// A normal value near `value`, not yet rounded: a value that would leave the band is compressed towards its end.
    pub(crate) fn held(&self, value: f64, deviation: f64) -> f64 {
        let (low, high) = self.band;
        let soft = (2.0 * deviation).min(SOFT_SHARE_MAX * (high - low));
        if value > high - soft {
            return if soft > 0.0 { high - soft * ((high - soft - value) / soft).exp() } else { high };
        }
        if value < low + soft {
            return if soft > 0.0 { low + soft * ((value - low - soft) / soft).exp() } else { low };
        }
        value
    }

    /// A value that violates a rule or, without rules, lies outside the usual range. `excess` in 0 … 1 is how far;
    /// `side` in 0 … 1 chooses below or above where both are possible.
    pub(crate) fn broken(&self, excess: f64, side: f64) -> f64 {
        let (low, high) = match (self.below, self.above) {
            (None, None) => (Some(self.usual.0), Some(self.usual.1)),
            rules => rules,
        };
        let beyond = (self.usual.1 - self.usual.0).abs() * (0.01 + 0.3 * excess * excess) + 1.0 / self.scale;
        let value = match (low, high) {
            (Some(low), Some(_)) if side < 0.5 => low - beyond,
            (Some(low), None) => low - beyond,
            (_, Some(high)) => high + beyond,
            (None, None) => self.usual.1 + beyond,
        };
        self.rounded(value)
    }

    /// An anomalous value within the usual range, rounded.
    pub(crate) fn within_usual(&self, value: f64) -> f64 {
        self.rounded(value.clamp(self.usual.0, self.usual.1))
    }

    pub(crate) fn rounded(&self, value: f64) -> f64 {
        let scaled = value * self.scale;
        if scaled.abs() > WHOLE_MAX {
            return value;
        }
        // `round` is a library call on processors without SSE 4.1. The cast to an integer also avoids -0.
        (scaled + 0.5f64.copysign(scaled)) as i64 as f64 / self.scale
    }

    /// Rounded, but never out of the band: rounding must not violate a rule.
    pub(crate) fn rounded_within(&self, value: f64) -> f64 {
        let rounded = self.rounded(value);
        if rounded > self.band.1 {
            (value * self.scale).floor() / self.scale
        } else if rounded < self.band.0 {
            (value * self.scale).ceil() / self.scale
        } else {
            rounded
        }
    }
}

#[cfg(test)]
mod tests {
    use citytide_domain::{Domain, Metric};

    use super::Bounds;

    fn trips(metric: &Metric, value: f64) -> bool {
        metric.below.is_some_and(|below| value < below) || metric.above.is_some_and(|above| value > above)
    }

    #[test]
    fn a_normal_value_trips_no_rule_however_noisy_and_an_anomalous_one_always_does() {
        for metric in &Domain::smart_city().metrics {
            let bounds = Bounds::new(metric);
            for step in -500..500 {
                let value = bounds.rounded_within(bounds.held(f64::from(step) * 3.0, 4.0));
                assert!(!trips(metric, value), "{} {value}", metric.name);
                assert!((metric.usual.0..=metric.usual.1).contains(&value), "{} {value}", metric.name);
            }
            for step in 0..100 {
                let value = bounds.broken(f64::from(step) / 100.0, f64::from(step % 10) / 10.0);
                let has_rule = metric.below.is_some() || metric.above.is_some();
                assert_eq!(trips(metric, value), has_rule, "{} {value}", metric.name);
                assert!(has_rule || !(metric.usual.0..=metric.usual.1).contains(&value), "{value}");
            }
        }
    }

    #[test]
    fn a_rule_between_two_roundings_is_not_tripped_by_rounding() {
        let text = "name = \"p\"\ntopic = \"t\"\n[[metrics]]\nname = \"m\"\ndecimals = 0\nanomalous = { below = 10.4, above = 20.6 }\n";
        let domain = Domain::parse("p.toml", text).expect("right");
        let bounds = Bounds::new(&domain.metrics[0]);
        assert_eq!(bounds.rounded_within(bounds.held(1e6, 0.0)), 20.0);
        assert_eq!(bounds.rounded_within(bounds.held(-1e6, 0.0)), 11.0);
        assert!(bounds.broken(0.0, 0.0) < 10.4 && bounds.broken(0.0, 0.9) > 20.6);
    }
}

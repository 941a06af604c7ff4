//! The value of a metric: a day's course, noise around it, and what an anomaly makes of it.

use citytide_domain::{Metric, Pattern};

/// Steps of the tabulated day: one a minute.
const STEPS: usize = 1_440;
const DAY_MS: i64 = 86_400_000;
/// Spread of one of several peaks, in hours: a rush, not half a day.
const RUSH_HOURS: f64 = 2.2;

/// One metric, tabulated.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    /// Expectation by minute of the day, before character and noise.
    day: Vec<f64>,
    noise: f64,
    /// What a normal value is held to: the usual range without what trips a rule.
    band: (f64, f64),
    below: Option<f64>,
    above: Option<f64>,
    usual: (f64, f64),
    /// 10^decimals.
    scale: f64,
}

impl Course {
    pub(crate) fn new(metric: &Metric) -> Course {
        let (low, high) = metric.usual;
        let band = (
            metric.below.map_or(low, |below| below.max(low)),
            metric.above.map_or(high, |above| above.min(high)),
        );
        Course {
            day: (0..STEPS)
                .map(|step| expectation(&metric.pattern, step as f64 * 24.0 / STEPS as f64))
                .collect(),
            noise: metric.pattern.noise,
            // Rules that leave nothing of the usual range: only they count.
            band: if band.0 < band.1 { band } else { between_rules(metric) },
            below: metric.below,
            above: metric.above,
            usual: metric.usual,
            scale: 10f64.powi(i32::from(metric.decimals)),
        }
    }

    /// Whether the metric has a rule that an anomaly can trip.
    pub(crate) fn has_rule(&self) -> bool {
        self.below.is_some() || self.above.is_some()
    }

    /// A value that trips no rule. `deviation` is in standard deviations of the noise.
    pub(crate) fn normal(&self, local_ms: i64, character: f64, deviation: f64) -> f64 {
        let minute = (local_ms.rem_euclid(DAY_MS) * STEPS as i64 / DAY_MS) as usize;
        let value = self.day[minute] * character + deviation * self.noise;
        self.rounded_within(value.clamp(self.band.0, self.band.1))
    }

    /// A value that trips a rule, or lies outside the usual range where there is none: `excess` in 0 … 1 says how
    /// far, `side` in 0 … 1 chooses between below and above where there are both.
    pub(crate) fn anomalous(&self, excess: f64, side: f64) -> f64 {
        let (low, high) = match (self.below, self.above) {
            (None, None) => (Some(self.usual.0), Some(self.usual.1)),
            rules => rules,
        };
        let beyond = (self.usual.1 - self.usual.0).abs() * (0.01 + 0.5 * excess * excess) + 1.0 / self.scale;
        let value = match (low, high) {
            (Some(low), Some(_)) if side < 0.5 => low - beyond,
            (Some(low), None) => low - beyond,
            (_, Some(high)) => high + beyond,
            (None, None) => self.usual.1 + beyond,
        };
        self.rounded(value)
    }

    fn rounded(&self, value: f64) -> f64 {
        let rounded = (value * self.scale).round() / self.scale;
        if rounded == 0.0 { 0.0 } else { rounded }
    }

    /// Rounded towards the band, so that rounding trips no rule.
    fn rounded_within(&self, value: f64) -> f64 {
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

fn between_rules(metric: &Metric) -> (f64, f64) {
    (metric.below.unwrap_or(f64::MIN), metric.above.unwrap_or(f64::MAX))
}

/// One peak: a cosine over the day. Several: a bell around each, from the least to the greatest expectation.
fn expectation(pattern: &Pattern, hour: f64) -> f64 {
    let shape = match pattern.peaks[..] {
        [] => 0.0,
        [peak] => (std::f64::consts::TAU * (hour - peak) / 24.0).cos(),
        _ => pattern.peaks.iter().map(|peak| bell(hour - peak)).fold(-1.0, f64::max),
    };
    pattern.mean + pattern.amplitude * shape
}

/// 1 at a distance of 0 hours around the clock, towards -1 with the distance.
fn bell(hours: f64) -> f64 {
    let distance = hours.rem_euclid(24.0).min((-hours).rem_euclid(24.0));
    2.0 * (-(distance / RUSH_HOURS).powi(2)).exp() - 1.0
}

#[cfg(test)]
mod tests {
    use citytide_domain::Domain;

    use super::{Course, DAY_MS};

    const HOUR_MS: i64 = DAY_MS / 24;

    #[test]
    fn traffic_has_a_morning_and_an_evening_rush_and_quiet_nights() {
        let city = Domain::smart_city();
        let traffic =
            Course::new(city.metrics.iter().find(|metric| metric.name == "traffic_flow").expect("traffic"));
        let at = |hours: i64| traffic.normal(hours * HOUR_MS, 1.0, 0.0);
        assert!(at(8) > at(12) && at(17) > at(12), "{} {} {}", at(8), at(12), at(17));
        assert!(at(3) < at(8) / 2.0);
    }

    #[test]
    fn a_normal_value_trips_no_rule_however_noisy_and_an_anomalous_one_always_does() {
        for metric in &Domain::smart_city().metrics {
            let course = Course::new(metric);
            let trips = |value: f64| {
                metric.below.is_some_and(|below| value < below)
                    || metric.above.is_some_and(|above| value > above)
            };
            for step in -50..50 {
                let value = course.normal(i64::from(step) * HOUR_MS / 3, 1.8, f64::from(step) * 10.0);
                assert!(!trips(value), "{} {value}", metric.name);
            }
            for step in 0..100 {
                let value = course.anomalous(f64::from(step) / 100.0, f64::from(step % 10) / 10.0);
                assert_eq!(trips(value), course.has_rule(), "{} {value}", metric.name);
            }
        }
    }

    #[test]
    fn a_rule_between_two_roundings_is_not_tripped_by_rounding() {
        let text = "name = \"p\"\ntopic = \"t\"\n[[metrics]]\nname = \"m\"\ndecimals = 0\nanomalous = { below = 10.4, above = 20.6 }\n";
        let domain = Domain::parse("p.toml", text).expect("right");
        let course = Course::new(&domain.metrics[0]);
        assert_eq!(course.normal(0, 100.0, 0.0), 20.0);
        assert_eq!(course.normal(0, 0.001, 0.0), 11.0);
        assert!(course.anomalous(0.0, 0.0) < 10.4 && course.anomalous(0.0, 0.9) > 20.6);
    }
}

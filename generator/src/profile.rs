//! The profile of a metric: the expected value in a zone at a time, and how far a sensor deviates from it.

use citytide_domain::{DAY_US, Day, Factor, Pattern, Scope, Season, Shape, Trend};

use crate::random::{Random, Stream};
use crate::smooth::Smooth;

/// Steps of the tabulated week, a quarter of an hour each.
const STEPS: usize = 7 * 24 * 4;
const STEP_MS: i64 = 15 * 60 * 1_000;
const WEEK_MS: i64 = STEPS as i64 * STEP_MS;
/// From Monday 1969-12-29 to the Unix epoch.
const EPOCH_MS: i64 = 3 * DAY_MS;
const YEAR_DAYS: f64 = 365.242_5;
const YEAR_MS: i64 = 31_556_952_000;
const DAY_MS: i64 = DAY_US / 1_000;
const YEAR_STEPS: usize = 366;
/// Hours on either side of midnight in which one day's profile blends into the next.
const MIDNIGHT_H: f64 = 2.5;
/// Least noise of a proportional metric, as a share of its noise at the mean.
const QUIETEST: f64 = 0.1;

/// A pattern as tables.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// Expected value by step, from Monday 00:00 on; the first is repeated at the end.
    week: Vec<f32>,
    /// What the season adds, by day of the year.
    year: Vec<f32>,
    trend: Option<Trend>,
    persistent: f64,
    fresh: f64,
    slow: Smooth,
    offset: f64,
    gain: f64,
    proportional_to: Option<f64>,
    follows: Vec<(usize, f64)>,
    /// Standard deviation of one sensor at scale 1: its noise and the factors that no other sensor shares.
    own_deviation: f64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) value: f64,
    /// Factor on every deviation from the value.
    pub(crate) scale: f64,
}

impl Profile {
    pub(crate) fn new(pattern: &Pattern, factors: &[Factor], least_deviation: f64) -> Profile {
        let own = |(factor, weight): &(usize, f64)| match factors[*factor].shared_by {
            Scope::Sensor => weight * weight,
            Scope::City | Scope::Zone => 0.0,
        };
        let variance = pattern.noise.powi(2) + pattern.follows.iter().map(own).sum::<f64>();
        Profile {
            week: (0..=STEPS).map(|step| expectation(pattern, step as f64 / 4.0) as f32).collect(),
            year: pattern.season.as_ref().map_or(Vec::new(), year),
            trend: pattern.trend.clone(),
            persistent: pattern.noise * pattern.persistence.sqrt(),
            fresh: pattern.noise * (1.0 - pattern.persistence).sqrt(),
            slow: Smooth::coarse(pattern.memory_us),
            offset: pattern.offset,
            gain: pattern.gain,
            proportional_to: pattern.proportional.then_some(pattern.day.mean).filter(|mean| *mean > 0.0),
            follows: pattern.follows.clone(),
            own_deviation: variance.sqrt().max(least_deviation),
        }
    }

    /// The expected value at `at_us`, which is `local_ms` in local time.
    pub(crate) fn expected(&self, at_us: i64, local_ms: i64, character: f64) -> Expected {
        let into_week_ms = (local_ms + EPOCH_MS).rem_euclid(WEEK_MS);
        let step = (into_week_ms / STEP_MS) as usize;
        let part = (into_week_ms % STEP_MS) as f64 / STEP_MS as f64;
        let mut value = f64::from(self.week[step]) * (1.0 - part) + f64::from(self.week[step + 1]) * part;
        if !self.year.is_empty() {
            let into_year_ms = local_ms.rem_euclid(YEAR_MS);
            let step = (into_year_ms / DAY_MS) as usize;
            let part = (into_year_ms % DAY_MS) as f64 / DAY_MS as f64;
            value += f64::from(self.year[step]) * (1.0 - part) + f64::from(self.year[step + 1]) * part;
        }
        value *= character;
        if let Some(trend) = &self.trend {
            let span_us = (trend.until_at_us - trend.from_at_us).max(1) as f64;
            value += trend.by * ((at_us - trend.from_at_us) as f64 / span_us).clamp(0.0, 1.0);
        }
        Expected { value, scale: self.proportional_to.map_or(1.0, |mean| (value / mean).max(QUIETEST)) }
    }

    /// Standard deviation of one sensor: σ in the definition of every anomaly. Excludes what a whole zone shares.
    pub(crate) fn deviation(&self, expected: Expected) -> f64 {
        self.own_deviation * expected.scale
    }

    /// Index and weight of the factors.
    pub(crate) fn follows(&self) -> &[(usize, f64)] {
        &self.follows
    }

    /// Share of a sensor's own variance that comes from the factor.
    pub(crate) fn share_of(&self, factor: usize) -> f64 {
        let weights = self.follows.iter().filter(|(index, _)| *index == factor);
        weights.map(|(_, weight)| weight * weight).sum::<f64>() / self.own_deviation.powi(2)
    }

    /// The value that a sensor measures, neither bounded nor rounded. `own` draws for the sensor, `random` for the
    /// reading; `moved` is the sum of the weighted factors.
    pub(crate) fn value(
        &self,
        expected: Expected,
        moved: f64,
        own: Random,
        random: Random,
        metric: usize,
        at_us: i64,
    ) -> f64 {
        let mut deviation = moved + self.offset * own.normal(Stream::SensorOffset, metric);
        if self.persistent > 0.0 {
            deviation += self.persistent * self.slow.at(own, metric, at_us);
        }
        deviation += self.fresh * random.heavy(Stream::Noise, metric);
        let gain = match self.gain > 0.0 {
            true => 1.0 + self.gain * own.normal(Stream::SensorGain, metric),
            false => 1.0,
        };
        (expected.value + deviation * expected.scale) * gain
    }
}

fn year(season: &Season) -> Vec<f32> {
    let radians = |day: usize| std::f64::consts::TAU * (day as f64 + 1.0 - season.peak_day) / YEAR_DAYS;
    (0..=YEAR_STEPS).map(|day| (season.amplitude * radians(day).cos()) as f32).collect()
}

/// The expected value at an hour of the week, blended at midnight.
fn expectation(pattern: &Pattern, hour_of_week: f64) -> f64 {
    let (today, hour) = ((hour_of_week / 24.0) as usize % 7, hour_of_week.rem_euclid(24.0));
    let on = |day: usize| {
        let profile = if day < 5 { &pattern.day } else { pattern.weekend.as_ref().unwrap_or(&pattern.day) };
        pattern.days[day] * of_day(profile, hour)
    };
    let (other, share) = if hour < MIDNIGHT_H {
        ((today + 6) % 7, 0.5 - 0.5 * hour / MIDNIGHT_H)
    } else if hour > 24.0 - MIDNIGHT_H {
        ((today + 1) % 7, 0.5 - 0.5 * (24.0 - hour) / MIDNIGHT_H)
    } else {
        return on(today);
    };
    on(today) * (1.0 - share) + on(other) * share
}

fn of_day(day: &Day, hour: f64) -> f64 {
    let shape = match &day.shape {
        Shape::Hours(hours) => between(hours, hour),
        Shape::Peaks { hours, width_h: None, .. } => {
            hours.first().map_or(0.0, |peak| (std::f64::consts::TAU * (hour - peak) / 24.0).cos())
        }
        Shape::Peaks { hours, width_h: Some(width_h), valley } => peaks(hours, *width_h, *valley, hour),
    };
    day.mean + day.amplitude * shape
}

/// Interpolates smoothly between the values of two full hours.
fn between(hours: &[f64; 24], hour: f64) -> f64 {
    let (before, part) = (hour.floor() as usize % 24, hour.fract());
    let after = part * part * (3.0 - 2.0 * part);
    hours[before] * (1.0 - after) + hours[(before + 1) % 24] * after
}

/// A bell around each peak, on a plateau of height `valley` between the first and the last.
fn peaks(hours: &[f64], width_h: f64, valley: f64, hour: f64) -> f64 {
    let bell = |distance: f64| (-(distance / width_h).powi(2)).exp();
    let rush = hours.iter().map(|peak| bell(hours_between(hour, *peak))).fold(0.0, f64::max);
    let (first, last) =
        hours.iter().fold((24.0, 0.0f64), |(low, high), peak| (peak.min(low), peak.max(high)));
    let inside = hour >= first && hour <= last;
    let day = if inside { 1.0 } else { rush };
    2.0 * (valley * day + (1.0 - valley) * rush) - 1.0
}

fn hours_between(a: f64, b: f64) -> f64 {
    (a - b).rem_euclid(24.0).min((b - a).rem_euclid(24.0))
}

#[cfg(test)]
mod tests {
    use citytide_domain::Domain;

    use super::Profile;

    const HOUR_MS: i64 = 3_600_000;
    /// Monday 2026-11-16, 00:00 UTC.
    const MONDAY_MS: i64 = 1_794_787_200_000;

    /// The expectation of a metric in a zone at an hour from Monday 00:00 on.
    fn at(zone: &str, metric: &str, hours: i64) -> f64 {
        let city = Domain::smart_city();
        let zone = city.zones.iter().find(|known| known.name == zone).expect("a zone");
        let index = city.metrics.iter().position(|known| known.name == metric).expect("a metric");
        let own = zone.patterns.iter().find(|(known, _)| *known == index).map(|(_, pattern)| pattern);
        let pattern = own.unwrap_or(&city.metrics[index].pattern);
        let at_ms = MONDAY_MS + hours * HOUR_MS;
        let profile = Profile::new(pattern, &city.generator.factors, 0.1);
        profile.expected(at_ms * 1_000, at_ms, zone.character[index]).value
    }

    #[test]
    fn traffic_has_a_morning_and_an_evening_rush_and_quiet_nights_on_working_days() {
        for day in 0..5 {
            let hour = |hour: i64| at("Downtown", "traffic_flow", 24 * day + hour);
            assert!(hour(8) > hour(12) * 1.1 && hour(17) > hour(12) * 1.1, "{} {}", hour(8), hour(12));
            assert!(hour(3) < hour(8) / 3.0 && hour(12) > 2.0 * hour(3));
        }
    }

    #[test]
    fn a_residential_zone_empties_before_downtown_fills_and_fills_after_it_empties() {
        let peak = |zone: &str, hours: std::ops::Range<i64>| {
            hours.max_by(|a, b| at(zone, "traffic_flow", *a).total_cmp(&at(zone, "traffic_flow", *b)))
        };
        assert!(peak("Residential North", 0..12) < peak("Downtown", 0..12));
        assert!(peak("Residential North", 13..24) > peak("Downtown", 13..24));
    }

    #[test]
    fn a_weekend_has_no_morning_rush_and_less_traffic() {
        let saturday = |hour: i64| at("Downtown", "traffic_flow", 24 * 5 + hour);
        assert!(saturday(8) < at("Downtown", "traffic_flow", 8) * 0.7);
        assert!(saturday(14) > saturday(8));
    }

    #[test]
    fn july_is_warmer_than_january_and_midnight_is_no_step() {
        assert!(
            at("Tech Hub", "temperature", 33 * 168 + 14) > at("Tech Hub", "temperature", 8 * 168 + 14) + 8.0
        );
        let friday = 24 * 5;
        let step =
            (at("Downtown", "traffic_flow", friday) - at("Downtown", "traffic_flow", friday - 1)).abs();
        assert!(step < 25.0, "{step}");
    }
}

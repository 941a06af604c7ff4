//! What sensors measure: the profile of each metric in each zone, shared factors, and each sensor's own deviation.

use citytide_domain::{Domain, Scope};

use crate::bounds::Bounds;
use crate::profile::{Expected, Profile};
use crate::random::Random;
use crate::smooth::Smooth;

/// Most factors of a domain.
const FACTORS_MAX: usize = 64;
/// Coordinates, in place of a partition, for random numbers of the city, a zone or a sensor.
const OF_CITY: u64 = u64::MAX;
const OF_ZONES: u64 = u64::MAX - 1;
const OF_SENSORS: u64 = u64::MAX - 2;

/// Which sensor measures, and when.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sensor: u32,
    pub(crate) zone: usize,
    pub(crate) at_us: i64,
    /// Draws for this reading.
    pub(crate) random: Random,
}

/// What an anomaly does to the measured values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    /// Shifts a metric by this many standard deviations.
    Add { metric: usize, sigmas: f64 },
    /// Sets a metric.
    Set { metric: usize, value: f64 },
    /// Leaves a metric without a value.
    Null { metric: usize },
    /// Gives a metric the expected value of another time.
    At { metric: usize, shift_us: i64 },
    /// Inverts a factor for all metrics that follow it but one.
    Invert { factor: usize, but: usize },
}

#[derive(Debug, Clone)]
pub(crate) struct Signals {
    seed: u64,
    city: Random,
    metrics: usize,
    bounds: Vec<Bounds>,
    profiles: Vec<Profile>,
    /// Index of the profile and the zone's character, by zone and metric.
    by_zone: Vec<(u32, f64)>,
    factors: Vec<(Scope, Smooth)>,
    /// Local time minus UTC.
    ahead_ms: i64,
}

impl Signals {
    pub(crate) fn new(domain: &Domain, seed: u64, zones: usize, ahead_ms: i64) -> Signals {
        let factors = &domain.generator.factors;
        let bounds: Vec<Bounds> = domain.metrics.iter().map(Bounds::new).collect();
        let profile =
            |metric: usize, pattern| Profile::new(pattern, factors, bounds[metric].least_deviation());
        let mut profiles: Vec<Profile> = domain
            .metrics
            .iter()
            .enumerate()
            .map(|(index, metric)| profile(index, &metric.pattern))
            .collect();
        let mut by_zone = Vec::new();
        for zone in 0..zones {
            let known = domain.zones.get(zone);
            for metric in 0..domain.metrics.len() {
                let own = known.and_then(|zone| zone.patterns.iter().find(|(index, _)| *index == metric));
                let index = match own {
                    None => metric,
                    Some((_, pattern)) => {
                        profiles.push(profile(metric, pattern));
                        profiles.len() - 1
                    }
                };
                by_zone.push((index as u32, known.map_or(1.0, |zone| zone.character[metric])));
            }
        }
        Signals {
            seed,
            city: Random::of(seed, OF_CITY, 0),
            metrics: domain.metrics.len(),
            bounds,
            profiles,
            by_zone,
            factors: factors
                .iter()
                .take(FACTORS_MAX)
                .map(|factor| (factor.shared_by, Smooth::new(factor.memory_us)))
                .collect(),
            ahead_ms,
        }
    }

    pub(crate) fn metrics(&self) -> usize {
        self.metrics
    }

    pub(crate) fn bounds(&self, metric: usize) -> &Bounds {
        &self.bounds[metric]
    }

    pub(crate) fn zone_random(&self, zone: usize) -> Random {
        Random::of(self.seed, OF_ZONES, zone as u64)
    }

    pub(crate) fn sensor_random(&self, sensor: u32) -> Random {
        Random::of(self.seed, OF_SENSORS, u64::from(sensor))
    }

    /// The expected value of a metric in a zone, and a sensor's standard deviation there.
    pub(crate) fn expected(&self, zone: usize, metric: usize, at_us: i64) -> (Expected, f64) {
        let (profile, character) = self.by_zone[zone * self.metrics + metric];
        let profile = &self.profiles[profile as usize];
        let expected = profile.expected(at_us, at_us.div_euclid(1_000) + self.ahead_ms, character);
        (expected, profile.deviation(expected))
    }

    /// The factors of single sensors that at least two metrics follow, each with the metric that follows it most: the
    /// other metrics can be inverted against it.
    pub(crate) fn own_factors(&self) -> Vec<(usize, usize)> {
        let shows = |factor: usize, metric: &usize| self.profiles[*metric].share_of(factor);
        (0..self.factors.len())
            .filter(|factor| self.factors[*factor].0 == Scope::Sensor)
            .filter_map(|factor| {
                let followers = (0..self.metrics).filter(|metric| shows(factor, metric) > 0.0);
                let most = followers.clone().max_by(|a, b| shows(factor, a).total_cmp(&shows(factor, b)))?;
                (followers.count() > 1).then_some((factor, most))
            })
            .collect()
    }

    /// The metrics that change when a factor is inverted for all but one.
    pub(crate) fn followers(&self, factor: usize, but: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.metrics)
            .filter(move |metric| *metric != but && self.profiles[*metric].share_of(factor) > 0.0)
    }

    /// Replaces `values` by the measured ones.
    pub(crate) fn measure(&self, place: Place, effect: Option<Effect>, values: &mut Vec<f64>) {
        let own = self.sensor_random(place.sensor);
        let mut factors = [0.0; FACTORS_MAX];
        for (index, value) in factors.iter_mut().enumerate().take(self.factors.len()) {
            *value = self.factor(index, place, own);
        }
        values.clear();
        values.extend(
            (0..self.metrics).map(|metric| self.value(place, own, metric, effect, |index| factors[index])),
        );
    }

    /// One metric, without an anomaly.
    pub(crate) fn measure_one(&self, place: Place, metric: usize) -> f64 {
        let own = self.sensor_random(place.sensor);
        self.value(place, own, metric, None, |index| self.factor(index, place, own))
    }

    fn factor(&self, index: usize, place: Place, own: Random) -> f64 {
        let (scope, smooth) = &self.factors[index];
        let owner = match scope {
            Scope::City => self.city,
            Scope::Zone => self.zone_random(place.zone),
            Scope::Sensor => own,
        };
        // Indices after those of the metrics, which belong to the sensors' noise.
        smooth.at(owner, self.metrics + index, place.at_us)
    }

    fn value(
        &self,
        place: Place,
        own: Random,
        metric: usize,
        effect: Option<Effect>,
        factor: impl Fn(usize) -> f64,
    ) -> f64 {
        let bounds = &self.bounds[metric];
        let mut expected_at_us = place.at_us;
        let (mut inverted, mut sigmas) = (usize::MAX, 0.0);
        match effect {
            Some(Effect::Set { metric: affected, value }) if affected == metric => return value,
            Some(Effect::Null { metric: affected }) if affected == metric => return f64::NAN,
            Some(Effect::At { metric: affected, shift_us }) if affected == metric => {
                expected_at_us += shift_us;
            }
            Some(Effect::Add { metric: affected, sigmas: off }) if affected == metric => sigmas = off,
            Some(Effect::Invert { factor, but }) if but != metric => inverted = factor,
            _ => {}
        }
        let (profile, character) = self.by_zone[place.zone * self.metrics + metric];
        let profile = &self.profiles[profile as usize];
        let local_ms = expected_at_us.div_euclid(1_000) + self.ahead_ms;
        let expected = profile.expected(expected_at_us, local_ms, character);
        let moved: f64 = profile
            .follows()
            .iter()
            .map(
                |(index, weight)| {
                    if *index == inverted { -weight * factor(*index) } else { weight * factor(*index) }
                },
            )
            .sum();
        let value = profile.value(expected, moved, own, place.random, metric, place.at_us);
        let deviation = profile.deviation(expected);
        let held = bounds.held(value, deviation);
        if sigmas == 0.0 {
            bounds.rounded_within(held)
        } else {
            bounds.within_usual(held + sigmas * deviation)
        }
    }
}

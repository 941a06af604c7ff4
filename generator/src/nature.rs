//! What sensors would measure: each metric's course in each zone, hidden causes, and what a sensor makes of both.

use citytide_domain::{Domain, Scope};

use crate::bounds::Bounds;
use crate::chance::Chance;
use crate::course::{Course, Expected};
use crate::smooth::Smooth;

/// Most hidden causes of a domain.
const FACTORS_MAX: usize = 64;
/// The coordinate, in place of a partition, of chance that belongs to the city, a zone or a sensor.
const OF_CITY: u64 = u64::MAX;
const OF_ZONES: u64 = u64::MAX - 1;
const OF_SENSORS: u64 = u64::MAX - 2;

/// Who measures, and when.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sensor: u32,
    pub(crate) zone: usize,
    pub(crate) at_us: i64,
    /// The reading's own chance.
    pub(crate) chance: Chance,
}

/// What an anomaly does to what is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    /// A metric is so many of its standard deviations off.
    Add { metric: usize, sigmas: f64 },
    /// A metric has this value.
    Set { metric: usize, value: f64 },
    /// A metric has no value.
    Null { metric: usize },
    /// A metric is as at another time.
    At { metric: usize, shift_us: i64 },
    /// What follows a factor runs against it, but for one metric.
    Invert { factor: usize, but: usize },
}

/// The nature of a city.
#[derive(Debug, Clone)]
pub(crate) struct Nature {
    seed: u64,
    city: Chance,
    metrics: usize,
    bounds: Vec<Bounds>,
    courses: Vec<Course>,
    /// Index of the course and the zone's character, by zone and metric.
    by_zone: Vec<(u32, f64)>,
    factors: Vec<(Scope, Smooth)>,
    /// What the domain's local time is ahead of UTC.
    ahead_ms: i64,
}

impl Nature {
    /// The nature of a domain with `zones` zones.
    pub(crate) fn new(domain: &Domain, seed: u64, zones: usize, ahead_ms: i64) -> Nature {
        let factors = &domain.generator.factors;
        let bounds: Vec<Bounds> = domain.metrics.iter().map(Bounds::new).collect();
        let course = |metric: usize, pattern| Course::new(pattern, factors, bounds[metric].least_deviation());
        let mut courses: Vec<Course> =
            domain.metrics.iter().enumerate().map(|(index, metric)| course(index, &metric.pattern)).collect();
        let mut by_zone = Vec::new();
        for zone in 0..zones {
            let known = domain.zones.get(zone);
            for metric in 0..domain.metrics.len() {
                let own = known.and_then(|zone| zone.patterns.iter().find(|(index, _)| *index == metric));
                let index = match own {
                    None => metric,
                    Some((_, pattern)) => {
                        courses.push(course(metric, pattern));
                        courses.len() - 1
                    }
                };
                by_zone.push((index as u32, known.map_or(1.0, |zone| zone.character[metric])));
            }
        }
        Nature {
            seed,
            city: Chance::of(seed, OF_CITY, 0),
            metrics: domain.metrics.len(),
            bounds,
            courses,
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

    pub(crate) fn zone_chance(&self, zone: usize) -> Chance {
        Chance::of(self.seed, OF_ZONES, zone as u64)
    }

    pub(crate) fn sensor_chance(&self, sensor: u32) -> Chance {
        Chance::of(self.seed, OF_SENSORS, u64::from(sensor))
    }

    /// What is expected of a metric in a zone, and the normal spread of a sensor there.
    pub(crate) fn expected(&self, zone: usize, metric: usize, at_us: i64) -> (Expected, f64) {
        let (course, character) = self.by_zone[zone * self.metrics + metric];
        let course = &self.courses[course as usize];
        let expected = course.expected(at_us, at_us.div_euclid(1_000) + self.ahead_ms, character);
        (expected, course.deviation(expected))
    }

    /// The factors that a sensor has for itself and that at least two metrics show, each with the one that shows it
    /// most: what others can run against.
    pub(crate) fn own_factors(&self) -> Vec<(usize, usize)> {
        let shows = |factor: usize, metric: &usize| self.courses[*metric].share_of(factor);
        (0..self.factors.len())
            .filter(|factor| self.factors[*factor].0 == Scope::Sensor)
            .filter_map(|factor| {
                let followers = (0..self.metrics).filter(|metric| shows(factor, metric) > 0.0);
                let most = followers.clone().max_by(|a, b| shows(factor, a).total_cmp(&shows(factor, b)))?;
                (followers.count() > 1).then_some((factor, most))
            })
            .collect()
    }

    /// The metrics that run against a factor when it is inverted.
    pub(crate) fn followers(&self, factor: usize, but: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.metrics).filter(move |metric| *metric != but && self.courses[*metric].share_of(factor) > 0.0)
    }

    /// Replaces `values` by what a sensor measures.
    pub(crate) fn measure(&self, place: Place, effect: Option<Effect>, values: &mut Vec<f64>) {
        let own = self.sensor_chance(place.sensor);
        let mut factors = [0.0; FACTORS_MAX];
        for (index, value) in factors.iter_mut().enumerate().take(self.factors.len()) {
            *value = self.factor(index, place, own);
        }
        values.clear();
        values.extend(
            (0..self.metrics).map(|metric| self.value(place, own, metric, effect, |index| factors[index])),
        );
    }

    /// What a sensor normally measures of one metric.
    pub(crate) fn measure_one(&self, place: Place, metric: usize) -> f64 {
        let own = self.sensor_chance(place.sensor);
        self.value(place, own, metric, None, |index| self.factor(index, place, own))
    }

    fn factor(&self, index: usize, place: Place, own: Chance) -> f64 {
        let (scope, course) = &self.factors[index];
        let whose = match scope {
            Scope::City => self.city,
            Scope::Zone => self.zone_chance(place.zone),
            Scope::Sensor => own,
        };
        // Behind the metrics: a sensor's noise has the courses of their indices.
        course.at(whose, self.metrics + index, place.at_us)
    }

    fn value(
        &self,
        place: Place,
        own: Chance,
        metric: usize,
        effect: Option<Effect>,
        factor: impl Fn(usize) -> f64,
    ) -> f64 {
        let bounds = &self.bounds[metric];
        let mut expected_at_us = place.at_us;
        let (mut inverted, mut sigmas) = (usize::MAX, 0.0);
        match effect {
            Some(Effect::Set { metric: befallen, value }) if befallen == metric => return value,
            Some(Effect::Null { metric: befallen }) if befallen == metric => return f64::NAN,
            Some(Effect::At { metric: befallen, shift_us }) if befallen == metric => {
                expected_at_us += shift_us;
            }
            Some(Effect::Add { metric: befallen, sigmas: off }) if befallen == metric => sigmas = off,
            Some(Effect::Invert { factor, but }) if but != metric => inverted = factor,
            _ => {}
        }
        let (course, character) = self.by_zone[place.zone * self.metrics + metric];
        let course = &self.courses[course as usize];
        let local_ms = expected_at_us.div_euclid(1_000) + self.ahead_ms;
        let expected = course.expected(expected_at_us, local_ms, character);
        let moved: f64 = course
            .follows()
            .iter()
            .map(
                |(index, weight)| {
                    if *index == inverted { -weight * factor(*index) } else { weight * factor(*index) }
                },
            )
            .sum();
        let value = course.value(expected, moved, own, place.chance, metric, place.at_us);
        let deviation = course.deviation(expected);
        let held = bounds.held(value, deviation);
        if sigmas == 0.0 {
            bounds.rounded_within(held)
        } else {
            bounds.within_usual(held + sigmas * deviation)
        }
    }
}

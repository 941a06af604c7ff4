//! What goes wrong with a reading: which event it lies in, and what that does to it.
//!
//! Whatever share of the anomalies asked for the events leave, single readings have: spikes and values out of range.

use citytide_domain::{Domain, Kind};

use crate::chance::{Chance, Lane, mix};
use crate::events::{Event, SensorEvents, SensorKind, Whose, ZoneEvents};
use crate::nature::{Effect, Nature};
use crate::reading::{MetricSet, Truth};

/// Size of a spike and of a drift's end, in standard deviations.
const SPIKE_SIGMAS: (f64, f64) = (5.0, 12.0);
const DRIFT_SIGMAS: (f64, f64) = (4.0, 8.0);
/// Least distance of another hour's expectation, in standard deviations: 4, and one that what strays with the level
/// may take away again.
const CONTEXT_SIGMAS: f64 = 5.0;
/// Hours of a day that another hour is looked for in.
const DAY_HOURS: u64 = 24;
const HOUR_US: i64 = 3_600_000_000;
/// Share of stuck sensors that repeat all metrics.
const STUCK_WHOLLY: f64 = 0.3;
/// Least share of what a zone's event does that each of its sensors gets.
const CLOSENESS_MIN: f64 = 0.6;
/// Readings that are looked at to learn what share the events have.
const SAMPLES: u64 = 1 << 15;

/// Where a reading stands when trouble is looked for.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) partition: u32,
    pub(crate) sensor: u32,
    pub(crate) zone: usize,
    /// Which of the sensor's readings it is.
    pub(crate) place: i64,
    pub(crate) at_us: i64,
}

/// What befell a reading.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    /// It measures something else.
    Measures(Truth, Effect),
    /// It repeats what the sensor's reading number `first` was.
    Repeats(Truth, i64),
    /// Something in its zone raises metrics by this share.
    Raised(Truth, f64),
    /// The sensor says nothing.
    Silent(u64),
}

/// Everything that goes wrong in a city.
#[derive(Debug, Clone)]
pub(crate) struct Troubles {
    seed: u64,
    is_calm: bool,
    zones: ZoneEvents,
    /// By partition.
    sensors: Vec<SensorEvents>,
    /// Share of single anomalies among readings in no event, and of spikes among those.
    single: f64,
    spikes: f64,
    own_factors: Vec<(usize, usize)>,
    rises: Vec<(usize, f64)>,
}

impl Troubles {
    /// `share` of all readings anomalous. `intervals_us` tells how often a partition's sensors report, `sample` makes
    /// the turn of an arbitrary reading, and `time_of` knows when a sensor has its reading of a number.
    pub(crate) fn new(
        domain: &Domain,
        nature: &Nature,
        seed: u64,
        share: f64,
        intervals_us: &[f64],
        sample: impl Fn(u64) -> Turn,
        time_of: impl Fn(Turn, i64) -> i64,
    ) -> Troubles {
        let settings = &domain.generator;
        let own_factors = nature.own_factors();
        let is_possible = |kind: Kind| match kind {
            Kind::Correlation => !own_factors.is_empty(),
            Kind::ZoneEvent => !settings.zone_event.is_empty(),
            // A reading without any value is none.
            Kind::Dropout => nature.metrics() > 1,
            _ => true,
        };
        let part = |kind: Kind| if is_possible(kind) { settings.anomalies[kind as usize] } else { 0.0 };
        let all: f64 = Kind::ALL.into_iter().map(part).sum();
        let share_of = |kind: Kind| if all > 0.0 { share * part(kind) / all } else { 0.0 };
        let longest_us = intervals_us.iter().copied().fold(0.0, f64::max);
        let zones = ZoneEvents::new(share_of(Kind::ZoneEvent), longest_us);
        let sensors = intervals_us.iter().map(|us| SensorEvents::new(share_of, *us, &zones)).collect();
        let singles = part(Kind::Spike) + part(Kind::Range);
        let mut troubles = Troubles {
            seed,
            is_calm: share == 0.0,
            zones,
            sensors,
            single: 0.0,
            spikes: if singles > 0.0 { part(Kind::Spike) / singles } else { 0.0 },
            own_factors,
            rises: settings.zone_event.clone(),
        };
        if singles > 0.0 && share > 0.0 {
            let quiet = Chance::of(seed, 0, 0);
            let is_in_event = |number: &u64| {
                let turn = sample(mix(*number));
                let trouble = troubles.of(turn, quiet, nature, |place| time_of(turn, place));
                trouble.is_some_and(|trouble| !matches!(trouble, Trouble::Silent(_)))
            };
            let covered = (0..SAMPLES).filter(is_in_event).count() as f64 / SAMPLES as f64;
            troubles.single = ((share - covered) / (1.0 - covered).max(f64::EPSILON)).clamp(0.0, 1.0);
        }
        troubles
    }

    /// What befalls a reading, which has the chance `chance` for itself. `time_of` knows when the sensor has its
    /// reading of a number.
    pub(crate) fn of(
        &self,
        turn: Turn,
        chance: Chance,
        nature: &Nature,
        time_of: impl Fn(i64) -> i64,
    ) -> Option<Trouble> {
        if self.is_calm {
            return None;
        }
        let zone = Whose::new(turn.zone as u64, nature.zone_chance(turn.zone));
        if let Some(event) = self.zones.at(turn.at_us, zone) {
            return Some(self.raised(turn, event, nature));
        }
        let sensor = Whose::new(u64::from(turn.sensor), nature.sensor_chance(turn.sensor));
        let meets_zone = |start, end| self.zones.meet(time_of(start), time_of(end), zone);
        let found = self.sensors[turn.partition as usize].at(turn.place, sensor, meets_zone);
        if let Some((kind, event)) = found
            && let Some(trouble) = self.happens(kind, event, turn, nature, time_of)
        {
            return Some(trouble);
        }
        self.single(turn, chance, nature)
    }

    fn happens(
        &self,
        kind: SensorKind,
        event: Event,
        turn: Turn,
        nature: &Nature,
        time_of: impl Fn(i64) -> i64,
    ) -> Option<Trouble> {
        let metric = pick(event.chance.bits(Lane::Anomaly, 0), nature.metrics());
        let truth = |metrics| Truth { kind: kind.kind(), metrics, event: event.id };
        let measures = |metric, effect| Some(Trouble::Measures(truth(MetricSet::of(metric)), effect));
        match kind {
            SensorKind::Silence => Some(Trouble::Silent(event.id)),
            SensorKind::Dropout => measures(metric, Effect::Null { metric }),
            // What it repeats is its last normal reading.
            SensorKind::Stuck if turn.place == event.start => None,
            SensorKind::Stuck => {
                let is_whole = event.chance.unit(Lane::Anomaly, 1) < STUCK_WHOLLY;
                let metrics = match is_whole {
                    true => (0..nature.metrics()).fold(MetricSet::default(), MetricSet::with),
                    false => MetricSet::of(metric),
                };
                Some(Trouble::Repeats(truth(metrics), event.start))
            }
            SensorKind::Drift => {
                let end = between(DRIFT_SIGMAS, event.chance.unit(Lane::Anomaly, 2));
                let passed = (turn.place - event.start + 1) as f64 / (event.end - event.start) as f64;
                let side =
                    side(event.chance, turn.zone, metric, time_of(event.start), DRIFT_SIGMAS.1, nature);
                measures(metric, Effect::Add { metric, sigmas: side * end * passed })
            }
            SensorKind::Correlation => {
                let which = pick(event.chance.bits(Lane::Anomaly, 3), self.own_factors.len());
                let (factor, but) = self.own_factors[which];
                let metrics = nature.followers(factor, but).fold(MetricSet::default(), MetricSet::with);
                Some(Trouble::Measures(truth(metrics), Effect::Invert { factor, but }))
            }
            SensorKind::Contextual => {
                let times = [event.start, (event.start + event.end) / 2, event.end - 1].map(time_of);
                let (metric, shift_us) = other_hour(event.chance, turn.zone, times, nature)?;
                measures(metric, Effect::At { metric, shift_us })
            }
        }
    }

    fn raised(&self, turn: Turn, event: Event, nature: &Nature) -> Trouble {
        let passed = (turn.at_us - event.start) as f64 / (event.end - event.start) as f64;
        let height =
            if passed < 0.15 { 0.3 + 0.7 * passed / 0.15 } else { 1.0 - 0.65 * (passed - 0.15) / 0.85 };
        let near = nature.sensor_chance(turn.sensor).unit(Lane::Closeness, event.id as usize);
        let metrics = self.rises.iter().fold(MetricSet::default(), |set, (metric, _)| set.with(*metric));
        let truth = Truth { kind: Kind::ZoneEvent, metrics, event: event.id };
        Trouble::Raised(truth, height * (CLOSENESS_MIN + (1.0 - CLOSENESS_MIN) * near))
    }

    fn single(&self, turn: Turn, chance: Chance, nature: &Nature) -> Option<Trouble> {
        if chance.unit(Lane::Anomaly, 4) >= self.single {
            return None;
        }
        let metric = pick(chance.bits(Lane::Anomaly, 5), nature.metrics());
        let extent = chance.unit(Lane::Anomaly, 6);
        let (kind, effect) = if chance.unit(Lane::Anomaly, 7) < self.spikes {
            let sigmas = between(SPIKE_SIGMAS, extent);
            let side = side(chance, turn.zone, metric, turn.at_us, sigmas, nature);
            (Kind::Spike, Effect::Add { metric, sigmas: side * sigmas })
        } else {
            let value = nature.bounds(metric).broken(extent, chance.unit(Lane::Anomaly, 8));
            (Kind::Range, Effect::Set { metric, value })
        };
        let event = Chance::of(self.seed, u64::from(turn.partition), chance.bits(Lane::Anomaly, 9));
        let truth = Truth { kind, metrics: MetricSet::of(metric), event: event.bits(Lane::Event, 4) };
        Some(Trouble::Measures(truth, effect))
    }

    /// What a zone's event adds at its height.
    pub(crate) fn rises(&self) -> &[(usize, f64)] {
        &self.rises
    }
}

fn pick(bits: u64, count: usize) -> usize {
    ((u128::from(bits) * count as u128) >> 64) as usize
}

fn between((least, most): (f64, f64), part: f64) -> f64 {
    least + (most - least) * part
}

/// Upwards or downwards: where there is room, else where the range is wider.
fn side(chance: Chance, zone: usize, metric: usize, at_us: i64, sigmas: f64, nature: &Nature) -> f64 {
    let (expected, deviation) = nature.expected(zone, metric, at_us);
    let (low, high) = nature.bounds(metric).usual();
    // What the city shares and a sensor's own level may take up some of the room.
    let needed = (sigmas + 3.0) * deviation;
    let (is_up, is_down) = (expected.value + needed <= high, expected.value - needed >= low);
    let upwards = match (is_up, is_down) {
        (true, true) => chance.bits(Lane::Anomaly, 10) & 1 == 0,
        (false, false) => high - expected.value >= expected.value - low,
        _ => is_up,
    };
    if upwards { 1.0 } else { -1.0 }
}

/// A metric and how far away the hour is that it has its expectation from: one that is far enough off at all `times`.
fn other_hour(chance: Chance, zone: usize, times: [i64; 3], nature: &Nature) -> Option<(usize, i64)> {
    let (first_metric, first_hour) = (chance.bits(Lane::Anomaly, 11), chance.bits(Lane::Anomaly, 12));
    let metrics = nature.metrics();
    for offset in 0..metrics {
        let metric = (pick(first_metric, metrics) + offset) % metrics;
        let here = times.map(|at_us| nature.expected(zone, metric, at_us));
        for offset in 0..DAY_HOURS {
            let shift_us = ((first_hour.wrapping_add(offset)) % DAY_HOURS) as i64 * HOUR_US;
            let is_off = times.iter().zip(here).all(|(at_us, (expected, deviation))| {
                let there = nature.expected(zone, metric, at_us + shift_us).0.value;
                (there - expected.value).abs() >= CONTEXT_SIGMAS * deviation
            });
            if is_off {
                return Some((metric, shift_us));
            }
        }
    }
    None
}

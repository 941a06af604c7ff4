//! Anomalies: which event a reading lies in, and what that does to it.
//!
//! What events do not cover of the requested share is filled with single readings: spikes and values out of range.

use citytide_domain::{Domain, HOUR_US, Kind};

use crate::events::{Event, Owner, SensorEvents, SensorKind, ZoneEvents};
use crate::random::{Random, Stream, mix};
use crate::reading::{MetricSet, Truth};
use crate::signals::{Effect, Signals};

/// Size of a spike, and of a drift at its end, in standard deviations.
const SPIKE_SIGMAS: (f64, f64) = (5.0, 12.0);
const DRIFT_SIGMAS: (f64, f64) = (4.0, 8.0);
/// Least distance to the expected value of the other hour, in standard deviations: 4, plus 1 for deviations that scale
/// with the level.
const CONTEXT_SIGMAS: f64 = 5.0;
const DAY_HOURS: u64 = 24;
/// Share of stuck sensors that repeat all metrics instead of one.
const STUCK_WHOLLY: f64 = 0.3;
/// Least share of a zone event's effect on a sensor.
const CLOSENESS_MIN: f64 = 0.6;
/// Readings that are sampled to measure the share that events cover.
const SAMPLES: u64 = 1 << 15;

/// A sensor's turn to report.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) partition: u32,
    pub(crate) sensor: u32,
    pub(crate) zone: usize,
    /// Number of the reading among the sensor's.
    pub(crate) place: i64,
    pub(crate) at_us: i64,
}

/// What is wrong with a reading.
#[derive(Clone, Copy)]
pub(crate) enum Anomaly {
    /// Other values are measured.
    Measures(Truth, Effect),
    /// It repeats the values of this reading of the sensor.
    Repeats(Truth, i64),
    /// An event of its zone raises metrics by this share of the event's peak.
    Raised(Truth, f64),
    /// The sensor does not report, in the event with this id.
    Silent(u64),
}

/// All anomalies of a city.
#[derive(Debug, Clone)]
pub(crate) struct Anomalies {
    seed: u64,
    is_calm: bool,
    zones: ZoneEvents,
    /// By partition.
    sensors: Vec<SensorEvents>,
    /// Share of single anomalies among readings outside events, and of spikes among those.
    single: f64,
    spikes: f64,
    own_factors: Vec<(usize, usize)>,
    rises: Vec<(usize, f64)>,
}

impl Anomalies {
    /// A `share` of all readings is anomalous. `intervals_us` is how often a sensor reports, by partition; `sample`
    /// returns the turn of an arbitrary reading, and `time_of` the time of one of the sensor's readings.
    pub(crate) fn new(
        domain: &Domain,
        signals: &Signals,
        seed: u64,
        share: f64,
        intervals_us: &[f64],
        sample: impl Fn(u64) -> Turn,
        time_of: impl Fn(Turn, i64) -> i64,
    ) -> Anomalies {
        let settings = &domain.generator;
        let own_factors = signals.own_factors();
        let is_possible = |kind: Kind| match kind {
            Kind::Correlation => !own_factors.is_empty(),
            Kind::ZoneEvent => !settings.zone_event.is_empty(),
            // A reading needs at least one value.
            Kind::Dropout => signals.metrics() > 1,
            _ => true,
        };
        let part = |kind: Kind| if is_possible(kind) { settings.anomalies[kind as usize] } else { 0.0 };
        let all: f64 = Kind::ALL.into_iter().map(part).sum();
        let share_of = |kind: Kind| if all > 0.0 { share * part(kind) / all } else { 0.0 };
        let longest_us = intervals_us.iter().copied().fold(0.0, f64::max);
        let zones = ZoneEvents::new(share_of(Kind::ZoneEvent), longest_us);
        let sensors = intervals_us.iter().map(|us| SensorEvents::new(share_of, *us, &zones)).collect();
        let singles = part(Kind::Spike) + part(Kind::Range);
        let mut anomalies = Anomalies {
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
            let unused = Random::of(seed, 0, 0);
            let is_in_event = |number: &u64| {
                let turn = sample(mix(*number));
                let anomaly = anomalies.of(turn, unused, signals, |place| time_of(turn, place));
                anomaly.is_some_and(|anomaly| !matches!(anomaly, Anomaly::Silent(_)))
            };
            let covered = (0..SAMPLES).filter(is_in_event).count() as f64 / SAMPLES as f64;
            anomalies.single = ((share - covered) / (1.0 - covered).max(f64::EPSILON)).clamp(0.0, 1.0);
        }
        anomalies
    }

    /// What is wrong with a reading, for which `random` draws. `time_of` returns the time of one of the sensor's
    /// readings.
    pub(crate) fn of(
        &self,
        turn: Turn,
        random: Random,
        signals: &Signals,
        time_of: impl Fn(i64) -> i64,
    ) -> Option<Anomaly> {
        if self.is_calm {
            return None;
        }
        let zone = Owner::new(turn.zone as u64, signals.zone_random(turn.zone));
        if let Some(event) = self.zones.at(turn.at_us, zone) {
            return Some(self.raised(turn, event, signals));
        }
        let sensor = Owner::new(u64::from(turn.sensor), signals.sensor_random(turn.sensor));
        let in_zone_event = |start, end| self.zones.meet(time_of(start), time_of(end), zone);
        let found = self.sensors[turn.partition as usize].at(turn.place, sensor, in_zone_event);
        if let Some((kind, event)) = found
            && let Some(anomaly) = self.of_event(kind, event, turn, signals, time_of)
        {
            return Some(anomaly);
        }
        self.single(turn, random, signals)
    }

    fn of_event(
        &self,
        kind: SensorKind,
        event: Event,
        turn: Turn,
        signals: &Signals,
        time_of: impl Fn(i64) -> i64,
    ) -> Option<Anomaly> {
        let metric = pick(event.random.bits(Stream::Anomaly, 0), signals.metrics());
        let truth = |metrics| Truth { kind: kind.kind(), metrics, event: event.id };
        let measures = |metric, effect| Some(Anomaly::Measures(truth(MetricSet::of(metric)), effect));
        match kind {
            SensorKind::Silence => Some(Anomaly::Silent(event.id)),
            SensorKind::Dropout => measures(metric, Effect::Null { metric }),
            // The first reading of the event is the normal one that the others repeat.
            SensorKind::Stuck if turn.place == event.start => None,
            SensorKind::Stuck => {
                let is_whole = event.random.unit(Stream::Anomaly, 1) < STUCK_WHOLLY;
                let metrics = match is_whole {
                    true => (0..signals.metrics()).fold(MetricSet::default(), MetricSet::with),
                    false => MetricSet::of(metric),
                };
                Some(Anomaly::Repeats(truth(metrics), event.start))
            }
            SensorKind::Drift => {
                let end = between(DRIFT_SIGMAS, event.random.unit(Stream::Anomaly, 2));
                let passed = (turn.place - event.start + 1) as f64 / (event.end - event.start) as f64;
                let side =
                    side(event.random, turn.zone, metric, time_of(event.start), DRIFT_SIGMAS.1, signals);
                measures(metric, Effect::Add { metric, sigmas: side * end * passed })
            }
            SensorKind::Correlation => {
                let which = pick(event.random.bits(Stream::Anomaly, 3), self.own_factors.len());
                let (factor, but) = self.own_factors[which];
                let metrics = signals.followers(factor, but).fold(MetricSet::default(), MetricSet::with);
                Some(Anomaly::Measures(truth(metrics), Effect::Invert { factor, but }))
            }
            SensorKind::Contextual => {
                let times = [event.start, (event.start + event.end) / 2, event.end - 1].map(time_of);
                let (metric, shift_us) = other_hour(event.random, turn.zone, times, signals)?;
                measures(metric, Effect::At { metric, shift_us })
            }
        }
    }

    fn raised(&self, turn: Turn, event: Event, signals: &Signals) -> Anomaly {
        let passed = (turn.at_us - event.start) as f64 / (event.end - event.start) as f64;
        let height =
            if passed < 0.15 { 0.3 + 0.7 * passed / 0.15 } else { 1.0 - 0.65 * (passed - 0.15) / 0.85 };
        let near = signals.sensor_random(turn.sensor).unit(Stream::Closeness, event.id as usize);
        let metrics = self.rises.iter().fold(MetricSet::default(), |set, (metric, _)| set.with(*metric));
        let truth = Truth { kind: Kind::ZoneEvent, metrics, event: event.id };
        Anomaly::Raised(truth, height * (CLOSENESS_MIN + (1.0 - CLOSENESS_MIN) * near))
    }

    fn single(&self, turn: Turn, random: Random, signals: &Signals) -> Option<Anomaly> {
        if random.unit(Stream::Anomaly, 4) >= self.single {
            return None;
        }
        let metric = pick(random.bits(Stream::Anomaly, 5), signals.metrics());
        let extent = random.unit(Stream::Anomaly, 6);
        let (kind, effect) = if random.unit(Stream::Anomaly, 7) < self.spikes {
            let sigmas = between(SPIKE_SIGMAS, extent);
            let side = side(random, turn.zone, metric, turn.at_us, sigmas, signals);
            (Kind::Spike, Effect::Add { metric, sigmas: side * sigmas })
        } else {
            let value = signals.bounds(metric).broken(extent, random.unit(Stream::Anomaly, 8));
            (Kind::Range, Effect::Set { metric, value })
        };
        let event = Random::of(self.seed, u64::from(turn.partition), random.bits(Stream::Anomaly, 9));
        let truth = Truth { kind, metrics: MetricSet::of(metric), event: event.bits(Stream::Event, 4) };
        Some(Anomaly::Measures(truth, effect))
    }

    /// What a zone event adds at its peak, by metric.
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

/// 1 upwards or -1 downwards: where the usual range has room, else where it has more.
fn side(random: Random, zone: usize, metric: usize, at_us: i64, sigmas: f64, signals: &Signals) -> f64 {
    let (expected, deviation) = signals.expected(zone, metric, at_us);
    let (low, high) = signals.bounds(metric).usual();
    // Shared factors and the sensor's own offset may take up some of the room.
    let needed = (sigmas + 3.0) * deviation;
    let (is_up, is_down) = (expected.value + needed <= high, expected.value - needed >= low);
    let upwards = match (is_up, is_down) {
        (true, true) => random.bits(Stream::Anomaly, 10) & 1 == 0,
        (false, false) => high - expected.value >= expected.value - low,
        _ => is_up,
    };
    if upwards { 1.0 } else { -1.0 }
}

/// A metric and a shift to another hour, whose expected value is far enough off at all `times`.
fn other_hour(random: Random, zone: usize, times: [i64; 3], signals: &Signals) -> Option<(usize, i64)> {
    let (first_metric, first_hour) = (random.bits(Stream::Anomaly, 11), random.bits(Stream::Anomaly, 12));
    let metrics = signals.metrics();
    for offset in 0..metrics {
        let metric = (pick(first_metric, metrics) + offset) % metrics;
        let here = times.map(|at_us| signals.expected(zone, metric, at_us));
        for offset in 0..DAY_HOURS {
            let shift_us = ((first_hour.wrapping_add(offset)) % DAY_HOURS) as i64 * HOUR_US;
            let is_off = times.iter().zip(here).all(|(at_us, (expected, deviation))| {
                let there = signals.expected(zone, metric, at_us + shift_us).0.value;
                (there - expected.value).abs() >= CONTEXT_SIGMAS * deviation
            });
            if is_off {
                return Some((metric, shift_us));
            }
        }
    }
    None
}

//! When anomalies happen: events are derived by hashing (seed, sensor, slot), so that whether a reading lies in one is
//! known without looking at any other reading.
//!
//! 1. Time is divided into slots: a sensor's are counted in its readings, a zone's in microseconds of event time. A
//!    slot holds at most one event of a kind, wholly inside it. The requested share sets the length of the slots. The
//!    slots of different sensors and zones are shifted against each other, so that a city has its share on any day.
//! 2. A sensor has one event at a time: an event that overlaps one of a kind earlier in [`SensorKind::ALL`], or one of
//!    its zone, is dropped.
//! 3. The kind sets the length of an event, in readings or in time, however often a sensor reports.

use citytide_domain::{Kind, MINUTE_US};

use crate::random::{Random, Stream, unit};

/// A slot is at least this much longer than its longest event.
const SLACK: f64 = 1.25;
/// Where in its slot an event starts, as a share of the free room: the least, and the random part, which is small so
/// that events stay evenly spread.
const START: (f64, f64) = (0.48, 0.04);
/// How far the slots of consecutive sensors are shifted, as a share of a slot in units of 2⁻⁶⁴: the fractional parts of
/// square roots of primes, which spread any number of sensors evenly; one for each kind, so that no two are in step.
const SPREADS: [u64; SensorKind::ALL.len() + 1] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
];

/// Kinds of events of one sensor; a kind takes precedence over the later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SensorKind {
    Drift,
    Correlation,
    Contextual,
    Stuck,
    Dropout,
    /// The sensor does not report.
    Silence,
}

impl SensorKind {
    pub(crate) const ALL: [SensorKind; 6] = [
        SensorKind::Drift,
        SensorKind::Correlation,
        SensorKind::Contextual,
        SensorKind::Stuck,
        SensorKind::Dropout,
        SensorKind::Silence,
    ];

    /// The kind whose share it has: silence is as frequent as dropout, but marks no reading.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            SensorKind::Drift => Kind::Drift,
            SensorKind::Correlation => Kind::Correlation,
            SensorKind::Contextual => Kind::Contextual,
            SensorKind::Stuck => Kind::Stuck,
            SensorKind::Dropout | SensorKind::Silence => Kind::Dropout,
        }
    }

    /// Shortest and longest, in readings of a sensor that reports every `interval_us`.
    fn lengths(self, interval_us: f64) -> (u64, u64) {
        let of_time = |minutes: (i64, i64), least: u64| {
            let readings = |minutes: i64| ((minutes * MINUTE_US) as f64 / interval_us).round() as u64;
            let shortest = readings(minutes.0).max(least);
            (shortest, readings(minutes.1).max(3 * shortest))
        };
        match self {
            SensorKind::Drift => of_time((120, 360), 30),
            SensorKind::Correlation => of_time((20, 70), 10),
            SensorKind::Contextual => of_time((6, 30), 1),
            // The reading that is repeated, and 20 to 100 repetitions.
            SensorKind::Stuck => (21, 101),
            SensorKind::Dropout => (1, 20),
            SensorKind::Silence => (5, 60),
        }
    }
}

/// An event: its range, in readings of its sensor or microseconds of event time, and its random numbers.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) start: i64,
    /// Exclusive.
    pub(crate) end: i64,
    pub(crate) random: Random,
    /// Common to all readings of the event.
    pub(crate) id: u64,
}

/// How often events of a kind happen, and how long they are.
#[derive(Debug, Clone, Copy)]
struct Plan {
    slot: i64,
    /// That a slot holds an event.
    probability: f64,
    shortest: i64,
    longest: i64,
}

impl Plan {
    /// Events of these lengths that cover `share` of all time, if slots can hold that many.
    fn new(share: f64, (shortest, longest): (u64, u64)) -> Option<Plan> {
        if share <= 0.0 {
            return None;
        }
        let mean = (shortest + longest) as f64 / 2.0;
        let slot = (mean / share).max(longest as f64 * SLACK).ceil();
        let probability = (share * slot / mean).min(1.0);
        Some(Plan { slot: slot as i64, probability, shortest: shortest as i64, longest: longest as i64 })
    }

    fn rate(&self) -> f64 {
        self.probability / self.slot as f64
    }

    fn mean(&self) -> f64 {
        (self.shortest + self.longest) as f64 / 2.0
    }

    fn phase(&self, spread: u64) -> i64 {
        (unit(spread) * self.slot as f64) as i64
    }

    /// The event of a slot, if it holds one.
    fn event(&self, slot: i64, spread: u64, owner: Random, kind: usize) -> Option<Event> {
        let random = owner.within(Stream::Event, (slot as u64) << 4 | kind as u64);
        if self.probability < 1.0 && random.unit(Stream::Event, 0) >= self.probability {
            return None;
        }
        let length = self.shortest
            + (random.unit(Stream::Event, 1) * (self.longest - self.shortest + 1) as f64) as i64;
        let room = (self.slot - length) as f64 * (START.0 + START.1 * random.unit(Stream::Event, 2));
        let start = slot * self.slot - self.phase(spread) + room as i64;
        Some(Event { start, end: start + length, random, id: random.bits(Stream::Event, 3) })
    }

    /// The event that contains a place.
    fn around(&self, place: i64, spread: u64, owner: Random, kind: usize) -> Option<Event> {
        let slot = (place + self.phase(spread)).div_euclid(self.slot);
        self.event(slot, spread, owner, kind).filter(|event| (event.start..event.end).contains(&place))
    }

    /// Whether an event overlaps `from..until`.
    fn meets(&self, from: i64, until: i64, spread: u64, owner: Random, kind: usize) -> bool {
        let phase = self.phase(spread);
        let slots = (from + phase).div_euclid(self.slot)..=(until - 1 + phase).div_euclid(self.slot);
        slots
            .filter_map(|slot| self.event(slot, spread, owner, kind))
            .any(|event| event.start < until && from < event.end)
    }
}

/// The sensor or zone that has the events.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    number: u64,
    random: Random,
}

impl Owner {
    pub(crate) fn new(number: u64, random: Random) -> Owner {
        Owner { number, random }
    }

    fn spread(self, kind: usize) -> u64 {
        (self.number + 1).wrapping_mul(SPREADS[kind])
    }
}

/// The plans for the sensors of one partition, all of which report equally often.
#[derive(Debug, Clone)]
pub(crate) struct SensorEvents {
    plans: [Option<Plan>; SensorKind::ALL.len()],
}

#[derive(Debug, Clone)]
pub(crate) struct ZoneEvents {
    plan: Option<Plan>,
}

/// The index of zone events, after the kinds of sensor events.
const OF_ZONE: usize = SensorKind::ALL.len();

impl ZoneEvents {
    /// Events of 8 to 24 minutes; longer if sensors report so rarely that these would hold less than 3 readings.
    pub(crate) fn new(share: f64, interval_us: f64) -> ZoneEvents {
        let shortest = (8 * MINUTE_US as u64).max((3.0 * interval_us) as u64);
        ZoneEvents { plan: Plan::new(share, (shortest, 3 * shortest)) }
    }

    pub(crate) fn at(&self, at_us: i64, zone: Owner) -> Option<Event> {
        self.plan.as_ref()?.around(at_us, zone.spread(OF_ZONE), zone.random, OF_ZONE)
    }

    /// Whether an event overlaps a span of event time.
    pub(crate) fn meet(&self, from_us: i64, until_us: i64, zone: Owner) -> bool {
        self.plan
            .as_ref()
            .is_some_and(|plan| plan.meets(from_us, until_us, zone.spread(OF_ZONE), zone.random, OF_ZONE))
    }
}

impl SensorEvents {
    /// `share` of the readings for each kind, of sensors that report every `interval_us`. A kind's share is raised by
    /// what is dropped because of overlaps.
    pub(crate) fn new(share: impl Fn(Kind) -> f64, interval_us: f64, zones: &ZoneEvents) -> SensorEvents {
        let mut plans: [Option<Plan>; SensorKind::ALL.len()] = [None; SensorKind::ALL.len()];
        for (index, kind) in SensorKind::ALL.into_iter().enumerate() {
            let lengths = kind.lengths(interval_us);
            let mean = (lengths.0 + lengths.1) as f64 / 2.0;
            let mut alone = 1.0;
            for earlier in plans.iter().flatten() {
                alone *= 1.0 - (earlier.rate() * (earlier.mean() + mean)).min(0.9);
            }
            if let Some(zone) = &zones.plan {
                alone *= 1.0 - (zone.rate() * (zone.mean() + mean * interval_us)).min(0.9);
            }
            plans[index] = Plan::new(share(kind.kind()) / alone, lengths);
        }
        SensorEvents { plans }
    }

    /// The event that contains the sensor's reading `place`. `in_zone_event` says whether an event of the zone overlaps
    /// a range of the sensor's readings.
    pub(crate) fn at(
        &self,
        place: i64,
        sensor: Owner,
        in_zone_event: impl Fn(i64, i64) -> bool,
    ) -> Option<(SensorKind, Event)> {
        for (index, kind) in SensorKind::ALL.into_iter().enumerate() {
            let Some(plan) = &self.plans[index] else { continue };
            let Some(event) = plan.around(place, sensor.spread(index), sensor.random, index) else {
                continue;
            };
            let is_dropped = self.plans[..index].iter().enumerate().any(|(earlier, plan)| {
                plan.as_ref().is_some_and(|plan| {
                    plan.meets(event.start, event.end, sensor.spread(earlier), sensor.random, earlier)
                })
            });
            if !is_dropped && !in_zone_event(event.start, event.end) {
                return Some((kind, event));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, SensorEvents, SensorKind, ZoneEvents};
    use crate::random::Random;

    const SECOND_US: f64 = citytide_domain::SECOND_US as f64;

    /// Share of readings in events of each kind, of `count` that lie `stride` apart, over 50 sensors.
    fn shares(events: &SensorEvents, count: i64, stride: i64) -> [f64; SensorKind::ALL.len()] {
        let mut found = [0.0; SensorKind::ALL.len()];
        for number in 0..50 {
            let sensor = Owner::new(number, Random::of(9, 1, number));
            for place in 0..count {
                if let Some((kind, _)) = events.at(place * stride, sensor, |_, _| false) {
                    found[kind as usize] += 1.0 / (50 * count) as f64;
                }
            }
        }
        found
    }

    #[test]
    fn each_kind_covers_its_share_at_any_pace() {
        for interval_s in [0.5, 10.0, 600.0, 7_200.0] {
            let zones = ZoneEvents::new(0.0, interval_s * SECOND_US);
            let events = SensorEvents::new(|_| 0.01, interval_s * SECOND_US, &zones);
            for (index, share) in shares(&events, 10_000, 10_007).into_iter().enumerate() {
                assert!((0.008..0.012).contains(&share), "{:?} {share}", SensorKind::ALL[index]);
            }
        }
    }

    #[test]
    fn an_event_is_the_same_from_each_of_its_readings_and_meets_no_other() {
        let zones = ZoneEvents::new(0.0, SECOND_US);
        let events = SensorEvents::new(|_| 0.05, 10.0 * SECOND_US, &zones);
        let sensor = Owner::new(3, Random::of(9, 1, 3));
        let around = |place: i64| events.at(place, sensor, |_, _| false);
        let mut seen = std::collections::HashSet::new();
        let mut place = (0..).find(|place| around(*place).is_none()).expect("a quiet one");
        while place < 100_000 {
            let Some((kind, event)) = around(place) else {
                place += 1;
                continue;
            };
            assert_eq!(event.start, place, "{kind:?}");
            assert!(seen.insert(event.id));
            assert!(
                (place..event.end).all(|inside| around(inside).is_some_and(|(_, same)| same.id == event.id))
            );
            place = event.end;
        }
        assert!(seen.len() > 100);
    }

    #[test]
    fn nothing_happens_where_nothing_was_asked_for() {
        let events = SensorEvents::new(|_| 0.0, SECOND_US, &ZoneEvents::new(0.0, SECOND_US));
        assert_eq!(shares(&events, 10_000, 1), [0.0; SensorKind::ALL.len()]);
    }
}

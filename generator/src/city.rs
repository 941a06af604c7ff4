//! The city: which sensor reports at an offset, from which zone, at what time and with which values.

use chrono::{DateTime, Offset, TimeZone};
use citytide_domain::Domain;

use crate::anomaly::{Anomalies, Anomaly, Turn};
use crate::random::{Random, Stream};
use crate::reading::{Malformation, Reading, Silence};
use crate::schedule::{Delays, Schedule};
use crate::settings::{CitySettings, Disorder, SettingsError};
use crate::signals::{Place, Signals};

/// The zones if the domain file names none.
const UNNAMED_ZONES: [&str; 4] = ["Zone 1", "Zone 2", "Zone 3", "Zone 4"];
/// Greatest distance, in records, from a duplicate back to its original.
const DUPLICATE_BACK_MAX: u64 = 4;
/// How many sensors are tried in place of a silent one.
const STAND_INS_MAX: i64 = 4;
/// Span of event time that is sampled to measure which share of readings the events cover,
const SAMPLED_S: f64 = 366.0 * 86_400.0;
/// and the least number of readings of each sensor in it.
const SAMPLED_TURNS: f64 = 10_000.0;

/// A city: a pure function from (partition, offset) to a reading.
#[derive(Debug, Clone)]
pub struct City {
    zones: Vec<String>,
    layout: Layout,
    signals: Signals,
    anomalies: Anomalies,
}

/// Which sensor has which turn, and when.
#[derive(Debug, Clone)]
struct Layout {
    seed: u64,
    zones: usize,
    /// Sensors of each partition.
    sensors: Vec<Vec<u32>>,
    /// Partitions that have sensors.
    producing: Vec<u32>,
    /// By partition: its index in `producing`.
    ranks: Vec<usize>,
    schedule: Schedule,
    delays: Delays,
    disorder: Disorder,
}

impl City {
    /// The city of a domain. Its UTC offset is that of the domain's `time_zone` at the schedule's start.
    ///
    /// # Errors
    ///
    /// A setting is out of its range.
    pub fn new(domain: &Domain, settings: &CitySettings, schedule: Schedule) -> Result<City, SettingsError> {
        settings.check()?;
        let zones: Vec<String> = match domain.zones.is_empty() {
            false => domain.zones.iter().map(|zone| zone.name.clone()).collect(),
            true => UNNAMED_ZONES.map(str::to_owned).to_vec(),
        };
        let start = DateTime::from_timestamp_micros(schedule.start_us).unwrap_or_default().naive_utc();
        let ahead = domain.fields.time_zone.offset_from_utc_datetime(&start).fix();
        let signals =
            Signals::new(domain, settings.seed, zones.len(), i64::from(ahead.local_minus_utc()) * 1_000);
        Ok(City::of(domain, settings, schedule, zones, signals))
    }

    /// The same city at another schedule: the same sensors, of which each measures what it measures here at that time.
    ///
    /// # Errors
    ///
    /// A setting is out of its range.
    pub fn at(
        &self,
        domain: &Domain,
        settings: &CitySettings,
        schedule: Schedule,
    ) -> Result<City, SettingsError> {
        settings.check()?;
        Ok(City::of(domain, settings, schedule, self.zones.clone(), self.signals.clone()))
    }

    fn of(
        domain: &Domain,
        settings: &CitySettings,
        schedule: Schedule,
        zones: Vec<String>,
        signals: Signals,
    ) -> City {
        let layout = Layout::new(domain, settings, zones.len(), schedule);
        let turn_us = layout.turn_us();
        let intervals_us: Vec<f64> =
            layout.sensors.iter().map(|sensors| turn_us * sensors.len().max(1) as f64).collect();
        let readings = (SAMPLED_S * layout.schedule.rate / layout.schedule.speed)
            .max(SAMPLED_TURNS * f64::from(settings.sensors)) as u64;
        let anomalies = Anomalies::new(
            domain,
            &signals,
            settings.seed,
            settings.anomalies,
            &intervals_us,
            |bits| {
                let (partition, offset) = layout.place_of((bits % readings) as i64);
                layout.turn(partition, offset, 0)
            },
            |turn, place| layout.time_of(turn, place),
        );
        City { zones, layout, signals, anomalies }
    }

    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    pub fn schedule(&self) -> &Schedule {
        &self.layout.schedule
    }

    /// Restarts event time at `start_us`, at these offsets. No reading at or after them may have been generated yet.
    pub fn restart_at(&mut self, start_us: i64, first_offsets: Vec<i64>) {
        self.layout.schedule.start_us = start_us;
        self.layout.schedule.first_offsets = first_offsets;
    }

    /// Partition and offset of reading `number`, counted from the schedule's start: partitions take turns.
    pub fn place_of(&self, number: i64) -> (u32, i64) {
        self.layout.place_of(number)
    }

    /// The reading at an offset.
    ///
    /// # Panics
    ///
    /// If the partition has no sensors; [`City::place_of`] never returns such a partition.
    pub fn reading(&self, partition: u32, offset: i64) -> Reading {
        let mut reading = Reading::default();
        self.fill(partition, offset, &mut reading);
        reading
    }

    /// [`City::reading`] into an existing reading, without allocating.
    ///
    /// # Panics
    ///
    /// Like [`City::reading`].
    pub fn fill(&self, partition: u32, offset: i64, reading: &mut Reading) {
        let original = self.layout.original(partition, offset);
        self.fill_original(partition, original, reading);
        reading.duplicate_of = (original != offset).then_some(original);
    }

    fn fill_original(&self, partition: u32, offset: i64, reading: &mut Reading) {
        let random = self.layout.random(partition, offset);
        let mut turn = self.layout.turn(partition, offset, 0);
        let mut anomaly = self.anomaly(turn, random);
        reading.silence = None;
        if let Some(Anomaly::Silent(event)) = anomaly {
            let silence = Silence { sensor: turn.sensor, event };
            anomaly = None;
            for step in 1..=self.layout.others(partition).min(STAND_INS_MAX) {
                let other = self.layout.turn(partition, offset, step);
                let found = self.anomaly(other, random);
                if !matches!(found, Some(Anomaly::Silent(_))) {
                    (turn, anomaly, reading.silence) = (other, found, Some(silence));
                    break;
                }
            }
        }
        let place = Place { sensor: turn.sensor, zone: turn.zone, at_us: turn.at_us, random };
        (reading.sensor, reading.zone) = (turn.sensor, turn.zone);
        reading.at_ms = turn.at_us.div_euclid(1_000);
        let values = &mut reading.values;
        reading.truth = match anomaly {
            None | Some(Anomaly::Silent(_)) => {
                self.signals.measure(place, None, values);
                None
            }
            Some(Anomaly::Measures(truth, effect)) => {
                self.signals.measure(place, Some(effect), values);
                Some(truth)
            }
            Some(Anomaly::Repeats(truth, first)) => {
                self.signals.measure(place, None, values);
                let first = self.layout.offset_of(turn, first);
                let at_us = self.layout.event_us(partition, first);
                let first = Place { at_us, random: self.layout.random(partition, first), ..place };
                for metric in truth.metrics.iter() {
                    values[metric] = self.signals.measure_one(first, metric);
                }
                Some(truth)
            }
            Some(Anomaly::Raised(truth, share)) => {
                self.signals.measure(place, None, values);
                for (metric, rise) in self.anomalies.rises() {
                    values[*metric] =
                        self.signals.bounds(*metric).within_usual(values[*metric] + rise * share);
                }
                Some(truth)
            }
        };
        reading.malformed = self.layout.malformation(random);
    }

    fn anomaly(&self, turn: Turn, random: Random) -> Option<Anomaly> {
        self.anomalies.of(turn, random, &self.signals, |place| self.layout.time_of(turn, place))
    }
}

impl Layout {
    fn new(domain: &Domain, settings: &CitySettings, zones: usize, schedule: Schedule) -> Layout {
        let mut sensors = vec![Vec::new(); settings.partitions as usize];
        for sensor in 1..=settings.sensors {
            sensors[partition_of(sensor, zones, settings.partitions)].push(sensor);
        }
        let producing: Vec<u32> =
            (0..settings.partitions).filter(|p| !sensors[*p as usize].is_empty()).collect();
        let mut ranks = vec![0; sensors.len()];
        for (rank, partition) in producing.iter().enumerate() {
            ranks[*partition as usize] = rank;
        }
        let turn_us = producing.len() as f64 / schedule.rate * schedule.speed * 1e6;
        Layout {
            seed: settings.seed,
            zones,
            sensors,
            producing,
            ranks,
            delays: Delays::new(domain, &settings.disorder, turn_us),
            disorder: settings.disorder.clone(),
            schedule,
        }
    }

    /// Microseconds of event time between two readings of a partition.
    fn turn_us(&self) -> f64 {
        self.producing.len() as f64 / self.schedule.rate * self.schedule.speed * 1e6
    }

    fn place_of(&self, number: i64) -> (u32, i64) {
        let turns = self.producing.len() as i64;
        let partition = self.producing[(number % turns) as usize];
        (partition, self.first_offset(partition) + number / turns)
    }

    fn first_offset(&self, partition: u32) -> i64 {
        self.schedule.first_offsets.get(partition as usize).copied().unwrap_or(0)
    }

    fn random(&self, partition: u32, offset: i64) -> Random {
        Random::of(self.seed, u64::from(partition), offset as u64)
    }

    /// The offset whose payload this one has: its own or, for a duplicate, an earlier one.
    fn original(&self, partition: u32, offset: i64) -> i64 {
        let (mut original, first) = (offset, self.first_offset(partition));
        while self.disorder.duplicate > 0.0 && original > first {
            let random = self.random(partition, original);
            if random.unit(Stream::Duplicate, 0) >= self.disorder.duplicate {
                break;
            }
            let back = 1 + random.bits(Stream::Duplicate, 1) % DUPLICATE_BACK_MAX;
            original = (original - back as i64).max(first);
        }
        original
    }

    fn malformation(&self, random: Random) -> Option<Malformation> {
        let is_malformed =
            self.disorder.malformed > 0.0 && random.unit(Stream::Malformed, 0) < self.disorder.malformed;
        let which = || random.bits(Stream::Malformed, 1) % Malformation::ALL.len() as u64;
        is_malformed.then(|| Malformation::ALL[which() as usize])
    }

    /// How many other sensors a partition has.
    fn others(&self, partition: u32) -> i64 {
        self.sensors[partition as usize].len() as i64 - 1
    }

    /// The turn at an offset: of the sensor that is due (`step` 0), or of the `step`-th one after it.
    fn turn(&self, partition: u32, offset: i64, step: i64) -> Turn {
        let sensors = &self.sensors[partition as usize];
        let count = sensors.len() as i64;
        let (place, own) = (offset.div_euclid(count), offset.rem_euclid(count));
        let index = match step {
            0 => own,
            _ => {
                let first = self.random(partition, offset).bits(Stream::StandIn, 0) % (count - 1) as u64;
                (own + 1 + (first as i64 + step - 1) % (count - 1)) % count
            }
        };
        let sensor = sensors[index as usize];
        let at_us = self.event_us(partition, offset);
        Turn { partition, sensor, zone: zone_of(sensor, self.zones), place, at_us }
    }

    /// The offset of reading `place` of the turn's sensor.
    fn offset_of(&self, turn: Turn, place: i64) -> i64 {
        let sensors = &self.sensors[turn.partition as usize];
        let index = sensors.binary_search(&turn.sensor).unwrap_or(0);
        place * sensors.len() as i64 + index as i64
    }

    /// The time of reading `place` of the turn's sensor.
    fn time_of(&self, turn: Turn, place: i64) -> i64 {
        self.turn_at_us(turn.partition, self.offset_of(turn, place))
    }

    fn turn_at_us(&self, partition: u32, offset: i64) -> i64 {
        let turns = self.producing.len() as i64;
        let number = (offset - self.first_offset(partition)) * turns + self.ranks[partition as usize] as i64;
        self.schedule.turn_us(number)
    }

    fn event_us(&self, partition: u32, offset: i64) -> i64 {
        self.turn_at_us(partition, offset) - self.delays.of(self.random(partition, offset))
    }
}

/// Sensors are assigned to zones in turn.
fn zone_of(sensor: u32, zones: usize) -> usize {
    (sensor as usize - 1) % zones
}

/// Sensors are assigned to partitions evenly, and so that every partition has sensors of every zone.
fn partition_of(sensor: u32, zones: usize, partitions: u32) -> usize {
    let index = sensor as usize - 1;
    (index % zones + index / zones) % partitions as usize
}

#[cfg(test)]
mod anomalies;
#[cfg(test)]
mod plausible;
#[cfg(test)]
mod tests;

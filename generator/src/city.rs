//! The city: which sensor reports at an offset, from which zone, when and what.

use chrono::{DateTime, Offset, TimeZone};
use citytide_domain::Domain;

use crate::chance::{Chance, Lane};
use crate::nature::{Nature, Place};
use crate::reading::{Malformation, Reading, Silence};
use crate::schedule::{Delays, Schedule};
use crate::settings::{CitySettings, Disorder, SettingsError};
use crate::trouble::{Trouble, Troubles, Turn};

/// Zones of a domain whose file names none.
const UNNAMED_ZONES: [&str; 4] = ["Zone 1", "Zone 2", "Zone 3", "Zone 4"];
/// How many records back a duplicate's original is, at most.
const DUPLICATE_BACK_MAX: u64 = 4;
/// How many sensors are asked to report instead of a silent one.
const STAND_INS_MAX: i64 = 4;
/// Event time from which readings are drawn to learn what share the events have.
const SAMPLED_S: f64 = 366.0 * 86_400.0;
/// As many of each sensor's readings at least.
const SAMPLED_TURNS: f64 = 10_000.0;

/// A city: a pure function from (partition, offset) to a reading.
#[derive(Debug, Clone)]
pub struct City {
    zones: Vec<String>,
    layout: Layout,
    nature: Nature,
    troubles: Troubles,
}

/// Who has which turn when.
#[derive(Debug, Clone)]
struct Layout {
    seed: u64,
    zones: usize,
    /// Sensors of each partition.
    sensors: Vec<Vec<u32>>,
    /// Partitions that have sensors, and the rank of each partition among them.
    producing: Vec<u32>,
    ranks: Vec<usize>,
    schedule: Schedule,
    delays: Delays,
    disorder: Disorder,
}

impl City {
    /// The city of a domain. Its local time is the domain's `time_zone` as of the schedule's start.
    ///
    /// # Errors
    ///
    /// Settings out of their range.
    pub fn new(domain: &Domain, settings: &CitySettings, schedule: Schedule) -> Result<City, SettingsError> {
        settings.check()?;
        let zones: Vec<String> = match domain.zones.is_empty() {
            false => domain.zones.iter().map(|zone| zone.name.clone()).collect(),
            true => UNNAMED_ZONES.map(str::to_owned).to_vec(),
        };
        let start = DateTime::from_timestamp_micros(schedule.start_us).unwrap_or_default().naive_utc();
        let ahead = domain.fields.time_zone.offset_from_utc_datetime(&start).fix();
        let nature =
            Nature::new(domain, settings.seed, zones.len(), i64::from(ahead.local_minus_utc()) * 1_000);
        let layout = Layout::new(domain, settings, zones.len(), schedule);
        let turn_us = layout.turn_us();
        let intervals_us: Vec<f64> =
            layout.sensors.iter().map(|sensors| turn_us * sensors.len().max(1) as f64).collect();
        let readings = (SAMPLED_S * layout.schedule.rate / layout.schedule.speed)
            .max(SAMPLED_TURNS * f64::from(settings.sensors)) as u64;
        let troubles = Troubles::new(
            domain,
            &nature,
            settings.seed,
            settings.anomalies,
            &intervals_us,
            |bits| {
                let (partition, offset) = layout.place_of((bits % readings) as i64);
                layout.turn(partition, offset, 0)
            },
            |turn, place| layout.time_of(turn, place),
        );
        Ok(City { zones, layout, nature, troubles })
    }

    /// Names of the zones.
    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    /// Where event time begins and how it goes on.
    pub fn schedule(&self) -> &Schedule {
        &self.layout.schedule
    }

    /// Lets event time go on from `start_us` at these offsets: what comes behind them was never asked for.
    pub fn restart_at(&mut self, start_us: i64, first_offsets: Vec<i64>) {
        self.layout.schedule.start_us = start_us;
        self.layout.schedule.first_offsets = first_offsets;
    }

    /// Partition and offset of reading number `number` since the schedule's start: partitions take turns.
    pub fn place_of(&self, number: i64) -> (u32, i64) {
        self.layout.place_of(number)
    }

    /// The reading at an offset of a partition that has sensors.
    ///
    /// # Panics
    ///
    /// When the partition has none: [`City::place_of`] never names such a one.
    pub fn reading(&self, partition: u32, offset: i64) -> Reading {
        let mut reading = Reading::default();
        self.fill(partition, offset, &mut reading);
        reading
    }

    /// [`City::reading`] into a reading that is used again.
    ///
    /// # Panics
    ///
    /// As [`City::reading`].
    pub fn fill(&self, partition: u32, offset: i64, reading: &mut Reading) {
        let original = self.layout.original(partition, offset);
        self.fill_original(partition, original, reading);
        reading.duplicate_of = (original != offset).then_some(original);
    }

    fn fill_original(&self, partition: u32, offset: i64, reading: &mut Reading) {
        let chance = self.layout.chance(partition, offset);
        let mut turn = self.layout.turn(partition, offset, 0);
        let mut trouble = self.trouble(turn, chance);
        reading.silence = None;
        if let Some(Trouble::Silent(event)) = trouble {
            let silence = Silence { sensor: turn.sensor, event };
            trouble = None;
            for step in 1..=self.layout.others(partition).min(STAND_INS_MAX) {
                let other = self.layout.turn(partition, offset, step);
                let found = self.trouble(other, chance);
                if !matches!(found, Some(Trouble::Silent(_))) {
                    (turn, trouble, reading.silence) = (other, found, Some(silence));
                    break;
                }
            }
        }
        let place = Place { sensor: turn.sensor, zone: turn.zone, at_us: turn.at_us, chance };
        (reading.sensor, reading.zone) = (turn.sensor, turn.zone);
        reading.at_ms = turn.at_us.div_euclid(1_000);
        let values = &mut reading.values;
        reading.truth = match trouble {
            None | Some(Trouble::Silent(_)) => {
                self.nature.measure(place, None, values);
                None
            }
            Some(Trouble::Measures(truth, effect)) => {
                self.nature.measure(place, Some(effect), values);
                Some(truth)
            }
            Some(Trouble::Repeats(truth, first)) => {
                self.nature.measure(place, None, values);
                let first = self.layout.offset_of(turn, first);
                let at_us = self.layout.event_us(partition, first);
                let first = Place { at_us, chance: self.layout.chance(partition, first), ..place };
                for metric in truth.metrics.iter() {
                    values[metric] = self.nature.measure_one(first, metric);
                }
                Some(truth)
            }
            Some(Trouble::Raised(truth, share)) => {
                self.nature.measure(place, None, values);
                for (metric, rise) in self.troubles.rises() {
                    values[*metric] =
                        self.nature.bounds(*metric).within_usual(values[*metric] + rise * share);
                }
                Some(truth)
            }
        };
        reading.malformed = self.layout.malformation(chance);
    }

    fn trouble(&self, turn: Turn, chance: Chance) -> Option<Trouble> {
        self.troubles.of(turn, chance, &self.nature, |place| self.layout.time_of(turn, place))
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

    /// Time between two readings of a partition, in microseconds of event time.
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

    fn chance(&self, partition: u32, offset: i64) -> Chance {
        Chance::of(self.seed, u64::from(partition), offset as u64)
    }

    /// The offset whose payload this one has: its own, or that of a record a little before.
    fn original(&self, partition: u32, offset: i64) -> i64 {
        let (mut original, first) = (offset, self.first_offset(partition));
        while self.disorder.duplicate > 0.0 && original > first {
            let chance = self.chance(partition, original);
            if chance.unit(Lane::Duplicate, 0) >= self.disorder.duplicate {
                break;
            }
            let back = 1 + chance.bits(Lane::Duplicate, 1) % DUPLICATE_BACK_MAX;
            original = (original - back as i64).max(first);
        }
        original
    }

    fn malformation(&self, chance: Chance) -> Option<Malformation> {
        let is_malformed =
            self.disorder.malformed > 0.0 && chance.unit(Lane::Malformed, 0) < self.disorder.malformed;
        let which = || chance.bits(Lane::Malformed, 1) % Malformation::ALL.len() as u64;
        is_malformed.then(|| Malformation::ALL[which() as usize])
    }

    /// How many sensors a partition has beside the one whose turn it is.
    fn others(&self, partition: u32) -> i64 {
        self.sensors[partition as usize].len() as i64 - 1
    }

    /// The turn at an offset, of the sensor whose turn it is (`step` 0) or of one that stands in for it.
    fn turn(&self, partition: u32, offset: i64, step: i64) -> Turn {
        let sensors = &self.sensors[partition as usize];
        let count = sensors.len() as i64;
        let (place, own) = (offset.div_euclid(count), offset.rem_euclid(count));
        let index = match step {
            0 => own,
            _ => {
                let first = self.chance(partition, offset).bits(Lane::StandIn, 0) % (count - 1) as u64;
                (own + 1 + (first as i64 + step - 1) % (count - 1)) % count
            }
        };
        let sensor = sensors[index as usize];
        let at_us = self.event_us(partition, offset);
        Turn { partition, sensor, zone: zone_of(sensor, self.zones), place, at_us }
    }

    /// The offset at which the sensor of a turn has its reading number `place`.
    fn offset_of(&self, turn: Turn, place: i64) -> i64 {
        let sensors = &self.sensors[turn.partition as usize];
        let index = sensors.binary_search(&turn.sensor).unwrap_or(0);
        place * sensors.len() as i64 + index as i64
    }

    /// When the sensor of a turn has its reading number `place`.
    fn time_of(&self, turn: Turn, place: i64) -> i64 {
        self.turn_at_us(turn.partition, self.offset_of(turn, place))
    }

    fn turn_at_us(&self, partition: u32, offset: i64) -> i64 {
        let turns = self.producing.len() as i64;
        let number = (offset - self.first_offset(partition)) * turns + self.ranks[partition as usize] as i64;
        self.schedule.turn_us(number)
    }

    fn event_us(&self, partition: u32, offset: i64) -> i64 {
        self.turn_at_us(partition, offset) - self.delays.of(self.chance(partition, offset))
    }
}

/// Sensors are dealt to the zones in turn …
fn zone_of(sensor: u32, zones: usize) -> usize {
    (sensor as usize - 1) % zones
}

/// … and to the partitions so that every zone meets every partition and none has many more than another.
fn partition_of(sensor: u32, zones: usize, partitions: u32) -> usize {
    let index = sensor as usize - 1;
    (index % zones + index / zones) % partitions as usize
}

#[cfg(test)]
mod anomalies;
#[cfg(test)]
mod belief;
#[cfg(test)]
mod tests;

//! The city: which sensor reports at an offset, from which zone, when and what.

use chrono::{DateTime, Offset, TimeZone};
use citytide_domain::Domain;

use crate::chance::{Chance, Lane, unit};
use crate::course::Course;
use crate::reading::{Kind, MetricSet, Reading, Truth};
use crate::schedule::Schedule;

/// Zones of a domain whose file names none.
const UNNAMED_ZONES: [&str; 4] = ["Zone 1", "Zone 2", "Zone 3", "Zone 4"];
/// A sensor's own persistent offset, in standard deviations of the metric's noise.
const SENSOR_OFFSET: f64 = 0.6;
/// Share of injected anomalies that are spikes, far beyond the rule.
const SPIKE_SHARE: f64 = 0.3;
/// Most sensors: more than a city of ours ever has, and few enough to be listed in memory.
const SENSORS_MAX: u32 = 10_000_000;

/// What is asked for beside the domain.
#[derive(Debug, Clone, PartialEq)]
pub struct CitySettings {
    /// Another seed, another city.
    pub seed: u64,
    /// How many sensors there are; they are called 1, 2, 3, …
    pub sensors: u32,
    /// How many partitions they are spread over.
    pub partitions: u32,
    /// Share of readings that are anomalous, 0 … 1.
    pub anomalies: f64,
    /// What goes wrong with order and bytes.
    pub disorder: Disorder,
}

/// Shares of records that do not come as they should, each 0 … [`Disorder::SHARE_MAX`].
#[derive(Debug, Clone, PartialEq)]
pub struct Disorder {
    /// Behind their place in the log, but by less than the domain's `out_of_orderness`.
    pub out_of_order: f64,
    /// Too late to be accepted, beyond `out_of_orderness` + `allowed_lateness` and a pane.
    pub late: f64,
    /// The payload of a record a little before, once more.
    pub duplicate: f64,
    /// Bytes that are no reading.
    pub malformed: f64,
}

impl Disorder {
    /// The greatest share of each: the rest must be able to tell what is out of order.
    pub const SHARE_MAX: f64 = 0.5;
}

impl Default for Disorder {
    fn default() -> Disorder {
        Disorder { out_of_order: 0.03, late: 0.0, duplicate: 0.0, malformed: 0.0 }
    }
}

/// Settings that make no city.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// No sensors, or too many.
    #[error("{0} sensors cannot be simulated; ask for 1 to {SENSORS_MAX}")]
    Sensors(u32),
    /// No partitions.
    #[error("readings need at least one partition")]
    NoPartition,
    /// Not a share.
    #[error("a share of {0} anomalies cannot be injected; give a number from 0 to 1")]
    Anomalies(f64),
    /// Not a share, or too great a one.
    #[error(
        "a share of {share} {what} records cannot be made; give a number from 0 to {}",
        Disorder::SHARE_MAX
    )]
    Disorder {
        /// Which share.
        what: &'static str,
        /// What was asked for.
        share: f64,
    },
}

/// A city: a pure function from (partition, offset) to a reading.
#[derive(Debug, Clone)]
pub struct City {
    seed: u64,
    anomalies: f64,
    zones: Vec<String>,
    /// Factor by zone and metric.
    characters: Vec<Vec<f64>>,
    courses: Vec<Course>,
    /// Metrics that an anomaly may befall.
    fragile: Vec<usize>,
    /// Sensors of each partition.
    sensors: Vec<Vec<u32>>,
    /// Partitions that have sensors, and the rank of each partition among them.
    producing: Vec<u32>,
    ranks: Vec<usize>,
    out_of_orderness_us: i64,
    /// What the domain's local time is ahead of UTC at the start.
    local_ms: i64,
    schedule: Schedule,
}

impl City {
    /// The city of a domain. Its local time is the domain's `time_zone` as of the schedule's start.
    ///
    /// # Errors
    ///
    /// Settings out of their range.
    pub fn new(domain: &Domain, settings: &CitySettings, schedule: Schedule) -> Result<City, SettingsError> {
        if settings.sensors == 0 || settings.sensors > SENSORS_MAX {
            return Err(SettingsError::Sensors(settings.sensors));
        }
        if settings.partitions == 0 {
            return Err(SettingsError::NoPartition);
        }
        if !(0.0..=1.0).contains(&settings.anomalies) {
            return Err(SettingsError::Anomalies(settings.anomalies));
        }
        let disorder = &settings.disorder;
        for (what, share) in [
            ("out-of-order", disorder.out_of_order),
            ("late", disorder.late),
            ("duplicate", disorder.duplicate),
            ("malformed", disorder.malformed),
        ] {
            if !(0.0..=Disorder::SHARE_MAX).contains(&share) {
                return Err(SettingsError::Disorder { what, share });
            }
        }
        let named = !domain.zones.is_empty();
        let zones: Vec<String> = match named {
            true => domain.zones.iter().map(|zone| zone.name.clone()).collect(),
            false => UNNAMED_ZONES.map(str::to_owned).to_vec(),
        };
        let characters = match named {
            true => domain.zones.iter().map(|zone| zone.character.clone()).collect(),
            false => vec![vec![1.0; domain.metrics.len()]; zones.len()],
        };
        let courses: Vec<Course> = domain.metrics.iter().map(Course::new).collect();
        let mut fragile: Vec<usize> = (0..courses.len()).filter(|index| courses[*index].has_rule()).collect();
        if fragile.is_empty() {
            fragile = (0..courses.len()).collect();
        }
        let mut sensors = vec![Vec::new(); settings.partitions as usize];
        for sensor in 1..=settings.sensors {
            sensors[partition_of(sensor, zones.len(), settings.partitions)].push(sensor);
        }
        let producing: Vec<u32> =
            (0..settings.partitions).filter(|p| !sensors[*p as usize].is_empty()).collect();
        let mut ranks = vec![0; sensors.len()];
        for (rank, partition) in producing.iter().enumerate() {
            ranks[*partition as usize] = rank;
        }
        let start = DateTime::from_timestamp_micros(schedule.start_us).unwrap_or_default().naive_utc();
        let local = domain.fields.time_zone.offset_from_utc_datetime(&start).fix();
        Ok(City {
            seed: settings.seed,
            anomalies: settings.anomalies,
            zones,
            characters,
            courses,
            fragile,
            sensors,
            producing,
            ranks,
            out_of_orderness_us: domain.time.out_of_orderness_us,
            local_ms: i64::from(local.local_minus_utc()) * 1_000,
            schedule,
        })
    }

    /// Names of the zones.
    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    /// Where event time begins and how it goes on.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Lets event time go on from `start_us` at these offsets: what comes behind them was never asked for.
    pub fn restart_at(&mut self, start_us: i64, first_offsets: Vec<i64>) {
        self.schedule.start_us = start_us;
        self.schedule.first_offsets = first_offsets;
    }

    /// Partition and offset of reading number `number` since the schedule's start: partitions take turns.
    pub fn place_of(&self, number: i64) -> (u32, i64) {
        let turns = self.producing.len() as i64;
        let partition = self.producing[(number % turns) as usize];
        (partition, self.first_offset(partition) + number / turns)
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
        let sensors = &self.sensors[partition as usize];
        let sensor = sensors[offset.rem_euclid(sensors.len() as i64) as usize];
        let zone = zone_of(sensor, self.zones.len());
        let chance = Chance::of(self.seed, u64::from(partition), offset as u64);
        let own = Chance::of(self.seed, u64::MAX, u64::from(sensor));

        let turns = self.producing.len() as i64;
        let number = (offset - self.first_offset(partition)) * turns + self.ranks[partition as usize] as i64;
        let at_us = Schedule::event_us(self.schedule.turn_us(number), self.out_of_orderness_us, chance);
        let at_ms = at_us.div_euclid(1_000);

        let character = &self.characters[zone];
        reading.values.clear();
        for (index, course) in self.courses.iter().enumerate() {
            let offset = SENSOR_OFFSET * own.normal(Lane::SensorOffset, index);
            let deviation = offset + chance.normal(Lane::Noise, index);
            reading.values.push(course.normal(at_ms + self.local_ms, character[index], deviation));
        }
        (reading.sensor, reading.zone, reading.at_ms) = (sensor, zone, at_ms);
        reading.truth = (chance.unit(Lane::Anomaly, 0) < self.anomalies)
            .then(|| self.befall(chance, &mut reading.values));
        (reading.silence, reading.duplicate_of, reading.malformed) = (None, None, None);
    }

    /// Makes one of the values anomalous.
    fn befall(&self, chance: Chance, values: &mut [f64]) -> Truth {
        let metric = self.fragile[(chance.bits(Lane::Anomaly, 1) % self.fragile.len() as u64) as usize];
        let (excess, side) = (chance.unit(Lane::Anomaly, 2), unit(chance.bits(Lane::Anomaly, 3)));
        let is_spike = chance.unit(Lane::Anomaly, 4) < SPIKE_SHARE;
        // The lower half of the excess for what is out of range, the upper for a spike.
        values[metric] =
            self.courses[metric].anomalous(if is_spike { 0.5 + excess / 2.0 } else { excess / 2.0 }, side);
        let kind = if is_spike { Kind::Spike } else { Kind::Range };
        Truth { kind, metrics: MetricSet::of(metric), event: chance.bits(Lane::Anomaly, 5) }
    }

    fn first_offset(&self, partition: u32) -> i64 {
        self.schedule.first_offsets.get(partition as usize).copied().unwrap_or(0)
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
mod tests;

//! The simulation source: the generator's city inside, no broker. A partition's log is a function, so that any
//! offset can be read at any time, by any process.
//!
//! Invariants:
//! 1. the record at an offset depends on what [`Simulation::identity`] says and on the domain, and on nothing else:
//!    a restart with other parameters is refused, since its offsets would mean other readings;
//! 2. a record exists from its turn on, and its timestamp is the time of its turn: what a late start finds waiting
//!    is a backlog, read as fast as it can be committed, and then the simulation keeps up with the clock;
//! 3. the payload is the generator's own: `citytide-generator --stdout` with the same parameters prints it;
//! 4. a history comes before the first turn of the stream, in the same logs: so many readings of each partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use citytide_core::batch::Chunk;
use citytide_core::position::Reach;
use citytide_domain::Domain;
use citytide_generator::{City, CitySettings, Disorder, Encoder, MODEL, Reading, Schedule, SettingsError};
use citytide_store::clock::wall_ms;
use citytide_store::ledger::Ledger;
use citytide_store::session::Wake;

use super::outlet::Outlet;
use super::{Assigned, Intake};

/// What every identity of a simulation begins with. No topic's name holds a colon.
const SCHEME: &str = "simulation:";
/// Most partitions: each is a log of its own that every worker hears of.
const PARTITIONS_MAX: u32 = 1024;
/// Longest and shortest rest until the next turn.
const REST_MS: (u64, u64) = (1, 50);

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationSettings {
    /// Another seed, another city.
    pub seed: u64,
    /// Number of sensors.
    pub sensors: u32,
    /// Number of partitions.
    pub partitions: u32,
    /// Readings per second of event time.
    pub rate: f64,
    /// Share of anomalous readings, 0 … 1.
    pub anomalies: f64,
    /// The first turn, microseconds of the Unix epoch; `None`: where the database began, else now.
    pub start_us: Option<i64>,
    /// How long before the first turn a history begins, with a reading a minute from each sensor.
    pub history_us: Option<i64>,
    /// How many readings there are behind the history; `None`: no end.
    pub count: Option<u64>,
}

/// A simulation that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// No city.
    #[error("the simulation cannot be set up: {0}")]
    City(#[from] SettingsError),
    /// A rate that is none.
    #[error(
        "a rate of {0} readings per second cannot be simulated: give a number above 0, at most 10,000,000"
    )]
    Rate(f64),
    /// Too many partitions.
    #[error("{0} partitions cannot be simulated: ask for 1 to {PARTITIONS_MAX}")]
    Partitions(u32),
    /// A start beyond now.
    #[error("the simulation cannot start at {0}, which is in the future; leave out --start to start now")]
    InTheFuture(String),
}

/// A simulation whose start is known.
#[derive(Debug)]
pub struct Simulation {
    city: City,
    /// The same city before its first turn, and how many readings that has.
    history: Option<(City, i64)>,
    encoder: Encoder,
    settings: SimulationSettings,
    /// Partitions that have sensors, in the order in which they take turns.
    turns: Vec<u32>,
    start_us: i64,
}

impl Simulation {
    /// The simulation as of `now_us`. `declared` is what the database says its readings come from: a start that
    /// nobody gave is taken from there.
    ///
    /// # Errors
    ///
    /// Settings out of their range.
    pub fn new(
        domain: &Domain,
        settings: &SimulationSettings,
        declared: Option<&str>,
        now_us: i64,
    ) -> Result<Simulation, SimulationError> {
        let settings = settings.clone();
        if !(settings.rate > 0.0 && settings.rate <= 1e7) {
            return Err(SimulationError::Rate(settings.rate));
        }
        if settings.partitions > PARTITIONS_MAX {
            return Err(SimulationError::Partitions(settings.partitions));
        }
        let begun_us = || declared.and_then(started_at);
        let start_us = settings.start_us.or_else(begun_us).unwrap_or(now_us / 1_000_000 * 1_000_000);
        if start_us > now_us {
            return Err(SimulationError::InTheFuture(shown(start_us)));
        }
        let schedule = Schedule {
            start_us,
            rate: settings.rate,
            speed: 1.0,
            first_offsets: vec![0; settings.partitions as usize],
        };
        let of_city = CitySettings {
            seed: settings.seed,
            sensors: settings.sensors,
            partitions: settings.partitions,
            anomalies: settings.anomalies,
            disorder: Disorder::default(),
        };
        let city = City::new(domain, &of_city, schedule)?;
        let places = (0..i64::from(settings.partitions)).map(|number| city.place_of(number));
        let turns = places.take_while(|(_, offset)| *offset == 0).map(|(partition, _)| partition).collect();
        let mut simulation = Simulation {
            encoder: Encoder::new(domain, &city),
            city,
            history: None,
            settings,
            turns,
            start_us,
        };
        if let Some(history_us) = simulation.settings.history_us {
            let first_offsets = vec![0; of_city.partitions as usize];
            let schedule = Schedule::of_history(start_us - history_us, of_city.sensors, first_offsets);
            let readings = schedule.turns_before(start_us);
            let history = simulation.city.at(domain, &of_city, schedule)?;
            let mut first_offsets = vec![0; of_city.partitions as usize];
            for (rank, partition) in simulation.turns.iter().enumerate() {
                first_offsets[*partition as usize] = simulation.turns_of(rank, readings);
            }
            simulation.city.restart_at(start_us, first_offsets);
            simulation.history = Some((history, readings));
        }
        Ok(simulation)
    }

    /// The parameters of the stream: what must be the same for an offset to mean the same reading.
    pub fn identity(&self) -> String {
        let SimulationSettings { seed, sensors, partitions, rate, anomalies, history_us, .. } =
            &self.settings;
        let history = history_us.map(|history_us| format!(" history={}s", history_us as f64 / 1e6));
        format!(
            "{SCHEME}model={MODEL} seed={seed} sensors={sensors} partitions={partitions} rate={rate} \
             anomalies={anomalies}{} start={}",
            history.unwrap_or_default(),
            shown(self.start_us)
        )
    }

    /// How many readings the history has.
    fn of_history(&self) -> i64 {
        self.history.as_ref().map_or(0, |(_, readings)| *readings)
    }

    /// How many readings have had their turn, those of the history included.
    fn due(&self, now_us: i64) -> i64 {
        let all = self.settings.count.map_or(i64::MAX, |count| i64::try_from(count).unwrap_or(i64::MAX));
        let history = self.history.as_ref().map_or(0, |(city, all)| city.schedule().due(now_us).min(*all));
        history.saturating_add(self.city.schedule().due(now_us).min(all))
    }

    /// The turn of a reading, those of the history counted first.
    fn turn_us(&self, number: i64) -> i64 {
        match &self.history {
            Some((history, readings)) if number < *readings => history.schedule().turn_us(number),
            _ => self.city.schedule().turn_us(number - self.of_history()),
        }
    }

    /// How many of the first `readings` turns the partition with this rank has.
    fn turns_of(&self, rank: usize, readings: i64) -> i64 {
        let turns = self.turns.len() as i64;
        (readings - rank as i64).saturating_add(turns - 1).max(0) / turns
    }

    /// The end offset of the partition with this rank when `readings` have had their turn.
    fn end_offset(&self, rank: usize, readings: i64) -> i64 {
        let of_history = readings.min(self.of_history());
        self.turns_of(rank, of_history) + self.turns_of(rank, readings - of_history)
    }

    /// The city of an offset, and the number of its turn in that city.
    fn city_at(&self, rank: usize, offset: i64) -> (&City, i64) {
        let number = |from: i64| (offset - from) * self.turns.len() as i64 + rank as i64;
        let of_history = self.turns_of(rank, self.of_history());
        match &self.history {
            Some((history, _)) if offset < of_history => (history, number(0)),
            _ => (&self.city, number(of_history)),
        }
    }

    /// Where each partition is taken up. With a count its end is fixed, else it is what has had its turn by now.
    pub fn assign(&self, ledger: &Ledger) -> Vec<Assigned> {
        let readings = match self.settings.count {
            Some(_) => self.due(i64::MAX),
            None => self.due(now_us()),
        };
        let assigned = self.turns.iter().enumerate().map(|(rank, &partition)| {
            let partition = partition as i32;
            let known = ledger.marks.iter().find(|mark| mark.partition == partition);
            let next_offset = known.map_or(0, |mark| mark.position.next_offset);
            let end_offset = self.end_offset(rank, readings).max(next_offset);
            Assigned { partition, next_offset, low_offset: 0, end_offset, is_end_known: true }
        });
        let mut assigned: Vec<Assigned> = assigned.collect();
        assigned.sort_by_key(|one| one.partition);
        assigned
    }

    /// Starts the reader of a worker's partitions.
    pub fn read(self: &Arc<Simulation>, worker: usize, assigned: &[Assigned], wake: Wake) -> Intake {
        let (outlet, intake) = Outlet::new(wake);
        let simulation = self.clone();
        let logs = assigned.iter().map(|one| {
            let rank = simulation.turns.iter().position(|turn| *turn as i32 == one.partition);
            (
                one.partition,
                Log {
                    rank: rank.expect("a partition that was assigned"),
                    next: one.next_offset,
                    told: false,
                },
            )
        });
        let logs = logs.collect();
        std::thread::Builder::new()
            .name(format!("simulation-{worker}"))
            .spawn(move || simulation.run(logs, &outlet))
            .expect("a reader needs a thread");
        intake
    }

    fn run(&self, mut logs: BTreeMap<i32, Log>, outlet: &Outlet) {
        let (mut seen, mut paused) = (0, BTreeSet::new());
        let (mut reading, mut json) = (Reading::default(), Vec::new());
        while !outlet.control.stopped() {
            if let Some(changed) = outlet.control.paused_if_changed(&mut seen) {
                paused = changed;
            }
            let due = self.due(now_us());
            let mut some = false;
            for (&partition, log) in logs.iter_mut().filter(|(partition, _)| !paused.contains(partition)) {
                let end_offset = self.end_offset(log.rank, due);
                if log.next >= end_offset && log.told {
                    continue;
                }
                let mut chunk = Chunk { partition, reach: Reach::active(end_offset), ..Chunk::default() };
                while log.next < end_offset && !chunk.is_full() {
                    let (city, number) = self.city_at(log.rank, log.next);
                    city.fill(partition as u32, log.next, &mut reading);
                    self.encoder.encode(&reading, &mut json);
                    chunk.push(log.next, city.schedule().turn_us(number).div_euclid(1_000), &json);
                    // What is no reading has no truth.
                    if reading.malformed.is_none() {
                        chunk.truth.push((log.next, reading.truth.is_some()));
                    }
                    log.next += 1;
                }
                log.told = log.next >= end_offset;
                // What will still have its turn is no end, where the number of readings is known.
                let is_all = self.settings.count.is_none() || due == self.due(i64::MAX);
                chunk.reach.at_end = log.told && is_all;
                some = true;
                if !outlet.send(chunk) {
                    return;
                }
            }
            if !some {
                let next_us = self.turn_us(due).saturating_sub(now_us());
                let rest_ms = u64::try_from(next_us / 1_000).unwrap_or(0).clamp(REST_MS.0, REST_MS.1);
                std::thread::sleep(Duration::from_millis(rest_ms));
            }
        }
    }
}

/// One partition as its reader knows it.
struct Log {
    rank: usize,
    next: i64,
    /// Whether its end has been told since its last record.
    told: bool,
}

/// When the simulation of an identity began.
fn started_at(identity: &str) -> Option<i64> {
    let (_, start) = identity.strip_prefix(SCHEME)?.rsplit_once(" start=")?;
    Some(DateTime::parse_from_rfc3339(start).ok()?.timestamp_micros())
}

fn shown(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us)
        .map_or_else(|| at_us.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn now_us() -> i64 {
    i64::try_from(wall_ms()).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000)
}

#[cfg(test)]
mod tests;

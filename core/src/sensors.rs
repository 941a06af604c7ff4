//! What accepted readings say of their sensors, gathered until it is told.
//!
//! Every sensor has its turn once in [`ROUND_MS`] of epochs: what its readings say until then is one part of its row,
//! however many readings there are. Turns are spread over the round, so that no commit has all sensors.
//!
//! Invariants:
//! 1. which turn tells of a reading follows from its sensor and its epoch alone: less than a round later;
//! 2. parts can be merged in any order: the newest value of each metric, and bits and counts of the newest hour and of the
//!    one before;
//! 3. nothing is kept for longer than a round, so memory is bounded by what comes in one, not by the number of sensors.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use fnv::FnvHasher;

use crate::batch::Batch;
use crate::floor_to;

/// How many milliseconds of epochs a sensor's row may lag behind.
pub const ROUND_MS: u64 = 1_000;
/// Turns in a round.
pub const TURNS: usize = 20;
const TURN_MS: u64 = ROUND_MS / TURNS as u64;

const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;
/// When a value was recorded, microseconds, and the value.
pub type At = (i64, f64);

/// Before the first value: every one is later.
const NO_VALUE: At = (i64::MIN, f64::NAN);

/// What a sensor's readings said, all of one turn, but for the newest values.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// The event time of the last one, microseconds.
    pub last_us: i64,
    /// Its zone.
    pub zone: Arc<str>,
    /// By how much its event time was ahead of Kafka's timestamp, milliseconds; `None` where that is not known.
    pub offset_ms: Option<i64>,
    /// Start of the hour of the last one, microseconds.
    pub hour_us: i64,
    pub hour: Hour,
    /// The hour before that.
    pub before: Hour,
}

/// The readings of a sensor in an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hour {
    /// A bit for each minute with a reading.
    pub minutes: i64,
    pub readings: i64,
}

impl Hour {
    fn add(&mut self, within_us: i64) {
        self.minutes |= 1 << (within_us / MINUTE_US);
        self.readings += 1;
    }
}

impl Sensor {
    /// Before its first reading.
    fn new(zone: &Arc<str>) -> Sensor {
        let (last_us, hour_us, zone) = (i64::MIN, i64::MIN, zone.clone());
        Sensor { last_us, zone, offset_ms: None, hour_us, hour: Hour::default(), before: Hour::default() }
    }

    fn add(&mut self, batch: &Batch, row: usize) {
        let (at_us, zone) = (batch.event_times_us[row], batch.zone(row));
        let offset_ms = batch.received_at_ms.get(row).map(|received_ms| at_us.div_euclid(1000) - received_ms);
        let start_us = floor_to(at_us, HOUR_US);
        if at_us > self.last_us {
            (self.last_us, self.offset_ms) = (at_us, offset_ms);
            if !Arc::ptr_eq(&self.zone, zone) {
                self.zone = zone.clone();
            }
            if start_us > self.hour_us {
                let follows = start_us.checked_sub(HOUR_US) == Some(self.hour_us);
                self.before = if follows { self.hour } else { Hour::default() };
                (self.hour_us, self.hour) = (start_us, Hour::default());
            }
        } else if at_us == self.last_us {
            // Of two readings of one moment the greater values stand, so that their order does not matter.
            self.offset_ms = self.offset_ms.max(offset_ms);
            if **zone > *self.zone {
                self.zone = zone.clone();
            }
        }
        if start_us == self.hour_us {
            self.hour.add(at_us - start_us);
        } else if start_us == self.hour_us - HOUR_US {
            self.before.add(at_us - start_us);
        }
    }
}

/// The sensors of a turn. Every reading looks for its own among all of them, so they lie close together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    sensors: Vec<Sensor>,
    /// Of each sensor, the newest value of each metric.
    latest: Vec<At>,
    /// The ids, one behind the other, and where each of them ends.
    ids: Vec<u8>,
    id_ends: Vec<usize>,
    /// Where each sensor is, by the hash of its id; of those with one hash, the next ones are at the numbers that follow.
    places: HashMap<u64, usize, BuildHasherDefault<AsItIs>>,
}

/// Keys are hashes already.
#[derive(Debug, Clone, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Turn {
    /// The sensors with their ids and the newest value of each metric.
    pub fn sensors(&self) -> impl Iterator<Item = (Arc<str>, &Sensor, impl Iterator<Item = Option<At>>)> {
        let metrics = self.latest.len().checked_div(self.sensors.len()).unwrap_or(0);
        self.sensors.iter().enumerate().map(move |(place, sensor)| {
            let latest = &self.latest[place * metrics..][..metrics];
            let latest = latest.iter().map(|at| (!at.1.is_nan()).then_some(*at));
            (self.id(place), sensor, latest)
        })
    }

    fn id(&self, place: usize) -> Arc<str> {
        Arc::from(std::str::from_utf8(self.id_bytes(place)).expect("sensor ids are UTF-8"))
    }

    fn id_bytes(&self, place: usize) -> &[u8] {
        let start = if place == 0 { 0 } else { self.id_ends[place - 1] };
        &self.ids[start..self.id_ends[place]]
    }

    fn add(&mut self, batch: &Batch, row: usize, hash: u64) {
        let metrics = batch.metrics.len();
        let place = self.place(batch.sensor(row), hash).unwrap_or_else(|key| {
            self.places.insert(key, self.sensors.len());
            self.sensors.push(Sensor::new(batch.zone(row)));
            self.latest.resize(self.latest.len() + metrics, NO_VALUE);
            self.ids.extend_from_slice(batch.sensor(row));
            self.id_ends.push(self.ids.len());
            self.sensors.len() - 1
        });
        self.sensors[place].add(batch, row);
        let at_us = batch.event_times_us[row];
        for (column, latest) in batch.metrics.iter().zip(&mut self.latest[place * metrics..][..metrics]) {
            let value = column[row];
            // Of two values of one moment the greater one stands.
            if !value.is_nan() && (at_us > latest.0 || at_us == latest.0 && value > latest.1) {
                *latest = (at_us, value);
            }
        }
    }

    /// Where the sensor with an id is, or the key for it.
    fn place(&self, id: &[u8], hash: u64) -> Result<usize, u64> {
        let mut key = hash;
        while let Some(place) = self.places.get(&key) {
            if self.id_bytes(*place) == id {
                return Ok(*place);
            }
            key = key.wrapping_add(1);
        }
        Err(key)
    }
}

/// The epochs of the turns that tell of readings of `epoch`, by number of the turn; the first one may be `epoch` itself.
pub fn turns_of(epoch: u64) -> [u64; TURNS] {
    let first = epoch.div_ceil(TURN_MS);
    std::array::from_fn(|turn| {
        let later = (turn as u64 + TURNS as u64 - first % TURNS as u64) % TURNS as u64;
        (first + later) * TURN_MS
    })
}

/// A hash of an id, the same on every worker.
fn hash_of(id: &[u8]) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(id);
    let hash = hasher.finish();
    hash ^ (hash >> 32)
}

/// Adds the accepted readings of a batch to the turns that will tell of them, by number: a sensor's is its hash's.
pub fn gather(batch: &Batch, turns: &mut [Turn; TURNS]) {
    for row in (0..batch.rows()).filter(|row| !batch.late[*row]) {
        let hash = hash_of(batch.sensor(row));
        turns[(hash % TURNS as u64) as usize].add(batch, row, hash);
    }
}

#[cfg(test)]
mod tests;

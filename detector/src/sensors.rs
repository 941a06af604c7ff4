//! State of the sensors of one partition: offset, gain, slow averages, runs.
//!
//! Invariants:
//! 1. it changes in the partition's offset order only, and never by a reading older than the sensor's last;
//! 2. it is keyed by zone and sensor: a sensor that moves begins anew there;
//! 3. at most `sensors_max` sensors have state; readings of others are judged without.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::bytes::{Reader, StateError, Writer};
use crate::layout::{BLOCK, Lanes, Layout};

/// Repeats in a row that teach how often a value repeats by chance; longer runs are what is to be found.
pub(crate) const RUN_TAUGHT: f32 = 3.0;

/// What is kept of one sensor for a block of metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SensorBlock {
    /// Own offset from the zone's level.
    pub(crate) offset: Lanes,
    /// Readings of each metric, up to where it no longer matters.
    pub(crate) taught: Lanes,
    /// Own factor on the zone's scale.
    pub(crate) gain: Lanes,
    /// Averages of the clipped residual over about 2, 4 and 40 readings.
    pub(crate) quick: Lanes,
    pub(crate) recent: Lanes,
    pub(crate) slow: Lanes,
    /// Average of how much each metric moves against the others, less than 0 where it moves with them.
    pub(crate) against: Lanes,
    /// The last residual.
    pub(crate) last_residual: Lanes,
    /// The last value, and how often it was repeated.
    pub(crate) last_value: Lanes,
    pub(crate) run: Lanes,
    /// Share of the last thousand readings that had the metric.
    pub(crate) presence: Lanes,
}

impl SensorBlock {
    pub(crate) const NEW: SensorBlock = SensorBlock {
        offset: [0.0; BLOCK],
        taught: [0.0; BLOCK],
        gain: [1.0; BLOCK],
        quick: [0.0; BLOCK],
        recent: [0.0; BLOCK],
        slow: [0.0; BLOCK],
        // Nobody knows yet.
        against: [f32::NAN; BLOCK],
        last_residual: [0.0; BLOCK],
        last_value: [f32::NAN; BLOCK],
        run: [0.0; BLOCK],
        presence: [0.0; BLOCK],
    };

    /// Forgets what a long silence makes meaningless.
    pub(crate) fn after_silence(&mut self) {
        *self = SensorBlock {
            offset: self.offset,
            taught: self.taught,
            gain: self.gain,
            presence: self.presence,
            ..SensorBlock::NEW
        };
    }
}

/// What is kept of one sensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sensor {
    /// Event time of its last reading, microseconds.
    pub(crate) last_at_us: i64,
    /// Readings so far.
    pub(crate) readings: u32,
    /// Of its zone and id: the same in every partition and run.
    pub(crate) hash: u64,
}

/// The hash of a sensor.
fn hash_of(zone: &str, id: &[u8]) -> u64 {
    let mut hasher = IdHasher::default();
    hasher.write(zone.as_bytes());
    hasher.write(id);
    hasher.write_usize(id.len());
    hasher.finish()
}

/// State of the sensors of one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorStates {
    blocks_per_sensor: usize,
    sensors_max: usize,
    zones: Vec<ZoneSensors>,
    pub(crate) sensors: Vec<Sensor>,
    pub(crate) blocks: Vec<SensorBlock>,
}

#[derive(Debug, Clone, PartialEq)]
struct ZoneSensors {
    zone: Arc<str>,
    by_short_id: HashMap<ShortId, u32, BuildHasherDefault<IdHasher>>,
    by_long_id: HashMap<Box<[u8]>, u32, BuildHasherDefault<IdHasher>>,
}

impl ZoneSensors {
    fn new(zone: Arc<str>) -> ZoneSensors {
        ZoneSensors { zone, by_short_id: HashMap::default(), by_long_id: HashMap::default() }
    }

    fn insert(&mut self, id: &[u8], number: u32) {
        match ShortId::new(id) {
            Some(short) => self.by_short_id.insert(short, number),
            None => self.by_long_id.insert(id.into(), number),
        };
    }
}

/// An id of at most fifteen bytes as two numbers, so that finding it neither follows a pointer nor compares bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ShortId(u64, u64);

impl ShortId {
    #[inline]
    fn new(id: &[u8]) -> Option<ShortId> {
        let eight = |from: usize| Some(u64::from_le_bytes(*id.get(from..)?.first_chunk()?));
        let four = |from: usize| Some(u64::from(u32::from_le_bytes(*id.get(from..)?.first_chunk()?)));
        let length = id.len();
        // The last bytes are read with those before them, which are then shifted out.
        let (first, rest) = match length {
            0..4 => (id.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0),
            4..8 => (four(0)? | (four(length - 4)? >> (8 * (8 - length))) << 32, 0),
            8 => (eight(0)?, 0),
            9..16 => (eight(0)?, eight(length - 8)? >> (8 * (16 - length))),
            _ => return None,
        };
        Some(ShortId(first, rest | (length as u64) << 56))
    }

    /// The bytes, and how many of them are the id's.
    fn bytes(self) -> ([u8; 16], usize) {
        let ShortId(first, rest) = self;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&rest.to_le_bytes());
        (bytes, (rest >> 56) as usize)
    }
}

impl SensorStates {
    /// No sensor yet.
    pub fn new(layout: &Layout) -> SensorStates {
        SensorStates {
            blocks_per_sensor: layout.blocks(),
            sensors_max: layout.sensors_max,
            zones: Vec::new(),
            sensors: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// Sensors with state.
    pub fn len(&self) -> usize {
        self.sensors.len()
    }

    /// Whether no sensor has state.
    pub fn is_empty(&self) -> bool {
        self.sensors.is_empty()
    }

    /// Whether further sensors are judged without state of their own.
    pub fn is_full(&self) -> bool {
        self.sensors.len() >= self.sensors_max
    }

    /// The number that a zone has here.
    pub(crate) fn zone(&mut self, zone: &Arc<str>) -> u32 {
        let found = self.zones.iter().position(|known| known.zone == *zone);
        found.unwrap_or_else(|| {
            self.zones.push(ZoneSensors::new(zone.clone()));
            self.zones.len() - 1
        }) as u32
    }

    /// The sensor's number, new ones entered; `None` when there are too many.
    #[inline]
    pub(crate) fn find(&mut self, zone: u32, id: &[u8]) -> Option<usize> {
        let zone = &mut self.zones[zone as usize];
        let known = match ShortId::new(id) {
            Some(short) => zone.by_short_id.get(&short),
            None => zone.by_long_id.get(id),
        };
        if let Some(&number) = known {
            return Some(number as usize);
        }
        if self.sensors.len() >= self.sensors_max {
            return None;
        }
        let number = self.sensors.len();
        zone.insert(id, number as u32);
        let hash = hash_of(&zone.zone, id);
        self.sensors.push(Sensor { last_at_us: i64::MIN, readings: 0, hash });
        self.blocks.extend(std::iter::repeat_n(SensorBlock::NEW, self.blocks_per_sensor));
        Some(number)
    }

    /// All of it as bytes: the same state gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Writer(Vec::with_capacity(
            64 + self.len() * (48 + self.blocks_per_sensor * size_of::<SensorBlock>()),
        ));
        bytes.0.extend_from_slice(MAGIC);
        bytes.number(self.blocks_per_sensor as u64);
        bytes.number(self.zones.len() as u64);
        for zone in &self.zones {
            bytes.text(zone.zone.as_bytes());
        }
        let mut ids: Vec<(u32, u64, Vec<u8>)> = Vec::with_capacity(self.len());
        for (number, zone) in self.zones.iter().enumerate() {
            let short = zone.by_short_id.iter().map(|(id, sensor)| {
                let (bytes, length) = id.bytes();
                (*sensor, number as u64, bytes[..length].to_vec())
            });
            ids.extend(short);
            ids.extend(zone.by_long_id.iter().map(|(id, sensor)| (*sensor, number as u64, id.to_vec())));
        }
        ids.sort_unstable();
        bytes.number(ids.len() as u64);
        for (number, zone, id) in ids {
            let sensor = &self.sensors[number as usize];
            bytes.number(zone);
            bytes.text(&id);
            bytes.number(sensor.last_at_us as u64);
            bytes.number(u64::from(sensor.readings));
            for block in &self.blocks[number as usize * self.blocks_per_sensor..][..self.blocks_per_sensor] {
                for lanes in block.all() {
                    lanes.iter().for_each(|value| bytes.0.extend_from_slice(&value.to_le_bytes()));
                }
            }
        }
        bytes.0
    }

    /// Reads what [`SensorStates::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are not of this program's, or of a domain with another number of metrics.
    pub fn from_bytes(layout: &Layout, bytes: &[u8]) -> Result<SensorStates, StateError> {
        let mut states = SensorStates::new(layout);
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(StateError::Unreadable("it does not begin as one".to_owned()));
        };
        let mut reader = Reader(rest);
        let found = reader.number()? as usize;
        if found != states.blocks_per_sensor {
            return Err(StateError::OtherDomain { found, expected: states.blocks_per_sensor });
        }
        for _ in 0..reader.number()? {
            let zone = std::str::from_utf8(reader.text()?)
                .map_err(|error| StateError::Unreadable(error.to_string()))?;
            states.zones.push(ZoneSensors::new(Arc::from(zone)));
        }
        for number in 0..reader.number()? {
            let zone = reader.number()? as usize;
            let id = reader.text()?;
            let Some(zone) = states.zones.get_mut(zone) else {
                return Err(StateError::Unreadable(format!("sensor {number} is of an unknown zone")));
            };
            zone.insert(id, number as u32);
            let hash = hash_of(&zone.zone, id);
            let (last_at_us, readings) = (reader.number()? as i64, reader.number()? as u32);
            states.sensors.push(Sensor { last_at_us, readings, hash });
            for _ in 0..states.blocks_per_sensor {
                let mut block = SensorBlock::NEW;
                for lanes in block.all_mut() {
                    for value in lanes {
                        *value = f32::from_le_bytes(reader.array()?);
                    }
                }
                states.blocks.push(block);
            }
        }
        reader.end()?;
        Ok(states)
    }
}

/// How state begins; the digit is the version of its form.
const MAGIC: &[u8] = b"citytide sensors 2\n";

impl SensorBlock {
    fn all(&self) -> [&Lanes; 11] {
        [
            &self.offset,
            &self.taught,
            &self.gain,
            &self.quick,
            &self.recent,
            &self.slow,
            &self.against,
            &self.last_residual,
            &self.last_value,
            &self.run,
            &self.presence,
        ]
    }

    fn all_mut(&mut self) -> [&mut Lanes; 11] {
        [
            &mut self.offset,
            &mut self.taught,
            &mut self.gain,
            &mut self.quick,
            &mut self.recent,
            &mut self.slow,
            &mut self.against,
            &mut self.last_residual,
            &mut self.last_value,
            &mut self.run,
            &mut self.presence,
        ]
    }
}

/// Eight bytes at a time, by multiplication; ids come from our own topics and an attacker gains a slow map at worst,
/// bounded by `sensors_max`.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.write_u64(u64::from_le_bytes(chunk.try_into().expect("eight bytes")));
        }
        let mut last = [0u8; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        self.write_u64(u64::from_le_bytes(last));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_told_apart_and_read_back_whatever_their_length() {
        let mut seen = std::collections::HashSet::new();
        for length in 0..16usize {
            for odd in 0..=length {
                let mut id = vec![0u8; length];
                if let Some(byte) = id.get_mut(odd) {
                    *byte = 200;
                }
                let short = ShortId::new(&id).expect("short enough");
                let (bytes, found) = short.bytes();
                assert_eq!(&bytes[..found], &id);
                seen.insert(short);
            }
        }
        assert_eq!(seen.len(), (1..=16).sum::<usize>());
        assert_eq!(ShortId::new(&[0; 16]), None);
    }
}

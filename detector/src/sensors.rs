//! State of the sensors of one partition: offset, gain, slow averages, runs.
//!
//! Invariants:
//! 1. it changes in the partition's offset order only, and never by a reading older than the sensor's last;
//! 2. it is keyed by zone and sensor: a sensor that moves begins anew there;
//! 3. at most `sensors_max` sensors have state; readings of others are scored without.

mod bytes;
mod id;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use self::id::{IdHasher, ShortId};
use crate::layout::{BLOCK, Lanes, Layout};

/// Longest run, in repeats, that teaches how often a value repeats by chance; longer runs are what `Stuck` detects.
pub(crate) const RUN_TAUGHT: f32 = 3.0;

/// What is kept of one sensor for a block of metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SensorBlock {
    /// Offset from the zone's level, on the judged scale.
    pub(crate) offset: Lanes,
    /// Readings of each metric that taught.
    pub(crate) taught: Lanes,
    /// Factor on the zone's scale.
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
    /// Share of the readings with the metric that followed on a gap, and how many readings the gap has lasted.
    pub(crate) gaps: Lanes,
    pub(crate) gap: Lanes,
}

impl SensorBlock {
    pub(crate) const NEW: SensorBlock = SensorBlock {
        offset: [0.0; BLOCK],
        taught: [0.0; BLOCK],
        gain: [1.0; BLOCK],
        quick: [0.0; BLOCK],
        recent: [0.0; BLOCK],
        slow: [0.0; BLOCK],
        // Unknown until the first move.
        against: [f32::NAN; BLOCK],
        last_residual: [0.0; BLOCK],
        last_value: [f32::NAN; BLOCK],
        run: [0.0; BLOCK],
        presence: [0.0; BLOCK],
        gaps: [0.0; BLOCK],
        gap: [0.0; BLOCK],
    };

    /// Forgets averages and runs, as after a long silence; offset, gain, presence and gaps stay.
    pub(crate) fn after_silence(&mut self) {
        *self = SensorBlock {
            offset: self.offset,
            taught: self.taught,
            gain: self.gain,
            presence: self.presence,
            gaps: self.gaps,
            gap: self.gap,
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
    /// Which of its last eight readings were flagged, the newest in the lowest bit.
    pub(crate) flagged: u8,
    /// Hash of its zone and id: the same in every partition and run.
    pub(crate) hash: u64,
}

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

impl SensorStates {
    /// State of no sensor, with room for `sensors_max` of the layout.
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

    /// Whether there is no room for a further sensor: it is scored without state.
    pub fn is_full(&self) -> bool {
        self.sensors.len() >= self.sensors_max
    }

    /// The index of a zone, for [`SensorStates::find`]; a new zone is added.
    pub(crate) fn zone(&mut self, zone: &Arc<str>) -> u32 {
        let found = self.zones.iter().position(|known| known.zone == *zone);
        found.unwrap_or_else(|| {
            self.zones.push(ZoneSensors::new(zone.clone()));
            self.zones.len() - 1
        }) as u32
    }

    /// The index of a sensor's state; a new sensor is added, `None` if there is no room for it.
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
        self.sensors.push(Sensor { last_at_us: i64::MIN, readings: 0, flagged: 0, hash });
        self.blocks.extend(std::iter::repeat_n(SensorBlock::NEW, self.blocks_per_sensor));
        Some(number)
    }
}

//! The state of a partition's sensors as bytes, as snapshots of the detector store it.

use std::sync::Arc;

use super::{Sensor, SensorBlock, SensorStates, ZoneSensors, hash_of};
use crate::bytes::{Reader, StateError, Writer};
use crate::layout::{Lanes, Layout};

/// First bytes of stored state; the digit is the version of the format.
const MAGIC: &[u8] = b"citytide sensors 4\n";
/// Those of the formats before: 3 knows no gaps, 2 does not say which readings were flagged either.
const MAGIC_3: &[u8] = b"citytide sensors 3\n";
const MAGIC_2: &[u8] = b"citytide sensors 2\n";
/// The lanes of a block that format 3 has.
const LANES_3: usize = 11;
/// Those of this format.
const LANES: usize = 13;

impl SensorStates {
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
            bytes.0.push(sensor.flagged);
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
        let formats = [(MAGIC, LANES, true), (MAGIC_3, LANES_3, true), (MAGIC_2, LANES_3, false)];
        let format = formats
            .into_iter()
            .find_map(|(magic, lanes, says_flagged)| Some((bytes.strip_prefix(magic)?, lanes, says_flagged)));
        let Some((rest, lanes, says_flagged)) = format else {
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
            let flagged = if says_flagged { reader.array::<1>()?[0] } else { 0 };
            states.sensors.push(Sensor { last_at_us, readings, flagged, hash });
            for _ in 0..states.blocks_per_sensor {
                let mut block = SensorBlock::NEW;
                for lanes in block.all_mut().into_iter().take(lanes) {
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

impl SensorBlock {
    fn all(&self) -> [&Lanes; LANES] {
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
            &self.gaps,
            &self.gap,
        ]
    }

    fn all_mut(&mut self) -> [&mut Lanes; LANES] {
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
            &mut self.gaps,
            &mut self.gap,
        ]
    }
}

//! A zone's model as bytes, as snapshots of the detector store it.

use super::alarm::ZoneAlarm;
use super::{Level, ZoneModel};
use crate::bytes::{Reader, StateError, Walk, Writer};
use crate::layout::Layout;
use crate::stats::SURPRISE_BINS;

/// First bytes of a stored model; the digit is the version of the format.
const MAGIC: &[u8] = b"citytide zone 4\n";

impl ZoneModel {
    /// All of it as bytes: the same model gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer(MAGIC.to_vec());
        writer.number(self.blocks.len() as u64);
        self.clone().walk(&mut writer).expect("writing to memory");
        writer.0
    }

    /// Reads what [`ZoneModel::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are not of this program's, or of a domain with another number of metrics.
    pub fn from_bytes(layout: &Layout, bytes: &[u8]) -> Result<ZoneModel, StateError> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(StateError::Unreadable("it does not begin as a zone's model".to_owned()));
        };
        let mut reader = Reader(rest);
        let (found, expected) = (reader.number()? as usize, layout.blocks());
        if found != expected {
            return Err(StateError::OtherDomain { found, expected });
        }
        let mut model = ZoneModel::new(layout);
        model.walk(&mut reader)?;
        reader.end()?;
        Ok(model)
    }

    fn walk(&mut self, walk: &mut impl Walk) -> Result<(), StateError> {
        let mut level = self.level as u64;
        walk.integer(&mut level)?;
        self.level = match level {
            0 => Level::Rules,
            1 => Level::Type,
            2 => Level::Zone,
            other => return Err(StateError::Unreadable(format!("level {other}"))),
        };
        let mut last_tick = self.last_tick as u64;
        for number in [&mut self.ticks, &mut last_tick, &mut self.rows, &mut self.fitted_at] {
            walk.integer(number)?;
        }
        self.last_tick = last_tick as i64;
        walk.floats(std::slice::from_mut(&mut self.threshold))?;
        walk.doubles(std::slice::from_mut(&mut self.weight))?;
        for counts in [&mut self.bin_seen, &mut self.day_bin_seen, &mut self.hour_ticks] {
            for count in counts {
                walk.count(count)?;
            }
        }
        walk.doubles(&mut self.hour_rows)?;
        walk.doubles(&mut self.surprises)?;
        walk.length(&mut self.doubt, SURPRISE_BINS, 0.0)?;
        walk.floats(&mut self.doubt)?;
        for tail in &mut self.tails {
            tail.walk(walk)?;
        }
        self.zone_tail.walk(walk)?;
        ZoneAlarm::walk(&mut self.alarm, walk)?;
        for block in &mut self.blocks {
            for levels in block.baseline.iter_mut().chain(&mut block.day) {
                walk.doubles(levels)?;
            }
            for numbers in [
                &mut block.general,
                &mut block.now,
                &mut block.calm,
                &mut block.bin_sum,
                &mut block.bin_count,
                &mut block.rows,
            ] {
                walk.doubles(numbers)?;
            }
            for lanes in block.scale.iter_mut().chain(&mut block.repeat) {
                walk.floats(lanes)?;
            }
            for lanes in [
                &mut block.scale_over_all,
                &mut block.still,
                &mut block.apart_scale,
                &mut block.band_scale,
                &mut block.stray,
            ] {
                walk.floats(lanes)?;
            }
            for moments in block.moments.iter_mut().chain(&mut block.recent_moments) {
                walk.doubles(std::slice::from_mut(&mut moments.rows))?;
                walk.doubles(&mut moments.upper)?;
                for row in &mut moments.inverse {
                    walk.floats(row)?;
                }
                walk.floats(&mut moments.deviation)?;
            }
        }
        Ok(())
    }
}

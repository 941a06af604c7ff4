//! Detects that a whole zone has moved: its mean level, against the level that it had in the last half-hour.
//!
//! Readings are compared with the zone's present level, which follows them within minutes. An event that moves all
//! sensors of a zone moves that level too, and no reading would stand out. So the mean of each tick and metric is also
//! compared with a level that follows slowly. While the distance is greater than chance explains, readings are compared
//! with the slow level: they are anomalous for as long as the event lasts, and no longer.
//!
//! The alternative was a detector of its own for each zone and metric (`Series` of `citytide-evaluate`): ten times the
//! state and, with fifty readings to a zone's minute, as much work for each reading as all the rest.

use super::calendar::Calendar;
use super::{FIFTH, Level, ZoneModel};
use crate::bytes::{StateError, Walk};
use crate::layout::{BLOCK, Lanes, Layout};
use crate::stats::ZoneStats;
use crate::tails::bin;

/// Rate per tick at which the slow level follows, and the clip of its steps, in upper fifths of the zone's distance
/// from it; and that clip while the zone has moved.
const CALM_RATE: f64 = 1.0 / 30.0;
const CALM_CLIP: f64 = 3.0;
const MOVED_CLIP: f64 = 1.0;
/// Step per tick of the logarithm of that upper fifth, in the first ticks and later.
const STRAY_FIRST: f64 = 0.2;
const STRAY_RATE: f64 = 0.01;
const STRAY_FIRST_TICKS: u64 = 240;
/// The zone has moved when −log₁₀ of the chance of the distance exceeds this; after so many ticks the new level counts
/// as normal.
const ALARM: f32 = 5.0;
const ALARM_TICKS: u64 = 240;
/// A reading has moved with its zone if it has by this share of the zone's distance, and by so many of its own standard
/// deviations.
const WITH_SHARE: f32 = 0.3;
const WITH_LEAST: f32 = 2.0;

/// A move of a whole zone, while it lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ZoneAlarm {
    /// The metric by which it has moved furthest.
    pub(crate) metric: usize,
    /// Mean level of the last tick, and the level that was expected, on the judged scale.
    pub(crate) level: f64,
    pub(crate) typical: f64,
    pub(crate) surprise: f32,
    /// Ticks since it began.
    pub(crate) ticks: u64,
}

impl ZoneAlarm {
    /// The surprise of a block of a reading: 0 unless the reading has moved as the zone has.
    #[inline]
    pub(crate) fn surprise_of(&self, block: usize, residual: &Lanes, spread: &Lanes) -> f32 {
        if self.metric / BLOCK != block {
            return 0.0;
        }
        let (lane, moved) = (self.metric % BLOCK, (self.level - self.typical) as f32);
        let along = residual[lane] * moved.signum();
        let is_with = along >= WITH_LEAST && along * spread[lane] >= WITH_SHARE * moved.abs();
        if is_with { self.surprise } else { 0.0 }
    }

    /// Writes or reads the alarm, if there is one.
    pub(crate) fn walk(alarm: &mut Option<ZoneAlarm>, walk: &mut impl Walk) -> Result<(), StateError> {
        let nothing = ZoneAlarm { metric: 0, level: 0.0, typical: 0.0, surprise: 0.0, ticks: 0 };
        let mut held = alarm.unwrap_or(nothing);
        let mut metric = held.metric as u64;
        let mut is_some = u64::from(alarm.is_some());
        walk.integer(&mut is_some)?;
        walk.integer(&mut metric)?;
        walk.integer(&mut held.ticks)?;
        walk.doubles(std::slice::from_mut(&mut held.level))?;
        walk.doubles(std::slice::from_mut(&mut held.typical))?;
        walk.floats(std::slice::from_mut(&mut held.surprise))?;
        held.metric = metric as usize;
        *alarm = (is_some == 1).then_some(held);
        Ok(())
    }
}

impl ZoneModel {
    /// Compares a closed tick's mean levels with the slow ones and learns how far they are apart. Returns whether the
    /// zone has moved.
    pub(crate) fn detect_zone_move(&mut self, layout: &Layout, at: &Calendar, stats: &ZoneStats) -> bool {
        let mut most_strayed = 0.0f32;
        let mut furthest: Option<(f32, ZoneAlarm)> = None;
        let clip = if self.alarm.is_some() { MOVED_CLIP } else { CALM_CLIP };
        for (number, metric) in layout.metrics.iter().enumerate() {
            let (block, lane) = (number / BLOCK, number % BLOCK);
            let (Some(taught), known) = (stats.blocks.get(block), &mut self.blocks[block]) else {
                continue;
            };
            let present = f64::from(taught.present[lane]);
            if present == 0.0 {
                continue;
            }
            let level = taught.moved[lane] as f64 * metric.quantum / present;
            let base = known.level(lane, at).0;
            // In the scale of the hour: a metric that varies at eight in the morning may not at three.
            let is_first = self.hour_ticks[at.hour] <= 1;
            let scale = if is_first { known.scale_over_all[lane] } else { known.scale[at.hour][lane] };
            let scale = f64::from(scale.max(metric.scale_least) / FIFTH);
            let moved = (level - base - known.calm[lane]) / scale;
            if !moved.is_finite() {
                continue;
            }
            let stray = f64::from(known.stray[lane]).max(1e-3);
            let unsure = known.step(lane, at) / scale;
            let statistic = (moved.abs() / stray) as f32 * FIFTH;
            let held = (moved.abs() / (stray + unsure)) as f32 * FIFTH;
            most_strayed = most_strayed.max(statistic);
            let step = STRAY_RATE.max(STRAY_FIRST * (1.0 - self.ticks as f64 / STRAY_FIRST_TICKS as f64));
            let step = step * if moved.abs() > stray { 0.8 } else { -0.2 };
            known.stray[lane] = (stray * step.exp()) as f32;
            let typical = base + known.calm[lane];
            known.calm[lane] += CALM_RATE * moved.clamp(-clip * stray, clip * stray) * scale;
            if furthest.is_none_or(|(most, _)| held > most) {
                let alarm = ZoneAlarm { metric: number, level, typical, surprise: 0.0, ticks: 0 };
                furthest = Some((held, alarm));
            }
        }
        let ticks = self.alarm.take().map_or(0, |alarm| alarm.ticks + 1);
        let Some((statistic, alarm)) = furthest else { return false };
        let surprise = self.zone_tail.surprise(statistic);
        self.zone_tail.count(bin(most_strayed), self.weight);
        if surprise < ALARM || self.level < Level::Zone {
            return false;
        }
        // The present offset stays where it was until the move is over; one that lasts for hours is the new normal.
        let has_moved = ticks < ALARM_TICKS;
        if has_moved {
            self.alarm = Some(ZoneAlarm { surprise, ticks, ..alarm });
        }
        for known in &mut self.blocks {
            if has_moved { known.now = known.calm } else { known.calm = known.now }
        }
        has_moved
    }
}

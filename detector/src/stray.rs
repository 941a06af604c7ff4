//! The zone as a whole: how far it has moved from where it was of late, and whether it ever moves so far.
//!
//! Readings are held against the zone's present, which follows them within minutes: an event that moves all of a zone
//! would be its own excuse. So the zone is held against a present that follows slowly, one value for each tick and
//! metric; and while it strays further than chance lets it, the present of its readings is the slow one too. They are
//! odd then for as long as the event lasts, and no longer.
//!
//! A series of its own for each zone and metric (`Series` of `citytide-evaluate`) was the alternative: ten times the
//! state and, at fifty readings to a zone's minute, as much work for each reading as all the rest.

use crate::bytes::{StateError, Walk};
use crate::layout::{BLOCK, Lanes, Layout};
use crate::stats::ZoneStats;
use crate::tails::bin;
use crate::zone::{Calendar, FIFTH, Level, ZoneModel};

/// How fast the slow present follows, per tick, and the clip of what it follows, in upper fifths of how far the zone
/// strays; and the clip while the zone has moved.
const CALM_RATE: f64 = 1.0 / 30.0;
const CALM_CLIP: f64 = 3.0;
const MOVED_CLIP: f64 = 1.0;
/// Step of the logarithm of the upper fifth of how far the zone strays, per tick, at first and later.
const STRAY_FIRST: f64 = 0.2;
const STRAY_RATE: f64 = 0.01;
const STRAY_FIRST_TICKS: u64 = 240;
/// The zone has moved when chance lets it go so far in one of a hundred thousand ticks; for how long that is believed.
const ALARM: f32 = 5.0;
const ALARM_TICKS: u64 = 240;
/// A reading has moved with its zone if it has by this share of it, and by so many standard deviations of its own.
const WITH_SHARE: f32 = 0.3;
const WITH_LEAST: f32 = 2.0;

/// The zone has moved as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ZoneAlarm {
    /// The metric by which it has moved furthest.
    pub(crate) metric: usize,
    /// Where it is and what is typical for it, on the judged scale.
    pub(crate) level: f64,
    pub(crate) typical: f64,
    pub(crate) surprise: f32,
    /// Ticks since it began.
    pub(crate) ticks: u64,
}

impl ZoneAlarm {
    /// What it says of a block of a reading: nothing, unless the reading has moved as the zone has.
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
    /// Holds the zone of a closed tick against where it was of late, and learns how far it strays. Returns whether it
    /// has moved.
    pub(crate) fn judge_zone(&mut self, layout: &Layout, at: &Calendar, stats: &ZoneStats) -> bool {
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
            // In the scale of the hour: what moves much at eight does not at three.
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
        // Until it is over the present stays where it was; what lasts for hours is the new normal.
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

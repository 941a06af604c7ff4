//! One row against its zone and its sensor's past: the surprises of all members but the forest, the forest's features,
//! and what the row teaches.

use super::{Lane, Order, Rows, Scorer};
use crate::layout::{BLOCK, SLOW_FEATURES};
use crate::member::{CERTAIN, FIRST_TAILED, MEMBERS, Member, TAILED};
use crate::observe::{greatest, observe, statistics};
use crate::sensors::{Sensor as SensorState, SensorBlock, SensorStates};
use crate::zone::{Level, ZoneModel};

/// Ticks without a reading of a sensor after which its slow averages and runs begin anew.
const SILENCE_TICKS: i64 = 60;
/// Taken off the surprise of the longest run, and per metric off that of all runs together: some metric always has
/// values that repeat.
const RUN_FIRST: f32 = 0.7;
pub(super) const RUNS_FIRST: f32 = 0.5;
/// Residuals are clipped to this for the forest.
const FOREST_CLIP: f32 = 10.0;
/// Readings of a sensor with which its drift counts for half.
const DRIFT_FIRST_READINGS: f32 = 120.0;
/// A row that lies further ahead of its partition's watermark than this teaches nothing: its clock is wrong.
const AHEAD_TICKS: i64 = 60;

/// A sensor as it was when its row came.
struct SensorBefore {
    order: Order,
    /// Readings before this one.
    readings: u32,
    hash: u64,
}

impl Scorer {
    /// Compares a row with the view `at_view` and fills its lane of `lanes`, `observations` and `block`.
    #[inline]
    pub(super) fn observe(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        lane: usize,
        at_view: usize,
        known: &ZoneModel,
        states: &mut SensorStates,
    ) {
        let at_us = rows.event_times_us[row];
        let view = &mut self.views[at_view];
        let blocks = self.layout.blocks();
        let found = self.found[lane];
        let SensorBefore { order, readings, hash } =
            advance(states, found, blocks, at_us, SILENCE_TICKS * self.layout.tick_us);
        let is_old = order == Order::Old;
        let mut surprises = [0.0f32; MEMBERS];
        let mut largest = [0.0f32; TAILED - 1];
        let mut is_broken = false;
        let (mut longest, mut runs) = (0.0f32, 0.0f32);
        let mut values = [f64::NAN; BLOCK];
        self.taught.clear();
        for block in 0..blocks {
            for (value, column) in values.iter_mut().zip(&rows.metrics[block * BLOCK..]) {
                *value = column[row];
            }
            let block_view = &view.blocks[block];
            let mut apart = SensorBlock::NEW;
            let state = match found {
                Some(number) if is_old => {
                    apart = states.blocks[number * blocks + block];
                    &mut apart
                }
                Some(number) => &mut states.blocks[number * blocks + block],
                None => &mut apart,
            };
            let observation = &mut self.observations[lane * blocks + block];
            self.taught.push(observe(block_view, &self.rules[block], &values, readings, state, observation));
            for (largest, statistic) in largest.iter_mut().zip(statistics(observation, block_view)) {
                *largest = if statistic > *largest { statistic } else { *largest };
            }
            is_broken |= observation.broken != 0;
            let dropout = &mut surprises[Member::Dropout as usize];
            *dropout = dropout.max(observation.gap);
            longest = longest.max(greatest(observation.stuck));
            runs += observation.stuck.iter().sum::<f32>();
            let features = self.layout.forest_metrics().saturating_sub(block * BLOCK).min(BLOCK);
            for (at, residual) in observation.residual.iter().enumerate().take(features) {
                self.block.set(lane, block * BLOCK + at, stepped(residual.clamp(-FOREST_CLIP, FOREST_CLIP)));
            }
            if let Some(alarm) = &known.alarm {
                let surprise = alarm.surprise_of(block, &observation.residual, &observation.spread);
                surprises[Member::Zone as usize] = surprises[Member::Zone as usize].max(surprise);
            }
            values = [f64::NAN; BLOCK];
        }
        surprises[Member::Stuck as usize] = (longest - RUN_FIRST).max(runs - self.runs_first).max(0.0);
        if is_broken {
            surprises[Member::Rule as usize] = CERTAIN;
        }
        let features = self.layout.forest_metrics();
        for (at, statistic) in largest[2..2 + SLOW_FEATURES].iter().enumerate() {
            self.block.set(lane, features + at, statistic.min(FOREST_CLIP));
        }
        if known.level > Level::Rules && !view.is_stale {
            let tailed = surprises[FIRST_TAILED..].iter_mut().zip(&known.tails);
            for ((surprise, tail), statistic) in tailed.zip(largest) {
                *surprise = tail.surprise(statistic);
            }
        }
        surprises[Member::Drift as usize] *= drift_weight(readings);
        let is_late = rows.late.get(row).copied().unwrap_or(false);
        let is_of_now = (rows.passed..=rows.passed.saturating_add(AHEAD_TICKS)).contains(&view.tick);
        let may_teach = !(is_broken || is_late || is_old) && is_of_now && view.stats.rows < view.room;
        let mut teaches = may_teach && found.is_some();
        if teaches && view.is_stale {
            view.teach_level(&self.taught);
            teaches = false;
        } else if teaches {
            let teaches_moments = (hash as u32).wrapping_add(readings) & view.moments_skip == 0;
            let observations = &self.observations[lane * blocks..][..blocks];
            view.teach(observations, &self.taught, &self.rules, &largest, teaches_moments, self.near);
        }
        self.lanes[lane] = Lane { view: at_view, surprises, teaches, hash, order };
    }
}

/// Moves a sensor on to a reading of this time, and returns what it was before. Without state it is a new one.
#[inline]
fn advance(
    states: &mut SensorStates,
    found: Option<usize>,
    blocks: usize,
    at_us: i64,
    silence_max_us: i64,
) -> SensorBefore {
    let Some(number) = found else { return SensorBefore { order: Order::Anew, readings: 0, hash: 0 } };
    let sensor = &mut states.sensors[number];
    let SensorState { last_at_us, readings, hash, .. } = *sensor;
    if at_us < last_at_us {
        return SensorBefore { order: Order::Old, readings, hash };
    }
    let is_silent = readings > 0 && at_us.saturating_sub(last_at_us) > silence_max_us;
    if is_silent {
        let state = &mut states.blocks[number * blocks..(number + 1) * blocks];
        state.iter_mut().for_each(SensorBlock::after_silence);
    }
    sensor.last_at_us = at_us;
    sensor.readings = readings.saturating_add(1);
    SensorBefore { order: if is_silent { Order::Anew } else { Order::Next }, readings, hash }
}

/// A feature rounded to sixteenths of a deviation: the residuals of a metric that stands still differ in the eighth
/// decimal, and a forest would split on those. Adds and subtracts a number whose last bit is worth a sixteenth.
#[inline]
fn stepped(feature: f32) -> f32 {
    const LARGE: f32 = (3 << 18) as f32;
    (feature + LARGE) - LARGE
}

/// Weight of the drift of a sensor that has sent so many readings, 0 … 1: its own level is a mean of these.
#[inline]
fn drift_weight(readings: u32) -> f32 {
    let readings = readings as f32;
    readings / (readings + DRIFT_FIRST_READINGS)
}

#[cfg(test)]
mod tests {
    use super::stepped;

    #[test]
    fn features_are_taken_in_sixteenths() {
        let steps = [2.3e-8, -0.03, 0.04, 9.99, -10.0].map(stepped);
        assert_eq!(steps, [0.0, 0.0, 0.0625, 10.0, -10.0]);
    }
}

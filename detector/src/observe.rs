//! One reading against its zone and its sensor's past, a block of metrics at a time: residuals, slow averages, runs.
//!
//! Invariant: [`observe`] is the only place where a sensor's state changes, [`statistics`] and what follows from it
//! are functions of the [`Scene`] alone, so that an explanation can ask what a reading would have been without one of
//! its metrics.

use crate::layout::{BLOCK, Lanes, MetricLayout};
use crate::sensors::{RUN_TAUGHT, SensorBlock};
use crate::zone::{BlockView, FIFTH, Moments};

/// Residuals enter the slow averages clipped to this: one reading must not look like many.
const SLOW_CLIP: f32 = 2.5;
/// A residual beyond this whose predecessor was not beyond `SLOW_CLIP` on its side stays out of the slow averages.
const FAR: f32 = 4.0;
/// Rates of the quick, recent and slow averages.
const RATES: [f32; 3] = [0.4, 0.22, 0.015];
/// Rate of the misfit's average, and what one reading adds at most.
const MISFIT_RATE: f32 = 0.1;
const MISFIT_CLIP: f32 = 9.0;
/// A slow statistic is at most so many times what the quick average supports, so that it ends with the event.
const QUICK_SUPPORTS: f32 = 1.0 / 0.6;
const QUICK_SUPPORTS_MISFIT: f32 = 1.5;
/// Least rate of a sensor's offset: three days of minutes.
const OFFSET_RATE: f32 = 1.0 / 4320.0;
/// Readings after which a step of the offset is clipped.
const OFFSET_FREE: f32 = 30.0;
/// Readings after which a sensor has a gain of its own, and the gain's rate and range.
const GAIN_FROM: f32 = 1440.0;
const GAIN_RATE: f32 = 0.004;
const GAINS: (f32, f32) = (0.3, 3.0);
/// A run's surprise begins with this: that there are values which repeat.
const RUN_FIRST: f32 = 0.7;
/// Rate of a metric's presence.
const PRESENCE_RATE: f32 = 0.001;
/// A metric is missed by sensors that send it at least so often, once they have sent so many readings.
const PRESENT: f32 = 0.9;
const PRESENT_FROM: u32 = 20;
/// Residuals enter a level that is taught clipped to this, in standard deviations.
pub(crate) const LEVEL_CLIP: f32 = 3.0;

/// A block of metrics of one reading, as it was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    /// Residual in standard deviations; 0 where missing or unknown.
    pub(crate) residual: Lanes,
    /// Quick, recent and slow averages of it, after this reading.
    pub(crate) quick: Lanes,
    pub(crate) recent: Lanes,
    pub(crate) slow: Lanes,
    /// How badly each metric has fitted the others, at most what the quick average supports.
    pub(crate) misfit: Lanes,
    /// Surprise of the run that each metric is in, and its length.
    pub(crate) stuck: Lanes,
    pub(crate) run: Lanes,
    /// What was typical for this sensor here and now, on the judged scale, and its standard deviation.
    pub(crate) typical: [f64; BLOCK],
    pub(crate) spread: Lanes,
    /// The level that the zone was expected at; the value itself where nothing was known.
    pub(crate) level: [f64; BLOCK],
    /// Share of the sensor's readings that have the metric.
    pub(crate) presence: Lanes,
    /// Metrics, a bit each: that have a value; that break a rule; that are missed; of which a level is known.
    pub(crate) present: u8,
    pub(crate) broken: u8,
    pub(crate) missed: u8,
    pub(crate) known: u8,
    /// Metrics with a residual beyond the scale; in a short run; repeated in one; in a long run.
    pub(crate) beyond: u8,
    pub(crate) chance: u8,
    pub(crate) repeated: u8,
    pub(crate) in_long_run: u8,
}

impl Scene {
    pub(crate) const EMPTY: Scene = Scene {
        residual: [0.0; BLOCK],
        quick: [0.0; BLOCK],
        recent: [0.0; BLOCK],
        slow: [0.0; BLOCK],
        misfit: [0.0; BLOCK],
        stuck: [0.0; BLOCK],
        run: [0.0; BLOCK],
        typical: [0.0; BLOCK],
        spread: [0.0; BLOCK],
        level: [0.0; BLOCK],
        presence: [0.0; BLOCK],
        present: 0,
        broken: 0,
        missed: 0,
        known: 0,
        beyond: 0,
        chance: 0,
        repeated: 0,
        in_long_run: 0,
    };

    /// The same with one metric at its baseline.
    pub(crate) fn without(&self, lane: usize) -> Scene {
        let mut scene = *self;
        for lanes in [
            &mut scene.residual,
            &mut scene.quick,
            &mut scene.recent,
            &mut scene.slow,
            &mut scene.misfit,
            &mut scene.stuck,
        ] {
            lanes[lane] = 0.0;
        }
        scene.broken &= !(1 << lane);
        scene.missed &= !(1 << lane);
        scene
    }
}

/// Sees a block of a reading and changes the sensor's state by it.
#[inline]
pub(crate) fn observe(
    view: &BlockView,
    recent_moments: &Moments,
    metrics: &[MetricLayout],
    values: &[f64; BLOCK],
    readings: u32,
    sensor: &mut SensorBlock,
) -> Scene {
    let mut scene = Scene::EMPTY;
    for (lane, metric) in metrics.iter().enumerate() {
        let bit = 1u8 << lane;
        let value = values[lane];
        let expected = view.expected[lane];
        let spread = view.scale[lane] * sensor.gain[lane];
        if !expected.is_nan() {
            scene.typical[lane] = expected + f64::from(sensor.offset[lane]);
            scene.spread[lane] = spread;
        }
        if value.is_nan() {
            if readings >= PRESENT_FROM && sensor.presence[lane] > PRESENT {
                scene.missed |= bit;
            }
            scene.presence[lane] = sensor.presence[lane];
            let rate = PRESENCE_RATE.max(1.0 / (readings as f32 + 1.0));
            sensor.presence[lane] -= rate * sensor.presence[lane];
            continue;
        }
        scene.present |= bit;
        let rate = PRESENCE_RATE.max(1.0 / (readings as f32 + 1.0));
        sensor.presence[lane] += rate * (1.0 - sensor.presence[lane]);
        let is_broken = value < metric.below || value > metric.above;
        scene.broken |= bit * u8::from(is_broken);

        let stored = value as f32;
        let run = if stored == sensor.last_value[lane] { sensor.run[lane] + 1.0 } else { 0.0 };
        sensor.run[lane] = run;
        sensor.last_value[lane] = stored;
        scene.run[lane] = run;
        scene.stuck[lane] = (run * view.repeat[lane] - RUN_FIRST).max(0.0);
        scene.chance |= bit * u8::from(run <= RUN_TAUGHT);
        scene.repeated |= bit * u8::from(run > 0.0 && run <= RUN_TAUGHT);
        scene.in_long_run |= bit * u8::from(run > RUN_TAUGHT);

        scene.level[lane] = expected;
        if expected.is_nan() {
            scene.level[lane] = metric.judged(value);
            continue;
        }
        scene.known |= bit;
        let residual = (metric.judged(value) - expected) as f32 - sensor.offset[lane];
        scene.residual[lane] = residual / spread;
        let is_beyond = residual.abs() > spread * FIFTH;
        scene.beyond |= bit * u8::from(is_beyond);
        if is_broken {
            continue;
        }
        sensor.taught[lane] += 1.0;
        let taught = sensor.taught[lane];
        if taught > GAIN_FROM {
            let step = 1.0 + GAIN_RATE * if is_beyond { 0.8 } else { -0.2 };
            sensor.gain[lane] = (sensor.gain[lane] * step).clamp(GAINS.0, GAINS.1);
        }
        let step = if taught > OFFSET_FREE { residual.clamp(-2.0 * spread, 2.0 * spread) } else { residual };
        sensor.offset[lane] += OFFSET_RATE.max(1.0 / (taught + 1.0)) * step;
    }
    remember(&mut scene, recent_moments, sensor);
    scene
}

/// The slow averages and what they say of metrics that fit the others badly.
#[inline]
fn remember(scene: &mut Scene, recent_moments: &Moments, sensor: &mut SensorBlock) {
    for lane in 0..BLOCK {
        let residual = scene.residual[lane];
        let last = sensor.last_residual[lane];
        sensor.last_residual[lane] = residual;
        let is_lone = residual.abs() > FAR && !(last * residual > 0.0 && last.abs() > SLOW_CLIP);
        let clipped = residual.clamp(-SLOW_CLIP, SLOW_CLIP);
        let weight = if is_lone { 0.0 } else { 1.0 };
        let follow = |average: f32, rate: f32| settled(average + weight * rate * (clipped - average));
        sensor.quick[lane] = follow(sensor.quick[lane], RATES[0]);
        sensor.recent[lane] = follow(sensor.recent[lane], RATES[1]);
        sensor.slow[lane] = follow(sensor.slow[lane], RATES[2]);
    }
    (scene.quick, scene.recent, scene.slow) = (sensor.quick, sensor.recent, sensor.slow);
    let fit_recent = times(&recent_moments.inverse, &sensor.recent);
    let fit_quick = times(&recent_moments.inverse, &sensor.quick);
    for lane in 0..BLOCK {
        let own = recent_moments.inverse[lane][lane].max(1e-6);
        let now = (fit_recent[lane] * fit_recent[lane] / own).min(MISFIT_CLIP);
        sensor.misfit[lane] = settled(sensor.misfit[lane] + MISFIT_RATE * (now - sensor.misfit[lane]));
        let supported = QUICK_SUPPORTS_MISFIT * fit_quick[lane] * fit_quick[lane] / own;
        scene.misfit[lane] = sensor.misfit[lane].min(supported);
    }
}

/// An average that has decayed to next to nothing is nothing: subnormal numbers cost a hundred cycles each.
#[inline]
fn settled(average: f32) -> f32 {
    if average.abs() < 1e-12 { 0.0 } else { average }
}

/// The statistics of a block whose tails are learnt: largest, together, recent, drift, misfit.
pub(crate) type Statistics = [f32; 5];

/// What a scene amounts to.
#[inline]
pub(crate) fn statistics(
    scene: &Scene,
    view: &BlockView,
    moments: &Moments,
    recent_moments: &Moments,
) -> Statistics {
    let (mut largest, mut drift, mut misfit) = (0.0f32, 0.0f32, 0.0f32);
    for lane in 0..BLOCK {
        largest = largest.max(scene.residual[lane].abs());
        misfit = misfit.max(scene.misfit[lane]);
        let agree = scene.slow[lane] * scene.quick[lane] > 0.0;
        let slow = scene.slow[lane].abs().min(scene.quick[lane].abs()) / view.slow_scale[lane];
        drift = drift.max(if agree { slow } else { 0.0 });
    }
    let together = dot(&scene.residual, &times(&moments.inverse, &scene.residual)).max(0.0).sqrt();
    let fit_recent = times(&recent_moments.inverse, &scene.recent);
    let norm = dot(&scene.recent, &fit_recent).max(0.0).sqrt();
    let supported = dot(&scene.quick, &fit_recent).max(0.0) / norm.max(1e-6) * QUICK_SUPPORTS;
    [largest, together, norm.min(supported), drift, misfit]
}

#[inline]
fn times(matrix: &[Lanes], vector: &Lanes) -> Lanes {
    let mut product = [0.0; BLOCK];
    // The matrix is symmetric: by columns, so that a row is one multiplication of eight.
    for (row, &factor) in matrix.iter().zip(vector) {
        for lane in 0..BLOCK {
            product[lane] += row[lane] * factor;
        }
    }
    product
}

#[inline]
fn dot(a: &Lanes, b: &Lanes) -> f32 {
    let mut sum = 0.0;
    for lane in 0..BLOCK {
        sum += a[lane] * b[lane];
    }
    sum
}

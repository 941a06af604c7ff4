//! One reading against its zone and its sensor's past, a block of metrics at a time: residuals, slow averages, runs.
//!
//! Invariant: [`observe`] is the only place where a sensor's state changes, [`statistics`] and what follows from it
//! are functions of the [`Scene`] alone, so that an explanation can ask what a reading would have been without one of
//! its metrics.

use crate::layout::{BLOCK, Lanes, MetricLayout, logarithmic};
use crate::sensors::{RUN_TAUGHT, SensorBlock};
use crate::zone::{BlockView, FIFTH};

/// Residuals enter the slow averages clipped to this: one reading must not look like many.
const SLOW_CLIP: f32 = 2.5;
/// A residual beyond this whose predecessor was not beyond `SLOW_CLIP` on its side stays out of the slow averages.
const FAR: f32 = 4.0;
/// Rates of the quick, recent and slow averages.
const RATES: [f32; 3] = [0.4, 0.22, 0.025];
/// What moves within minutes: the quick average less so much of the recent one, which takes off most of what wanders
/// for longer, clipped in its own deviations.
const BAND_RECENT: f32 = 0.85;
const BAND_CLIP: f32 = 1.0;
/// A metric that is further off than this says nothing of how it moves.
const BAND_NEAR: f32 = 3.0;
/// Rate at which is forgotten whether metrics move with each other.
const AGAINST_RATE: f32 = 0.08;
/// A slow statistic is at most so many times what the quick average supports, so that it ends with the event.
const QUICK_SUPPORTS: f32 = 1.0 / 0.6;
const QUICK_SUPPORTS_DRIFT: f32 = 1.15;
/// Least rate of a sensor's offset: three days of minutes.
const OFFSET_RATE: f32 = 1.0 / 4320.0;
/// Readings after which a step of the offset is clipped.
const OFFSET_FREE: f32 = 30.0;
/// Readings after which a sensor has a gain of its own, and the gain's rate and range.
const GAIN_FROM: f32 = 1440.0;
const GAIN_RATE: f32 = 0.004;
const GAINS: (f32, f32) = (0.3, 3.0);
/// Rate of a metric's presence.
const PRESENCE_RATE: f32 = 0.001;
/// A metric is missed by sensors that send it at least so often, once they have sent so many readings.
const PRESENT: f32 = 0.9;
const PRESENT_FROM: u32 = 20;
/// Residuals enter a level that is taught clipped to this, in standard deviations.
const LEVEL_CLIP: f32 = 3.0;
/// … and where it tells how far the zone has moved: one sensor among many must not be able to say so.
const MOVED_CLIP: f32 = 20.0;

/// What a layout knows of a block, by lane.
#[derive(Debug, Clone)]
pub(crate) struct BlockRules {
    below: [f64; BLOCK],
    above: [f64; BLOCK],
    per_quantum: [f64; BLOCK],
    /// Lanes whose values are judged as their logarithm.
    logarithmic: Vec<usize>,
    /// How many lanes have a metric.
    pub(crate) metrics: usize,
}

impl BlockRules {
    pub(crate) fn new(metrics: &[MetricLayout]) -> BlockRules {
        let mut rules = BlockRules {
            below: [f64::NEG_INFINITY; BLOCK],
            above: [f64::INFINITY; BLOCK],
            per_quantum: [0.0; BLOCK],
            metrics: metrics.len(),
            logarithmic: (0..metrics.len()).filter(|lane| metrics[*lane].is_logarithmic).collect(),
        };
        for (lane, metric) in metrics.iter().enumerate() {
            (rules.below[lane], rules.above[lane]) = (metric.below, metric.above);
            rules.per_quantum[lane] = metric.per_quantum;
        }
        rules
    }
}

/// A block of metrics of one reading, as it was seen. What does not apply is 0: lanes without a metric, metrics without
/// a value or without a level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    /// Residual in standard deviations.
    pub(crate) residual: Lanes,
    /// Quick, recent and slow averages of it, after this reading.
    pub(crate) quick: Lanes,
    pub(crate) recent: Lanes,
    pub(crate) slow: Lanes,
    /// Part of the slow average that the others' do not explain, and as much of it as the quick average supports.
    pub(crate) apart: Lanes,
    pub(crate) drift: Lanes,
    /// What moves within minutes.
    pub(crate) band: Lanes,
    /// How much each metric of late has moved against the others, with which it otherwise goes.
    pub(crate) against: Lanes,
    /// −log₁₀ of the chance of the run that each metric is in, and its length.
    pub(crate) stuck: Lanes,
    pub(crate) run: Lanes,
    /// What was typical for this sensor here and now, on the judged scale, and its standard deviation; NaN where
    /// nothing was known.
    pub(crate) typical: [f64; BLOCK],
    pub(crate) spread: Lanes,
    /// Share of the sensor's readings that had the metric, before this one.
    pub(crate) presence: Lanes,
    /// Metrics, a bit each, that break a rule or are missed.
    pub(crate) broken: u8,
    pub(crate) missed: u8,
}

/// What a block of a reading teaches: 1 or 0 for each metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowStats {
    /// It has a value.
    pub(crate) present: Flags,
    /// Its residual is beyond the scale.
    pub(crate) beyond: Flags,
    /// It is in a short run; repeated in one; in a long run.
    pub(crate) chance: Flags,
    pub(crate) repeated: Flags,
    pub(crate) in_long_run: Flags,
    /// The zone's level by this reading, in quanta; the same hardly clipped.
    pub(crate) level: [i64; BLOCK],
    pub(crate) moved: [i64; BLOCK],
}

/// 1 or 0 for each metric of a block.
pub(crate) type Flags = [u32; BLOCK];

impl Scene {
    pub(crate) const EMPTY: Scene = Scene {
        residual: [0.0; BLOCK],
        quick: [0.0; BLOCK],
        recent: [0.0; BLOCK],
        slow: [0.0; BLOCK],
        apart: [0.0; BLOCK],
        drift: [0.0; BLOCK],
        band: [0.0; BLOCK],
        against: [0.0; BLOCK],
        stuck: [0.0; BLOCK],
        run: [0.0; BLOCK],
        typical: [0.0; BLOCK],
        spread: [0.0; BLOCK],
        presence: [0.0; BLOCK],
        broken: 0,
        missed: 0,
    };

    /// The same with one metric at its baseline.
    pub(crate) fn without(&self, lane: usize) -> Scene {
        let mut scene = *self;
        for lanes in [
            &mut scene.residual,
            &mut scene.quick,
            &mut scene.recent,
            &mut scene.slow,
            &mut scene.drift,
            &mut scene.against,
            &mut scene.stuck,
        ] {
            lanes[lane] = 0.0;
        }
        scene.broken &= !(1 << lane);
        scene.missed &= !(1 << lane);
        scene
    }
}

/// Sees a block of a reading and changes the sensor's state by it. `scene` is filled anew.
///
/// Everything is done for eight lanes at a time and without branches: what does not apply is computed all the same and
/// not chosen.
#[inline]
pub(crate) fn observe(
    view: &BlockView,
    rules: &BlockRules,
    values: &[f64; BLOCK],
    readings: u32,
    sensor: &mut SensorBlock,
    scene: &mut Scene,
) -> RowStats {
    let mut judged = *values;
    for &lane in &rules.logarithmic {
        judged[lane] = logarithmic(values[lane]);
    }
    let mut residual = [0.0f32; BLOCK];
    let (mut present, mut known, mut broken) = ([false; BLOCK], [false; BLOCK], [false; BLOCK]);
    for lane in 0..BLOCK {
        let typical = view.expected[lane] + f64::from(sensor.offset[lane]);
        scene.typical[lane] = typical;
        residual[lane] = (judged[lane] - view.expected[lane]) as f32 - sensor.offset[lane];
        present[lane] = !values[lane].is_nan();
        known[lane] = !residual[lane].is_nan();
        broken[lane] = (values[lane] < rules.below[lane]) | (values[lane] > rules.above[lane]);
    }
    (scene.broken, scene.missed) = (bits(&broken), 0);

    // Presence.
    scene.presence = sensor.presence;
    let rate = PRESENCE_RATE.max(1.0 / (readings as f32 + 1.0));
    for lane in 0..BLOCK {
        sensor.presence[lane] += rate * (choose(present[lane], 1.0, 0.0) - sensor.presence[lane]);
    }
    if readings >= PRESENT_FROM && !present.iter().all(|is_present| *is_present) {
        let missed = std::array::from_fn(|lane| !present[lane] && scene.presence[lane] > PRESENT);
        scene.missed = bits(&missed);
    }

    // Runs.
    let (mut chance, mut repeated, mut in_long_run) = ([0; BLOCK], [0; BLOCK], [0; BLOCK]);
    for lane in 0..BLOCK {
        let stored = values[lane] as f32;
        let longer = choose(stored == sensor.last_value[lane], sensor.run[lane] + 1.0, 0.0);
        sensor.run[lane] = choose(present[lane], longer, sensor.run[lane]);
        sensor.last_value[lane] = choose(present[lane], stored, sensor.last_value[lane]);
        let run = choose(present[lane], longer, 0.0);
        scene.run[lane] = run;
        scene.stuck[lane] = run * view.repeat[lane];
        chance[lane] = u32::from(present[lane] & (run <= RUN_TAUGHT));
        repeated[lane] = u32::from((run > 0.0) & (run <= RUN_TAUGHT));
        in_long_run[lane] = u32::from(run > RUN_TAUGHT);
    }

    // Residuals, and what the sensor learns of itself.
    let mut beyond = [0; BLOCK];
    let mut level = [0; BLOCK];
    for lane in 0..BLOCK {
        let spread = view.scale[lane] * sensor.gain[lane];
        scene.spread[lane] = spread;
        scene.residual[lane] = choose(known[lane], residual[lane] / spread, 0.0);
        let is_beyond = residual[lane].abs() > spread * FIFTH;
        beyond[lane] = u32::from(is_beyond);
        let teaches = known[lane] & !broken[lane];
        let taught = sensor.taught[lane] + choose(teaches, 1.0, 0.0);
        sensor.taught[lane] = taught;
        let step = choose(is_beyond, 1.0 + GAIN_RATE * 0.8, 1.0 - GAIN_RATE * 0.2);
        let gain = lesser(greater(sensor.gain[lane] * step, GAINS.0), GAINS.1);
        sensor.gain[lane] = choose(teaches & (taught > GAIN_FROM), gain, sensor.gain[lane]);
        let clipped = lesser(greater(residual[lane], -2.0 * spread), 2.0 * spread);
        let step = choose(taught > OFFSET_FREE, clipped, residual[lane]);
        let step = greater(OFFSET_RATE, 1.0 / (taught + 1.0)) * step;
        sensor.offset[lane] += choose(teaches, step, 0.0);
    }
    let mut moved = [0; BLOCK];
    for lane in 0..BLOCK {
        let here = |clip: f32| {
            let off = lesser(greater(scene.residual[lane], -clip), clip) * scene.spread[lane];
            let here = view.expected[lane] + f64::from(off);
            // Where nothing is known yet, the value itself is the level.
            let here = if view.expected[lane].is_nan() { judged[lane] } else { here };
            if present[lane] { quanta(here * rules.per_quantum[lane]) } else { 0 }
        };
        (level[lane], moved[lane]) = (here(LEVEL_CLIP), here(MOVED_CLIP));
    }
    remember(scene, view, sensor);
    RowStats { present: present.map(u32::from), beyond, chance, repeated, in_long_run, level, moved }
}

/// A level in whole quanta, within what a sum has room for: to the nearest, by the bits of a number so large that its
/// last one is worth 1.
#[inline]
fn quanta(level: f64) -> i64 {
    const MOST: f64 = (1i64 << 43) as f64;
    const LARGE: f64 = (3i64 << 51) as f64;
    let level = if level < MOST { level } else { MOST };
    let level = if level > -MOST { level } else { -MOST };
    (level + LARGE).to_bits().wrapping_sub(LARGE.to_bits()) as i64
}

// The standard library's `max`, `min` and `clamp` think of NaN, which costs three instructions more.
#[inline]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline]
fn choose(which: bool, a: f32, b: f32) -> f32 {
    if which { a } else { b }
}

#[inline]
fn bits(flags: &[bool; BLOCK]) -> u8 {
    // All eight at once: a bool is a byte of 0 or 1.
    let bytes = u64::from_le_bytes(flags.map(u8::from));
    (bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// The slow averages, and what they say of metrics that drift off or move against the others.
#[inline]
fn remember(scene: &mut Scene, view: &BlockView, sensor: &mut SensorBlock) {
    for lane in 0..BLOCK {
        let residual = scene.residual[lane];
        let last = sensor.last_residual[lane];
        sensor.last_residual[lane] = residual;
        let is_lone = (residual.abs() > FAR) & !((last * residual > 0.0) & (last.abs() > SLOW_CLIP));
        let clipped = lesser(greater(residual, -SLOW_CLIP), SLOW_CLIP);
        let weight = choose(is_lone, 0.0, 1.0);
        let follow = |average: f32, rate: f32| settled(average + weight * rate * (clipped - average));
        scene.quick[lane] = follow(sensor.quick[lane], RATES[0]);
        scene.recent[lane] = follow(sensor.recent[lane], RATES[1]);
        scene.slow[lane] = follow(sensor.slow[lane], RATES[2]);
    }
    (sensor.quick, sensor.recent, sensor.slow) = (scene.quick, scene.recent, scene.slow);
    let mut band = [0.0; BLOCK];
    for lane in 0..BLOCK {
        scene.band[lane] = scene.quick[lane] - BAND_RECENT * scene.recent[lane];
        let moved = scene.band[lane] * view.per_band_scale[lane];
        let clipped = lesser(greater(moved, -BAND_CLIP), BAND_CLIP);
        band[lane] = choose(scene.residual[lane].abs() < BAND_NEAR, clipped, 0.0);
    }
    let expected = times(&view.others, &band);
    for lane in 0..BLOCK {
        // It begins where metrics that go together are on average, and rests while it is not known that they do.
        let before = sensor.against[lane];
        let before = choose(before.is_nan(), -view.together[lane], before);
        let after = settled(before - AGAINST_RATE * (band[lane] * expected[lane] + before));
        let is_known = view.together[lane] > 0.0;
        sensor.against[lane] = choose(is_known, after, sensor.against[lane]);
        // Less than they do on average is nothing.
        scene.against[lane] = choose(is_known, greater(after + view.together[lane], 0.0), 0.0);
    }
    scene.apart = times(&view.recent_inverse, &scene.slow);
    let fit_quick = times(&view.recent_inverse, &scene.quick);
    let fit_now = times(&view.recent_inverse, &scene.residual);
    for lane in 0..BLOCK {
        let least = lesser(scene.apart[lane].abs(), QUICK_SUPPORTS_DRIFT * fit_quick[lane].abs());
        let agree = (scene.apart[lane] * fit_quick[lane] > 0.0) & (scene.apart[lane] * fit_now[lane] > 0.0);
        scene.drift[lane] = choose(agree, least * view.per_apart_scale[lane], 0.0);
    }
}

/// An average that has decayed to next to nothing is nothing: subnormal numbers cost a hundred cycles each.
#[inline]
fn settled(average: f32) -> f32 {
    choose(average.abs() < 1e-12, 0.0, average)
}

/// The statistics of a block whose tails are learnt: largest, together, recent, drift, against.
pub(crate) type Statistics = [f32; 5];

/// What a scene amounts to.
#[inline]
pub(crate) fn statistics(scene: &Scene, view: &BlockView) -> Statistics {
    let largest = greatest(scene.residual.map(f32::abs));
    let together = greater(dot(&scene.residual, &times(&view.inverse, &scene.residual)), 0.0).sqrt();
    let fit_recent = times(&view.recent_inverse, &scene.recent);
    let norm = greater(dot(&scene.recent, &fit_recent), 0.0).sqrt();
    let supported = greater(dot(&scene.quick, &fit_recent), 0.0) / greater(norm, 1e-6) * QUICK_SUPPORTS;
    [largest, together, lesser(norm, supported), greatest(scene.drift), greatest(scene.against)]
}

/// The greatest of the lanes, at least 0.
#[inline]
pub(crate) fn greatest(lanes: Lanes) -> f32 {
    let half: [f32; BLOCK / 2] = std::array::from_fn(|lane| greater(lanes[lane], lanes[lane + BLOCK / 2]));
    greater(greater(greater(half[0], half[2]), greater(half[1], half[3])), 0.0)
}

#[inline]
fn times(matrix: &[Lanes; BLOCK], vector: &Lanes) -> Lanes {
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
    let half: [f32; BLOCK / 2] = std::array::from_fn(|lane| a[lane] * b[lane] + a[lane + 4] * b[lane + 4]);
    (half[0] + half[2]) + (half[1] + half[3])
}

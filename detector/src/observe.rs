//! One reading against its zone and its sensor's past, a block of metrics at a time: residuals, slow averages, runs.
//!
//! Invariant: [`observe`] is the only place where a sensor's state changes. [`statistics`] is a function of the
//! [`Observation`] and the view alone, so that an explanation can ask again without one of the metrics.

mod lanes;
mod slow;

pub(crate) use self::lanes::greatest;
use self::lanes::{bits, choose, greater, lesser, quanta, settled};
use self::slow::remember;
pub(crate) use self::slow::statistics;
use crate::layout::{BLOCK, Lanes, MetricLayout, logarithmic};
use crate::member::CERTAIN;
use crate::sensors::{RUN_TAUGHT, SensorBlock};
use crate::transcendental::ln;
use crate::zone::{BlockView, FIFTH};

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
/// A metric is missing if the sensor has sent it in this share of its readings, and so many readings.
const PRESENT: f32 = 0.9;
const PRESENT_FROM: u32 = 20;
/// Least rate of the share of gaps: three days of minutes.
const GAP_RATE: f32 = 1.0 / 4320.0;
/// A gap is certainly no ordinary one where this share of the readings follows on one, and is as surprising as it is rare
/// where this share does; in between the one passes into the other.
const GAPS_FEW: f32 = 0.001;
const GAPS_USUAL: f32 = 0.01;
/// Residuals are clipped to this, in standard deviations, in the sums from which a zone learns its level.
const LEVEL_CLIP: f32 = 3.0;
/// The same in the sums that tell whether the whole zone has moved: a single sensor must not move the mean.
const MOVED_CLIP: f32 = 20.0;

/// The rules and scales of a block's metrics, by lane.
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

/// A block of metrics of one reading, compared with its zone and its sensor's past. What does not apply is 0: lanes
/// without a metric, metrics without a value or without a known level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    /// Residual in standard deviations.
    pub(crate) residual: Lanes,
    /// Quick, recent and slow average of it (over about 2, 4 and 40 readings), this reading included.
    pub(crate) quick: Lanes,
    pub(crate) recent: Lanes,
    pub(crate) slow: Lanes,
    /// Part of the slow average that those of the other metrics do not explain, and that part limited by the quick
    /// average.
    pub(crate) apart: Lanes,
    pub(crate) drift: Lanes,
    /// Moves within minutes: a band-pass of the residuals.
    pub(crate) band: Lanes,
    /// How much each metric has recently moved against the metrics that it correlates with.
    pub(crate) against: Lanes,
    /// −log₁₀ of the chance of the run of equal values that each metric is in, and its length in repeats.
    pub(crate) stuck: Lanes,
    pub(crate) run: Lanes,
    /// Typical value for this sensor and time, on the judged scale, and its standard deviation; NaN where unknown.
    pub(crate) typical: [f64; BLOCK],
    pub(crate) spread: Lanes,
    /// Share of the sensor's readings that had the metric, before this one.
    pub(crate) presence: Lanes,
    /// Metrics, a bit each, that break a rule or are missed.
    pub(crate) broken: u8,
    pub(crate) missed: u8,
    /// Surprise of the most surprising of the metrics that are missed.
    pub(crate) gap: f32,
}

/// What a block of a reading adds to the statistics of its zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowStats {
    /// Whether there is a value.
    pub(crate) present: Flags,
    /// Whether its residual is beyond the scale.
    pub(crate) beyond: Flags,
    /// Whether it could repeat a value or did, in a short run; whether it is in a long run.
    pub(crate) chance: Flags,
    pub(crate) repeated: Flags,
    pub(crate) in_long_run: Flags,
    /// The zone's level by this reading, in quanta, with the residual clipped to `LEVEL_CLIP` and to `MOVED_CLIP`.
    pub(crate) level: [i64; BLOCK],
    pub(crate) moved: [i64; BLOCK],
}

/// 1 or 0 for each metric of a block.
pub(crate) type Flags = [u32; BLOCK];

impl Observation {
    pub(crate) const EMPTY: Observation = Observation {
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
        gap: 0.0,
    };

    /// The observation with one metric at its baseline.
    pub(crate) fn without(&self, lane: usize) -> Observation {
        let mut observation = *self;
        for lanes in [
            &mut observation.residual,
            &mut observation.quick,
            &mut observation.recent,
            &mut observation.slow,
            &mut observation.drift,
            &mut observation.against,
            &mut observation.stuck,
        ] {
            lanes[lane] = 0.0;
        }
        observation.broken &= !(1 << lane);
        observation.missed &= !(1 << lane);
        observation
    }
}

/// The surprise of a gap that has lasted for so many readings, where `gaps` is the share of readings behind a gap and
/// `missing` that of readings without the metric: −log₁₀ of the chance of a gap this long.
#[cold]
fn gap_surprise(gaps: f32, missing: f32, readings: f32) -> f32 {
    if gaps <= GAPS_FEW {
        return CERTAIN;
    }
    let log = |chance: f32| (ln(f64::from(chance)) / std::f64::consts::LN_10) as f32;
    // Gaps last for missing / gaps readings on the average, so that a further reading has this chance.
    let further = (1.0 - gaps / missing).clamp(gaps.min(1.0), 0.99);
    let by_chance = -log(gaps) - (readings - 1.0) * log(further);
    let usual = (log(gaps / GAPS_FEW) / log(GAPS_USUAL / GAPS_FEW)).min(1.0);
    greater(by_chance * usual + CERTAIN * (1.0 - usual), 0.0).min(CERTAIN)
}

/// Compares a block of a reading with its zone and sensor, and updates the sensor's state. Overwrites `observation`.
///
/// Everything is computed for all eight lanes without branches; results that do not apply are not selected.
#[inline]
pub(crate) fn observe(
    view: &BlockView,
    rules: &BlockRules,
    values: &[f64; BLOCK],
    readings: u32,
    sensor: &mut SensorBlock,
    observation: &mut Observation,
) -> RowStats {
    let mut judged = *values;
    for &lane in &rules.logarithmic {
        judged[lane] = logarithmic(values[lane]);
    }
    let mut residual = [0.0f32; BLOCK];
    let (mut present, mut known, mut broken) = ([false; BLOCK], [false; BLOCK], [false; BLOCK]);
    for lane in 0..BLOCK {
        let typical = view.expected[lane] + f64::from(sensor.offset[lane]);
        observation.typical[lane] = typical;
        residual[lane] = (judged[lane] - view.expected[lane]) as f32 - sensor.offset[lane];
        present[lane] = !values[lane].is_nan();
        known[lane] = !residual[lane].is_nan();
        broken[lane] = (values[lane] < rules.below[lane]) | (values[lane] > rules.above[lane]);
    }
    (observation.broken, observation.missed) = (bits(&broken), 0);

    // Presence and gaps. A gap is counted at its end: all of its readings are compared with the gaps before it.
    (observation.presence, observation.gap) = (sensor.presence, 0.0);
    let first_rate = 1.0 / (readings as f32 + 1.0);
    let (rate, gap_rate) = (PRESENCE_RATE.max(first_rate), GAP_RATE.max(first_rate));
    for lane in 0..BLOCK {
        sensor.presence[lane] += rate * (choose(present[lane], 1.0, 0.0) - sensor.presence[lane]);
        let ended = choose(sensor.gap[lane] > 0.0, 1.0, 0.0);
        let gaps = settled(sensor.gaps[lane] + gap_rate * (ended - sensor.gaps[lane]));
        sensor.gaps[lane] = choose(present[lane], gaps, sensor.gaps[lane]);
        sensor.gap[lane] = choose(present[lane], 0.0, sensor.gap[lane] + 1.0);
    }
    if readings >= PRESENT_FROM && !present.iter().all(|is_present| *is_present) {
        let missed = std::array::from_fn(|lane| !present[lane] && observation.presence[lane] > PRESENT);
        observation.missed = bits(&missed);
        for lane in (0..BLOCK).filter(|lane| missed[*lane]) {
            let surprise = gap_surprise(sensor.gaps[lane], 1.0 - sensor.presence[lane], sensor.gap[lane]);
            observation.gap = greater(observation.gap, surprise);
        }
    }

    // Runs.
    let (mut chance, mut repeated, mut in_long_run) = ([0; BLOCK], [0; BLOCK], [0; BLOCK]);
    for lane in 0..BLOCK {
        let stored = values[lane] as f32;
        let longer = choose(stored == sensor.last_value[lane], sensor.run[lane] + 1.0, 0.0);
        sensor.run[lane] = choose(present[lane], longer, sensor.run[lane]);
        sensor.last_value[lane] = choose(present[lane], stored, sensor.last_value[lane]);
        let run = choose(present[lane], longer, 0.0);
        observation.run[lane] = run;
        observation.stuck[lane] = run * view.repeat[lane];
        chance[lane] = u32::from(present[lane] & (run <= RUN_TAUGHT));
        repeated[lane] = u32::from((run > 0.0) & (run <= RUN_TAUGHT));
        in_long_run[lane] = u32::from(run > RUN_TAUGHT);
    }

    // Residuals, and the sensor's own offset and gain.
    let mut beyond = [0; BLOCK];
    let mut level = [0; BLOCK];
    for lane in 0..BLOCK {
        let spread = view.scale[lane] * sensor.gain[lane];
        observation.spread[lane] = spread;
        observation.residual[lane] = choose(known[lane], residual[lane] / spread, 0.0);
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
            let off = lesser(greater(observation.residual[lane], -clip), clip) * observation.spread[lane];
            let here = view.expected[lane] + f64::from(off);
            // Where nothing is known yet, the value itself is the level.
            let here = if view.expected[lane].is_nan() { judged[lane] } else { here };
            if present[lane] { quanta(here * rules.per_quantum[lane]) } else { 0 }
        };
        (level[lane], moved[lane]) = (here(LEVEL_CLIP), here(MOVED_CLIP));
    }
    remember(observation, view, sensor);
    RowStats { present: present.map(u32::from), beyond, chance, repeated, in_long_run, level, moved }
}

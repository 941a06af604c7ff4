//! What is known of a zone: what is usual at which hour of the week, how far readings spread, how metrics go together,
//! how often values repeat, and how surprising a statistic is.
//!
//! Invariants:
//! 1. a model does not change while it scores; [`ZoneModel::close`](crate::close) makes the next one from a closed
//!    tick's statistics, the same from the same;
//! 2. a level that has never been seen is NaN, and everything that is NaN says nothing.

use serde::{Deserialize, Serialize};

use crate::layout::{BLOCK, Lanes, Layout};
use crate::member::TAILED;
use crate::stats::PAIRS;
use crate::stray::ZoneAlarm;
use crate::tails::Tail;

/// Half-hours of a week: bins of the baseline.
pub(crate) const HALF_HOURS: usize = 336;
/// Half-hours of a day: the baseline of a bin that no week has shown yet.
pub(crate) const DAY_BINS: usize = 48;
/// Hours of a week: bins of scale and repeats.
pub(crate) const HOURS: usize = 168;
/// Hours of a day: bins of correlation.
pub(crate) const DAY_HOURS: usize = 24;
pub(crate) const HALF_HOUR_US: i64 = 1_800_000_000;
/// The scale tracks the upper fifth of the absolute residuals; for a normal that is so many standard deviations.
pub(crate) const FIFTH: f32 = 1.2816;
/// Threshold of the combined surprise until there is a learnt one.
pub(crate) const THRESHOLD_FIRST: f32 = 3.3;
/// Chances of repeating a value are kept between these; where values repeat oftener, a run says nothing.
const REPEAT: (f32, f32) = (0.02, 0.9);
/// Share of readings in long runs from which a metric counts as one that stands still by nature.
const STANDS_STILL: f32 = 0.2;

/// Least scale of averages, in deviations: those of a metric that stands still are nothing.
const SLOW_SCALE_LEAST: f32 = 1e-3;
/// A metric goes with the others if they explain this share of its variance.
const TOGETHER_LEAST: f32 = 0.2;

/// Ticks after which what a zone was last taught no longer says where it is.
const STALE_TICKS: i64 = 60;

/// Readings that what others taught of an hour counts for.
const MEAN_ROWS: f64 = 500.0;

/// How much of the hybrid may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Only the domain's rules: nothing is known of the zone.
    Rules,
    /// What other zones have taught, around the zone's own level.
    Type,
    /// What the zone has taught itself.
    Zone,
}

impl Level {
    /// Its word in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Rules => "rules",
            Level::Type => "type",
            Level::Zone => "zone",
        }
    }
}

/// Everything that is known of a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneModel {
    /// How much of it may be used.
    pub level: Level,
    /// Ticks closed so far.
    pub ticks: u64,
    /// The last one.
    pub last_tick: i64,
    /// Readings that taught.
    pub rows: u64,
    /// Surprise from which the model flags a reading.
    pub threshold: f32,
    pub(crate) blocks: Vec<ZoneBlock>,
    /// Times each bin was closed.
    pub(crate) bin_seen: Vec<u32>,
    pub(crate) day_bin_seen: Vec<u32>,
    /// Ticks seen in each hour of the week, and readings.
    pub(crate) hour_ticks: Vec<u32>,
    pub(crate) hour_rows: Vec<f64>,
    pub(crate) tails: Vec<Tail>,
    /// How far the zone as a whole strays.
    pub(crate) zone_tail: Tail,
    /// That it has gone further than it does.
    pub(crate) alarm: Option<ZoneAlarm>,
    /// Decayed histogram of the combined surprise.
    pub(crate) surprises: Vec<f64>,
    /// Weight of a row now; it grows instead of all older rows' shrinking.
    pub(crate) weight: f64,
    /// Chance that a reading of this surprise is normal after all, by bin.
    pub(crate) doubt: Vec<f32>,
    /// Ticks at which tails and inverses were last made.
    pub(crate) fitted_at: u64,
}

/// What is known of a block of metrics.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ZoneBlock {
    pub(crate) baseline: Vec<[f64; BLOCK]>,
    pub(crate) day: Vec<[f64; BLOCK]>,
    /// The first level ever seen.
    pub(crate) general: [f64; BLOCK],
    /// How far the zone is from its baseline now.
    pub(crate) now: [f64; BLOCK],
    /// The same, followed slowly: what the zone's moves are measured from, and their upper fifth.
    pub(crate) calm: [f64; BLOCK],
    pub(crate) stray: Lanes,
    /// Level of the bin that is open: sum and count.
    pub(crate) bin_sum: [f64; BLOCK],
    pub(crate) bin_count: [f64; BLOCK],
    /// Upper fifth of the absolute residuals, by hour of the week, and over all.
    pub(crate) scale: Vec<Lanes>,
    pub(crate) scale_over_all: Lanes,
    /// Chance that a value repeats, by hour of the week.
    pub(crate) repeat: Vec<Lanes>,
    /// Share of readings in long runs.
    pub(crate) still: Lanes,
    /// Second moments of residuals and of their recent averages, by hour of the day.
    pub(crate) moments: Vec<Moments>,
    pub(crate) recent_moments: Vec<Moments>,
    /// Scale of the slow average, as far as it stands apart, and of what moves within minutes.
    pub(crate) apart_scale: Lanes,
    pub(crate) band_scale: Lanes,
    /// Readings of each metric.
    pub(crate) rows: [f64; BLOCK],
}

/// Second moments and their inverse.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    pub(crate) rows: f64,
    /// Upper half by rows.
    pub(crate) upper: Vec<f64>,
    /// Full; rows and columns of metrics that are not there are 0.
    pub(crate) inverse: [Lanes; BLOCK],
    /// Standard deviation of each lane when the inverse was made.
    pub(crate) deviation: Lanes,
}

impl Moments {
    fn new(metrics: usize, variance: f64) -> Moments {
        let mut moments = Moments {
            rows: 0.0,
            upper: vec![0.0; PAIRS],
            inverse: [[0.0; BLOCK]; BLOCK],
            deviation: [0.0; BLOCK],
        };
        for lane in 0..BLOCK {
            moments.upper[pair(lane, lane)] = variance;
        }
        moments.invert(metrics);
        moments
    }

    /// Inverts by Gauss and Jordan, a little of the diagonal added, so that metrics that move as one do not divide by
    /// nothing.
    pub(crate) fn invert(&mut self, metrics: usize) {
        self.deviation = std::array::from_fn(|lane| (self.upper[pair(lane, lane)] as f32).max(0.0).sqrt());
        let mut left = [[0.0f64; BLOCK]; BLOCK];
        let mut right = [[0.0f64; BLOCK]; BLOCK];
        for row in 0..BLOCK {
            right[row][row] = 1.0;
            for column in 0..BLOCK {
                left[row][column] = self.upper[pair(row.min(column), row.max(column))];
            }
            left[row][row] += 1e-3 * left[row][row].max(1e-3);
        }
        for pivot in 0..metrics {
            let by = left[pivot][pivot].max(1e-9);
            for column in 0..BLOCK {
                left[pivot][column] /= by;
                right[pivot][column] /= by;
            }
            for row in (0..metrics).filter(|row| *row != pivot) {
                let factor = left[row][pivot];
                for column in 0..BLOCK {
                    left[row][column] -= factor * left[pivot][column];
                    right[row][column] -= factor * right[pivot][column];
                }
            }
        }
        self.inverse = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                if row < metrics && column < metrics { right[row][column] as f32 } else { 0.0 }
            })
        });
    }

    /// Each lane's regression on the others, all in their deviations and scaled to deviation 1, by the others' lanes,
    /// then its own; and its multiple correlation. 0 where that is weak.
    fn regression(&self) -> ([Lanes; BLOCK], Lanes) {
        let (mut others, mut together) = ([[0.0; BLOCK]; BLOCK], [0.0; BLOCK]);
        let deviation = &self.deviation;
        for lane in 0..BLOCK {
            let inflation = self.inverse[lane][lane] * deviation[lane] * deviation[lane];
            let explained = 1.0 - 1.0 / inflation;
            if explained.is_nan() || explained <= TOGETHER_LEAST {
                continue;
            }
            together[lane] = explained.sqrt();
            for other in (0..BLOCK).filter(|other| *other != lane) {
                let shared = self.inverse[other][lane] * deviation[other] * deviation[lane] / inflation;
                others[other][lane] = -shared / together[lane];
            }
        }
        (others, together)
    }
}

/// Where the pair of two lanes, the lower first, stands in the upper half.
pub(crate) const fn pair(row: usize, column: usize) -> usize {
    row * BLOCK - row * (row + 1) / 2 + column
}

/// Where a level comes from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Week,
    Day,
    General,
}

/// A time as the bins see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calendar {
    /// Half-hour of the week, its neighbour on the nearer side, and how far towards it (0 … ½).
    pub(crate) bin: usize,
    pub(crate) neighbour: usize,
    pub(crate) towards: f64,
    pub(crate) hour: usize,
}

impl Calendar {
    /// By what clocks show, see [`Layout::local_us`].
    pub(crate) fn at(local_us: i64) -> Calendar {
        let in_week_us = local_us.rem_euclid(HALF_HOURS as i64 * HALF_HOUR_US);
        let bin = (in_week_us / HALF_HOUR_US) as usize;
        let within = (in_week_us % HALF_HOUR_US) as f64 / HALF_HOUR_US as f64 - 0.5;
        let neighbour = if within > 0.0 { bin + 1 } else { bin + HALF_HOURS - 1 } % HALF_HOURS;
        Calendar { bin, neighbour, towards: within.abs(), hour: bin / 2 }
    }
}

impl ZoneBlock {
    fn new(layout: &Layout, block: usize) -> ZoneBlock {
        let metrics = layout.block(block);
        let first: Lanes =
            std::array::from_fn(|lane| metrics.get(lane).map_or(1.0, |metric| metric.scale_first));
        ZoneBlock {
            baseline: vec![[f64::NAN; BLOCK]; HALF_HOURS],
            day: vec![[f64::NAN; BLOCK]; DAY_BINS],
            general: [f64::NAN; BLOCK],
            now: [0.0; BLOCK],
            calm: [0.0; BLOCK],
            stray: first,
            bin_sum: [0.0; BLOCK],
            bin_count: [0.0; BLOCK],
            scale: vec![first; HOURS],
            scale_over_all: first,
            repeat: vec![[0.05; BLOCK]; HOURS],
            still: [0.0; BLOCK],
            moments: vec![Moments::new(metrics.len(), 1.0); DAY_HOURS],
            recent_moments: vec![Moments::new(metrics.len(), 0.4); DAY_HOURS],
            apart_scale: [0.5; BLOCK],
            band_scale: [0.3; BLOCK],
            rows: [0.0; BLOCK],
        }
    }

    /// How far the levels of a half-hour and its neighbour are apart, by how near a time is to their edge: when in
    /// between the step comes is not known.
    pub(crate) fn step(&self, lane: usize, at: &Calendar) -> f64 {
        let apart =
            |bins: &[[f64; BLOCK]], here: usize, there: usize| (bins[there][lane] - bins[here][lane]).abs();
        let apart = match self.baseline[at.bin][lane].is_nan() {
            true => apart(&self.day, at.bin % DAY_BINS, at.neighbour % DAY_BINS),
            false => apart(&self.baseline, at.bin, at.neighbour),
        };
        if apart.is_nan() { 0.0 } else { apart * at.towards }
    }

    /// The hour of the day whose moments hold at a time. Until an hour has been seen, these are those of the hour
    /// before.
    fn hour_of_day(&self, at: &Calendar) -> usize {
        let hour = at.hour % DAY_HOURS;
        let before = (hour + DAY_HOURS - 1) % DAY_HOURS;
        if self.moments[hour].rows == 0.0 { before } else { hour }
    }

    /// The level of a metric at a time by the best source there is; NaN when there is none.
    pub(crate) fn level(&self, lane: usize, at: &Calendar) -> (f64, Source) {
        let blend = |here: f64, there: f64| {
            if there.is_nan() { here } else { here + (there - here) * at.towards }
        };
        let here = self.baseline[at.bin][lane];
        if !here.is_nan() {
            return (blend(here, self.baseline[at.neighbour][lane]), Source::Week);
        }
        let here = self.day[at.bin % DAY_BINS][lane];
        if !here.is_nan() {
            return (blend(here, self.day[at.neighbour % DAY_BINS][lane]), Source::Day);
        }
        (self.general[lane], Source::General)
    }
}

/// What a block of metrics is held against in one tick. Lanes without a metric expect NaN.
#[derive(Debug, Clone)]
pub(crate) struct BlockView {
    /// Expected level of the zone now; NaN where nothing is known.
    pub(crate) expected: [f64; BLOCK],
    /// Standard deviation of a sensor without a gain of its own.
    pub(crate) scale: Lanes,
    /// Surprise of one repeat; 0 where a run says nothing.
    pub(crate) repeat: Lanes,
    pub(crate) apart_scale: Lanes,
    pub(crate) per_apart_scale: Lanes,
    pub(crate) band_scale: Lanes,
    pub(crate) per_band_scale: Lanes,
    /// Inverse second moments at this hour of the day, of residuals and of their recent averages.
    pub(crate) inverse: [Lanes; BLOCK],
    pub(crate) recent_inverse: [Lanes; BLOCK],
    /// What each metric is expected to do by what the others do, both in their deviations: by the others' lanes, then
    /// the metric's; and the correlation of the two. 0 where they do not go together.
    pub(crate) others: [Lanes; BLOCK],
    pub(crate) together: Lanes,
}

impl ZoneModel {
    /// A zone of which nothing is known.
    pub fn new(layout: &Layout) -> ZoneModel {
        ZoneModel {
            level: Level::Rules,
            ticks: 0,
            last_tick: i64::MIN,
            rows: 0,
            threshold: THRESHOLD_FIRST,
            blocks: (0..layout.blocks()).map(|block| ZoneBlock::new(layout, block)).collect(),
            bin_seen: vec![0; HALF_HOURS],
            day_bin_seen: vec![0; DAY_BINS],
            hour_ticks: vec![0; HOURS],
            hour_rows: vec![0.0; HOURS],
            tails: vec![Tail::new(); TAILED],
            zone_tail: Tail::new(),
            alarm: None,
            surprises: vec![0.0; crate::stats::SURPRISE_BINS],
            weight: 1.0,
            doubt: Vec::new(),
            fitted_at: 0,
        }
    }

    /// A zone of which nothing is known but what others have taught: scale, repeats, correlations, tails. Its level
    /// is its own from the first tick on.
    pub(crate) fn of_type(layout: &Layout, others: &[&ZoneModel]) -> ZoneModel {
        let mut model = ZoneModel::new(layout);
        let Some(eldest) = others.iter().max_by_key(|zone| zone.rows) else { return model };
        model.fitted_at = 1;
        model.tails = eldest.tails.clone();
        model.zone_tail = eldest.zone_tail.clone();
        model.surprises = eldest.surprises.clone();
        model.weight = eldest.weight;
        model.threshold = eldest.threshold;
        model.doubt = eldest.doubt.clone();
        model.hour_ticks = vec![1; HOURS];
        model.hour_rows = vec![MEAN_ROWS; HOURS];
        let count = others.len() as f32;
        for (block, known) in model.blocks.iter_mut().enumerate() {
            let of_others = || others.iter().map(|zone| &zone.blocks[block]);
            let mean = |of: &dyn Fn(&ZoneBlock) -> Lanes| {
                let mut mean = [0.0; BLOCK];
                for lanes in of_others().map(of) {
                    for lane in 0..BLOCK {
                        mean[lane] += lanes[lane] / count;
                    }
                }
                mean
            };
            for hour in 0..HOURS {
                known.scale[hour] = mean(&|other| other.scale[hour]);
                known.repeat[hour] = mean(&|other| other.repeat[hour]);
            }
            known.scale_over_all = mean(&|other| other.scale_over_all);
            known.still = mean(&|other| other.still);
            known.apart_scale = mean(&|other| other.apart_scale);
            known.band_scale = mean(&|other| other.band_scale);
            known.stray = mean(&|other| other.stray);
            let eldest = &eldest.blocks[block];
            known.moments = eldest.moments.clone();
            known.recent_moments = eldest.recent_moments.clone();
        }
        model
    }

    /// A zone of which nothing is known, without blocks.
    pub(crate) fn none() -> ZoneModel {
        ZoneModel {
            level: Level::Rules,
            ticks: 0,
            last_tick: i64::MIN,
            rows: 0,
            threshold: THRESHOLD_FIRST,
            blocks: Vec::new(),
            bin_seen: Vec::new(),
            day_bin_seen: Vec::new(),
            hour_ticks: Vec::new(),
            hour_rows: Vec::new(),
            tails: Vec::new(),
            zone_tail: Tail::new(),
            alarm: None,
            surprises: Vec::new(),
            weight: 1.0,
            doubt: Vec::new(),
            fitted_at: 0,
        }
    }

    /// Whether a tick lies so far ahead of what the zone was last taught that its present is not known: behind a
    /// backlog that is read a thousand times faster than it was written, or after a silence.
    pub(crate) fn is_stale(&self, tick: i64) -> bool {
        self.last_tick != i64::MIN && tick.saturating_sub(self.last_tick) > STALE_TICKS
    }

    /// What a block is held against in a tick that begins at `event_time_us`.
    pub(crate) fn view(&self, layout: &Layout, block: usize, event_time_us: i64) -> BlockView {
        let at = Calendar::at(layout.local_us(event_time_us));
        let known = &self.blocks[block];
        let hour = known.hour_of_day(&at);
        let (inverse, recent_inverse) = (known.moments[hour].inverse, known.recent_moments[hour].inverse);
        let (others, together) = known.recent_moments[hour].regression();
        let mut view = BlockView {
            expected: [f64::NAN; BLOCK],
            scale: [1.0; BLOCK],
            repeat: [0.0; BLOCK],
            apart_scale: known.apart_scale,
            per_apart_scale: known.apart_scale.map(|scale| 1.0 / scale.max(SLOW_SCALE_LEAST)),
            band_scale: known.band_scale,
            per_band_scale: known.band_scale.map(|scale| 1.0 / scale.max(SLOW_SCALE_LEAST)),
            inverse,
            recent_inverse,
            others,
            together,
        };
        let scale = if self.hour_ticks[at.hour] == 0 { &known.scale_over_all } else { &known.scale[at.hour] };
        for (lane, metric) in layout.block(block).iter().enumerate() {
            if !self.is_stale(layout.tick(event_time_us)) {
                view.expected[lane] = known.level(lane, &at).0 + known.now[lane];
            }
            view.scale[lane] = scale[lane].max(metric.scale_least) / FIFTH;
            if known.still[lane] < STANDS_STILL {
                view.repeat[lane] = -known.repeat[at.hour][lane].clamp(REPEAT.0, REPEAT.1).log10();
            }
        }
        view
    }

    /// The chance that a reading of this surprise is normal after all.
    pub(crate) fn doubt(&self, surprise: f32) -> f32 {
        let bin = crate::close::surprise_bin(surprise);
        match self.doubt.get(bin) {
            Some(doubt) => *doubt,
            None => (crate::close::MEMBERS_IN_EFFECT * 10f32.powf(-surprise)).min(1.0),
        }
    }
}

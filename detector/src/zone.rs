//! What is known of a zone: the level at each half-hour of the week, how far readings spread, how metrics correlate,
//! how often values repeat, and how surprising a statistic is.
//!
//! Invariants:
//! 1. a model does not change while it scores; [`ZoneModel::close`] makes the next one from a closed tick's statistics,
//!    the same from the same;
//! 2. a level that has never been seen is NaN, and a comparison with NaN finds nothing.

mod alarm;
mod block;
mod bytes;
mod calendar;
mod close;
mod learn;
mod moments;
mod threshold;
mod view;

use serde::{Deserialize, Serialize};

use self::alarm::ZoneAlarm;
pub(crate) use self::block::ZoneBlock;
use self::calendar::{DAY_BINS, HALF_HOURS, HOURS};
pub(crate) use self::moments::{Moments, pair};
pub(crate) use self::threshold::{MEMBERS_IN_EFFECT, THRESHOLD_FIRST, surprise_bin};
pub(crate) use self::view::BlockView;
use crate::layout::{BLOCK, Lanes, Layout};
use crate::member::TAILED;
use crate::stats::SURPRISE_BINS;
use crate::tails::Tail;

/// The scale tracks the upper fifth of the absolute residuals; for a normal that is so many standard deviations.
pub(crate) const FIFTH: f32 = 1.2816;
/// Ticks after which what a zone was last taught no longer says where it is.
const STALE_TICKS: i64 = 60;
/// Weight, in readings, of what other zones taught of an hour.
const MEAN_ROWS: f64 = 500.0;

/// How much of the detector decides in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The domain's rules alone: nothing is known of the zone.
    Rules,
    /// Scales and tails of other zones, around the zone's own level.
    Type,
    /// The zone's own statistics.
    Zone,
}

impl Level {
    /// The word in `citytide status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Rules => "rules",
            Level::Type => "type",
            Level::Zone => "zone",
        }
    }
}

/// Everything that is known of a zone, as of its last closed tick.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneModel {
    /// How much of it is used.
    pub level: Level,
    /// Ticks closed so far.
    pub ticks: u64,
    /// The last of them; `i64::MIN` before the first.
    pub last_tick: i64,
    /// Readings that taught.
    pub rows: u64,
    /// Surprise, −log₁₀ of a chance, from which the model flags a reading.
    pub threshold: f32,
    pub(crate) blocks: Vec<ZoneBlock>,
    /// Times each bin was closed.
    pub(crate) bin_seen: Vec<u32>,
    pub(crate) day_bin_seen: Vec<u32>,
    /// Ticks seen in each hour of the week, and readings.
    pub(crate) hour_ticks: Vec<u32>,
    pub(crate) hour_rows: Vec<f64>,
    pub(crate) tails: Vec<Tail>,
    /// Tail of how far the zone as a whole moves.
    pub(crate) zone_tail: Tail,
    /// Set while it has moved further than chance lets it.
    pub(crate) alarm: Option<ZoneAlarm>,
    /// Decayed histogram of the combined surprise.
    pub(crate) surprises: Vec<f64>,
    /// Weight of a row now. It grows, so that older rows weigh less without being touched.
    pub(crate) weight: f64,
    /// Chance that a reading of this surprise is normal after all, by bin.
    pub(crate) doubt: Vec<f32>,
    /// Ticks at which tails and inverses were last made.
    pub(crate) fitted_at: u64,
}

impl ZoneModel {
    /// A zone of which nothing is known.
    pub fn new(layout: &Layout) -> ZoneModel {
        ZoneModel {
            blocks: (0..layout.blocks()).map(|block| ZoneBlock::new(layout, block)).collect(),
            bin_seen: vec![0; HALF_HOURS],
            day_bin_seen: vec![0; DAY_BINS],
            hour_ticks: vec![0; HOURS],
            hour_rows: vec![0.0; HOURS],
            tails: vec![Tail::new(); TAILED],
            surprises: vec![0.0; SURPRISE_BINS],
            ..ZoneModel::none()
        }
    }

    /// A zone of which nothing is known, without blocks: it cannot score.
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

    /// A new zone with the mean scales, repeats and second moments of other zones and the tails of the one with most
    /// readings. Its level is its own from the first tick on.
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

    /// Whether a tick lies so far ahead of the last closed one that the zone's present level is not known: after a
    /// silence, or behind a backlog that is read much faster than it was written.
    pub(crate) fn is_stale(&self, tick: i64) -> bool {
        self.last_tick != i64::MIN && tick.saturating_sub(self.last_tick) > STALE_TICKS
    }
}

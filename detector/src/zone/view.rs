//! What the readings of one tick are compared with: a zone's model, evaluated at that tick.

use super::calendar::Calendar;
use super::{FIFTH, ZoneModel};
use crate::layout::{BLOCK, Lanes, Layout};

/// The chance that a value repeats is clamped to these.
const REPEAT: (f32, f32) = (0.02, 0.9);
/// Share of readings in long runs from which a metric stands still by nature, and a run says nothing.
const STANDS_STILL: f32 = 0.2;

/// Least scale of averages, in standard deviations: those of a metric that stands still are almost 0.
const SLOW_SCALE_LEAST: f32 = 1e-3;

/// What a block of metrics is compared with in one tick. Lanes without a metric expect NaN.
#[derive(Debug, Clone)]
pub(crate) struct BlockView {
    /// Expected level of the zone, on the judged scale; NaN where nothing is known.
    pub(crate) expected: [f64; BLOCK],
    /// Standard deviation of a sensor without a gain of its own.
    pub(crate) scale: Lanes,
    /// −log₁₀ of the chance of one repeat; 0 where a run says nothing.
    pub(crate) repeat: Lanes,
    /// Scales of the slow statistics, see [`ZoneBlock`](super::ZoneBlock), and one over them.
    pub(crate) apart_scale: Lanes,
    pub(crate) per_apart_scale: Lanes,
    pub(crate) band_scale: Lanes,
    pub(crate) per_band_scale: Lanes,
    /// Inverse second moments at this hour of the day, of residuals and of their recent averages.
    pub(crate) inverse: [Lanes; BLOCK],
    pub(crate) recent_inverse: [Lanes; BLOCK],
    /// Regression of each metric on the others, and its multiple correlation, see [`Moments`](super::Moments).
    pub(crate) others: [Lanes; BLOCK],
    pub(crate) together: Lanes,
}

impl ZoneModel {
    /// What a block is compared with at `event_time_us`; no level is expected where the model is stale.
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
}

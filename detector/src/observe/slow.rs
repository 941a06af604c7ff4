//! Slow averages of a sensor's residuals, and the statistics of an observation whose tails are learnt.

use super::Observation;
use super::lanes::{choose, dot, greater, greatest, lesser, settled, times};
use crate::layout::BLOCK;
use crate::sensors::SensorBlock;
use crate::zone::BlockView;

/// Residuals enter the slow averages clipped to this: one reading must not look like many.
const SLOW_CLIP: f32 = 2.5;
/// A residual beyond this whose predecessor was not beyond `SLOW_CLIP` on its side stays out of the slow averages.
const FAR: f32 = 4.0;
/// Rates of the quick, recent and slow averages.
const RATES: [f32; 3] = [0.4, 0.22, 0.025];
/// Moves within minutes are the quick average less this share of the recent one, a band-pass that removes most of the
/// slower wandering; clipped, in its own deviations.
const BAND_RECENT: f32 = 0.85;
const BAND_CLIP: f32 = 1.0;
/// Moves of a metric whose residual is beyond this are not used.
const BAND_NEAR: f32 = 3.0;
/// Rate of the average of how metrics move with each other.
const AGAINST_RATE: f32 = 0.08;
/// A slow statistic is at most so many times that of the quick average, so that it ends with the event.
const QUICK_SUPPORTS: f32 = 1.0 / 0.6;
const QUICK_SUPPORTS_DRIFT: f32 = 1.15;

/// Updates the slow averages, and finds metrics that drift or move against the others.
#[inline]
pub(super) fn remember(observation: &mut Observation, view: &BlockView, sensor: &mut SensorBlock) {
    for lane in 0..BLOCK {
        let residual = observation.residual[lane];
        let last = sensor.last_residual[lane];
        sensor.last_residual[lane] = residual;
        let is_lone = (residual.abs() > FAR) & !((last * residual > 0.0) & (last.abs() > SLOW_CLIP));
        let clipped = lesser(greater(residual, -SLOW_CLIP), SLOW_CLIP);
        let weight = choose(is_lone, 0.0, 1.0);
        let follow = |average: f32, rate: f32| settled(average + weight * rate * (clipped - average));
        observation.quick[lane] = follow(sensor.quick[lane], RATES[0]);
        observation.recent[lane] = follow(sensor.recent[lane], RATES[1]);
        observation.slow[lane] = follow(sensor.slow[lane], RATES[2]);
    }
    (sensor.quick, sensor.recent, sensor.slow) = (observation.quick, observation.recent, observation.slow);
    let mut band = [0.0; BLOCK];
    for lane in 0..BLOCK {
        observation.band[lane] = observation.quick[lane] - BAND_RECENT * observation.recent[lane];
        let moved = observation.band[lane] * view.per_band_scale[lane];
        let clipped = lesser(greater(moved, -BAND_CLIP), BAND_CLIP);
        band[lane] = choose(observation.residual[lane].abs() < BAND_NEAR, clipped, 0.0);
    }
    let expected = times(&view.others, &band);
    for lane in 0..BLOCK {
        // Starts at the average of correlated metrics, and is not updated while no correlation is known.
        let before = sensor.against[lane];
        let before = choose(before.is_nan(), -view.together[lane], before);
        let after = settled(before - AGAINST_RATE * (band[lane] * expected[lane] + before));
        let is_known = view.together[lane] > 0.0;
        sensor.against[lane] = choose(is_known, after, sensor.against[lane]);
        // Only moves against the others count, beyond the average.
        observation.against[lane] = choose(is_known, greater(after + view.together[lane], 0.0), 0.0);
    }
    observation.apart = times(&view.recent_inverse, &observation.slow);
    let fit_quick = times(&view.recent_inverse, &observation.quick);
    let fit_now = times(&view.recent_inverse, &observation.residual);
    for lane in 0..BLOCK {
        let least = lesser(observation.apart[lane].abs(), QUICK_SUPPORTS_DRIFT * fit_quick[lane].abs());
        let agree = (observation.apart[lane] * fit_quick[lane] > 0.0)
            & (observation.apart[lane] * fit_now[lane] > 0.0);
        observation.drift[lane] = choose(agree, least * view.per_apart_scale[lane], 0.0);
    }
}

/// The statistics of a block whose tails are learnt, in the order of the members `Largest` … `Against`.
pub(crate) type Statistics = [f32; 5];

/// The statistics of an observation: largest residual, Mahalanobis distance, the same of the recent averages, drift,
/// moves against the others.
#[inline]
pub(crate) fn statistics(observation: &Observation, view: &BlockView) -> Statistics {
    let largest = greatest(observation.residual.map(f32::abs));
    let together =
        greater(dot(&observation.residual, &times(&view.inverse, &observation.residual)), 0.0).sqrt();
    let fit_recent = times(&view.recent_inverse, &observation.recent);
    let norm = greater(dot(&observation.recent, &fit_recent), 0.0).sqrt();
    let supported = greater(dot(&observation.quick, &fit_recent), 0.0) / greater(norm, 1e-6) * QUICK_SUPPORTS;
    [largest, together, lesser(norm, supported), greatest(observation.drift), greatest(observation.against)]
}

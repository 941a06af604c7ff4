//! What a block of a zone's model learns from a closed tick: level, scale, repeats, second moments.

use super::calendar::{Calendar, DAY_HOURS};
use super::{Moments, ZoneBlock, pair};
use crate::layout::BLOCK;
use crate::stats::{BlockStats, MOMENT_QUANTUM, SCALE_QUANTUM};
use crate::transcendental::ln;

/// Ticks after which a row of a histogram keeps a third of its weight.
pub(super) const MEMORY_TICKS: f64 = 1440.0;
/// Rate per tick at which the zone's present offset follows its readings, with many readings.
const NOW_RATE: f64 = 0.3;
/// Readings of a tick with which that rate is half.
const NOW_READINGS: f64 = 4.0;
/// Best step of the logarithm of a tracked upper fifth with the first readings: one over the density of ln |z| there.
const SCALE_STEP: f64 = 2.2;
/// Weight, in readings, of the scale that an hour begins with.
const SCALE_FIRST_ROWS: f64 = 100.0;
/// Least steps per tick, of an hour's scale and of the one over all hours.
const SCALE_RATE: f64 = 0.08;
const SCALE_RATE_OVER_ALL: f64 = 0.1;
/// Readings after which a reading's part in the second moments keeps a third of its weight, and the weight, in
/// readings, of what the moments begin with.
const MOMENT_ROWS: f64 = 20_000.0;
const MOMENT_FIRST_ROWS: f64 = 500.0;

/// What was known of the tick's hour of the week before the tick.
pub(super) struct HourBefore {
    pub(super) rows_before: f64,
    pub(super) is_first: bool,
}

impl ZoneBlock {
    /// Starts the moments of an hour of the day from those of the hour before: correlations change slowly over the day.
    fn begin_hour_of_day(&mut self, hour: usize) {
        let before = (hour + DAY_HOURS - 1) % DAY_HOURS;
        for moments in [&mut self.moments, &mut self.recent_moments] {
            if moments[hour].rows == 0.0 && moments[before].rows > 0.0 {
                let rows = moments[before].rows.min(MOMENT_FIRST_ROWS);
                moments[hour] = Moments { rows, ..moments[before].clone() };
            }
        }
    }

    pub(super) fn learn(
        &mut self,
        at: &Calendar,
        hour: &HourBefore,
        is_settling: bool,
        quanta: &[f64; BLOCK],
        taught: &BlockStats,
    ) {
        if hour.is_first {
            self.scale[at.hour] = self.scale_over_all;
        }
        self.begin_hour_of_day(at.hour % DAY_HOURS);
        for lane in 0..BLOCK {
            let present = f64::from(taught.present[lane]);
            if present == 0.0 {
                continue;
            }
            let level = taught.level[lane] as f64 * quanta[lane] / present;
            if self.general[lane].is_nan() {
                self.general[lane] = level;
            }
            let base = self.level(lane, at).0;
            let rate = if is_settling || self.rows[lane] == 0.0 {
                1.0
            } else {
                NOW_RATE * present / (present + NOW_READINGS)
            };
            self.now[lane] += rate * (level - base - self.now[lane]);
            self.bin_sum[lane] += present * level;
            self.bin_count[lane] += present;
            self.rows[lane] += present;

            // Tracks the upper fifth of the absolute residuals: the scale that the readings were compared with,
            // corrected by the share of readings beyond it. That scale may be some ticks old, so the target is
            // absolute.
            let surplus = f64::from(taught.beyond[lane]) / present - 0.2;
            let held_against = taught.scale[lane] as f64 * SCALE_QUANTUM / present;
            let target = held_against + SCALE_STEP * surplus;
            let step = |scale: f32, before: f64, least: f64| {
                let first = present / (before + present + SCALE_FIRST_ROWS);
                let least = least / SCALE_STEP * present / (present + 2.0);
                let scale = ln(f64::from(scale));
                (scale + f64::max(first, least) * (target - scale)).exp() as f32
            };
            let over_all = self.scale_over_all[lane];
            self.scale[at.hour][lane] = step(self.scale[at.hour][lane], hour.rows_before, SCALE_RATE);
            self.scale_over_all[lane] = step(over_all, self.rows[lane] - present, SCALE_RATE_OVER_ALL);

            let chances = f64::from(taught.chances[lane]);
            if chances > 0.0 {
                let rate = f64::max(0.0005 * chances, chances / (hour.rows_before + chances + 20.0)).min(1.0);
                let share = f64::from(taught.repeated[lane]) / chances;
                self.repeat[at.hour][lane] += (rate * (share - f64::from(self.repeat[at.hour][lane]))) as f32;
            }
            let in_run = f64::from(taught.in_long_run[lane]) / present;
            let rate = f64::max(1.0 / MEMORY_TICKS, present / (self.rows[lane] + present));
            self.still[lane] += (rate * (in_run - f64::from(self.still[lane]))) as f32;

            if taught.near > 0 {
                let near = f64::from(taught.near);
                let rate = moment_rate(self.rows[lane], near);
                for (scale, sum) in [
                    (&mut self.apart_scale[lane], taught.apart[lane]),
                    (&mut self.band_scale[lane], taught.band[lane]),
                ] {
                    let mean = sum as f64 * f64::from(MOMENT_QUANTUM) / near;
                    *scale += (rate * (mean - f64::from(*scale))) as f32;
                }
            }
        }
        let hour_of_day = at.hour % self.moments.len();
        for (moments, rows, products) in [
            (&mut self.moments[hour_of_day], taught.near, &taught.products),
            (&mut self.recent_moments[hour_of_day], taught.near_recent, &taught.recent_products),
        ] {
            if rows == 0 {
                continue;
            }
            let rows = f64::from(rows);
            moments.rows += rows;
            let rate = moment_rate(moments.rows, rows);
            for row in 0..BLOCK {
                for column in row..BLOCK {
                    let mean = products[pair(row, column)] as f64 * f64::from(MOMENT_QUANTUM) / rows;
                    let moment = &mut moments.upper[pair(row, column)];
                    *moment += rate * (mean - *moment);
                }
            }
        }
    }
}

/// Weight of `new` readings in second moments of `rows` readings, these included.
fn moment_rate(rows: f64, new: f64) -> f64 {
    (new * f64::max(1.0 / MOMENT_ROWS, 1.0 / (rows + MOMENT_FIRST_ROWS))).min(0.5)
}

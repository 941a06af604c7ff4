//! Closing a tick: what its statistics change in a zone's model.
//!
//! Every rate here is one of forgetting: 1/rate ticks, days or readings back, a lesson has lost two thirds of its
//! weight. Where the reason for a number is not said beside it, it was found by trying (see docs/detector.md).

use crate::layout::{BLOCK, Layout};
use crate::member::TAILED;
use crate::stats::{BlockStats, MOMENT_QUANTUM, SCALE_QUANTUM, SURPRISE_BINS, SURPRISES_PER_UNIT, ZoneStats};
use crate::tails::{BINS, Shape};
use crate::transcendental::ln;
use crate::zone::{
    Calendar, DAY_BINS, DAY_HOURS, HALF_HOUR_US, HALF_HOURS, Level, Moments, THRESHOLD_FIRST, ZoneBlock,
    ZoneModel, pair,
};

/// How fast the zone's present follows its readings, per tick, with many readings.
const NOW_RATE: f64 = 0.3;
/// Readings of a tick with which it follows half as fast.
const NOW_READINGS: f64 = 4.0;
/// Ticks after a start or a silence in which the present is simply the last tick.
const SETTLING_TICKS: u64 = 5;
/// Ticks without readings after which the present is no longer known.
const SILENCE_TICKS: i64 = 120;
/// Weight of a new week in the baseline, when there are enough.
const WEEK_RATE: f64 = 0.3;
/// Best step of the logarithm of a tracked upper fifth with the first readings: one over the density of ln |z| there.
const SCALE_STEP: f64 = 2.2;
/// Readings that the scale an hour begins with counts for.
const SCALE_FIRST_ROWS: f64 = 100.0;
/// Least steps per tick, of an hour's scale and of the one over all hours.
const SCALE_RATE: f64 = 0.08;
const SCALE_RATE_OVER_ALL: f64 = 0.1;
/// Ticks until tails and inverses are made again.
const FIT_TICKS: u64 = 60;
/// Ticks after which a zone may be judged by its own statistics, and readings.
const OWN_TICKS: u64 = 30;
const OWN_ROWS: u64 = 512;
/// Ticks after which a zone may be judged by what others taught.
const TYPE_TICKS: u64 = 5;
/// Ticks that histograms reach back.
const MEMORY_TICKS: f64 = 1440.0;
/// Readings that second moments reach back, and how slowly they begin.
const MOMENT_ROWS: f64 = 20_000.0;
const MOMENT_FIRST_ROWS: f64 = 500.0;
/// Members that are nearly independent of each other: how often chance gets to try.
pub(crate) const MEMBERS_IN_EFFECT: f32 = 4.0;
/// The threshold lies between these.
const THRESHOLDS: (f32, f32) = (1.5, 8.0);
/// The model flags at most this many times the expected share of anomalies.
const FLOOD: f64 = 3.0;
/// Readings that the threshold is learnt from, at least.
const THRESHOLD_ROWS: f64 = 5_000.0;

/// The bin of a combined surprise.
#[inline]
pub(crate) fn surprise_bin(surprise: f32) -> usize {
    ((surprise * SURPRISES_PER_UNIT) as i32).clamp(0, SURPRISE_BINS as i32 - 1) as usize
}

impl ZoneModel {
    /// Applies what a tick taught. Ticks are closed in order; one at or before the last is ignored.
    pub fn close(&mut self, layout: &Layout, tick: i64, stats: &ZoneStats) {
        if tick <= self.last_tick || stats.is_empty() {
            return;
        }
        let at = Calendar::at(layout.local_us(tick * layout.tick_us));
        let is_after_silence = self.last_tick != i64::MIN && tick - self.last_tick > SILENCE_TICKS;
        if self.last_tick != i64::MIN {
            let before = Calendar::at(layout.local_us(self.last_tick * layout.tick_us));
            if before.bin != at.bin {
                self.close_bin(&before, &at);
            }
        }
        if stats.stale > 0 {
            self.learn_levels(layout, &at, stats);
        }
        if stats.rows == 0 {
            self.last_tick = tick;
            return;
        }
        let is_settling = self.ticks < SETTLING_TICKS || is_after_silence;
        self.hour_ticks[at.hour] += 1;
        let rows = f64::from(stats.rows);
        let hour =
            HourBefore { rows_before: self.hour_rows[at.hour], is_first: self.hour_ticks[at.hour] == 1 };
        self.hour_rows[at.hour] += rows;
        // What moves the whole zone is no lesson: it would widen the scales until nothing is odd.
        if is_settling || !self.judge_zone(layout, &at, stats) {
            for (block, taught) in stats.blocks.iter().enumerate().take(self.blocks.len()) {
                let quanta: [f64; BLOCK] = std::array::from_fn(|lane| {
                    layout.block(block).get(lane).map_or(1.0, |metric| metric.quantum)
                });
                self.blocks[block].learn(&at, &hour, is_settling, &quanta, taught);
            }
            self.learn_tails(stats);
        } else if self.ticks > HALF_HOURS as u64 * HALF_HOUR_US as u64 / layout.tick_us as u64 {
            self.learn_unknown(layout, &at, stats);
        }
        if is_settling {
            self.blocks.iter_mut().for_each(|known| known.calm = known.now);
        }
        self.ticks += 1;
        self.rows += u64::from(stats.rows);
        self.last_tick = tick;
        let is_due = self.ticks >= self.fitted_at + FIT_TICKS
            || (self.ticks >= OWN_TICKS && self.ticks <= FIT_TICKS && self.ticks.is_multiple_of(10));
        if is_due {
            self.fit(layout);
        }
        if self.level < Level::Zone && self.ticks >= OWN_TICKS && self.rows >= OWN_ROWS {
            self.fit(layout);
            self.level = Level::Zone;
        } else if self.level == Level::Rules && self.fitted_at > 0 && self.ticks >= TYPE_TICKS {
            self.level = Level::Type;
        }
    }

    /// Puts the open bin's level into the baseline; `next` is where the next one begins.
    fn close_bin(&mut self, bin: &Calendar, next: &Calendar) {
        self.bin_seen[bin.bin] += 1;
        self.day_bin_seen[bin.bin % DAY_BINS] += 1;
        let rate = |seen: u32| f64::max(WEEK_RATE, 1.0 / f64::from(seen));
        let (week, day) = (rate(self.bin_seen[bin.bin]), rate(self.day_bin_seen[bin.bin % DAY_BINS]));
        for known in &mut self.blocks {
            for lane in 0..BLOCK {
                let before = known.level(lane, bin);
                if known.bin_count[lane] > 0.0 {
                    let level = known.bin_sum[lane] / known.bin_count[lane];
                    follow(&mut known.baseline[bin.bin][lane], level, week);
                    follow(&mut known.day[bin.bin % DAY_BINS][lane], level, day);
                }
                (known.bin_sum[lane], known.bin_count[lane]) = (0.0, 0.0);
                // Where the next bin's level comes from another source, the present makes up for the step.
                let after = known.level(lane, next);
                let step = before.0 - after.0;
                if before.1 != after.1 && step.is_finite() {
                    known.now[lane] += step;
                    known.calm[lane] += step;
                }
            }
        }
    }

    /// Levels of readings that were not held against anything: the baseline learns them, and the zone is where they
    /// say.
    fn learn_levels(&mut self, layout: &Layout, at: &Calendar, stats: &ZoneStats) {
        self.alarm = None;
        for (block, (known, taught)) in self.blocks.iter_mut().zip(&stats.blocks).enumerate() {
            for (lane, metric) in layout.block(block).iter().enumerate() {
                let present = f64::from(taught.stale[lane]);
                if present == 0.0 {
                    continue;
                }
                let level = taught.stale_level[lane] as f64 * metric.quantum / present;
                if known.general[lane].is_nan() {
                    known.general[lane] = level;
                }
                known.now[lane] = level - known.level(lane, at).0;
                known.calm[lane] = known.now[lane];
                known.bin_sum[lane] += present * level;
                known.bin_count[lane] += present;
            }
        }
    }

    /// Puts where a zone is that has moved into a bin that last week taught nothing: what comes at the same time every
    /// week is no event.
    fn learn_unknown(&mut self, layout: &Layout, at: &Calendar, stats: &ZoneStats) {
        for (block, (known, taught)) in self.blocks.iter_mut().zip(&stats.blocks).enumerate() {
            for (lane, metric) in layout.block(block).iter().enumerate() {
                if known.baseline[at.bin][lane].is_nan() {
                    known.bin_sum[lane] += taught.moved[lane] as f64 * metric.quantum;
                    known.bin_count[lane] += f64::from(taught.present[lane]);
                }
            }
        }
    }

    fn learn_tails(&mut self, stats: &ZoneStats) {
        // Young histograms forget faster: what was odd only because nothing was known yet must not stay.
        let memory = (self.ticks as f64 / 2.0).clamp(OWN_TICKS as f64, MEMORY_TICKS);
        self.weight *= (1.0 / memory).exp();
        for (tail, counts) in self.tails.iter_mut().zip(stats.tail_counts.0.chunks_exact(BINS)) {
            tail.add(counts, self.weight);
        }
        for (sum, &count) in self.surprises.iter_mut().zip(&stats.surprises.0) {
            *sum += f64::from(count) * self.weight;
        }
        if self.weight > 1e9 {
            let by = 1.0 / self.weight;
            self.tails.iter_mut().chain([&mut self.zone_tail]).for_each(|tail| tail.scale(by));
            self.surprises.iter_mut().for_each(|sum| *sum *= by);
            self.weight = 1.0;
        }
    }

    /// Makes inverses, tails and the threshold from what is known now.
    fn fit(&mut self, layout: &Layout) {
        self.fitted_at = self.ticks;
        for (block, known) in self.blocks.iter_mut().enumerate() {
            let metrics = layout.block(block).len();
            for moments in known.moments.iter_mut().chain(&mut known.recent_moments) {
                moments.invert(metrics);
            }
        }
        let (widest, all) = (layout.metrics.len().min(BLOCK), layout.metrics.len());
        let shapes: [Shape; TAILED] = [
            Shape::LargestOf(all),
            Shape::Chi(widest),
            Shape::Chi(widest),
            Shape::Weibull,
            Shape::Weibull,
            Shape::Weibull,
        ];
        for (tail, shape) in self.tails.iter_mut().zip(shapes) {
            tail.fit(shape, self.weight);
        }
        self.zone_tail.fit(Shape::LargestOf(all), self.weight);
        self.fit_threshold(layout);
    }

    /// The least surprise of which chance alone explains only the allowed share, as Benjamini and Hochberg do it
    /// (Controlling the false discovery rate, 1995), on the decayed histogram.
    fn fit_threshold(&mut self, layout: &Layout) {
        let total: f64 = self.surprises.iter().sum();
        if total < THRESHOLD_ROWS * self.weight {
            (self.threshold, self.doubt) = (THRESHOLD_FIRST, Vec::new());
            return;
        }
        let mut share = vec![0.0; SURPRISE_BINS];
        let mut above = 0.0;
        for bin in (0..SURPRISE_BINS).rev() {
            above += self.surprises[bin] / total;
            share[bin] = above;
        }
        let at = |bin: usize| bin as f32 / SURPRISES_PER_UNIT;
        let by_chance = |bin: usize| f64::from(MEMBERS_IN_EFFECT) * 10f64.powf(-f64::from(at(bin)));
        let (first, last) = (surprise_bin(THRESHOLDS.0), surprise_bin(THRESHOLDS.1));
        let chosen = (first..last).find(|&bin| {
            by_chance(bin) <= layout.false_discoveries * share[bin]
                && share[bin] <= FLOOD * layout.contamination
        });
        self.threshold = at(chosen.unwrap_or(last));
        self.doubt =
            (0..SURPRISE_BINS).map(|bin| (by_chance(bin) / share[bin].max(1e-9)).min(1.0) as f32).collect();
    }
}

/// What the hour of a tick has been taught before.
struct HourBefore {
    rows_before: f64,
    is_first: bool,
}

fn follow(known: &mut f64, new: f64, rate: f64) {
    *known = if known.is_nan() { new } else { *known + rate * (new - *known) };
}

impl ZoneBlock {
    /// Starts the moments of an hour of the day with those of the hour before, as what its first readings correct: how
    /// metrics go together changes slowly.
    fn begin_hour_of_day(&mut self, hour: usize) {
        let before = (hour + DAY_HOURS - 1) % DAY_HOURS;
        for moments in [&mut self.moments, &mut self.recent_moments] {
            if moments[hour].rows == 0.0 && moments[before].rows > 0.0 {
                let rows = moments[before].rows.min(MOMENT_FIRST_ROWS);
                moments[hour] = Moments { rows, ..moments[before].clone() };
            }
        }
    }

    fn learn(
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

            // Tracks the upper fifth: above the scale that the readings were held against by the share beyond it,
            // below where there are too few. That scale may be some ticks old, so what a tick says is absolute.
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

/// Weight of so many new readings when there have been so many.
fn moment_rate(rows: f64, new: f64) -> f64 {
    (new * f64::max(1.0 / MOMENT_ROWS, 1.0 / (rows + MOMENT_FIRST_ROWS))).min(0.5)
}

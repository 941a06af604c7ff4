//! Closing a tick: what its statistics change in a zone's model.
//!
//! The rates are those of exponential forgetting: after 1/rate ticks or days an observation keeps a third of its
//! weight. Numbers without a reason beside them were found by experiment (see docs/detector.md).

use super::calendar::{Calendar, DAY_BINS, HALF_HOUR_US, HALF_HOURS};
use super::learn::{HourBefore, MEMORY_TICKS};
use super::{Level, ZoneModel};
use crate::layout::{BLOCK, Layout};
use crate::member::TAILED;
use crate::stats::ZoneStats;
use crate::tails::{BINS, Shape};

/// Ticks after a start or a silence in which the present level is that of the last tick.
const SETTLING_TICKS: u64 = 5;
/// Ticks without readings after which the present level is no longer known.
const SILENCE_TICKS: i64 = 120;
/// Least weight of a new week in the baseline; the first weeks weigh alike.
const WEEK_RATE: f64 = 0.3;
/// Ticks between two fits of tails and inverses.
const FIT_TICKS: u64 = 60;
/// Ticks after which a zone may be judged by its own statistics, and readings.
const OWN_TICKS: u64 = 30;
const OWN_ROWS: u64 = 512;
/// Ticks after which a zone may be judged by what others taught.
const TYPE_TICKS: u64 = 5;

impl ZoneModel {
    /// Learns the statistics of a tick. Ticks are closed in order; one at or before the last is ignored.
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
        // Nothing is learnt while the whole zone has moved: it would widen the scales until nothing is anomalous.
        if is_settling || !self.detect_zone_move(layout, &at, stats) {
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

    /// Adds the mean level of the bin that ends to the baseline; `next` is the bin that begins.
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
                // Where the next bin's level comes from another source, the offset takes up the step between the two.
                let after = known.level(lane, next);
                let step = before.0 - after.0;
                if before.1 != after.1 && step.is_finite() {
                    known.now[lane] += step;
                    known.calm[lane] += step;
                }
            }
        }
    }

    /// Learns the level alone, from readings that were scored by a stale model: baseline and present offset.
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

    /// Learns the level of a zone that has moved, for half-hours that have no level of their own yet: what recurs at
    /// the same time every week is no event.
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
        // Young histograms forget faster: rows that seemed anomalous because little was known must not stay.
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

    /// Fits inverses, tails and the threshold to the statistics so far.
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
}

fn follow(known: &mut f64, new: f64, rate: f64) {
    *known = if known.is_nan() { new } else { *known + rate * (new - *known) };
}

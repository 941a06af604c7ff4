//! One series on its own: what is unusual for it, whatever it measures.
//!
//! Six statistics, each an absolute value that is small on ordinary days: the error of a forecast, averages over four
//! and sixteen values, the distance from the hour of day and its average, and the roughness of the last sixteen. Each
//! has a decayed histogram of its logarithm, whose upper twentieth is taken to be exponential; the surprise of the
//! series is the mean of the two greatest. An alarm needs more of it the more alarms there were lately.
//!
//! Tried and left out: a nearest-neighbour and a windowed-PCA statistic beside these gained nothing on eight files of
//! NAB and three percent on thirty-two, for ten times the cost.

use std::collections::VecDeque;

use citytide_domain::HOUR_US;

/// Values that the median and the scale look back on.
const WINDOW: usize = 2000;
/// Values that the forecast looks back on, and its forgetting.
const LAGS: usize = 8;
const FORGETTING: f64 = 0.999;
const TRACE_MAX: f64 = 1e6;
/// Standardised values are clipped to this.
const CLIP: f64 = 10.0;
/// Statistics.
const STATISTICS: usize = 6;
const HOURS: usize = 24;
/// Weight of a day in an hour's mean, clip of a value that enters it, and days until it is believed.
const DAY_RATE: f64 = 0.15;
const DAY_CLIP: f64 = 5.0;
const DAYS_BELIEVED: u32 = 2;
/// Histogram: bins of the logarithm, their width and first edge; memory in values; values before it speaks.
const BINS: usize = 400;
const BIN: f64 = 0.05;
const BINS_FROM: f64 = -8.0;
const MEMORY: f64 = 2000.0;
const SILENT: u64 = 100;
const UPPER: f64 = 0.05;
const SURPRISE_MAX: f64 = 30.0;
/// An alarm needs this surprise, and so much more for each alarm of late; how long an alarm is remembered, and how many
/// values must lie between two.
const ALARM_FROM: f64 = 1.9;
const ALARM_MORE: f64 = 0.4;
const ALARM_MEMORY: f64 = 4000.0;
const ALARM_APART: u64 = 60;

/// What is known of a series.
#[derive(Debug, Clone)]
pub struct Series {
    seen: u64,
    /// The last values in their order, and sorted.
    window: VecDeque<f64>,
    sorted: Vec<f64>,
    /// The forecast's last inputs, weights and inverse covariance.
    lags: VecDeque<f64>,
    weights: [f64; LAGS + 1],
    covariance: Vec<[f64; LAGS + 1]>,
    average_4: f64,
    average_16: f64,
    off_hour_8: f64,
    roughness: f64,
    last: f64,
    hour: i64,
    hour_sum: f64,
    hour_count: f64,
    hour_mean: [f64; HOURS],
    hour_days: [u32; HOURS],
    tails: Vec<SeriesTail>,
    alarms: f64,
    last_alarm: Option<u64>,
}

/// What a series says of its newest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesVerdict {
    /// −log₁₀ of the chance of one as odd, mean of the two oddest statistics.
    pub surprise: f64,
    /// Whether this is an alarm.
    pub is_alarm: bool,
    /// The median of late.
    pub typical: f64,
    /// The scale of late.
    pub spread: f64,
}

#[derive(Debug, Clone)]
struct SeriesTail {
    counts: Vec<f64>,
    sums: Vec<f64>,
    total: f64,
    weight: f64,
    edge: f64,
    share: f64,
    excess: f64,
}

impl SeriesTail {
    fn new() -> SeriesTail {
        SeriesTail {
            counts: vec![0.0; BINS],
            sums: vec![0.0; BINS],
            total: 0.0,
            weight: 1.0,
            edge: 0.0,
            share: 1.0,
            excess: 1.0,
        }
    }

    /// The surprise of a statistic against those before it, which it then joins.
    fn surprise(&mut self, statistic: f64, seen: u64) -> f64 {
        let value = statistic.max(1e-6);
        let mut surprise = 0.0;
        if seen >= SILENT {
            if seen.is_multiple_of(8) || seen == SILENT {
                self.fit();
            }
            let ln_share = -self.share.log10();
            surprise = if value <= self.edge {
                ln_share * value / self.edge
            } else {
                ln_share + (value - self.edge) / self.excess / std::f64::consts::LN_10
            };
        }
        let bin = (((value.ln() - BINS_FROM) / BIN).max(0.0) as usize).min(BINS - 1);
        self.weight /= 1.0 - 1.0 / MEMORY;
        self.counts[bin] += self.weight;
        self.sums[bin] += self.weight * value;
        self.total += self.weight;
        if self.weight > 1e12 {
            let by = 1.0 / self.weight;
            self.counts.iter_mut().chain(&mut self.sums).for_each(|sum| *sum *= by);
            (self.total, self.weight) = (self.total * by, 1.0);
        }
        if statistic < 1e-3 { 0.0 } else { surprise.clamp(0.0, SURPRISE_MAX) }
    }

    /// The exponential through the upper twentieth.
    fn fit(&mut self) {
        let (mut count, mut sum, mut bin) = (0.0, 0.0, BINS);
        while bin > 0 && count < UPPER * self.total {
            bin -= 1;
            count += self.counts[bin];
            sum += self.sums[bin];
        }
        self.share = count / self.total;
        self.edge = (bin as f64 * BIN + BINS_FROM).exp();
        self.excess = (sum / count - self.edge).max(1e-3 * self.edge + 1e-9);
    }
}

impl Default for Series {
    fn default() -> Series {
        let mut covariance = vec![[0.0; LAGS + 1]; LAGS + 1];
        for (at, row) in covariance.iter_mut().enumerate() {
            row[at] = 100.0;
        }
        Series {
            seen: 0,
            window: VecDeque::new(),
            sorted: Vec::new(),
            lags: VecDeque::new(),
            weights: [0.0; LAGS + 1],
            covariance,
            average_4: 0.0,
            average_16: 0.0,
            off_hour_8: 0.0,
            roughness: 1.0,
            last: 0.0,
            hour: i64::MIN,
            hour_sum: 0.0,
            hour_count: 0.0,
            hour_mean: [0.0; HOURS],
            hour_days: [0; HOURS],
            tails: vec![SeriesTail::new(); STATISTICS],
            alarms: 0.0,
            last_alarm: None,
        }
    }
}

impl Series {
    /// Takes the next value of the series; one that is not finite is not one. `quiet` values raise no alarm.
    pub fn push(&mut self, event_time_us: i64, value: f64, quiet: bool) -> Option<SeriesVerdict> {
        if !value.is_finite() {
            return None;
        }
        let (median, scale) = self.middle(value);
        let standard = (value - median) / scale;
        let clipped = standard.clamp(-CLIP, CLIP);
        let rate = |rate: f64| if self.seen == 0 { 1.0 } else { rate };
        let (by_4, by_8, by_16) = (rate(0.25), rate(0.125), rate(0.0625));
        let forecast = self.forecast(standard, clipped);
        self.average_4 += by_4 * (clipped - self.average_4);
        self.average_16 += by_16 * (clipped - self.average_16);
        let off_hour = self.off_hour(event_time_us, value, median, scale);
        self.off_hour_8 += by_8 * (off_hour.clamp(-CLIP, CLIP) - self.off_hour_8);
        let mut rough = 0.0;
        if self.seen > 0 {
            let step = ((value - self.last) / scale).clamp(-CLIP, CLIP);
            self.roughness += 0.0625 * (step * step - self.roughness);
            rough = self.roughness.sqrt();
        }
        self.last = value;
        self.remember(value);
        let statistics = [
            forecast,
            self.average_4.abs(),
            self.average_16.abs(),
            off_hour.abs(),
            self.off_hour_8.abs(),
            rough,
        ];
        let (mut first, mut second) = (0.0f64, 0.0f64);
        for (tail, statistic) in self.tails.iter_mut().zip(statistics) {
            let surprise = tail.surprise(statistic, self.seen);
            (first, second) =
                if surprise > first { (surprise, first) } else { (first, second.max(surprise)) };
        }
        let surprise = (first + second) / 2.0;
        self.alarms *= (-1.0 / ALARM_MEMORY).exp();
        let is_apart = self.last_alarm.is_none_or(|last| self.seen - last > ALARM_APART);
        let is_alarm = !quiet && is_apart && surprise >= ALARM_FROM + ALARM_MORE * self.alarms;
        if is_alarm {
            self.alarms += 1.0;
            self.last_alarm = Some(self.seen);
        }
        self.seen += 1;
        Some(SeriesVerdict { surprise, is_alarm, typical: median, spread: scale })
    }

    /// Median and scale of the values so far, the newest not among them.
    fn middle(&self, value: f64) -> (f64, f64) {
        let count = self.sorted.len();
        if count == 0 {
            return (value, 1.0);
        }
        let at = |index: usize| self.sorted[index.min(count - 1)];
        let median = if count % 2 == 1 { at(count / 2) } else { (at(count / 2) + at(count / 2 - 1)) / 2.0 };
        let quartiles = (at(3 * count / 4) - at(count / 4)) / 1.349;
        let wide = (at(count * 95 / 100) - at(count * 5 / 100)) / 3.29;
        let mut scale = quartiles.max(wide / 2.0);
        if scale <= 0.0 {
            scale = (1e-3 * median.abs()).max((at(count - 1) - at(0)) / 50.0);
        }
        (median, if scale > 0.0 { scale } else { 1e-9 })
    }

    fn remember(&mut self, value: f64) {
        let at = self.sorted.partition_point(|other| *other < value);
        self.sorted.insert(at, value);
        self.window.push_back(value);
        if self.window.len() > WINDOW {
            let oldest = self.window.pop_front().expect("just checked");
            let at = self.sorted.partition_point(|other| *other < oldest);
            self.sorted.remove(at);
        }
    }

    /// Error of a forecast from the last values by recursive least squares, which then learns.
    fn forecast(&mut self, standard: f64, clipped: f64) -> f64 {
        let mut error = 0.0;
        if self.lags.len() == LAGS {
            let mut input = [1.0; LAGS + 1];
            for (at, lag) in self.lags.iter().rev().enumerate() {
                input[at] = *lag;
            }
            let expected: f64 = self.weights.iter().zip(input).map(|(weight, value)| weight * value).sum();
            error = (standard - expected).abs();
            let gain: Vec<f64> =
                self.covariance.iter().map(|row| row.iter().zip(input).map(|(a, b)| a * b).sum()).collect();
            let norm = FORGETTING + gain.iter().zip(input).map(|(a, b)| a * b).sum::<f64>();
            for (weight, gain) in self.weights.iter_mut().zip(&gain) {
                *weight += gain / norm * (clipped - expected);
            }
            let mut trace = 0.0;
            for row in 0..=LAGS {
                for column in 0..=LAGS {
                    let entry = &mut self.covariance[row][column];
                    *entry = (*entry - gain[row] / norm * gain[column]) / FORGETTING;
                }
                trace += self.covariance[row][row];
            }
            if trace > TRACE_MAX {
                self.covariance.iter_mut().flatten().for_each(|entry| *entry *= TRACE_MAX / trace);
            }
            self.lags.pop_front();
        }
        self.lags.push_back(clipped);
        error
    }

    /// How far a value is from the mean of its hour of the day, which it then joins.
    fn off_hour(&mut self, event_time_us: i64, value: f64, median: f64, scale: f64) -> f64 {
        let hour = event_time_us.div_euclid(HOUR_US);
        if hour != self.hour {
            if self.hour_count > 0.0 {
                let of_day = self.hour.rem_euclid(HOURS as i64) as usize;
                let mean = self.hour_sum / self.hour_count;
                let rate = DAY_RATE.max(1.0 / f64::from(self.hour_days[of_day] + 1));
                self.hour_mean[of_day] += rate * (mean - self.hour_mean[of_day]);
                self.hour_days[of_day] += 1;
            }
            (self.hour, self.hour_sum, self.hour_count) = (hour, 0.0, 0.0);
        }
        let of_day = hour.rem_euclid(HOURS as i64) as usize;
        let expected = if self.hour_days[of_day] >= DAYS_BELIEVED { self.hour_mean[of_day] } else { median };
        self.hour_sum += median + (value - median).clamp(-DAY_CLIP * scale, DAY_CLIP * scale);
        self.hour_count += 1.0;
        (value - expected) / scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Numbers;

    #[test]
    fn a_jump_raises_one_alarm_and_ordinary_days_hardly_any() {
        let mut numbers = Numbers(3);
        let mut series = Series::default();
        let mut alarms = Vec::new();
        for row in 0..5000i64 {
            let day = (row as f64 / 288.0 * std::f64::consts::TAU).sin();
            let jump = if (4000..4020).contains(&row) { 12.0 } else { 0.0 };
            let value = 50.0 + 5.0 * day + numbers.normal() + jump;
            if series.push(row * 300_000_000, value, row < 750).expect("finite").is_alarm {
                alarms.push(row);
            }
        }
        assert!(alarms.iter().any(|row| (4000..4005).contains(row)), "{alarms:?}");
        assert!(alarms.len() < 8, "{alarms:?}");
    }

    #[test]
    fn a_constant_series_and_values_that_are_none_raise_no_alarm() {
        let mut series = Series::default();
        for row in 0..3000i64 {
            let value = if row % 10 == 3 { f64::NAN } else { 7.0 };
            let verdict = series.push(row * 60_000_000, value, false);
            assert!(verdict.is_none_or(|verdict| !verdict.is_alarm && verdict.surprise.is_finite()));
        }
    }
}

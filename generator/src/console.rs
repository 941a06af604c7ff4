//! Readings on the console: the format of a line, and the sampling of what is shown.
//!
//! ```text
//! ✓ sensor 42 · Downtown · 24.3 °C · AQI 87 · traffic 165
//! ✗ sensor 7 · University District · 61.0 °C · AQI 91 · traf… · spike temperature
//! ```
//!
//! 1. A line has at most 80 columns; the text before the anomaly is cut first.
//! 2. At most the requested number of lines per second is shown, spread evenly over the readings sent.

use citytide_domain::Domain;
use citytide_generator::Reading;

/// Most columns of a line.
const COLUMNS: usize = 80;
/// Odd, and unrelated to any pattern in which partitions and sensors take turns.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// Formats readings.
pub struct Console {
    zones: Vec<String>,
    /// By metric: template and decimals; `None` if it is not shown.
    shows: Vec<Option<(String, usize)>>,
    has_colors: bool,
}

impl Console {
    pub fn new(domain: &Domain, zones: &[String], has_colors: bool) -> Console {
        let show = |metric: &citytide_domain::Metric| {
            metric.show.clone().map(|show| (show, usize::from(metric.decimals)))
        };
        Console { zones: zones.to_vec(), shows: domain.metrics.iter().map(show).collect(), has_colors }
    }

    /// The line of a reading; `mark` describes its anomaly.
    pub fn line(&self, reading: &Reading, mark: Option<&str>) -> String {
        let mut words = format!("sensor {} · {}", reading.sensor, self.zones[reading.zone]);
        for (show, value) in self.shows.iter().zip(&reading.values) {
            if let Some((show, decimals)) = show {
                words += " · ";
                words += &match value.is_nan() {
                    true => show.replace("{}", "–"),
                    false => show.replace("{}", &format!("{value:.decimals$}")),
                };
            }
        }
        let (sign, mark) = match mark {
            None => ('✓', String::new()),
            Some(mark) => ('✗', format!(" · {mark}")),
        };
        let words = cut(&words, COLUMNS.saturating_sub(2 + mark.chars().count()));
        let mark = cut(&mark, COLUMNS - 2 - words.chars().count());
        match (self.has_colors, sign) {
            (false, _) => format!("{sign} {words}{mark}"),
            (true, '✓') => format!("{GREEN}{sign}{PLAIN} {words}"),
            (true, _) => format!("{RED}{sign}{PLAIN} {words}{RED}{mark}{PLAIN}"),
        }
    }
}

/// The text, shortened to `columns` with … at its end if it is longer.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    kept + "…"
}

/// Chooses which readings are shown: a token bucket that holds the lines of one second.
pub struct Sampler {
    per_second: f64,
    allowed: f64,
    at_us: i64,
}

impl Sampler {
    /// At most `per_second` lines, from `now_us` on.
    pub fn new(per_second: u32, now_us: i64) -> Sampler {
        Sampler { per_second: f64::from(per_second), allowed: f64::from(per_second), at_us: now_us }
    }

    /// Which of the `burst` readings from `number` on are shown: every `step`-th.
    pub fn choose(&mut self, now_us: i64, number: i64, burst: i64) -> Chosen {
        let passed_s = (now_us - self.at_us).max(0) as f64 / 1e6;
        self.at_us = now_us;
        self.allowed = (self.allowed + passed_s * self.per_second).min(self.per_second);
        let lines = (self.allowed as i64).min(burst);
        if lines <= 0 {
            return Chosen { next: i64::MAX, step: 0 };
        }
        self.allowed -= lines as f64;
        let step = burst / lines;
        // The first one varies: with a fixed one the same partitions and sensors would be shown each time.
        let first = ((number as u64).wrapping_mul(STRIDE) >> 32) as i64 % step;
        Chosen { next: number + first, step }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    next: i64,
    step: i64,
}

impl Chosen {
    /// Whether reading `number` is shown. Call it in ascending order.
    pub fn has(&mut self, number: i64) -> bool {
        let is_next = number == self.next;
        if is_next {
            self.next += self.step;
        }
        is_next
    }
}

#[cfg(test)]
mod tests {
    use super::{Sampler, cut};

    fn shown(sampler: &mut Sampler, now_us: i64, number: i64, burst: i64) -> usize {
        let mut chosen = sampler.choose(now_us, number, burst);
        (number..number + burst).filter(|number| chosen.has(*number)).count()
    }

    #[test]
    fn slow_readings_are_all_shown_and_fast_ones_sampled() {
        let mut sampler = Sampler::new(10, 0);
        let slow: usize = (0..50).map(|tick| shown(&mut sampler, tick * 100_000, tick, 1)).sum();
        assert_eq!(slow, 50);
        let mut sampler = Sampler::new(10, 0);
        let fast: usize = (0..1000).map(|tick| shown(&mut sampler, tick * 5_000, tick * 1000, 1000)).sum();
        assert!((50..=61).contains(&fast), "{fast} lines in five seconds");
    }

    #[test]
    fn none_are_shown_when_none_were_asked_for() {
        let mut sampler = Sampler::new(0, 0);
        assert_eq!(shown(&mut sampler, 9_000_000, 0, 1000), 0);
    }

    #[test]
    fn what_is_shown_does_not_favour_a_partition() {
        let mut sampler = Sampler::new(1, 0);
        let mut partitions = [0; 4];
        for tick in 0..400 {
            let mut chosen = sampler.choose(tick * 1_000_000, tick * 200, 200);
            for number in (tick * 200..).take(200).filter(|number| chosen.has(*number)) {
                partitions[number as usize % 4] += 1;
            }
        }
        assert!(partitions.iter().all(|lines| *lines > 50), "{partitions:?}");
    }

    #[test]
    fn what_is_too_long_ends_with_a_mark() {
        assert_eq!(cut("24.3 °C", 7), "24.3 °C");
        assert_eq!(cut("24.3 °C", 6), "24.3 …");
        assert_eq!(cut("x", 0), "…");
    }
}

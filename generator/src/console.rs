//! A line for a reading, as people read it, and how many of them there are.
//!
//! ```text
//! ✓ sensor 42 · Downtown · 24.3 °C · AQI 87 · traffic 165
//! ✗ sensor 7 · University District · 61.0 °C · AQI 91 · traf… · spike temperature
//! ```
//!
//! 1. A line takes 80 columns at most: what is told of an anomaly stays, what is before it is cut.
//! 2. At most so many lines per second as were asked for, drawn evenly from what is sent.

use citytide_domain::Domain;
use citytide_generator::Reading;

/// Columns of a line.
const COLUMNS: usize = 80;
/// Odd, and far from any pattern in which partitions and sensors take turns.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// Writes readings for people.
pub struct Console {
    zones: Vec<String>,
    /// By metric: its template and decimals, where it is shown.
    shows: Vec<Option<(String, usize)>>,
    has_colors: bool,
}

impl Console {
    /// For a domain and the names of its city's zones.
    pub fn new(domain: &Domain, zones: &[String], has_colors: bool) -> Console {
        let show = |metric: &citytide_domain::Metric| {
            metric.show.clone().map(|show| (show, usize::from(metric.decimals)))
        };
        Console { zones: zones.to_vec(), shows: domain.metrics.iter().map(show).collect(), has_colors }
    }

    /// The line of a reading; `mark` says what is anomalous about it.
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

/// The text within so many columns, ended by … where it was longer.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    kept + "…"
}

/// Chooses which readings are shown: a bucket that fills with so many lines per second, and holds as many.
pub struct Thinning {
    per_second: f64,
    allowed: f64,
    at_us: i64,
}

impl Thinning {
    /// At most `per_second` lines, from `now_us` on.
    pub fn new(per_second: u32, now_us: i64) -> Thinning {
        Thinning { per_second: f64::from(per_second), allowed: f64::from(per_second), at_us: now_us }
    }

    /// Which of the `burst` readings from `number` on may be shown now: every so-manyth from some first one on.
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
        // One of each step, and not always the same one: partitions and sensors take turns, too.
        let first = ((number as u64).wrapping_mul(STRIDE) >> 32) as i64 % step;
        Chosen { next: number + first, step }
    }
}

/// The readings of a burst that are shown.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    next: i64,
    step: i64,
}

impl Chosen {
    /// Whether reading `number` is one of them; asked in order.
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
    use super::{Thinning, cut};

    fn shown(thinning: &mut Thinning, now_us: i64, number: i64, burst: i64) -> usize {
        let mut chosen = thinning.choose(now_us, number, burst);
        (number..number + burst).filter(|number| chosen.has(*number)).count()
    }

    #[test]
    fn slow_readings_are_all_shown_and_fast_ones_thinned_out() {
        let mut thinning = Thinning::new(10, 0);
        let slow: usize = (0..50).map(|tick| shown(&mut thinning, tick * 100_000, tick, 1)).sum();
        assert_eq!(slow, 50);
        let mut thinning = Thinning::new(10, 0);
        let fast: usize = (0..1000).map(|tick| shown(&mut thinning, tick * 5_000, tick * 1000, 1000)).sum();
        assert!((50..=61).contains(&fast), "{fast} lines in five seconds");
    }

    #[test]
    fn none_are_shown_when_none_were_asked_for() {
        let mut thinning = Thinning::new(0, 0);
        assert_eq!(shown(&mut thinning, 9_000_000, 0, 1000), 0);
    }

    #[test]
    fn what_is_shown_does_not_favour_a_partition() {
        let mut thinning = Thinning::new(1, 0);
        let mut partitions = [0; 4];
        for tick in 0..400 {
            let mut chosen = thinning.choose(tick * 1_000_000, tick * 200, 200);
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

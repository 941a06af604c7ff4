//! The span of event time that the readings cover, and its pace, derived from the options.
//!
//! ```text
//!             rate > 0                        rate 0
//!  live       speed 1, no start               no start, not both count and duration
//!  density    rate ÷ speed                    count ÷ duration where both are given, else 10,000/s
//!  end        count, or duration × density,   the same
//!             whichever is first
//!  start      given, else now less the span   the same
//! ```
//!
//! 1. When a reading is due, its event time is not after the clock.
//! 2. Unless it is live or slower than the clock, event time ends at now at the latest.

use chrono::{DateTime, SecondsFormat};

use crate::options::Fill;

/// Readings per second of event time in a live run without a pace: more than one thread can send.
const FASTEST_RATE: f64 = 2_000_000.0;
/// Readings per second of event time with a start but without a pace.
const UNPACED_RATE: f64 = 10_000.0;
/// A year in a third of a second.
const SPEED_MAX: f64 = 1e8;

#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Event time of the first reading, microseconds of the Unix epoch.
    pub start_us: i64,
    /// Readings per second of event time.
    pub density: f64,
    /// Readings per second of the clock; `None`: as fast as possible.
    pub rate: Option<f64>,
    /// Whether event time follows the clock.
    pub is_live: bool,
    /// How many readings to send; `None`: until a signal.
    pub count: Option<u64>,
    /// How long the run takes by the clock, in microseconds; only for a live run without a pace.
    pub clock_us: Option<i64>,
}

impl Span {
    /// # Errors
    ///
    /// All options that contradict each other or are out of range.
    pub fn of(asked: &Fill, now_us: i64) -> Result<Span, Vec<String>> {
        let start_us = asked.start.map(|start| start.timestamp_micros());
        let (is_paced, is_fast) = (asked.rate > 0, asked.speed > 1.0);
        let mut wrong = Vec::new();
        if !(1.0..=SPEED_MAX).contains(&asked.speed) {
            wrong.push(format!(
                "--speed {} does not speed up; give a factor from 1 to {SPEED_MAX:e}",
                asked.speed
            ));
        }
        if is_fast && !is_paced {
            wrong.push(
                "--speed follows the clock, and --rate 0 does not; leave one of them out: with --rate 0, --count \
                 and --duration together give the density of readings in event time"
                    .to_owned(),
            );
        }
        let has_end = asked.count.is_some() || asked.duration.is_some();
        if is_fast && is_paced && !has_end && start_us.is_none() {
            wrong.push(format!(
                "--speed {} needs the start or the length of event time: give --duration, --count or --start",
                asked.speed
            ));
        }
        if start_us.is_some_and(|start_us| start_us > now_us) {
            wrong.push(format!(
                "--start {} is in the future, so its readings would be dead letters; give {} or earlier, or leave \
                 it out",
                time(start_us.unwrap_or_default()),
                time(now_us)
            ));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }

        let spread = asked.count.zip(asked.duration).filter(|_| !is_paced);
        let is_live = start_us.is_none() && !is_fast && spread.is_none();
        let density = match (is_paced, spread) {
            (true, _) => f64::from(asked.rate) / asked.speed,
            (false, Some((count, duration_us))) => (count.max(1)) as f64 / seconds(duration_us),
            (false, None) if is_live => FASTEST_RATE,
            (false, None) => UNPACED_RATE,
        };
        let mut count = match (is_live && !is_paced, asked.duration) {
            (false, Some(duration_us)) => {
                let within = (seconds(duration_us) * density).ceil() as u64;
                Some(asked.count.map_or(within, |count| count.min(within)))
            }
            _ => asked.count,
        };
        if let Some(start_us) = start_us.filter(|_| count.is_none() && (is_fast || !is_paced)) {
            count = Some((seconds(now_us - start_us) * density) as u64);
        }
        let counted_us = count.map_or(0, |count| (count as f64 / density * 1e6) as i64);
        let span_us = asked.duration.map_or(counted_us, |duration_us| duration_us.min(counted_us));
        let rate = is_paced.then_some(f64::from(asked.rate));
        let clock_us = match (rate, count) {
            (Some(rate), Some(count)) => (count as f64 / rate * 1e6) as i64,
            _ => 0,
        };
        if let Some(start_us) = start_us.filter(|start_us| start_us + span_us > now_us + clock_us) {
            return Err(vec![format!(
                "from --start {} the readings reach {}, beyond now; start at {} or earlier, or give \
                 a smaller --count or --duration",
                time(start_us),
                time(start_us + span_us),
                time(now_us + clock_us - span_us)
            )]);
        }
        Ok(Span {
            start_us: start_us.unwrap_or(if is_live { now_us } else { now_us - span_us }),
            density,
            rate,
            is_live,
            count,
            clock_us: asked.duration.filter(|_| is_live && !is_paced),
        })
    }
}

fn seconds(span_us: i64) -> f64 {
    span_us as f64 / 1e6
}

fn time(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use citytide_domain::DAY_US;
    use clap::Parser;

    use super::Span;
    use crate::options::Options;

    /// 2026-11-21T12:00:00Z.
    const NOW_US: i64 = 1_795_262_400_000_000;

    fn span(flags: &str) -> Result<Span, Vec<String>> {
        let words = ["citytide-generator", "--stdout"].into_iter().chain(flags.split_whitespace());
        Span::of(&Options::try_parse_from(words).expect("flags").fill, NOW_US)
    }

    fn wrong(flags: &str) -> String {
        span(flags).expect_err(flags).join("\n")
    }

    #[test]
    fn without_flags_it_lives_until_stopped() {
        let live = span("").expect("fits");
        assert_eq!((live.start_us, live.density, live.rate, live.count), (NOW_US, 200.0, Some(200.0), None));
        assert!(live.is_live);
        assert_eq!(span("--count 5").expect("fits").count, Some(5));
        assert_eq!(span("--duration 3s").expect("fits").count, Some(600));
        assert_eq!(span("--duration 3s --count 700").expect("fits").count, Some(600));
        assert_eq!(span("--duration 3s --count 7").expect("fits").count, Some(7));
    }

    #[test]
    fn a_week_at_speed_ten_thousand_ends_at_now() {
        let week = span("--duration 7d --speed 10000 --rate 1000").expect("fits");
        assert_eq!((week.start_us, week.density, week.count), (NOW_US - 7 * DAY_US, 0.1, Some(60_480)));
        assert!(!week.is_live);
        let counted = span("--count 60480 --speed 10000 --rate 1000").expect("fits");
        assert_eq!(counted, week);
        let since = span("--start 2026-11-14T12:00:00Z --speed 10000 --rate 1000").expect("fits");
        assert_eq!(since, week);
    }

    #[test]
    fn all_it_can_is_live_unless_it_is_told_where_readings_lie() {
        let fastest = span("--rate 0 --duration 3s").expect("fits");
        assert!(fastest.is_live);
        assert_eq!((fastest.count, fastest.clock_us, fastest.rate), (None, Some(3_000_000), None));
        let spread = span("--rate 0 --count 864000 --duration 1d").expect("fits");
        assert!(!spread.is_live);
        assert_eq!((spread.start_us, spread.density), (NOW_US - DAY_US, 10.0));
        let started = span("--rate 0 --start 2026-11-21T11:59:00Z").expect("fits");
        assert_eq!((started.density, started.count), (10_000.0, Some(600_000)));
    }

    #[test]
    fn a_start_at_real_speed_stays_behind_the_clock_for_ever() {
        let behind = span("--start 2026-11-21T11:00:00Z").expect("fits");
        assert_eq!((behind.count, behind.is_live), (None, false));
        assert!(span("--start 2026-11-21T11:00:00Z --duration 30d").is_ok());
    }

    #[test]
    fn what_does_not_fit_together_is_told_with_what_to_do() {
        assert!(wrong("--start 2026-11-22T00:00:00Z").contains("give 2026-11-21T12:00:00Z or earlier"));
        assert!(wrong("--speed 10").contains("--duration, --count or --start"));
        assert!(wrong("--speed 0.5").contains("from 1 to 1e8"));
        assert!(wrong("--speed 10 --rate 0").contains("leave one of them out"));
        let beyond = wrong("--start 2026-11-20T12:00:00Z --rate 0 --count 10 --duration 2d");
        assert!(
            beyond.contains("reach 2026-11-22T12:00:00Z, beyond now; start at 2026-11-19T12:00:00Z"),
            "{beyond}"
        );
        let several = wrong("--speed 10 --rate 0 --start 2027-01-01T00:00:00Z");
        assert_eq!(several.lines().count(), 2, "{several}");
    }
}

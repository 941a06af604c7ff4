//! The clock that numbers epochs: the wall clock at the start of a run, advanced by the monotonic clock.
//!
//! Epochs must rise, at the same rate in all processes, and retention removes raw readings by epoch. Following a wall
//! clock that is set during a run could stop the commits, or let retention remove days that are not over.
//!
//! 1. The clock never steps, whatever happens to the wall clock.
//! 2. [`WallClock`] reports each step of the wall clock once. The run ignores the step; the next run starts from the
//!    new time.
//! 3. [`least_ahead_ms`] gives a lower bound of the difference of two clocks, so a delay between the two readings is
//!    not taken for a difference.

use std::fmt;
use std::time::{Duration, Instant};

/// Maps points of the monotonic clock to milliseconds of the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochClock {
    start_ms: u64,
    since: Instant,
}

impl EpochClock {
    /// A clock that shows `start_ms` at `since`.
    pub fn starting(start_ms: u64, since: Instant) -> EpochClock {
        EpochClock { start_ms, since }
    }

    /// The time at `now`, milliseconds; for a `now` before the start, the time at the start.
    pub fn at_ms(&self, now: Instant) -> u64 {
        self.start_ms + now.saturating_duration_since(self.since).as_millis() as u64
    }
}

/// Lower bound, in milliseconds, of how far another clock is ahead of this one (negative: behind), given that it showed
/// `other_ms` at some moment between `before_ms` and `after_ms` of this one.
pub fn least_ahead_ms(before_ms: u64, other_ms: u64, after_ms: u64) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(other_ms.saturating_sub(after_ms)) - signed(before_ms.saturating_sub(other_ms))
}

/// Smaller changes are slewing, as NTP does it, not steps.
const STEP_MIN_MS: u64 = 100;
/// A sample that took longer, because the thread had to wait for a processor, is too uncertain and is ignored.
const SAMPLE_MAX: Duration = Duration::from_millis(20);

/// Detects steps of the wall clock.
#[derive(Debug)]
pub struct WallClock {
    /// The time that the wall clock shows if it is not set again.
    expected: EpochClock,
}

impl WallClock {
    /// Starts from a wall clock that shows `wall_ms` at `now`.
    pub fn new(wall_ms: u64, now: Instant) -> WallClock {
        WallClock { expected: EpochClock::starting(wall_ms, now) }
    }

    /// Takes a sample: the wall clock showed `wall_ms` at some moment between `before` and `after`. Returns the step
    /// since the last sample, if there was one.
    pub fn sample(&mut self, before: Instant, wall_ms: u64, after: Instant) -> Option<Step> {
        if after.saturating_duration_since(before) > SAMPLE_MAX {
            return None;
        }
        let expected = &self.expected;
        let by_ms = least_ahead_ms(expected.at_ms(before), wall_ms, expected.at_ms(after));
        if by_ms.unsigned_abs() < STEP_MIN_MS {
            return None;
        }
        self.expected = EpochClock::starting(wall_ms, after);
        Some(Step { by_ms })
    }
}

/// A step of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds; negative when the clock was set back.
    pub by_ms: i64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.by_ms.unsigned_abs() as f64 / 1_000.0;
        let way = if self.by_ms < 0 { "back" } else { "ahead" };
        write!(
            f,
            "the clock of this machine was set {way} by {seconds:.1} s: this run continues its epochs from the old \
             time and loses nothing; `future_max` with CreateTime and latencies use the new time, and the next run \
             starts from it"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::instant;

    const START_MS: u64 = 1_800_000_000_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn epochs_go_on_at_their_pace_whatever_is_done_to_the_wall_clock() {
        let start = instant();
        let epochs = EpochClock::starting(START_MS, start);
        let mut wall = WallClock::new(START_MS, start);
        // An hour ahead, two back, and a day ahead: each is reported once.
        let (mut steps, mut last_ms) = (Vec::new(), 0);
        for second in 0..400_u64 {
            let now = start + ms(second * 1_000);
            let set_ms = match second {
                0..100 => 0,
                100..200 => 3_600_000,
                200..300 => -3_600_000,
                _ => 82_800_000,
            };
            let wall_ms = (START_MS + second * 1_000).saturating_add_signed(set_ms);
            steps.extend(wall.sample(now, wall_ms, now).map(|step| (second, step.by_ms)));
            assert_eq!(epochs.at_ms(now), START_MS + second * 1_000);
            assert!(epochs.at_ms(now) > last_ms);
            last_ms = epochs.at_ms(now);
        }
        assert_eq!(steps, [(100, 3_600_000), (200, -7_200_000), (300, 86_400_000)]);
    }

    #[test]
    fn a_clock_that_is_slewed_and_a_thread_that_had_to_wait_are_no_steps() {
        let start = instant();
        let mut wall = WallClock::new(START_MS, start);
        // The sample took long, so a step is not certain; the next sample decides.
        assert_eq!(wall.sample(start, START_MS + 500, start + ms(600)), None);
        assert_eq!(wall.sample(start + ms(1_000), START_MS + 1_099, start + ms(1_000)), None);
        assert_eq!(wall.sample(start + ms(2_000), START_MS + 1_901, start + ms(2_000)), None);
        let step = wall.sample(start + ms(3_000), START_MS + 2_900, start + ms(3_000)).expect("set back");
        assert_eq!(step.by_ms, -100);
        assert!(step.to_string().starts_with("the clock of this machine was set back by 0.1 s:"), "{step}");
    }

    #[test]
    fn clocks_differ_by_no_more_than_what_is_certain() {
        assert_eq!(least_ahead_ms(1_000, 1_500, 2_000), 0);
        assert_eq!(least_ahead_ms(1_000, 3_500, 2_000), 1_500);
        assert_eq!(least_ahead_ms(1_000, 400, 2_000), -600);
        assert_eq!(least_ahead_ms(5, u64::MAX, 9), i64::MAX, "a value out of range does not panic");
        assert_eq!(least_ahead_ms(u64::MAX, 0, u64::MAX), -i64::MAX);
    }
}

//! The clock that epochs are made of: the wall clock as it was when a run began, carried on by the monotonic clock.
//!
//! Epochs must rise, at the same pace in all processes, and days of raw readings are kept and removed by them. A wall
//! clock that is set while a run goes on would stop the commits, or let retention remove days that are not over.
//!
//! 1. it never goes back and never jumps, whatever is done to the wall clock;
//! 2. a wall clock that is set is told once per step ([`WallClock`]), and not followed: the next run begins with it;
//! 3. clocks are compared by what is certain ([`least_ahead_ms`]): no delay between two looks passes for a difference.

use std::fmt;
use std::time::{Duration, Instant};

/// Milliseconds of the Unix epoch at any point of the monotonic clock.
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

    /// What it shows at `now`; before its start what it showed then.
    pub fn at_ms(&self, now: Instant) -> u64 {
        self.start_ms + now.saturating_duration_since(self.since).as_millis() as u64
    }
}

/// How far another clock is ahead of this one (negative: behind), at least, when it showed `other_ms` at some moment
/// between `before_ms` and `after_ms` of this one.
pub fn least_ahead_ms(before_ms: u64, other_ms: u64, after_ms: u64) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(other_ms.saturating_sub(after_ms)) - signed(before_ms.saturating_sub(other_ms))
}

/// A wall clock that is set by less has not been set: it is slewed, as NTP does it.
const STEP_MIN_MS: u64 = 100;
/// A look that took longer, since this thread had to wait for a processor, says too little.
const LOOK_MAX: Duration = Duration::from_millis(20);

/// Notices that the wall clock is set.
#[derive(Debug)]
pub struct WallClock {
    /// What it shows unless it is set.
    expected: EpochClock,
}

impl WallClock {
    /// It shows `wall_ms` at `now`.
    pub fn new(wall_ms: u64, now: Instant) -> WallClock {
        WallClock { expected: EpochClock::starting(wall_ms, now) }
    }

    /// It shows `wall_ms` at a moment between two points; how it has been set since the last look, if it has.
    pub fn look(&mut self, before: Instant, wall_ms: u64, after: Instant) -> Option<Step> {
        if after.saturating_duration_since(before) > LOOK_MAX {
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

/// The wall clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// By so much; negative: back.
    pub by_ms: i64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.by_ms.unsigned_abs() as f64 / 1_000.0;
        let way = if self.by_ms < 0 { "back" } else { "ahead" };
        write!(
            f,
            "the clock of this machine was set {way} by {seconds:.1} s: the epochs of this run go on as before, and \
             nothing is lost; what is held against the clock itself (`future_max` with CreateTime, latencies) counts by \
             the new time, and the next run begins with it"
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
        // An hour ahead, two back, and a day ahead: each told once.
        let (mut told, mut last_ms) = (Vec::new(), 0);
        for second in 0..400_u64 {
            let now = start + ms(second * 1_000);
            let set_ms = match second {
                0..100 => 0,
                100..200 => 3_600_000,
                200..300 => -3_600_000,
                _ => 82_800_000,
            };
            let wall_ms = (START_MS + second * 1_000).saturating_add_signed(set_ms);
            told.extend(wall.look(now, wall_ms, now).map(|step| (second, step.by_ms)));
            assert_eq!(epochs.at_ms(now), START_MS + second * 1_000);
            assert!(epochs.at_ms(now) > last_ms);
            last_ms = epochs.at_ms(now);
        }
        assert_eq!(told, [(100, 3_600_000), (200, -7_200_000), (300, 86_400_000)]);
    }

    #[test]
    fn a_clock_that_is_slewed_and_a_thread_that_had_to_wait_are_no_steps() {
        let start = instant();
        let mut wall = WallClock::new(START_MS, start);
        // The look itself took long: whether the clock was set is not certain, and the next look tells.
        assert_eq!(wall.look(start, START_MS + 500, start + ms(600)), None);
        assert_eq!(wall.look(start + ms(1_000), START_MS + 1_099, start + ms(1_000)), None);
        assert_eq!(wall.look(start + ms(2_000), START_MS + 1_901, start + ms(2_000)), None);
        let step = wall.look(start + ms(3_000), START_MS + 2_900, start + ms(3_000)).expect("set back");
        assert_eq!(step.by_ms, -100);
        assert!(step.to_string().starts_with("the clock of this machine was set back by 0.1 s:"), "{step}");
    }

    #[test]
    fn clocks_differ_by_no_more_than_what_is_certain() {
        assert_eq!(least_ahead_ms(1_000, 1_500, 2_000), 0);
        assert_eq!(least_ahead_ms(1_000, 3_500, 2_000), 1_500);
        assert_eq!(least_ahead_ms(1_000, 400, 2_000), -600);
        assert_eq!(least_ahead_ms(5, u64::MAX, 9), i64::MAX, "nonsense is far away, and no panic");
        assert_eq!(least_ahead_ms(u64::MAX, 0, u64::MAX), -i64::MAX);
    }
}

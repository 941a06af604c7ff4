//! When readings happen: offsets are spread over time at a rate, with jitter and some disorder.
//!
//! The producing partitions take turns: offset `first + k` of the partition with rank r is reading `k · partitions +
//! r`, counted from the start. No event time is after its reading's turn and, except for late readings, none is more
//! than [`Schedule::lag_max_us`] before it, which is below the domain's `out_of_orderness`.

use citytide_domain::Domain;

use crate::random::{Random, Stream};
use crate::settings::Disorder;

/// Longest jitter of a reading in order: absolute, and as a share of `out_of_orderness`.
const JITTER_US_MAX: i64 = 250_000;
const JITTER_SHARE_MAX: f64 = 0.05;
/// Longest delay of an out-of-order reading beyond its jitter, as a share of `out_of_orderness`.
const DISORDER_DELAY_SHARE: f64 = 0.75;
/// How many turns of its partition a late reading is later than needed: the watermark may lag that much.
const LATE_TURNS: f64 = 4.0;

/// Seconds between two readings of a sensor in a city's history.
const HISTORY_INTERVAL_S: f64 = 60.0;

/// How event time advances with offsets.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Event time of the first reading, microseconds of the Unix epoch.
    pub start_us: i64,
    /// Readings per second of real time over all partitions; above 0.
    pub rate: f64,
    /// Seconds of event time per second of real time; above 0.
    pub speed: f64,
    /// First offset of each partition.
    pub first_offsets: Vec<i64>,
}

impl Schedule {
    /// A reading a minute from each sensor, from `start_us` on: what went before a stream.
    pub fn of_history(start_us: i64, sensors: u32, first_offsets: Vec<i64>) -> Schedule {
        Schedule { start_us, rate: f64::from(sensors) / HISTORY_INTERVAL_S, speed: 1.0, first_offsets }
    }

    /// How many readings have their turn before `until_us`.
    pub fn turns_before(&self, until_us: i64) -> i64 {
        self.due(until_us.saturating_sub(1))
    }

    /// The turn of reading `number`, in microseconds of the Unix epoch.
    pub fn turn_us(&self, number: i64) -> i64 {
        self.start_us + (number as f64 / self.rate * self.speed * 1e6) as i64
    }

    /// The same readings in real time, from `now_us` on: the pace of a run.
    pub fn paced_from(&self, now_us: i64) -> Schedule {
        Schedule { start_us: now_us, speed: 1.0, ..self.clone() }
    }

    /// How many readings are due at `now_us`, a time of this schedule.
    pub fn due(&self, now_us: i64) -> i64 {
        if now_us < self.start_us {
            return 0;
        }
        ((now_us - self.start_us) as f64 / 1e6 * self.rate / self.speed) as i64 + 1
    }

    /// The longest time from an event time to its reading's turn, for a domain with this `out_of_orderness`.
    pub fn lag_max_us(out_of_orderness_us: i64) -> i64 {
        jitter_max_us(out_of_orderness_us) + delay_max_us(out_of_orderness_us)
    }
}

/// How long before its turn an event time lies.
#[derive(Debug, Clone)]
pub(crate) struct Delays {
    disorder: Disorder,
    jitter_max_us: f64,
    delay_max_us: f64,
    late_us: f64,
}

impl Delays {
    /// For partitions that have a turn every `turn_us`.
    pub(crate) fn new(domain: &Domain, disorder: &Disorder, turn_us: f64) -> Delays {
        let time = &domain.time;
        let jitter_max_us = jitter_max_us(time.out_of_orderness_us);
        let trust_us = time.out_of_orderness_us + time.allowed_lateness_us + domain.pane_us() + jitter_max_us;
        Delays {
            disorder: disorder.clone(),
            jitter_max_us: jitter_max_us as f64,
            delay_max_us: delay_max_us(time.out_of_orderness_us) as f64,
            late_us: trust_us as f64 + LATE_TURNS * turn_us,
        }
    }

    /// The delay of one reading, in microseconds.
    pub(crate) fn of(&self, random: Random) -> i64 {
        let jitter_us = random.unit(Stream::Jitter, 0) * self.jitter_max_us;
        let (kind, extent) = (random.unit(Stream::Disorder, 0), random.unit(Stream::Disorder, 1));
        let delay_us = if kind < self.disorder.late {
            self.late_us * (1.0 + extent * extent)
        } else if kind < self.disorder.late + self.disorder.out_of_order {
            extent * self.delay_max_us
        } else {
            0.0
        };
        (jitter_us + delay_us) as i64
    }
}

fn jitter_max_us(out_of_orderness_us: i64) -> i64 {
    JITTER_US_MAX.min((out_of_orderness_us as f64 * JITTER_SHARE_MAX) as i64)
}

fn delay_max_us(out_of_orderness_us: i64) -> i64 {
    (out_of_orderness_us as f64 * DISORDER_DELAY_SHARE) as i64
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn a_reading_is_due_from_its_turn_on_at_any_speed() {
        for speed in [1.0, 10_080.0] {
            let schedule = Schedule { start_us: 1_000_000, rate: 200.0, speed, first_offsets: vec![0] };
            assert_eq!(schedule.due(999_999), 0);
            assert_eq!(schedule.due(1_000_000), 1);
            for number in [0, 1, 2, 200, 12_345] {
                assert!(schedule.due(schedule.turn_us(number)) > number);
                assert!(schedule.due(schedule.turn_us(number) - 1) <= number);
            }
        }
    }

    #[test]
    fn turns_before_a_time_are_those_that_have_passed_it() {
        let schedule = Schedule::of_history(1_000_000, 60, vec![0]);
        for (until_us, turns) in [(0, 0), (1_000_000, 0), (1_000_001, 1), (2_000_000, 1), (2_000_001, 2)] {
            assert_eq!(schedule.turns_before(until_us), turns, "{until_us}");
        }
    }

    #[test]
    fn a_week_passes_in_a_minute_at_that_speed() {
        let week = Schedule { start_us: 5, rate: 1_000.0, speed: 7.0 * 24.0 * 60.0, first_offsets: vec![0] };
        assert_eq!(week.turn_us(60_000), 5 + 7 * 86_400_000_000);
        assert_eq!(week.paced_from(9).turn_us(60_000), 9 + 60_000_000);
    }
}

//! When readings happen: an offset's share of time at a rate, a little jitter, and some disorder.
//!
//! Readings are dealt to the producing partitions in turn, so that offset `first + k` of the partition with rank r
//! is the reading number `k · partitions + r` since the start. No event time lies after its reading's turn, and
//! none more than [`Schedule::lag_max_us`] before it, which is below the domain's `out_of_orderness`.

use crate::chance::{Chance, Lane};

/// Share of readings that are late to their place in the log.
const DISORDER_SHARE: f64 = 0.03;
/// Longest jitter of a reading in order, and its bound as a share of `out_of_orderness`.
const JITTER_US_MAX: i64 = 250_000;
const JITTER_SHARE_MAX: f64 = 0.05;
/// Longest delay of a disordered reading, as a share of `out_of_orderness`, beyond its jitter.
const DISORDER_DELAY_SHARE: f64 = 0.75;

/// The course of event time over offsets.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Event time of the first reading, microseconds of the Unix epoch.
    pub start_us: i64,
    /// Readings per second of real time, over all partitions; above 0.
    pub rate: f64,
    /// Seconds of event time in a second of real time; above 0.
    pub speed: f64,
    /// The offset at which each partition begins.
    pub first_offsets: Vec<i64>,
}

impl Schedule {
    /// When reading number `number` has its turn, in microseconds of the Unix epoch.
    pub fn turn_us(&self, number: i64) -> i64 {
        self.start_us + (number as f64 / self.rate * self.speed * 1e6) as i64
    }

    /// The same readings in real time, the first one now: what a run paces itself by.
    pub fn paced_from(&self, now_us: i64) -> Schedule {
        Schedule { start_us: now_us, speed: 1.0, ..self.clone() }
    }

    /// How many readings have had their turn at `now_us`, a time of this schedule.
    pub fn due(&self, now_us: i64) -> i64 {
        if now_us < self.start_us {
            return 0;
        }
        ((now_us - self.start_us) as f64 / 1e6 * self.rate / self.speed) as i64 + 1
    }

    /// The furthest an event time lies before its reading's turn, for a domain with this `out_of_orderness`.
    pub fn lag_max_us(out_of_orderness_us: i64) -> i64 {
        jitter_max_us(out_of_orderness_us) + delay_max_us(out_of_orderness_us)
    }

    /// The event time of the reading whose turn is at `turn_us`.
    pub(crate) fn event_us(turn_us: i64, out_of_orderness_us: i64, chance: Chance) -> i64 {
        let jitter_us = (chance.unit(Lane::Jitter, 0) * jitter_max_us(out_of_orderness_us) as f64) as i64;
        let delay_us = match chance.unit(Lane::Disorder, 0) < DISORDER_SHARE {
            true => (chance.unit(Lane::Disorder, 1) * delay_max_us(out_of_orderness_us) as f64) as i64,
            false => 0,
        };
        turn_us - jitter_us - delay_us
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
    fn a_week_passes_in_a_minute_at_that_speed() {
        let week = Schedule { start_us: 5, rate: 1_000.0, speed: 7.0 * 24.0 * 60.0, first_offsets: vec![0] };
        assert_eq!(week.turn_us(60_000), 5 + 7 * 86_400_000_000);
        assert_eq!(week.paced_from(9).turn_us(60_000), 9 + 60_000_000);
    }
}

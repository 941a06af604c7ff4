//! When readings happen: an offset's share of time at a rate, a little jitter, and some disorder.
//!
//! Readings are dealt to the producing partitions in turn, so that offset `first + k` of the partition with rank r
//! is the reading number `k · partitions + r` since the start. No event time lies after its reading's turn, and, but
//! for those that are late on purpose, none more than [`Schedule::lag_max_us`] before it, which is below the domain's
//! `out_of_orderness`.

use citytide_domain::Domain;

use crate::chance::{Chance, Lane};
use crate::settings::Disorder;

/// Longest jitter of a reading in order, and its bound as a share of `out_of_orderness`.
const JITTER_US_MAX: i64 = 250_000;
const JITTER_SHARE_MAX: f64 = 0.05;
/// Longest delay of a disordered reading, as a share of `out_of_orderness`, beyond its jitter.
const DISORDER_DELAY_SHARE: f64 = 0.75;
/// Turns of its partition that a late reading is later than lateness asks for: the watermark may lag by so much.
const LATE_TURNS: f64 = 4.0;

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
}

/// How far event times lie before their turns.
#[derive(Debug, Clone)]
pub(crate) struct Delays {
    disorder: Disorder,
    jitter_max_us: f64,
    delay_max_us: f64,
    late_us: f64,
}

impl Delays {
    /// Those of a domain, in partitions that have a turn every `turn_us`.
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

    /// How long before its turn a reading's event time lies.
    pub(crate) fn of(&self, chance: Chance) -> i64 {
        let jitter_us = chance.unit(Lane::Jitter, 0) * self.jitter_max_us;
        let (kind, extent) = (chance.unit(Lane::Disorder, 0), chance.unit(Lane::Disorder, 1));
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
    fn a_week_passes_in_a_minute_at_that_speed() {
        let week = Schedule { start_us: 5, rate: 1_000.0, speed: 7.0 * 24.0 * 60.0, first_offsets: vec![0] };
        assert_eq!(week.turn_us(60_000), 5 + 7 * 86_400_000_000);
        assert_eq!(week.paced_from(9).turn_us(60_000), 9 + 60_000_000);
    }
}

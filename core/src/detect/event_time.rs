//! Event time as one partition's readings move it, and what it says of a reading: what is known of its zone by then,
//! and whether it teaches.
//!
//! All of it is a function of the partition's log, as lateness is.

use citytide_detector::{Layout, MINUTE_US};
use citytide_domain::Domain;
use serde::{Deserialize, Serialize};

use crate::NEVER;
use crate::position::Position;
use crate::window::LatenessRule;

/// Minutes of event time between the end of a minute and the watermark from which on readings are judged by what the
/// minute taught: longer than the partitions of a living stream are apart, so that nobody waits for another one.
pub const KNOWN_AFTER_MINUTES: i64 = 2;

/// What a minute is to a layout, microseconds: shorter where ticks are.
pub fn minute_us(layout: &Layout) -> i64 {
    layout.tick_us.min(MINUTE_US)
}

/// Event time of the snapshot that knows nothing, microseconds: the year 1. It is the first one of a log.
pub const BEGINNING_US: i64 = -62_135_596_800_000_000;

/// A minute before all others.
pub const NO_MINUTE: i64 = i64::MIN;

/// The domain's settings that a watermark follows from.
#[derive(Debug, Clone)]
pub struct TimeRules {
    lateness: LatenessRule,
    minute_us: i64,
}

impl TimeRules {
    /// Those of a domain.
    pub fn new(domain: &Domain, layout: &Layout) -> TimeRules {
        TimeRules { lateness: LatenessRule::new(domain), minute_us: minute_us(layout) }
    }
}

/// The watermark of a partition, as [`Lateness`](crate::window::Lateness) moves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventClock(Position);

impl EventClock {
    /// Before the first reading.
    pub fn at_start() -> EventClock {
        EventClock(Position::at_start(0))
    }

    /// At a watermark in microseconds, [`NEVER`] before the first accepted reading.
    pub fn at(watermark_us: i64) -> EventClock {
        EventClock(Position { watermark_us, ..Position::at_start(0) })
    }

    /// Sees the next reading of the partition; whether it is late.
    #[inline]
    pub fn see(&mut self, rules: &TimeRules, sensor: &[u8], event_time_us: i64) -> bool {
        rules.lateness.see(&mut self.0, sensor, event_time_us)
    }

    /// The minute that the watermark is in.
    #[inline]
    pub fn minute(&self, rules: &TimeRules) -> i64 {
        match self.0.watermark_us {
            NEVER => NO_MINUTE,
            watermark_us => watermark_us.div_euclid(rules.minute_us),
        }
    }
}

/// The tick that a minute is in.
pub fn tick_of(layout: &Layout, minute: i64) -> i64 {
    if minute == NO_MINUTE { NO_MINUTE } else { layout.tick(minute * minute_us(layout)) }
}

/// By what a reading is judged when its partition's watermark is in this minute: by all ticks before the returned one.
pub fn known_at(layout: &Layout, minute: i64) -> i64 {
    if minute == NO_MINUTE { NO_MINUTE } else { tick_of(layout, minute - KNOWN_AFTER_MINUTES) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Mark;

    #[test]
    fn a_tick_is_known_two_minutes_after_its_end_and_not_before() {
        let mut layout = Layout::new(&Domain::smart_city());
        for (tick_us, ticks_of) in [(MINUTE_US, 1), (5 * MINUTE_US, 5), (1_000_000, 1)] {
            layout.tick_us = tick_us;
            for tick in [-3, 0, 7] {
                let minute = tick * ticks_of + KNOWN_AFTER_MINUTES;
                assert_eq!(known_at(&layout, minute), tick);
                assert!(known_at(&layout, minute - 1) < tick);
            }
        }
        assert_eq!(known_at(&layout, NO_MINUTE), NO_MINUTE);
    }

    #[test]
    fn the_watermark_is_that_of_lateness() {
        use crate::batch::example::{Row, batch};
        use crate::window::Lateness;

        let domain = Domain::smart_city();
        let rules = TimeRules::new(&domain, &Layout::new(&domain));
        let second_us = 1_000_000;
        let times = [0, 3, 70, 65, 4_000, 71, 90_000, 4_001, 72, 90_010, 90_020, 89_000, 3, 90_080];
        let row = |(offset, at): (i64, &i64)| {
            let sensor = format!("{}", offset % 3);
            Row { sensor, ..Row::new(offset, at * second_us, &[1.0]) }
        };
        let rows: Vec<Row> = (0..).zip(&times).map(row).collect();
        let mut lateness = Lateness::new(&domain, [Mark::at_start(0, 0)]);
        let (mut clock, mut late) = (EventClock::at_start(), 0);
        for row in &rows {
            let mut one = batch(0, std::slice::from_ref(row));
            let mark = lateness.judge(&mut one);
            let is_late = clock.see(&rules, row.sensor.as_bytes(), row.at_us);
            assert_eq!(is_late, one.late[0]);
            late += i32::from(is_late);
            assert_eq!(clock.0.watermark_us, mark.position.watermark_us);
        }
        assert!(late > 0 && clock.minute(&rules) > 1_000);
    }
}

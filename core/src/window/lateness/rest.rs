//! When a partition is idle: it is at its end and has brought no accepted reading for `idle_after`.
//!
//! Measured by the source's own time ([`Reach::watched_ms`]), which passes only while it polls for records: while the
//! commit stalls, unread records are a backlog and the partition is not idle.

use crate::position::{Activity, Reach};

/// How long a partition has been quiet. Times are those of [`Reach::watched_ms`].
#[derive(Debug, Default)]
pub struct Rest {
    /// The last accepted reading, or the first word that the partition counts.
    accepted_ms: Option<u64>,
    /// The first records since its end was last reached.
    behind_ms: Option<u64>,
    is_idle: bool,
}

impl Rest {
    /// Takes note of a batch: what the source says with it, whether it moves the offset, and whether it brings an
    /// accepted reading. Returns whether the partition counts behind it.
    pub fn activity(
        &mut self,
        reach: Reach,
        has_moved: bool,
        has_accepted: bool,
        idle_after_ms: u64,
    ) -> Activity {
        if reach.activity != Activity::Active {
            return reach.activity;
        }
        let now_ms = reach.watched_ms;
        let since_ms = *self.accepted_ms.get_or_insert(now_ms);
        if has_accepted {
            (self.accepted_ms, self.is_idle) = (Some(now_ms), false);
        }
        let lasts = |since_ms: u64| now_ms.saturating_sub(since_ms) >= idle_after_ms;
        if reach.at_end {
            self.behind_ms = None;
            self.is_idle |= !has_accepted && lasts(since_ms);
        } else if has_moved {
            // Records without an accepted reading do not make the partition active, unless there are so many that they
            // are a backlog.
            let behind_ms = *self.behind_ms.get_or_insert(now_ms);
            self.is_idle &= !lasts(behind_ms);
        }
        if self.is_idle { Activity::Idle } else { Activity::Active }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE_AFTER_MS: u64 = 10_000;

    #[derive(Default)]
    struct Told(Rest);

    impl Told {
        fn with(&mut self, reach: Reach, has_moved: bool, has_accepted: bool) -> Activity {
            self.0.activity(reach, has_moved, has_accepted, IDLE_AFTER_MS)
        }

        /// A batch with an accepted reading, which reaches the end or not.
        fn reading(&mut self, watched_ms: u64, at_end: bool) -> Activity {
            self.with(reach(watched_ms, at_end), true, true)
        }

        /// A batch with nothing but dead letters or late readings.
        fn garbage(&mut self, watched_ms: u64, at_end: bool) -> Activity {
            self.with(reach(watched_ms, at_end), true, false)
        }

        /// A tick of time at the end.
        fn tick(&mut self, watched_ms: u64) -> Activity {
            self.with(reach(watched_ms, true), false, false)
        }
    }

    fn reach(watched_ms: u64, at_end: bool) -> Reach {
        Reach { at_end, watched_ms, ..Reach::active(0) }
    }

    #[test]
    fn a_partition_at_its_end_is_idle_once_it_has_rested_and_wakes_with_a_reading() {
        let mut told = Told::default();
        assert_eq!(told.reading(5_000, true), Activity::Active);
        assert_eq!(told.tick(14_999), Activity::Active);
        assert_eq!(told.tick(15_000), Activity::Idle);
        assert_eq!(told.reading(60_000, false), Activity::Active);
        assert_eq!(told.tick(69_999), Activity::Active);
    }

    #[test]
    fn records_that_bring_no_accepted_reading_keep_nobody_awake() {
        let mut told = Told::default();
        told.reading(0, true);
        let said = (1..=20).map(|second| told.garbage(second * 1_000, true));
        let expected = (1..=20).map(|second| if second < 10 { Activity::Active } else { Activity::Idle });
        assert!(said.eq(expected));
        assert_eq!(told.garbage(21_000, false), Activity::Idle, "and they wake nobody");
    }

    #[test]
    fn a_backlog_is_never_idle_though_it_brings_nothing() {
        let mut told = Told::default();
        let said = (0..60).map(|second| told.garbage(second * 1_000, false));
        assert!(said.into_iter().all(|activity| activity == Activity::Active));
        assert_eq!(told.tick(60_000), Activity::Idle);
        assert_eq!(told.garbage(600_000, false), Activity::Idle);
        assert_eq!(told.garbage(609_999, false), Activity::Idle);
        assert_eq!(told.garbage(610_000, false), Activity::Active, "it has not reached its end for so long");
    }

    #[test]
    fn a_word_without_records_changes_nothing() {
        let mut told = Told::default();
        told.reading(0, true);
        told.tick(10_000);
        assert_eq!(told.with(reach(90_000, false), false, false), Activity::Idle, "it is asked to drain");
    }

    #[test]
    fn one_that_has_never_held_a_record_rests_from_its_first_one_on() {
        let mut told = Told::default();
        let empty = Reach { activity: Activity::Empty, ..reach(50_000, true) };
        assert_eq!(told.with(empty, false, false), Activity::Empty);
        assert_eq!(told.garbage(60_000, true), Activity::Active);
        assert_eq!(told.tick(70_000), Activity::Idle);
    }
}

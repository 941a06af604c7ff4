//! What came in the last hour of the clock, of counts that only grow. Pure: whoever asks says what time it is.
//!
//! One count a minute is kept, so that the hour is up to a minute longer, and no more than some sixty counts are kept.

use std::collections::VecDeque;

use citytide_core::batch::Labelled;

/// How far back it looks, milliseconds.
const SPAN_MS: u64 = 3_600_000;
/// Least distance of two counts that are kept, milliseconds.
const STEP_MS: u64 = 60_000;

/// Counts as they stood now and then.
#[derive(Debug, Default)]
pub struct LastHour {
    /// Ascending in time, the newest last.
    kept: VecDeque<(u64, Labelled)>,
    newest: (u64, Labelled),
}

impl LastHour {
    /// Takes note of the counts at `at_ms`, a time that does not fall.
    pub fn observe(&mut self, at_ms: u64, counts: Labelled) {
        self.newest = (at_ms, counts);
        if self.kept.back().is_none_or(|(last_ms, _)| last_ms + STEP_MS <= at_ms) {
            self.kept.push_back(self.newest);
        }
        while self.kept.get(1).is_some_and(|(next_ms, _)| next_ms + SPAN_MS <= at_ms) {
            self.kept.pop_front();
        }
    }

    /// What came in the hour before `now_ms`.
    pub fn counts(&self, now_ms: u64) -> Labelled {
        let before = |(at_ms, _): &&(u64, Labelled)| at_ms + SPAN_MS <= now_ms;
        let base = [&self.newest].into_iter().chain(self.kept.iter().rev()).find(before);
        self.newest.1 - base.map_or_else(Labelled::default, |(_, counts)| *counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(true_positives: i64) -> Labelled {
        Labelled { true_positives, ..Labelled::default() }
    }

    #[test]
    fn in_the_first_hour_everything_counts() {
        let mut last_hour = LastHour::default();
        assert_eq!(last_hour.counts(5_000_000), Labelled::default());
        for second in 1..=60 {
            last_hour.observe(second * 1_000, found(second as i64));
        }
        assert_eq!(last_hour.counts(60_000), found(60));
        assert_eq!(last_hour.counts(3_600_000), found(60), "the first count of the hour belongs to it");
    }

    #[test]
    fn later_on_what_is_older_than_an_hour_to_the_minute_is_left_out() {
        let mut last_hour = LastHour::default();
        for second in 1..=3 * 3_600 {
            last_hour.observe(second * 1_000, found(second as i64));
            assert!(last_hour.kept.len() <= 62, "few are kept: {}", last_hour.kept.len());
        }
        let counts = last_hour.counts(3 * 3_600_000).true_positives;
        assert!((3_600..=3_660).contains(&counts), "{counts}");
    }

    #[test]
    fn when_nothing_comes_any_more_nothing_is_left_after_an_hour() {
        let mut last_hour = LastHour::default();
        last_hour.observe(1_000, found(10));
        last_hour.observe(31_000, found(40));
        assert_eq!(last_hour.counts(1_000 + SPAN_MS), found(30));
        assert_eq!(last_hour.counts(31_000 + SPAN_MS), Labelled::default());
    }
}

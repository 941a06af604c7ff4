//! W by example and against the definition.

use proptest::prelude::*;

use super::*;
use crate::position::{Counts, Position, Reach};

fn mark(partition: i32, watermark_us: i64, activity: Activity, at_end: bool) -> Mark {
    let mut mark = Mark::at_start(partition, 0);
    mark.position.watermark_us = watermark_us;
    mark.reach = Reach { activity, at_end, ..mark.reach };
    mark
}

fn with(marks: &[Mark]) -> Watermarks {
    let mut watermarks = Watermarks::new(marks.iter().map(|mark| mark.partition), NEVER);
    marks.iter().for_each(|mark| watermarks.observe(mark));
    watermarks
}

#[test]
fn a_partition_that_has_not_spoken_holds_the_watermark_back() {
    let mut watermarks = Watermarks::new(0..2, NEVER);
    watermarks.observe(&mark(0, 100, Activity::Active, false));
    assert_eq!(watermarks.advance(), NEVER);
    watermarks.observe(&mark(1, 70, Activity::Active, false));
    assert_eq!(watermarks.advance(), 70);
}

#[test]
fn idle_and_empty_partitions_do_not_count() {
    let mut watermarks = with(&[
        mark(0, 100, Activity::Active, false),
        mark(1, 50, Activity::Idle, true),
        mark(2, NEVER, Activity::Empty, true),
    ]);
    assert_eq!(watermarks.advance(), 100);
}

#[test]
fn a_returning_partition_does_not_take_the_watermark_back() {
    let mut watermarks = with(&[mark(0, 100, Activity::Active, true), mark(1, 50, Activity::Idle, true)]);
    assert_eq!(watermarks.advance(), 100);
    watermarks.observe(&mark(1, 60, Activity::Active, false));
    assert_eq!(watermarks.advance(), 100);
    watermarks.observe(&mark(0, 200, Activity::Active, false));
    assert_eq!(watermarks.advance(), 100);
    watermarks.observe(&mark(1, 150, Activity::Active, false));
    assert_eq!(watermarks.advance(), 150);
}

#[test]
fn with_all_partitions_idle_the_watermark_stands_still() {
    let mut watermarks = with(&[mark(0, 100, Activity::Active, true)]);
    assert_eq!(watermarks.advance(), 100);
    watermarks.observe(&mark(0, 130, Activity::Idle, true));
    assert_eq!(watermarks.advance(), 100);
}

#[test]
fn partitions_that_have_ended_for_good_hold_nothing_back_and_in_the_end_the_furthest_one_counts() {
    let mut watermarks = with(&[
        mark(0, 300, Activity::Ended, true),
        mark(1, 100, Activity::Active, false),
        mark(2, NEVER, Activity::Empty, false),
    ]);
    assert_eq!(watermarks.advance(), 100);
    watermarks.observe(&mark(1, 200, Activity::Ended, true));
    assert_eq!(watermarks.advance(), 300);
}

#[test]
fn a_partition_waits_only_for_one_that_still_has_a_backlog() {
    let hour_us = 3_600_000_000;
    let mut watermarks =
        with(&[mark(0, hour_us, Activity::Active, false), mark(1, 0, Activity::Active, false)]);
    assert_eq!(watermarks.ahead(), [0]);
    watermarks.observe(&mark(1, 0, Activity::Active, true));
    assert_eq!(watermarks.ahead(), [0; 0]);
    watermarks.observe(&mark(1, hour_us - LEAD_MAX_US, Activity::Active, false));
    assert_eq!(watermarks.ahead(), [0; 0]);
}

#[test]
fn a_partition_that_was_added_later_holds_the_watermark_back_from_its_first_word() {
    let mut watermarks = with(&[mark(0, 100, Activity::Active, false)]);
    assert_eq!(watermarks.advance(), 100);
    watermarks.observe(&mark(3, NEVER, Activity::Active, false));
    watermarks.observe(&mark(0, 200, Activity::Active, false));
    assert_eq!(watermarks.advance(), 100, "partitions 1 and 2 have not spoken");
}

#[test]
fn a_partition_ahead_of_an_unknown_watermark_waits() {
    let watermarks = with(&[mark(0, 0, Activity::Active, false), mark(1, NEVER, Activity::Active, false)]);
    assert_eq!(watermarks.ahead(), [0]);
}

#[test]
fn marks_say_the_same_when_the_ledger_would() {
    let one = mark(0, 100, Activity::Active, false);
    let reach = Reach { at_end: true, end_offset: 9, leaving: true, ..one.reach };
    assert!(one.stands_where(&Mark { reach, ..one.clone() }));
    let idle = Reach { activity: Activity::Idle, ..one.reach };
    assert!(!one.stands_where(&Mark { reach: idle, ..one.clone() }));
    let counts = Counts { gaps: 1, ..Counts::default() };
    let position = Position { counts, ..one.position.clone() };
    assert!(!one.stands_where(&Mark { position, ..one.clone() }));
}

proptest! {
    #[test]
    fn w_is_the_highest_least_watermark_of_the_active_partitions_so_far(
        committed_us in prop_oneof![Just(NEVER), 0..50_i64],
        words in prop::collection::vec((0..3_i32, prop_oneof![1 => Just(NEVER), 9 => 0..100_i64], 0..3_u8), 0..40),
    ) {
        let mut watermarks = Watermarks::new(0..3, committed_us);
        let mut said: [Option<(i64, Activity)>; 3] = [None; 3];
        let mut expected_us = committed_us;
        for (partition, watermark_us, activity) in words {
            let activity = [Activity::Empty, Activity::Active, Activity::Idle][activity as usize];
            said[partition as usize] = Some((watermark_us, activity));
            watermarks.observe(&mark(partition, watermark_us, activity, false));
            let mut active = Vec::new();
            for word in said {
                match word {
                    None => active.push(NEVER),
                    Some((watermark_us, Activity::Active)) => active.push(watermark_us),
                    Some(_) => {}
                }
            }
            active.sort_unstable();
            expected_us = active.first().map_or(expected_us, |least_us| expected_us.max(*least_us));
            prop_assert_eq!(watermarks.advance(), expected_us);
            prop_assert_eq!(watermarks.low_us(), expected_us);
        }
    }
}

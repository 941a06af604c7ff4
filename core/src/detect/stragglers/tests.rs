use citytide_detector::{Layout, SufficientStats};
use citytide_domain::Domain;

use super::*;
use crate::detect::Taught;
use crate::position::Reach;

const MINUTE_US: i64 = 60_000_000;

fn stragglers(until_caught_up: bool) -> Stragglers {
    let domain = Domain::smart_city();
    Stragglers::new(until_caught_up, TimeRules::new(&domain, &Layout::new(&domain)))
}

/// Partitions that have come to these minutes.
fn baselines(minutes: [i64; 3]) -> Baselines {
    let mut baselines = Baselines::default();
    for (partition, minute) in (0..).zip(minutes) {
        baselines.join(partition);
        if minute != NO_MINUTE {
            let stats = SufficientStats::default();
            let (rows, written, written_bytes) = (Vec::new(), NO_MINUTE, 0);
            baselines.take(&Taught { partition, minute, stats, rows, written, written_bytes });
        }
    }
    baselines
}

fn mark(partition: i32, minute: i64, activity: Activity, at_end: bool) -> Mark {
    let mut mark = Mark::at_start(partition, 0);
    mark.position.watermark_us = minute * MINUTE_US;
    mark.reach = Reach { activity, at_end, ..Reach::default() };
    mark
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    Instant::now()
}

#[test]
fn partitions_with_nothing_to_read_are_lifted_as_far_as_the_others_need_and_no_further() {
    let mut stragglers = stragglers(false);
    stragglers.observe(&[
        mark(0, 100, Activity::Active, true),
        mark(1, 90, Activity::Idle, true),
        mark(2, 0, Activity::Empty, true),
    ]);
    let start = now();
    assert_eq!(stragglers.lifts(start, &baselines([100, 90, NO_MINUTE])), [(1, 98), (2, 98)]);
    assert_eq!(stragglers.lifts(start, &baselines([100, 98, 98])), []);
    assert_eq!(stragglers.lifts(start, &baselines([100, 99, 98])), [], "nobody waits for it");
}

#[test]
fn a_partition_of_which_nobody_knows_whether_it_holds_something_is_waited_for() {
    let mut stragglers = stragglers(true);
    stragglers.observe(&[mark(0, 100, Activity::Active, false), mark(1, 0, Activity::Empty, false)]);
    assert_eq!(stragglers.lifts(now(), &baselines([100, NO_MINUTE, 100])), []);
    stragglers.observe(&[mark(1, 0, Activity::Empty, true)]);
    assert_eq!(stragglers.lifts(now(), &baselines([100, NO_MINUTE, 100])), [(1, 98)]);
}

#[test]
fn one_that_is_read_to_its_end_and_behind_is_waited_for_a_few_seconds_and_then_not_until_it_is_back() {
    let mut stragglers = stragglers(false);
    stragglers.observe(&[
        mark(0, 100, Activity::Active, true),
        mark(1, 90, Activity::Active, true),
        mark(2, 80, Activity::Active, false),
    ]);
    let start = now();
    assert_eq!(stragglers.lifts(start, &baselines([100, 90, 80])), []);
    assert_eq!(stragglers.lifts(start + PATIENCE / 2, &baselines([100, 90, 80])), []);
    assert_eq!(stragglers.lifts(start + PATIENCE, &baselines([100, 91, 80])), [], "it comes nearer");
    let start = start + PATIENCE;
    let lifts = stragglers.lifts(start + PATIENCE, &baselines([100, 91, 80]));
    assert_eq!(lifts, [(1, 98)], "2 has a backlog, and is waited for");
    let lifts = stragglers.lifts(start + PATIENCE, &baselines([101, 98, 99]));
    assert_eq!(lifts, [(1, 99)], "it is still behind, and not waited for again");
    stragglers.observe(&[mark(1, 101, Activity::Active, true)]);
    assert_eq!(stragglers.lifts(start + PATIENCE, &baselines([101, 101, 101])), []);
    stragglers.observe(&[mark(1, 101, Activity::Active, true)]);
    assert_eq!(stragglers.lifts(start + PATIENCE, &baselines([110, 101, 110])), [], "it is waited for again");
}

#[test]
fn where_the_run_ends_with_the_log_only_a_partition_at_its_end_is_lifted_whatever_the_clock_says() {
    let mut stragglers = stragglers(true);
    stragglers.observe(&[
        mark(0, 100, Activity::Active, false),
        mark(1, 90, Activity::Active, true),
        mark(2, 80, Activity::Active, false),
    ]);
    assert_eq!(stragglers.lifts(now() + 10 * PATIENCE, &baselines([100, 90, 80])), [(1, 98)]);
    assert!(!stragglers.is_living());
}

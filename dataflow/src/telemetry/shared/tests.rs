//! What marks and commits make of the figures.

use std::time::Duration;

use citytide_core::batch::Labelled;
use citytide_core::position::{Activity, Position};

use super::*;
use crate::telemetry::Stage;

/// Of that many readings half were flagged, rightly, and the others missed.
fn labelled(readings: i64) -> Labelled {
    let half = readings / 2;
    Labelled { true_positives: half, false_negatives: half, ..Labelled::default() }
}

fn mark(partition: i32, next_offset: i64, end_offset: i64) -> Mark {
    let counts = Counts { accepted: next_offset - 3, late: 1, dead: 2, ..Counts::default() };
    let mut mark = Mark::at_start(partition, 0);
    mark.position = Position { next_offset, counts, watermark_us: next_offset * 1_000, ..mark.position };
    mark.reach.end_offset = end_offset;
    mark
}

/// Verdicts on so many readings.
fn tally(readings: i64) -> Tally {
    Tally { by_model: readings / 10, labelled: labelled(readings), ..Tally::default() }
}

fn commit(run: &Telemetry, marks: &[Mark]) {
    let judged = |mark: &Mark| (mark.partition, tally(mark.position.next_offset));
    run.committed(50, Duration::from_millis(3), 77, marks, &marks.iter().map(judged).collect());
}

fn assigned(partition: i32, next_offset: i64, end_offset: i64) -> Assigned {
    Assigned { partition, next_offset, low_offset: 0, end_offset, is_end_known: true }
}

fn running() -> Telemetry {
    let run = Telemetry::new(0, Arc::default());
    run.begin(2, &[assigned(0, 100, 500), assigned(1, 0, 40)], &[mark(0, 100, 100)], NEVER);
    run
}

#[test]
fn before_it_begins_a_run_is_starting_and_knows_nothing() {
    let snapshot = Telemetry::new(0, Arc::default()).snapshot();
    assert_eq!((snapshot.phase, snapshot.low_us, snapshot.workers), (Phase::Starting, None, 0));
    assert!(snapshot.partitions.is_empty());
}

#[test]
fn a_run_goes_on_from_the_ledger_and_counts_what_it_adds() {
    let run = running();
    let snapshot = run.snapshot();
    assert_eq!(snapshot.phase, Phase::Running);
    assert_eq!((snapshot.lag(), snapshot.counts, snapshot.low_us), (440, Counts::default(), None));
    commit(&run, &[mark(0, 300, 520), mark(1, 40, 40)]);
    let snapshot = run.snapshot();
    let added = Counts { accepted: 237, late: 1, dead: 2, lost: 0, gaps: 0 };
    assert_eq!((snapshot.counts, snapshot.lag(), snapshot.low_us), (added, 220, Some(77)));
    assert_eq!((snapshot.tally.anomalies(), snapshot.commits), (34, 1));
    assert_eq!(snapshot.tally.labelled, labelled(340), "the truth of all partitions");
    assert_eq!(snapshot.last_hour, labelled(340), "an hour has not passed");
    assert_eq!(
        snapshot.partitions[0].counts.readings(),
        298,
        "a partition's own counts are those of the ledger"
    );
    assert_eq!(snapshot.last_commit.map(|last| last.epoch), Some(50));
    assert_eq!(snapshot.stages.of(Stage::Commit), Duration::from_millis(3));
}

#[test]
fn a_mark_that_is_not_committed_tells_of_the_end_and_of_idleness_only() {
    let run = running();
    let mut idle = mark(0, 400, 900);
    idle.reach.activity = Activity::Idle;
    run.mark(&idle);
    let snapshot = run.snapshot();
    let told = &snapshot.partitions[0];
    assert_eq!((told.end_offset, told.activity, told.next_offset), (900, Activity::Idle, 100));
    assert_eq!(snapshot.counts, Counts::default());
}

#[test]
fn a_watermark_that_stands_while_readings_are_accepted_is_held_until_it_moves_or_all_are_silent() {
    let run = running();
    let commit = |next_offset, low_us| {
        run.committed(50, Duration::ZERO, low_us, &[mark(0, next_offset, 900)], &BTreeMap::new());
        run.figures.lock().unwrap().low_held_since_ms.is_some()
    };
    assert!(!commit(110, 77));
    assert!(!commit(110, 77), "nothing was accepted");
    assert!(commit(120, 77));
    assert!(!commit(130, 78));
    assert!(commit(140, 78));
    let idle = |partition| {
        let mut mark = mark(partition, 140, 900);
        mark.reach.activity = Activity::Idle;
        run.mark(&mark);
        run.figures.lock().unwrap().low_held_since_ms.is_some()
    };
    assert!(idle(0), "partition 1 counts still");
    assert!(!idle(1));
}

#[test]
fn a_partition_that_was_added_to_the_topic_is_counted_from_its_first_offset() {
    let run = running();
    run.mark(&mark(7, 0, 12));
    commit(&run, &[mark(7, 12, 12)]);
    assert_eq!(run.snapshot().counts.readings(), 10);
    assert_eq!(run.snapshot().partitions.len(), 3);
}

#[test]
fn an_end_that_lags_behind_what_was_committed_is_no_negative_lag() {
    let run = running();
    commit(&run, &[mark(0, 900, 800), mark(1, 40, 40)]);
    assert_eq!(run.snapshot().lag(), 0);
}

#[test]
fn a_run_that_was_asked_to_end_is_draining() {
    let drain = Arc::new(AtomicBool::new(false));
    let run = Telemetry::new(0, drain.clone());
    run.begin(1, &[], &[], NEVER);
    drain.store(true, Ordering::Relaxed);
    assert_eq!(run.snapshot().phase, Phase::Draining);
}

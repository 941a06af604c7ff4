use citytide_domain::{Domain, HOUR_US, MINUTE_US};

use super::*;

fn schedule() -> Schedule {
    let domain = Domain::smart_city();
    Schedule::new(Arc::new(Layout::new(&domain)), HOUR_US, Sample::of(&domain))
}

/// Rows of a minute.
fn rows(minute: i64, count: u64, is_severe: bool) -> Vec<(u64, SampleRow)> {
    let row = |number| {
        let event_time_us = minute * MINUTE_US + number as i64;
        let hash = Sample::hash(number, event_time_us);
        (hash, SampleRow { event_time_us, is_severe, features: vec![0.0; 7] })
    };
    (0..count).map(row).collect()
}

fn due(jobs: &[TrainJob]) -> Vec<(i64, usize)> {
    jobs.iter().map(|job| (job.from, job.sample.len())).collect()
}

#[test]
fn a_first_training_waits_for_ordinary_rows_and_further_ones_for_their_boundary() {
    let mut schedule = schedule();
    schedule.take(rows(3, 600, true));
    schedule.take(rows(5, 199, false));
    assert_eq!(due(&schedule.close(0, 6)), []);
    schedule.take(rows(8, 1, false));
    schedule.take(rows(9, 100, false));
    assert_eq!(due(&schedule.close(6, 30)), [(9, 800)], "of the rows before the ninth minute");
    assert_eq!(due(&schedule.close(30, 59)), []);
    assert_eq!(due(&schedule.close(59, 200)), [(60, 900), (120, 900), (180, 900)], "once an hour");
}

#[test]
fn the_same_is_due_however_many_minutes_are_closed_at_a_time() {
    let mut expected = None;
    for step in [1, 7, 40, 300] {
        let mut schedule = schedule();
        let mut jobs = Vec::new();
        for minute in (0..240).rev() {
            schedule.take(rows(minute, 20, minute % 3 == 0));
        }
        for closed in (0..300).step_by(step) {
            jobs.extend(due(&schedule.close(closed, closed + step as i64)));
        }
        assert!(jobs.len() >= 4);
        assert_eq!(*expected.get_or_insert_with(|| jobs.clone()), jobs, "by {step}");
    }
}

#[test]
fn a_snapshot_holds_the_rows_before_its_tick_however_far_is_closed_at_once() {
    let known = |closes: &[i64]| {
        let mut schedule = schedule();
        (0..90).for_each(|minute| schedule.take(rows(minute, 10, false)));
        let mut closed = 0;
        for &before in closes {
            schedule.close(closed, before);
            closed = before;
            if before == 50 {
                assert!(schedule.begin_snapshot(51) && !schedule.begin_snapshot(52), "one at a time");
            }
        }
        let blob = schedule.end_snapshot(51).expect("it is whole");
        let mut read = self::schedule();
        read.read(&blob.state).expect("just written");
        (blob.as_of_us, read.next_us, read.sample)
    };
    let expected = known(&[50, 51]);
    assert_eq!((expected.0, expected.2.len()), (51 * MINUTE_US, 510));
    for closes in [&[50, 60, 90][..], &[10, 50, 90], &[50, 51, 52, 60]] {
        assert_eq!(known(closes), expected, "{closes:?}");
    }
}

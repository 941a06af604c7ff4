//! The partitions of one worker: whose chunks come, in which order, and what it says of each partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use citytide_store::clock;
use crossbeam_channel::Sender;

use super::*;
use crate::sources::Control;

const IDLE_AFTER: Duration = Duration::from_secs(10);

fn assigned(partition: i32, next_offset: i64, end_offset: i64) -> Assigned {
    Assigned { partition, next_offset, low_offset: 0, end_offset, is_end_known: true }
}

fn intake() -> (Sender<Chunk>, Intake) {
    let (sender, chunks) = crossbeam_channel::unbounded();
    (sender, Intake { chunks, control: Arc::new(Control::default()) })
}

fn chunk(partition: i32, offsets: &[i64]) -> Chunk {
    let mut chunk = Chunk { partition, ..Chunk::default() };
    offsets.iter().for_each(|offset| chunk.push(*offset, 0, b"{}"));
    chunk
}

fn at_end(partition: i32, offsets: &[i64]) -> Chunk {
    Chunk { reach: Reach { at_end: true, ..Reach::default() }, ..chunk(partition, offsets) }
}

fn taken(partitions: &mut Partitions, intake: &Intake) -> Vec<(i32, Vec<i64>)> {
    let now = clock::instant();
    std::iter::from_fn(|| partitions.next(intake, now))
        .map(|chunk| (chunk.partition, chunk.offsets))
        .collect()
}

/// Takes what is queued every 100 ms of this time; returns the ticks: partition and milliseconds watched.
fn watch(partitions: &mut Partitions, intake: &Intake, from: Instant, until: Instant) -> Vec<(i32, u64)> {
    let mut ticks = Vec::new();
    let mut now = from;
    loop {
        while partitions.next(intake, now).is_some() {}
        ticks.extend(partitions.tick(IDLE_AFTER).iter().map(|tick| {
            assert!(tick.reach.at_end && tick.records() == 0);
            (tick.partition, tick.reach.watched_ms)
        }));
        if now >= until {
            return ticks;
        }
        now = until.min(now + Duration::from_millis(100));
    }
}

#[test]
fn every_partition_is_introduced_and_an_empty_one_does_not_count() {
    let assigned = [assigned(0, 0, 0), assigned(1, 5, 5), assigned(2, 0, 9)];
    let partitions = Partitions::new(&assigned, false);
    let said: Vec<_> = partitions
        .introduce(&assigned)
        .map(|chunk| {
            let Reach { at_end, end_offset, activity, .. } = chunk.reach;
            (chunk.partition, chunk.records(), at_end, end_offset, activity)
        })
        .collect();
    let expected = [
        (0, 0, true, 0, Activity::Empty),
        (1, 0, true, 5, Activity::Active),
        (2, 0, false, 9, Activity::Active),
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_was_read_of_a_partition_that_is_ahead_waits_and_keeps_its_order() {
    let mut partitions = Partitions::new(&[assigned(0, 0, 100), assigned(1, 0, 100)], false);
    let (queue, intake) = intake();
    for chunk in [chunk(0, &[0]), chunk(1, &[0]), chunk(0, &[1]), chunk(1, &[1])] {
        queue.send(chunk).unwrap();
    }
    partitions.set_ahead(&[0]);
    partitions.balance(&intake, &Held::default());
    assert_eq!(taken(&mut partitions, &intake), [(1, vec![0]), (1, vec![1])]);
    let mut seen = 0;
    assert_eq!(intake.control.paused_if_changed(&mut seen), Some(BTreeSet::from([0])));
    queue.send(chunk(0, &[2])).unwrap();
    partitions.set_ahead(&[]);
    partitions.balance(&intake, &Held::default());
    assert_eq!(taken(&mut partitions, &intake), [(0, vec![0]), (0, vec![1]), (0, vec![2])]);
    assert_eq!(intake.control.paused_if_changed(&mut seen), Some(BTreeSet::new()));
}

#[test]
fn a_partition_whose_readings_wait_is_not_read_and_is_paused_only_when_enough_of_it_is_here() {
    let mut partitions = Partitions::new(&[assigned(0, 0, 100), assigned(1, 0, 100)], false);
    let (queue, intake) = intake();
    let (held, mut seen) = (Held::default(), 0);
    held.set(BTreeSet::from([0]));
    partitions.balance(&intake, &held);
    let many = WAITING_MAX as i64;
    for offset in 0..many - 1 {
        queue.send(chunk(0, &[offset])).unwrap();
    }
    queue.send(chunk(1, &[0])).unwrap();
    assert_eq!(taken(&mut partitions, &intake), [(1, vec![0])]);
    partitions.balance(&intake, &held);
    assert_eq!(intake.control.paused_if_changed(&mut seen), None);
    queue.send(chunk(0, &[many - 1])).unwrap();
    assert_eq!(taken(&mut partitions, &intake), []);
    partitions.balance(&intake, &held);
    assert_eq!(intake.control.paused_if_changed(&mut seen), Some(BTreeSet::from([0])));
    held.set(BTreeSet::new());
    partitions.balance(&intake, &held);
    assert_eq!(intake.control.paused_if_changed(&mut seen), None, "some of it is still here");
    assert_eq!(taken(&mut partitions, &intake), (0..many).map(|one| (0, vec![one])).collect::<Vec<_>>());
    partitions.balance(&intake, &held);
    assert_eq!(intake.control.paused_if_changed(&mut seen), Some(BTreeSet::new()));
}

#[test]
fn a_partition_at_its_end_is_told_of_time_until_it_may_be_idle_and_again_after_a_record() {
    let mut partitions = Partitions::new(&[assigned(0, 0, 2), assigned(1, 0, 2)], false);
    let (queue, intake) = intake();
    let start = clock::instant();
    queue.send(at_end(0, &[0, 1])).unwrap();
    queue.send(chunk(1, &[0])).unwrap();
    let at = |times: u32| start + times * IDLE_AFTER;
    let told = watch(&mut partitions, &intake, start, at(3));
    let expected: Vec<_> = (0..=10).map(|second| (0, second * 1_000)).collect();
    assert_eq!(told, expected, "1 has a backlog");
    queue.send(at_end(0, &[])).unwrap();
    assert_eq!(watch(&mut partitions, &intake, at(3), at(4)), [], "the end alone is no news");
    queue.send(at_end(0, &[2])).unwrap();
    let told = watch(&mut partitions, &intake, at(4), at(9));
    assert_eq!((told.len(), told.last()), (11, Some(&(0, 50_000))));
    queue.send(chunk(0, &[3])).unwrap();
    assert_eq!(watch(&mut partitions, &intake, at(9), at(19)), [], "no end since");
}

#[test]
fn an_empty_partition_is_told_nothing_and_counts_from_its_first_record() {
    let mut partitions = Partitions::new(&[assigned(0, 0, 0)], false);
    let (queue, intake) = intake();
    let start = clock::instant();
    queue.send(at_end(0, &[])).unwrap();
    assert_eq!(watch(&mut partitions, &intake, start, start + IDLE_AFTER), []);
    assert_eq!(partitions.by_number[&0].activity, Activity::Empty);
    queue.send(at_end(0, &[0])).unwrap();
    assert!(!watch(&mut partitions, &intake, start + IDLE_AFTER, start + 2 * IDLE_AFTER).is_empty());
    assert_eq!(partitions.by_number[&0].activity, Activity::Active);
}

#[test]
fn until_caught_up_leaves_what_came_after_the_start_to_the_next_run() {
    let mut partitions = Partitions::new(&[assigned(0, 0, 3)], true);
    let (queue, intake) = intake();
    queue.send(chunk(0, &[0, 1])).unwrap();
    queue.send(chunk(0, &[2, 3, 4])).unwrap();
    let now = clock::instant();
    let first = partitions.next(&intake, now).expect("queued");
    assert!(!first.reach.at_end && !partitions.by_number[&0].done);
    let second = partitions.next(&intake, now).expect("queued");
    assert_eq!(second.offsets, [2]);
    assert!(second.reach.at_end && partitions.by_number[&0].done);
}

#[test]
fn a_topic_that_ends_in_offsets_without_records_is_done_at_its_end() {
    let mut partitions = Partitions::new(&[assigned(0, 0, 10)], true);
    let (queue, intake) = intake();
    queue.send(at_end(0, &[4])).unwrap();
    partitions.next(&intake, clock::instant());
    assert!(partitions.by_number[&0].done);
}

#[test]
fn the_end_is_never_told_to_lie_below_what_was_read() {
    let mut partitions = Partitions::new(&[assigned(0, 0, 3)], false);
    let (queue, intake) = intake();
    queue.send(Chunk { reach: Reach::active(3), ..chunk(0, &[7]) }).unwrap();
    assert_eq!(partitions.next(&intake, clock::instant()).expect("queued").reach.end_offset, 8);
}

#[test]
fn leaving_is_said_of_every_partition() {
    let partitions = Partitions::new(&[assigned(0, 0, 3), assigned(4, 0, 0)], false);
    let said: Vec<_> = partitions.drain().map(|chunk| (chunk.partition, chunk.reach.leaving)).collect();
    assert_eq!(said, [(0, true), (4, true)]);
}

#[test]
fn while_the_worker_is_stalled_no_time_passes() {
    let mut partitions = Partitions::new(&[assigned(0, 0, 1)], false);
    let (queue, intake) = intake();
    let start = clock::instant();
    queue.send(at_end(0, &[0])).unwrap();
    while partitions.next(&intake, start).is_some() {}
    // The commit stalls: nothing is taken, though records may have come, to the broker alone.
    while partitions.next(&intake, start + 6 * IDLE_AFTER).is_some() {}
    let told: Vec<u64> = partitions.tick(IDLE_AFTER).iter().map(|tick| tick.reach.watched_ms).collect();
    assert_eq!(told, [1_000]);
}

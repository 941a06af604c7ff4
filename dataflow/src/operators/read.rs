//! Source: takes chunks from the intake and gives them the epoch that is open.
//!
//! ```text
//!  grid:   |····50 ms····|····50 ms····|···  an epoch is named by the grid point at which it opens
//!  quiet:  |  e          |  e + 50     |     every worker steps at every grid point, with data or without
//!  backlog:|  e                        |     an epoch stays open until it is full or EPOCH_OPEN_MAX_MS old
//! ```
//!
//! Invariants:
//! 1. epochs only rise, and the first lies above every committed one;
//! 2. a worker that has `EPOCHS_IN_FLIGHT_MAX` epochs with data above the commit takes no more, but keeps stepping,
//!    so that it never holds the others' commits up;
//! 3. a partition far ahead in event time of one that still has a backlog waits (`Watermarks::is_ahead`); what had
//!    been read of it already is kept, at most a queue's worth;
//! 4. a partition that is added while the others are read is introduced by its first chunk (`begins_at`); from then on
//!    it counts as one that was there from the start. W does not fall for it;
//! 5. under `until_caught_up` records at or above the end offsets as of the start are left for the next run.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use citytide_core::batch::{Activity, Chunk};
use citytide_core::window::Watermarks;
use citytide_store::clock;
use citytide_store::session::Wake;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::source;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::{Scope, StreamVec};

use super::Epoch;
use crate::sources::{Assigned, Intake};
use crate::telemetry::{Stage, Telemetry};

/// Distance of two grid points.
pub const COMMIT_INTERVAL_MIN_MS: u64 = 50;
/// How long an epoch stays open behind a backlog.
const EPOCH_OPEN_MAX_MS: u64 = 400;
/// Records of one worker in one epoch.
const EPOCH_RECORDS_MAX: usize = 20 * 1024;
/// Bytes of one worker in one epoch.
const EPOCH_BYTES_MAX: usize = 6 * 1024 * 1024;
/// An epoch with fewer records is not kept open: there is no backlog to speak of.
const BACKLOG_RECORDS_MIN: usize = 8 * 1024;
/// Epochs with data that a worker may have above the commit.
const EPOCHS_IN_FLIGHT_MAX: usize = 3;

/// What the source of one worker needs.
pub struct ReadParts<F> {
    /// Opens the intake; the wake-up is the operator's.
    pub open: F,
    /// The partitions of this worker.
    pub assigned: Vec<Assigned>,
    /// Added to the wall clock, so that epochs lie above every committed one also when the clock was set back.
    pub epoch_offset_ms: i64,
    /// The last committed epoch.
    pub committed_epoch: Epoch,
    /// How long at its end makes a partition idle; `None` under `--until-caught-up`.
    pub idle_after: Option<Duration>,
    /// Whether to end at the end offsets as of the start.
    pub until_caught_up: bool,
    /// Set to stop reading, commit what was read, and end.
    pub drain: Arc<AtomicBool>,
    /// Set when another process was asked to: the same.
    pub peer_left: Arc<AtomicBool>,
    /// All partitions' watermarks, as the window operator knows them.
    pub watermarks: Rc<RefCell<Watermarks>>,
    /// The commit's frontier.
    pub committed: Handle<Epoch>,
    /// Where the time it takes is told.
    pub telemetry: Arc<Telemetry>,
}

struct Partition {
    activity: Activity,
    at_end_since: Option<Instant>,
    next_offset: i64,
    /// Where to end under `until_caught_up`.
    target: i64,
    done: bool,
    ahead: bool,
    /// Chunks that had been read when the partition was paused.
    waiting: VecDeque<Chunk>,
    end_offset: i64,
}

impl Partition {
    fn at_start(one: &Assigned) -> Partition {
        Partition {
            // Where nobody knows the end, only a record tells that there is something to wait for.
            activity: match one.end_offset == 0 || !one.is_end_known {
                true => Activity::Empty,
                false => Activity::Active,
            },
            at_end_since: None,
            next_offset: one.next_offset,
            target: if one.is_end_known { one.end_offset } else { i64::MAX },
            done: one.is_end_known && one.next_offset >= one.end_offset,
            ahead: false,
            waiting: VecDeque::new(),
            end_offset: one.end_offset,
        }
    }
}

/// Builds the source of one worker.
pub fn read<F>(scope: Scope<'_, Epoch>, parts: ReadParts<F>) -> StreamVec<'_, Epoch, (Chunk, Activity)>
where
    F: FnOnce(Wake) -> Intake,
{
    let ReadParts {
        open,
        assigned,
        epoch_offset_ms,
        idle_after,
        until_caught_up,
        drain,
        peer_left,
        watermarks,
        committed,
        telemetry,
        ..
    } = parts;
    let first_epoch = parts.committed_epoch + 1;
    source::<_, CapacityContainerBuilder<Vec<(Chunk, Activity)>>, _, _>(scope, "read", |capability, info| {
        let activator = scope.worker().activator_for(info.address.clone());
        let wake = scope.worker().sync_activator_for(info.address.to_vec());
        let intake = open(Arc::new(move || {
            // It fails only when the worker is gone, and then nothing is to be woken.
            let _ = wake.activate();
        }));
        let mut capability = Some(capability);
        let mut reader = Reader::new(&assigned, until_caught_up);
        let mut epoch = 0;
        let mut open = Open::default();
        let mut in_flight: VecDeque<Epoch> = VecDeque::new();
        move |output| {
            let Some(cap) = capability.as_mut() else { return };
            let _timing = telemetry.stages.start(Stage::Read);
            let now_ms = clock::wall_ms().saturating_add_signed(epoch_offset_ms);
            let now = clock::instant();
            let grid_ms = now_ms / COMMIT_INTERVAL_MIN_MS * COMMIT_INTERVAL_MIN_MS;
            if epoch == 0 {
                epoch = grid_ms.max(first_epoch.next_multiple_of(COMMIT_INTERVAL_MIN_MS));
                cap.downgrade(&epoch);
                open.since_ms = now_ms;
                output.session(&cap).give_iterator(reader.introduce(&assigned));
                open.records = 1;
            }
            while in_flight.front().is_some_and(|first| !committed.less_equal(first)) {
                in_flight.pop_front();
            }
            let draining = drain.load(Ordering::Relaxed) || peer_left.load(Ordering::Relaxed);
            reader.steer(&intake, &watermarks.borrow());
            let room = in_flight.len() < EPOCHS_IN_FLIGHT_MAX;
            let mut starved = false;
            while room && !draining && !open.is_full() {
                let Some(chunk) = reader.next(&intake, now) else {
                    starved = true;
                    break;
                };
                open.records += chunk.records().max(1);
                open.bytes += chunk.payloads.len();
                let activity = reader.partitions[&chunk.partition].activity;
                output.session(&cap).give((chunk, activity));
            }
            if let Some(idle_after) = idle_after {
                for chunk in reader.fall_idle(idle_after) {
                    open.records += 1;
                    output.session(&cap).give((chunk, Activity::Idle));
                }
            }
            let done = draining || (until_caught_up && reader.partitions.values().all(|one| one.done));
            if done {
                if draining {
                    output.session(&cap).give_iterator(reader.leave());
                }
                intake.control.stop();
                capability = None;
                return;
            }
            // A backlog keeps the epoch open until it is full or old; a reader that cannot keep up is no backlog.
            let backlog = !starved && room && !open.is_full() && open.records >= BACKLOG_RECORDS_MIN;
            let old = now_ms.saturating_sub(open.since_ms) >= EPOCH_OPEN_MAX_MS;
            if grid_ms > epoch && (!backlog || old) {
                if open.records > 0 {
                    in_flight.push_back(epoch);
                }
                epoch = grid_ms;
                cap.downgrade(&epoch);
                open = Open { since_ms: now_ms, ..Open::default() };
            }
            let next_ms =
                (epoch + COMMIT_INTERVAL_MIN_MS).saturating_sub(now_ms).clamp(1, COMMIT_INTERVAL_MIN_MS);
            activator.activate_after(Duration::from_millis(next_ms));
        }
    })
}

/// What the open epoch holds.
#[derive(Default)]
struct Open {
    since_ms: u64,
    records: usize,
    bytes: usize,
}

impl Open {
    fn is_full(&self) -> bool {
        self.records >= EPOCH_RECORDS_MAX || self.bytes >= EPOCH_BYTES_MAX
    }
}

struct Reader {
    partitions: BTreeMap<i32, Partition>,
    until_caught_up: bool,
    /// When the queue was last asked for a chunk. While the commit stalls, what waits there is a backlog.
    asked_at: Option<Instant>,
}

impl Reader {
    fn new(assigned: &[Assigned], until_caught_up: bool) -> Reader {
        let partitions = assigned.iter().map(|one| (one.partition, Partition::at_start(one))).collect();
        Reader { partitions, until_caught_up, asked_at: None }
    }

    /// A chunk without records for every partition, so that all workers hear of it: what has not spoken holds the
    /// watermark back.
    fn introduce(&self, assigned: &[Assigned]) -> impl Iterator<Item = (Chunk, Activity)> {
        assigned.iter().map(|one| {
            let partition = &self.partitions[&one.partition];
            let chunk = Chunk {
                partition: one.partition,
                at_end: partition.done,
                end_offset: one.end_offset,
                ..Chunk::default()
            };
            (chunk, partition.activity)
        })
    }

    /// A chunk without records for every partition, that tells the other processes to drain too.
    fn leave(&self) -> impl Iterator<Item = (Chunk, Activity)> {
        self.partitions.iter().map(|(&number, partition)| {
            let end_offset = partition.end_offset;
            (Chunk { partition: number, end_offset, leaving: true, ..Chunk::default() }, partition.activity)
        })
    }

    /// Pauses partitions that are ahead of one with a backlog, and lets them go on when it has caught up.
    fn steer(&mut self, intake: &Intake, watermarks: &Watermarks) {
        for (&number, partition) in &mut self.partitions {
            let ahead = watermarks.is_ahead(number);
            if ahead != partition.ahead {
                partition.ahead = ahead;
                intake.control.pause(number, ahead);
            }
        }
    }

    /// The next chunk that may be read: of a partition that is no longer ahead, else from the queue.
    fn next(&mut self, intake: &Intake, now: Instant) -> Option<Chunk> {
        self.asked_at = Some(now);
        let waiting = self.partitions.values_mut().find(|one| !one.ahead && !one.waiting.is_empty());
        if let Some(chunk) = waiting.and_then(|one| one.waiting.pop_front()) {
            return Some(self.take(chunk, now));
        }
        loop {
            let chunk = intake.chunks.try_recv().ok()?;
            if let Some(next_offset) = chunk.begins_at {
                let end_offset = chunk.end_offset;
                let one = Assigned {
                    partition: chunk.partition,
                    next_offset,
                    low_offset: next_offset,
                    end_offset,
                    is_end_known: true,
                };
                self.partitions.entry(chunk.partition).or_insert_with(|| Partition::at_start(&one));
            }
            let partition = self.partitions.get_mut(&chunk.partition).expect("an assigned partition");
            if partition.ahead {
                partition.waiting.push_back(chunk);
                continue;
            }
            return Some(self.take(chunk, now));
        }
    }

    fn take(&mut self, mut chunk: Chunk, now: Instant) -> Chunk {
        let partition = self.partitions.get_mut(&chunk.partition).expect("an assigned partition");
        if self.until_caught_up {
            chunk.cut_at(partition.target);
        }
        let passed = chunk.read_up_to.max(chunk.lost_below);
        partition.next_offset = partition.next_offset.max(passed.unwrap_or_default());
        if let Some(last) = chunk.offsets.last() {
            partition.next_offset = partition.next_offset.max(last + 1);
            partition.activity = Activity::Active;
            partition.at_end_since = None;
        }
        if chunk.at_end {
            partition.at_end_since.get_or_insert(now);
        }
        if chunk.ended {
            partition.activity = Activity::Ended;
        }
        partition.done |= chunk.at_end || partition.next_offset >= partition.target;
        chunk.at_end |= self.until_caught_up && partition.done;
        partition.end_offset = chunk.end_offset.max(partition.next_offset);
        chunk.end_offset = partition.end_offset;
        chunk
    }

    /// A chunk without records for every partition that has just become idle.
    fn fall_idle(&mut self, idle_after: Duration) -> Vec<Chunk> {
        let mut idle = Vec::new();
        let Some(asked_at) = self.asked_at else { return idle };
        for (&number, partition) in &mut self.partitions {
            let rested =
                partition.at_end_since.is_some_and(|since| asked_at.duration_since(since) >= idle_after);
            if partition.activity == Activity::Active
                && rested
                && !partition.ahead
                && partition.waiting.is_empty()
            {
                partition.activity = Activity::Idle;
                let end_offset = partition.end_offset;
                idle.push(Chunk { partition: number, at_end: true, end_offset, ..Chunk::default() });
            }
        }
        idle
    }
}

#[cfg(test)]
mod tests;

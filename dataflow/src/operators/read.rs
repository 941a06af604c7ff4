//! Source: takes chunks from the intake and gives them the epoch that is open.
//!
//! ```text
//!  grid:   |····50 ms····|····50 ms····|···  an epoch is named by the grid point at which it opens
//!  quiet:  |  e          |  e + 50     |     every worker steps at every grid point, with data or without
//!  backlog:|  e                        |     an epoch stays open until it is full or EPOCH_OPEN_MAX_MS old
//! ```
//!
//! Invariants:
//! 1. epochs only rise, and the first lies above every committed one; a wall clock that is set changes neither
//!    (`EpochClock`);
//! 2. a worker that has `EPOCHS_IN_FLIGHT_MAX` epochs with data above the commit takes no more, but keeps stepping,
//!    so that it never delays the others' commits;
//! 3. a partition whose readings wait for what they are judged by is not read (`Held`). Where rules alone judge, one
//!    far ahead in event time of one that still has a backlog waits (`Watermarks::ahead`). What had been read of it
//!    already is kept, at most a queue's worth;
//! 4. a partition that is added while the others are read is introduced by its first chunk (`begins_at`); from then on
//!    it counts as one that was there from the start. W does not fall for it;
//! 5. under `until_caught_up` records at or above the end offsets as of the start are left for the next run;
//! 6. a partition at its end is told that time passes, by chunks without records, until `idle_after` has passed since
//!    its last one: whether it is idle is decided where accepted readings are known (`lateness`).

mod partitions;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use citytide_core::batch::Chunk;
use citytide_core::window::Progress;
use citytide_store::clock;
use citytide_store::epoch_clock::EpochClock;
use citytide_store::session::Wake;
use citytide_store::time::EPOCH_GRID_MS;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;

use super::{Epoch, Held, wake};
use crate::sources::{Assigned, Intake};
use crate::telemetry::{Stage, Telemetry};
use partitions::Partitions;

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
    /// What epochs are made of.
    pub clock: EpochClock,
    /// The last committed epoch.
    pub committed_epoch: Epoch,
    /// How long a quiet partition at its end is told of time; `None` under `--until-caught-up`.
    pub idle_after: Option<Duration>,
    /// Whether to end at the end offsets as of the start.
    pub until_caught_up: bool,
    /// Set to stop reading, commit what was read, and end.
    pub drain: Arc<AtomicBool>,
    /// The commit's frontier.
    pub committed: Handle<Epoch>,
    /// Partitions that are not read, since their readings wait for others.
    pub held: Held,
    /// Where the time it takes is reported.
    pub telemetry: Arc<Telemetry>,
}

/// The streams behind `read`.
pub struct Readings<'scope> {
    /// Chunks in log order by partition.
    pub chunks: StreamVec<'scope, Epoch, Chunk>,
    /// On worker 0 something in every epoch, whatever is read, until no worker has readings that wait.
    pub beats: StreamVec<'scope, Epoch, ()>,
}

/// Builds the source of one worker. `progress` comes back from further down and holds no epoch up: the output does not
/// depend on its frontier.
pub fn read<'scope, F>(
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    parts: ReadParts<F>,
) -> Readings<'scope>
where
    F: FnOnce(Wake) -> Intake,
{
    let scope = progress.scope();
    let mut builder = OperatorBuilder::new("read".to_owned(), scope);
    let (output, chunks) = builder.new_output::<Vec<Chunk>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Chunk>>>::from(output);
    let (beats_output, beats) = builder.new_output::<Vec<()>>();
    let mut beats_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<()>>>::from(beats_output);
    let beats_here = (scope.worker().index() == 0).then_some(());
    let mut progress_in = builder.new_input_connection(progress, Pipeline, []);
    let activator = scope.worker().activator_for(builder.operator_info().address);
    let intake = (parts.open)(wake(scope, &builder));
    let ReadParts {
        assigned,
        clock: epochs,
        idle_after,
        until_caught_up,
        drain,
        committed,
        held,
        telemetry,
        ..
    } = parts;
    held.wakes(scope.worker().activator_for(builder.operator_info().address));
    let first_epoch = parts.committed_epoch + 1;

    builder.build(move |mut capabilities| {
        let mut beat = capabilities.pop();
        let mut capability = capabilities.pop();
        let mut partitions = Partitions::new(&assigned, until_caught_up);
        // Set when another process was asked to end: this one drains too.
        let mut peer_left = false;
        let mut epoch = 0;
        let mut open = Open::default();
        let mut in_flight: VecDeque<Epoch> = VecDeque::new();
        move |frontiers| {
            let mut latest = None;
            progress_in.for_each(|_, progress| {
                peer_left |= progress.iter().any(|one| one.marks.iter().any(|mark| mark.reach.leaving));
                latest = progress.pop();
                progress.clear();
            });
            let Some(beat_cap) = beat.as_mut() else { return };
            let now = clock::instant();
            let now_ms = epochs.at_ms(now);
            let grid_ms = now_ms / EPOCH_GRID_MS * EPOCH_GRID_MS;
            let Some(cap) = capability.as_mut() else {
                if frontiers[0].is_empty() {
                    beat = None;
                    return;
                }
                if grid_ms > epoch {
                    epoch = grid_ms;
                    beat_cap.downgrade(&epoch);
                    beats_output.activate().session(&*beat_cap).give(());
                }
                activator.activate_after(Duration::from_millis(EPOCH_GRID_MS));
                return;
            };
            let _timing = telemetry.stages.start(Stage::Read);
            let mut output = output.activate();
            if epoch == 0 {
                epoch = grid_ms.max(first_epoch.next_multiple_of(EPOCH_GRID_MS));
                cap.downgrade(&epoch);
                beat_cap.downgrade(&epoch);
                open.since_ms = now_ms;
                output.session(&*cap).give_iterator(partitions.introduce(&assigned).inspect(|_| held.sent()));
                open.records = 1;
            }
            while in_flight.front().is_some_and(|first| !committed.less_equal(first)) {
                in_flight.pop_front();
            }
            let draining = drain.load(Ordering::Relaxed) || peer_left;
            // Where readings wait for what they are judged by, partitions come side by side anyway; and marks say
            // nothing of what waits, so that one which the others wait for might seem to be ahead of them.
            if let Some(progress) = latest.filter(|_| !held.is_attached()) {
                partitions.set_ahead(&progress.ahead);
            }
            partitions.balance(&intake, &held);
            let room = in_flight.len() < EPOCHS_IN_FLIGHT_MAX;
            let mut starved = false;
            while room && !draining && !open.is_full() {
                let Some(chunk) = partitions.next(&intake, now) else {
                    starved = true;
                    break;
                };
                open.records += chunk.records().max(1);
                open.bytes += chunk.payloads.len();
                held.sent();
                output.session(&*cap).give(chunk);
            }
            if let Some(idle_after) = idle_after {
                for chunk in partitions.tick(idle_after) {
                    open.records += 1;
                    held.sent();
                    output.session(&*cap).give(chunk);
                }
            }
            if draining || (until_caught_up && partitions.are_done() && !held.holds_any()) {
                if draining {
                    output.session(&*cap).give_iterator(partitions.drain().inspect(|_| held.sent()));
                }
                intake.control.stop();
                drop(output);
                capability = None;
                // Elsewhere readings may wait for what worker 0 decides: it goes on until no progress can come.
                beat = beat.take().filter(|_| beats_here.is_some() && held.is_attached());
                activator.activate();
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
                beat_cap.downgrade(&epoch);
                beats_output.activate().session(&*beat_cap).give_iterator(beats_here.into_iter());
                open = Open { since_ms: now_ms, ..Open::default() };
            }
            let next_ms = (epoch + EPOCH_GRID_MS).saturating_sub(now_ms).clamp(1, EPOCH_GRID_MS);
            activator.activate_after(Duration::from_millis(next_ms));
        }
    });
    Readings { chunks, beats }
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

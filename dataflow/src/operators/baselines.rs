//! baselines: what all workers' rows teach the zones that are routed here; when minutes are closed, models trained, and
//! what is known written down.
//!
//! ```text
//!  statistics ── exchange by zone ─▶┐                               ┌▶ directives ─ broadcast, 500 ms later ─▶ score
//!  progress ───────────────────────▶┴─ an epoch at a time, in order ├▶ notes ─▶ commit
//!                                                                   └▶ blobs ─▶ copy
//! ```
//!
//! Every worker sees the same marks, so all close minutes and write down what they know in the same epochs; worker 0
//! tells the others what concerns all, and trains.

use std::rc::Rc;
use std::sync::Arc;

use citytide_core::NEVER;
use citytide_core::detect::{Baselines, Blob, Closing, HOLDS_AFTER_MS, SampledRows, StatsUpdate};
use citytide_core::window::Progress;
use citytide_detector::Layout;
use citytide_store::session::Wake;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::score::Directive;
use super::{Epoch, OpenEpochs, Rows, wake};
use crate::commit::plan::DetectorNote;
use crate::share::route;
use crate::training::{SnapshotPolicy, Training};

/// What the operator of one worker needs.
pub struct BaselinesParts<F> {
    /// The statistics of the zones routed here.
    pub baselines: Baselines,
    /// What minutes are.
    pub layout: Arc<Layout>,
    /// W of the last commit, microseconds.
    pub low_us: i64,
    /// When to write down what is known.
    pub snapshot_policy: SnapshotPolicy,
    /// On worker 0: starts the training.
    pub open_training: Option<F>,
}

/// The streams behind `baselines`.
pub struct BaselineStreams<'scope> {
    /// For all workers, from a later epoch on.
    pub directives: StreamVec<'scope, Epoch, Directive>,
    /// What the commit must know of.
    pub notes: StreamVec<'scope, Epoch, DetectorNote>,
    /// What must be written down.
    pub blobs: StreamVec<'scope, Epoch, Blob>,
}

#[derive(Default)]
struct Arrived {
    updates: Vec<StatsUpdate>,
    progress: Option<Rc<Progress>>,
    /// Whether what is known before this epoch is written down.
    remember: bool,
}

/// Builds the operator.
pub fn baselines<'scope, F>(
    updates: StreamVec<'scope, Epoch, StatsUpdate>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    parts: BaselinesParts<F>,
) -> BaselineStreams<'scope>
where
    F: FnOnce(Wake) -> Training,
{
    let scope = updates.scope();
    let index = scope.worker().index();
    let mut builder = OperatorBuilder::new("baselines".to_owned(), scope);
    let to = |update: &StatsUpdate| match update {
        StatsUpdate::Zone(zone, ..) => route(zone),
        StatsUpdate::Sample(_) => 0,
    };
    let mut updates_in = builder.new_input(updates, Exchange::new(to));
    let mut progress_in = builder.new_input(progress, Pipeline);
    let (output, directives) = builder.new_output::<Vec<Directive>>();
    let mut to_score = OutputBuilder::<_, Rows<Directive>>::from(output);
    let (output, notes) = builder.new_output::<Vec<DetectorNote>>();
    let mut to_commit = OutputBuilder::<_, Rows<DetectorNote>>::from(output);
    let (output, blobs) = builder.new_output::<Vec<Blob>>();
    let mut to_copy = OutputBuilder::<_, Rows<Blob>>::from(output);
    let wake = wake(scope, &builder);
    let BaselinesParts { mut baselines, layout, mut low_us, mut snapshot_policy, open_training } = parts;
    let mut training = open_training.map(|open| open(wake));

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: OpenEpochs<Arrived, 3> = OpenEpochs::new(0);
        move |frontiers| {
            updates_in.for_each(|capability, updates| epochs.of(&capability).updates.append(updates));
            progress_in.for_each(|capability, progress| epochs.of(&capability).progress = progress.pop());
            while let Some((epoch, open, capabilities)) = epochs.pop_complete(frontiers) {
                let [order, note, known] = &capabilities;
                baselines.advance_to(epoch);
                if open.remember {
                    let mut to_copy = to_copy.activate();
                    let mut session = to_copy.session(known);
                    session.give(baselines.blob(&index.to_string()));
                    session.give_iterator(training.iter().map(Training::blob));
                }
                for update in open.updates {
                    match update {
                        StatsUpdate::Zone(zone, minute, stats) => baselines.add(zone, minute, *stats),
                        StatsUpdate::Sample(rows) => sample(&mut training, rows),
                    }
                }
                let marks = open.progress.as_ref().map_or(&[][..], |progress| {
                    low_us = progress.low_us;
                    &progress.marks
                });
                let holds_from = epoch + HOLDS_AFTER_MS;
                let mut directives = Vec::new();
                let mut notes = Vec::new();
                let before = layout.tick(low_us);
                if low_us != NEVER && baselines.closed_before().is_none_or(|closed| closed < before) {
                    let closed = baselines.close(Closing { epoch, before, holds_from });
                    if !closed.is_empty() {
                        directives.push(Directive::Close(closed));
                    }
                    if training.is_some() {
                        notes.push(DetectorNote::Closed { before_us: before * layout.tick_us, holds_from });
                    }
                }
                if let Some(training) = &mut training {
                    if let Some(ready) = training.ready() {
                        directives.push(Directive::Model(ready.version, ready.bytes));
                        notes.push(DetectorNote::InForce { version: ready.version, holds_from });
                    }
                    training.look(low_us);
                }
                if snapshot_policy.is_due(epoch, marks) {
                    if training.is_some() {
                        directives.push(Directive::Remember);
                    }
                    epochs.later(&capabilities, holds_from).remember = true;
                }
                to_score.activate().session(order).give_iterator(directives.into_iter());
                to_commit.activate().session(note).give_iterator(notes.into_iter());
            }
        }
    });
    BaselineStreams { directives, notes, blobs }
}

fn sample(training: &mut Option<Training>, rows: SampledRows) {
    if let Some(training) = training {
        training.sample(rows);
    }
}

//! baselines: what all workers' rows teach the zones that are routed here; when minutes are closed, models trained, and
//! what is known written down.
//!
//! ```text
//!  lessons ── exchange by zone ─▶┐                              ┌▶ directives ─ broadcast, 500 ms later ─▶ score
//!  marks ──── broadcast ────────▶┴─ an epoch at a time, in order ├▶ notes ─▶ commit
//!                                                                └▶ blobs ─▶ copy
//! ```
//!
//! Every worker sees the same marks, so all close minutes and write down what they know in the same epochs; worker 0
//! tells the others what concerns all, and trains.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_core::NEVER;
use citytide_core::detect::{Baselines, Blob, Closing, HOLDS_AFTER_MS, Sampled, Taught};
use citytide_core::window::{Mark, Watermarks};
use citytide_detector::Layout;
use citytide_store::session::Wake;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::score::Directive;
use super::{Epoch, passed, route};
use crate::commit::plan::DetectorNote;
use crate::detect::{Pace, Training};

/// What the operator of one worker needs.
pub struct BaselinesParts<F> {
    /// The lessons of the zones routed here.
    pub baselines: Baselines,
    /// What minutes are.
    pub layout: Arc<Layout>,
    /// The watermarks as of the last commit.
    pub watermarks: Watermarks,
    /// When to write down what is known.
    pub pace: Pace,
    /// On worker 0: starts the training.
    pub open_training: Option<F>,
}

/// The streams behind `baselines`.
pub struct Learnt<'scope> {
    /// For all workers, from a later epoch on.
    pub directives: StreamVec<'scope, Epoch, Directive>,
    /// What the commit must know of.
    pub notes: StreamVec<'scope, Epoch, DetectorNote>,
    /// What must be written down.
    pub blobs: StreamVec<'scope, Epoch, Blob>,
}

type Out<D> = CapacityContainerBuilder<Vec<D>>;

#[derive(Default)]
struct OpenEpoch {
    capabilities: Option<[Capability<Epoch>; 3]>,
    taught: Vec<Taught>,
    marks: Vec<Mark>,
    /// Whether what is known before this epoch is written down.
    remember: bool,
}

/// Builds the operator.
pub fn baselines<'scope, F>(
    taught: StreamVec<'scope, Epoch, Taught>,
    marks: StreamVec<'scope, Epoch, Mark>,
    parts: BaselinesParts<F>,
) -> Learnt<'scope>
where
    F: FnOnce(Wake) -> Training,
{
    let scope = taught.scope();
    let index = scope.worker().index();
    let mut builder = OperatorBuilder::new("baselines".to_owned(), scope);
    let to = |taught: &Taught| match taught {
        Taught::Zone(zone, ..) => route(zone),
        Taught::Sampled(_) => 0,
    };
    let mut taught_in = builder.new_input(taught, Exchange::new(to));
    let mut marks_in = builder.new_input(marks, Pipeline);
    let (output, directives) = builder.new_output::<Vec<Directive>>();
    let mut to_score = OutputBuilder::<_, Out<Directive>>::from(output);
    let (output, notes) = builder.new_output::<Vec<DetectorNote>>();
    let mut to_commit = OutputBuilder::<_, Out<DetectorNote>>::from(output);
    let (output, blobs) = builder.new_output::<Vec<Blob>>();
    let mut to_copy = OutputBuilder::<_, Out<Blob>>::from(output);
    let wake = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    let BaselinesParts { mut baselines, layout, mut watermarks, mut pace, open_training } = parts;
    let mut training = open_training.map(|open| {
        open(Arc::new(move || {
            let _ = wake.activate();
        }))
    });

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: BTreeMap<Epoch, OpenEpoch> = BTreeMap::new();
        move |frontiers| {
            taught_in.for_each(|capability, taught| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capabilities.get_or_insert_with(|| [0, 1, 2].map(|port| capability.retain(port)));
                open.taught.append(taught);
            });
            marks_in.for_each(|capability, marks| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capabilities.get_or_insert_with(|| [0, 1, 2].map(|port| capability.retain(port)));
                open.marks.append(marks);
            });
            while let Some(first) = epochs.first_entry() {
                let epoch = *first.key();
                if !passed(frontiers, epoch) {
                    break;
                }
                let open = first.remove();
                let [order, note, known] = open.capabilities.expect("set with the first message");
                baselines.advance_to(epoch);
                if open.remember {
                    let mut to_copy = to_copy.activate();
                    let mut session = to_copy.session(&known);
                    session.give(baselines.blob(&index.to_string()));
                    session.give_iterator(training.iter().map(Training::blob));
                }
                for taught in open.taught {
                    match taught {
                        Taught::Zone(zone, minute, taught) => baselines.learn_one(zone, minute, *taught),
                        Taught::Sampled(rows) => sample(&mut training, rows),
                    }
                }
                let low_us = {
                    open.marks.iter().for_each(|mark| watermarks.observe(mark));
                    watermarks.advance()
                };
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
                if pace.is_due(epoch, &open.marks) {
                    if training.is_some() {
                        directives.push(Directive::Remember);
                    }
                    let at = epochs.entry(holds_from).or_default();
                    at.remember = true;
                    at.capabilities.get_or_insert_with(|| {
                        [order.delayed(&holds_from), note.delayed(&holds_from), known.delayed(&holds_from)]
                    });
                }
                to_score.activate().session(&order).give_iterator(directives.into_iter());
                to_commit.activate().session(&note).give_iterator(notes.into_iter());
            }
        }
    });
    Learnt { directives, notes, blobs }
}

fn sample(training: &mut Option<Training>, rows: Sampled) {
    if let Some(training) = training {
        training.sample(rows);
    }
}

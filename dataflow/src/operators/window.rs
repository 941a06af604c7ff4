//! window: all workers' partials of an epoch and its W → rows of windows and panes, for the zones routed here.
//!
//! ```text
//!  partials ──exchange by zone──▶┐
//!                                ├─ an epoch at a time, in order ─▶ rows, panes ─▶ commit
//!  marks ─────broadcast─────────▶┘        │                      └▶ facts ──────▶ views
//!                                  panes that have left memory are read back first; the epoch waits
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use citytide_core::window::{Mark, PaneRange, PaneState, Partial, Watermarks, WindowRow, Windows, ZoneFact};
use citytide_store::session::{Session, Wake};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;

use super::{Epoch, passed, route};
use crate::telemetry::{Stage, Telemetry};

/// What a zone's worker tells the commit.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub enum Changes {
    /// A window's row.
    Window(WindowRow),
    /// A pane.
    Pane(PaneState),
}

/// A fact about a zone that holds (+1) or no longer does (−1), as differential dataflow takes it.
pub type FactUpdate = ((Arc<str>, ZoneFact), Epoch, isize);

/// What the operator of one worker needs.
pub struct WindowParts<F> {
    /// Windows with their open panes loaded.
    pub windows: Windows,
    /// Facts that hold from the start, of the zones routed here.
    pub facts: Vec<(Arc<str>, ZoneFact, isize)>,
    /// The watermarks, shared with the source of this worker.
    pub watermarks: Rc<RefCell<Watermarks>>,
    /// The commit's frontier.
    pub committed: Handle<Epoch>,
    /// Set when a partition's process was asked to end.
    pub peer_left: Arc<AtomicBool>,
    /// Where the time it takes is told.
    pub telemetry: Arc<Telemetry>,
    /// Starts the session that reads panes back.
    pub open_panes: F,
}

#[derive(Default)]
struct OpenEpoch {
    capabilities: Option<[Capability<Epoch>; 2]>,
    partials: Vec<Partial>,
    marks: Vec<Mark>,
    /// Whether the panes that it needs have been read back.
    complete: bool,
}

/// Builds the operator.
pub fn window<'scope, F>(
    partials: StreamVec<'scope, Epoch, Partial>,
    marks: StreamVec<'scope, Epoch, Mark>,
    parts: WindowParts<F>,
) -> (StreamVec<'scope, Epoch, Changes>, StreamVec<'scope, Epoch, FactUpdate>)
where
    F: FnOnce(crossbeam_channel::Sender<Vec<PaneState>>, Wake) -> Session<Vec<PaneRange>>,
{
    let scope = partials.scope();
    let mut builder = OperatorBuilder::new("window".to_owned(), scope);
    let mut partials_in =
        builder.new_input(partials, Exchange::new(|partial: &Partial| route(&partial.zone)));
    let mut marks_in = builder.new_input(marks, Pipeline);
    let (output, changes) = builder.new_output::<Vec<Changes>>();
    let mut to_commit = OutputBuilder::<_, CapacityContainerBuilder<Vec<Changes>>>::from(output);
    let (output, facts) = builder.new_output::<Vec<FactUpdate>>();
    let mut to_views = OutputBuilder::<_, CapacityContainerBuilder<Vec<FactUpdate>>>::from(output);
    let wake = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    let (answers, answered) = crossbeam_channel::unbounded();
    let panes = (parts.open_panes)(
        answers,
        Arc::new(move || {
            let _ = wake.activate();
        }),
    );
    let WindowParts { mut windows, facts: initial, watermarks, committed, peer_left, telemetry, .. } = parts;

    builder.build(move |capabilities| {
        let mut initial = Some((capabilities, initial));
        let mut epochs: BTreeMap<Epoch, OpenEpoch> = BTreeMap::new();
        let mut asked = false;
        move |frontiers| {
            let mut to_views = to_views.activate();
            if let Some((capabilities, facts)) = initial.take() {
                let updates = facts.into_iter().map(|(zone, fact, diff)| ((zone, fact), 0, diff));
                to_views.session(&capabilities[1]).give_iterator(updates);
            }
            partials_in.for_each(|capability, partials| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capabilities.get_or_insert_with(|| [0, 1].map(|port| capability.retain(port)));
                open.partials.append(partials);
            });
            marks_in.for_each(|capability, marks| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capabilities.get_or_insert_with(|| [0, 1].map(|port| capability.retain(port)));
                open.marks.append(marks);
            });
            while let Some(mut first) = epochs.first_entry() {
                let epoch = *first.key();
                if !passed(frontiers, epoch) {
                    break;
                }
                if !first.get().complete {
                    if asked {
                        let Ok(loaded) = answered.try_recv() else { break };
                        loaded.into_iter().for_each(|pane| windows.load(pane));
                        asked = false;
                    } else {
                        let missing = windows.missing(&first.get().partials);
                        if !missing.is_empty() {
                            panes.send(missing);
                            asked = true;
                            break;
                        }
                    }
                    first.get_mut().complete = true;
                }
                let open = first.remove();
                if open.marks.iter().any(|mark| mark.leaving) {
                    peer_left.store(true, Ordering::Relaxed);
                }
                let low_us = {
                    let mut watermarks = watermarks.borrow_mut();
                    open.marks.iter().for_each(|mark| watermarks.observe(mark));
                    watermarks.advance()
                };
                let applied =
                    telemetry.stages.time(Stage::Window, || windows.apply(epoch, open.partials, low_us));
                let [changes, facts] = open.capabilities.expect("set with the first message");
                let mut to_commit = to_commit.activate();
                let mut session = to_commit.session(&changes);
                session.give_iterator(applied.windows.into_iter().map(Changes::Window));
                session.give_iterator(applied.panes.into_iter().map(Changes::Pane));
                let updates = applied.facts.into_iter().map(|(zone, fact, diff)| ((zone, fact), epoch, diff));
                to_views.session(&facts).give_iterator(updates);
            }
            windows
                .evict(committed.with_frontier(|frontier| frontier.first().copied().unwrap_or(Epoch::MAX)));
        }
    });
    (changes, facts)
}

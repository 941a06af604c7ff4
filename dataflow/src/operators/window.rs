//! window: all workers' partials of an epoch and its W → rows of windows and panes, for the zones routed here.
//!
//! ```text
//!  partials ──exchange by zone──▶┐
//!                                ├─ an epoch at a time, in order ─▶ rows, panes ─▶ commit
//!  progress ────────────────────▶┘        │                      └▶ facts ──────▶ views
//!                                  panes that have left memory are read back first; the epoch waits
//! ```

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use citytide_core::window::{PaneRange, PaneState, Partial, Progress, WindowRow, Windows, ZoneFact};
use citytide_store::session::{Session, Wake};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;

use super::{Epoch, OpenEpoch, OpenEpochs, Recall, Rows, wake};
use crate::share::route;
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

/// Starts the session that reads panes back, which answers on the channel.
pub type OpenPanes =
    Box<dyn FnOnce(crossbeam_channel::Sender<Vec<PaneState>>, Wake) -> Session<Vec<PaneRange>>>;

/// What the operator of one worker needs.
pub struct WindowParts {
    /// Windows with their open panes loaded.
    pub windows: Windows,
    /// W of the last commit, microseconds.
    pub low_us: i64,
    /// Facts that hold from the start, of the zones routed here.
    pub facts: Vec<(Arc<str>, ZoneFact, isize)>,
    /// The commit's frontier.
    pub committed: Handle<Epoch>,
    /// Where the time it takes is told.
    pub telemetry: Arc<Telemetry>,
    /// Starts the session that reads panes back.
    pub open_panes: OpenPanes,
}

#[derive(Default)]
struct Arrived {
    partials: Vec<Partial>,
    progress: Option<Rc<Progress>>,
    /// What must be read back before it can be applied, a batch at a time; `None` before that is known.
    missing: Option<VecDeque<Vec<PaneRange>>>,
}

/// The streams behind `window`.
pub struct Windowed<'scope> {
    /// Rows of windows and panes.
    pub changes: StreamVec<'scope, Epoch, Changes>,
    /// What the live views know of zones.
    pub facts: StreamVec<'scope, Epoch, FactUpdate>,
}

/// Builds the operator.
pub fn window<'scope>(
    partials: StreamVec<'scope, Epoch, Partial>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    parts: WindowParts,
) -> Windowed<'scope> {
    let scope = partials.scope();
    let mut builder = OperatorBuilder::new("window".to_owned(), scope);
    let mut partials_in =
        builder.new_input(partials, Exchange::new(|partial: &Partial| route(&partial.zone)));
    let mut progress_in = builder.new_input(progress, Pipeline);
    let (output, changes) = builder.new_output::<Vec<Changes>>();
    let mut to_commit = OutputBuilder::<_, Rows<Changes>>::from(output);
    let (output, facts) = builder.new_output::<Vec<FactUpdate>>();
    let mut to_views = OutputBuilder::<_, Rows<FactUpdate>>::from(output);
    let mut recall = Recall::open(parts.open_panes, wake(scope, &builder));
    let WindowParts { mut windows, mut low_us, facts: initial, committed, telemetry, .. } = parts;

    builder.build(move |capabilities| {
        let mut initial = Some((capabilities, initial));
        let mut epochs: OpenEpochs<Arrived, 2> = OpenEpochs::new(0);
        move |frontiers| {
            let mut to_views = to_views.activate();
            if let Some((capabilities, facts)) = initial.take() {
                let updates = facts.into_iter().map(|(zone, fact, diff)| ((zone, fact), 0, diff));
                to_views.session(&capabilities[1]).give_iterator(updates);
            }
            partials_in.for_each(|capability, partials| epochs.of(&capability).partials.append(partials));
            progress_in.for_each(|capability, progress| epochs.of(&capability).progress = progress.pop());
            while let Some(mut first) = epochs.first_complete(frontiers) {
                if recall.is_waiting(|loaded| loaded.into_iter().for_each(|pane| windows.load(pane))) {
                    break;
                }
                let Arrived { partials, missing, .. } = &mut first.get_mut().state;
                if let Some(batch) =
                    missing.get_or_insert_with(|| windows.missing(partials).into()).pop_front()
                {
                    recall.ask(batch);
                    break;
                }
                let (epoch, OpenEpoch { state, capabilities: [changes, facts] }) = first.remove_entry();
                low_us = state.progress.map_or(low_us, |progress| progress.low_us);
                let applied =
                    telemetry.stages.time(Stage::Window, || windows.apply(epoch, state.partials, low_us));
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
    Windowed { changes, facts }
}

//! metrics_…: the tables of session windows, by zone or by sensor.
//!
//! ```text
//!  batches ─▶ parts of sessions (where a partition is read) ──exchange by zone──▶┐
//!                                                                                ├─▶ sessions of an epoch ─▶ rows
//!  progress ────────────────────────────────────────────────────────────────────▶┘        │
//!                                             sessions that have left memory are read back first; the epoch waits
//! ```
//!
//! Unlike a window, a session may start earlier when a late reading comes, or be taken in by another one: then its row
//! disappears. So sessions are a live view, and what disappears leaves its key in `changes`.

use std::rc::Rc;

use citytide_core::window::{
    Progress, Session as Readings, SessionRange, SessionRow, Sessions, SessionsOf, parts_of,
};
use citytide_domain::{Domain, SESSIONS_MAX};
use citytide_store::row::Row;
use citytide_store::schema::LiveTable;
use citytide_store::session::{Session, Wake};
use citytide_store::sessions::{Loaded, session_comparison, session_row, session_table};
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;

use super::{Inputs, View};
use crate::operators::{Epoch, OpenEpochs, Recall, Rows, wake};
use crate::share::route;

pub(super) const VIEW: View = View { stored: &STORED, define };

/// A table for each session window that a domain may have.
const STORED: [LiveTable; SESSIONS_MAX] = [
    stored::<0>(),
    stored::<1>(),
    stored::<2>(),
    stored::<3>(),
    stored::<4>(),
    stored::<5>(),
    stored::<6>(),
    stored::<7>(),
];

const fn stored<const WINDOW: usize>() -> LiveTable {
    LiveTable {
        is_of: |domain| domain.sessions.len() > WINDOW,
        is_restored: false,
        ..LiveTable::new(
            |domain| session_table(domain, WINDOW),
            |as_of, domain| session_comparison(as_of, domain, WINDOW),
        )
    }
}

/// Starts the session that reads sessions back, which answers on the channel.
pub type OpenSessions =
    Box<dyn FnOnce(crossbeam_channel::Sender<Loaded>, Wake) -> Session<Vec<SessionRange>>>;

/// What the operator of one worker needs.
pub struct SessionParts {
    /// As of W of the last commit, with those that may still change.
    pub sessions: Sessions,
    /// The commit's frontier.
    pub committed: Handle<Epoch>,
    /// Starts the session that reads sessions back.
    pub open_sessions: OpenSessions,
}

/// The sessions of some zones as the last commit left them.
pub fn restored_sessions(domain: &Domain, low_us: i64, loaded: Loaded) -> Sessions {
    let mut sessions = Sessions::new(domain, low_us);
    take_in(&mut sessions, loaded);
    sessions
}

/// Takes in what was read from the database.
fn take_in(sessions: &mut Sessions, loaded: Loaded) {
    for (of, session, is_final) in loaded {
        sessions.load(of, session, is_final);
    }
}

type Part = (SessionsOf, Readings);
/// A row of one of the domain's session windows.
type Update = ((usize, Row), Epoch, isize);
type Changed<'scope> = VecCollection<'scope, Epoch, Row, isize>;

#[derive(Default)]
struct Arrived {
    parts: Vec<Part>,
    progress: Option<Rc<Progress>>,
    /// Whether what must be read back was asked for.
    is_asked: bool,
}

fn define<'scope>(inputs: &Inputs<'scope>) -> Vec<Changed<'scope>> {
    let parts = inputs.sessions.take().expect("sessions are defined once");
    let windows = inputs.domain.sessions.clone();
    if windows.is_empty() {
        return Vec::new();
    }
    let count = windows.len();
    let found = inputs
        .batches
        .summaries("sessions of a batch", move |batch, found| found.extend(parts_of(batch, &windows)));
    let domain = inputs.domain.clone();
    let to_row = move |row: &SessionRow| (row.of.window, session_row(&domain, row));
    let rows = keep(found, inputs.progress.clone(), parts, to_row);
    let of_window = |window| rows.clone().flat_map(move |(of, row)| (of == window).then_some(row));
    (0..count).map(of_window).collect()
}

/// Keeps the sessions of the zones routed here.
fn keep<'scope>(
    found: StreamVec<'scope, Epoch, Part>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    parts: SessionParts,
    to_row: impl Fn(&SessionRow) -> (usize, Row) + 'static,
) -> VecCollection<'scope, Epoch, (usize, Row), isize> {
    let scope = found.scope();
    let mut builder = OperatorBuilder::new("sessions".to_owned(), scope);
    let mut found_in = builder.new_input(found, Exchange::new(|(of, _): &Part| route(&of.zone)));
    let mut progress_in = builder.new_input(progress, Pipeline);
    let (output, rows) = builder.new_output::<Vec<Update>>();
    let mut to_commit = OutputBuilder::<_, Rows<Update>>::from(output);
    let mut recall = Recall::open(parts.open_sessions, wake(scope, &builder));
    let SessionParts { mut sessions, committed, .. } = parts;

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: OpenEpochs<Arrived, 1> = OpenEpochs::new(0);
        let mut low_us = sessions.low_us();
        move |frontiers| {
            found_in.for_each(|capability, parts| epochs.of(&capability).parts.append(parts));
            progress_in.for_each(|capability, progress| epochs.of(&capability).progress = progress.pop());
            while let Some(mut first) = epochs.first_complete(frontiers) {
                if recall.is_waiting(|loaded| take_in(&mut sessions, loaded)) {
                    break;
                }
                let state = &mut first.get_mut().state;
                if !std::mem::replace(&mut state.is_asked, true) {
                    let missing = sessions.missing(&state.parts);
                    if !missing.is_empty() {
                        recall.ask(missing);
                        break;
                    }
                }
                let (epoch, open) = first.remove_entry();
                low_us = open.state.progress.map_or(low_us, |progress| progress.low_us);
                let changes = sessions.apply(epoch, open.state.parts, low_us);
                let updates = changes.iter().map(|(row, diff)| (to_row(row), epoch, *diff));
                to_commit.activate().session(&open.capabilities[0]).give_iterator(updates);
            }
            sessions
                .evict(committed.with_frontier(|frontier| frontier.first().copied().unwrap_or(Epoch::MAX)));
        }
    });
    rows.as_collection()
}

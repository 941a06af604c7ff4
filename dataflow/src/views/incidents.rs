//! incidents: what is wrong, since when, and whether it is over, as of W at its last full ten seconds.
//!
//! ```text
//!  findings of all workers ──exchange by zone──▶┐
//!                                               ├─ an epoch at a time, in order ─▶ occurrences, states, transitions
//!  progress ───────────────────────────────────▶┘         │
//!                                       what left memory is read back first; the epoch waits
//! ```
//!
//! Its tables are restored by what may still change alone, so its rows are told as changes of what the database holds.

use std::rc::Rc;

use citytide_core::batch::Batch;
use citytide_core::incidents::{
    Changes, IncidentRules, Incidents, Lingering, Neighbourhood, Occurrence, Steps, Subject, findings,
};
use citytide_core::window::Progress;
use citytide_domain::Domain;
use citytide_store::incidents::{
    LoadedIncidents, beside, occurrence_row, occurrences, occurrences_comparison, state_row, states,
    states_comparison, transition_row, transitions, views,
};
use citytide_store::row::Row;
use citytide_store::schema::LiveTable;
use citytide_store::session::{Session, Wake};
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;

use super::{Inputs, View};
use crate::operators::{Epoch, OpenEpochs, Recall, Rows, wake};
use crate::share::route;

pub(super) const VIEW: View = View {
    stored: &[
        LiveTable { is_restored: false, ..LiveTable::new(occurrences, occurrences_comparison) },
        LiveTable { is_restored: false, beside, views, ..LiveTable::new(states, states_comparison) },
        LiveTable::log(transitions),
    ],
    define,
};

/// Starts the session that reads incidents back, which answers on the channel.
pub type OpenIncidents =
    Box<dyn FnOnce(crossbeam_channel::Sender<LoadedIncidents>, Wake) -> Session<Vec<Neighbourhood>>>;

/// What the operator of one worker needs.
pub struct IncidentParts {
    /// As of W of the last commit, with what may still change.
    pub incidents: Incidents,
    /// The commit's frontier.
    pub committed: Handle<Epoch>,
    /// Starts the session that reads incidents back.
    pub open_incidents: OpenIncidents,
}

/// Anomalies of a subject within a step, from one worker.
type Found = (Subject, Occurrence);
type Update = (Row, Epoch, isize);
type Changed<'scope> = VecCollection<'scope, Epoch, Row, isize>;

/// What a batch says, each subject once for each step.
fn found_in(lingering: &Lingering, batch: &Batch, found: &mut Vec<Found>) {
    let mut steps = Steps::default();
    findings(batch, |subject, one| steps.add(subject, one));
    lingering.find(batch, |subject, one| steps.add(subject, one));
    found.extend(steps);
}

#[derive(Default)]
struct Arrived {
    found: Vec<Found>,
    progress: Option<Rc<Progress>>,
    /// Whether what must be read back was asked for.
    is_asked: bool,
}

fn define<'scope>(inputs: &Inputs<'scope>) -> Vec<Changed<'scope>> {
    let lingering = Lingering::new(&inputs.domain);
    let find = move |batch: &Batch, found: &mut Vec<Found>| found_in(&lingering, batch, found);
    let found = inputs.batches.summaries("findings of a batch", find);
    let parts = inputs.incidents.take().expect("incidents are defined once");
    keep(found, inputs.progress.clone(), parts).into()
}

/// Keeps the incidents of the zones routed here: rows of occurrences, of states, and of the log.
fn keep<'scope>(
    found: StreamVec<'scope, Epoch, Found>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    parts: IncidentParts,
) -> [Changed<'scope>; 3] {
    let scope = found.scope();
    let mut builder = OperatorBuilder::new("incidents".to_owned(), scope);
    let mut found_in = builder.new_input(found, Exchange::new(|(subject, _): &Found| route(&subject.zone)));
    let mut progress_in = builder.new_input(progress, Pipeline);
    let (output, occurrences) = builder.new_output::<Vec<Update>>();
    let mut to_occurrences = OutputBuilder::<_, Rows<Update>>::from(output);
    let (output, states) = builder.new_output::<Vec<Update>>();
    let mut to_states = OutputBuilder::<_, Rows<Update>>::from(output);
    let (output, transitions) = builder.new_output::<Vec<Update>>();
    let mut to_transitions = OutputBuilder::<_, Rows<Update>>::from(output);
    let mut recall = Recall::open(parts.open_incidents, wake(scope, &builder));
    let IncidentParts { mut incidents, committed, .. } = parts;

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: OpenEpochs<Arrived, 3> = OpenEpochs::new(0);
        let mut low_us = incidents.now_us();
        move |frontiers| {
            found_in.for_each(|capability, found| epochs.of(&capability).found.append(found));
            progress_in.for_each(|capability, progress| epochs.of(&capability).progress = progress.pop());
            while let Some(mut first) = epochs.first_complete(frontiers) {
                if recall.is_waiting(|loaded| take_in(&mut incidents, loaded)) {
                    break;
                }
                let state = &mut first.get_mut().state;
                if !std::mem::replace(&mut state.is_asked, true) {
                    let missing = incidents.missing(state.found.iter().map(|(subject, one)| (subject, one)));
                    if !missing.is_empty() {
                        recall.ask(missing);
                        break;
                    }
                }
                let (epoch, open) = first.remove_entry();
                low_us = open.state.progress.map_or(low_us, |progress| progress.low_us);
                let Changes { occurrences, incidents: states, transitions } =
                    incidents.advance(epoch, open.state.found, low_us);
                let [for_occurrences, for_states, for_transitions] = &open.capabilities;
                to_occurrences.activate().session(for_occurrences).give_iterator(
                    occurrences.iter().map(|(of, one, diff)| (occurrence_row(of, one), epoch, *diff)),
                );
                to_states
                    .activate()
                    .session(for_states)
                    .give_iterator(states.iter().map(|(one, diff)| (state_row(one), epoch, *diff)));
                to_transitions
                    .activate()
                    .session(for_transitions)
                    .give_iterator(transitions.iter().map(|one| (transition_row(one), epoch, 1)));
            }
            incidents
                .evict(committed.with_frontier(|frontier| frontier.first().copied().unwrap_or(Epoch::MAX)));
        }
    });
    [occurrences.as_collection(), states.as_collection(), transitions.as_collection()]
}

/// The incidents of some zones as the last commit left them.
pub fn restored_incidents(domain: &Domain, low_us: i64, mut loaded: LoadedIncidents) -> Incidents {
    let mut incidents = Incidents::new(IncidentRules::new(domain), low_us);
    let ahead = std::mem::take(&mut loaded.ahead);
    take_in(&mut incidents, loaded);
    // They lie ahead of now: nothing follows from them yet.
    incidents.advance(0, ahead, low_us);
    incidents
}

/// Takes in what was read from the database.
fn take_in(incidents: &mut Incidents, loaded: LoadedIncidents) {
    for (subject, occurrence) in loaded.occurrences {
        incidents.load_occurrence(subject, occurrence);
    }
    loaded.incidents.into_iter().for_each(|incident| incidents.load_incident(incident));
}

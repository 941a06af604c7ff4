//! recent: how many of this worker's anomalies lie in the last five minutes before W, by sensor, as updates for
//! differential; and which these are in SQL.
//!
//! ```text
//!  anomalies ─▶┐
//!              ├─ an epoch at a time, in order ─▶ what is known of sensors ─▶ views
//!  progress ──▶┘        │
//!               anomalies that waited in the database are read back first; the epoch waits
//! ```

use std::rc::Rc;
use std::sync::Arc;

use citytide_core::window::{Progress, RECENT_US, ReadBack, Recent, RecentAnomaly, SensorAnomalies};
use citytide_domain::Domain;
use citytide_store::compare::{AsOf, interval};
use citytide_store::session::{Session, Wake};
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;

use crate::operators::{Epoch, OpenEpochs, Rows, wake};
use crate::telemetry::Telemetry;

type Update = (SensorAnomalies, Epoch, isize);

/// Starts the session that reads anomalies back, which answers on the channel.
pub type OpenAnomalies =
    Box<dyn FnOnce(crossbeam_channel::Sender<Vec<RecentAnomaly>>, Wake) -> Session<ReadBack>>;

/// What the operator of one worker needs.
pub struct RecentParts {
    /// Knows how far the committed anomalies of `initial` reach.
    pub recent: Recent,
    /// W of the last commit, microseconds.
    pub low_us: i64,
    /// This worker's share of the committed anomalies that may be recent.
    pub initial: Vec<RecentAnomaly>,
    /// The commit's frontier.
    pub committed: Handle<Epoch>,
    /// Where is told how many are kept.
    pub telemetry: Arc<Telemetry>,
    /// Starts the session that reads anomalies back.
    pub open_anomalies: OpenAnomalies,
}

#[derive(Default)]
struct Arrived {
    anomalies: Vec<RecentAnomaly>,
    progress: Option<Rc<Progress>>,
}

/// Builds the operator.
pub fn recent<'scope>(
    anomalies: StreamVec<'scope, Epoch, RecentAnomaly>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    parts: RecentParts,
) -> VecCollection<'scope, Epoch, SensorAnomalies, isize> {
    let scope = anomalies.scope();
    let index = scope.worker().index();
    let mut builder = OperatorBuilder::new("recent".to_owned(), scope);
    let mut anomalies_in = builder.new_input(anomalies, Pipeline);
    let mut progress_in = builder.new_input(progress, Pipeline);
    let (output, updates) = builder.new_output::<Vec<Update>>();
    let mut output = OutputBuilder::<_, Rows<Update>>::from(output);
    let (answers, answered) = crossbeam_channel::unbounded();
    let session = (parts.open_anomalies)(answers, wake(scope, &builder));
    let RecentParts { mut recent, mut low_us, initial, committed, telemetry, .. } = parts;

    builder.build(move |mut capabilities| {
        let mut initial = Some((capabilities.remove(0), initial));
        let mut epochs: OpenEpochs<Arrived, 1> = OpenEpochs::new(0);
        // What is being read back.
        let mut asked: Option<ReadBack> = None;
        move |frontiers| {
            let mut output = output.activate();
            if let Some((capability, anomalies)) = initial.take() {
                let updates = recent.advance(0, anomalies, low_us);
                output
                    .session(&capability)
                    .give_iterator(updates.into_iter().map(|(row, diff)| (row, 0, diff)));
            }
            anomalies_in.for_each(|capability, anomalies| epochs.of(&capability).anomalies.append(anomalies));
            progress_in.for_each(|capability, progress| epochs.of(&capability).progress = progress.pop());
            while let Some(first) = epochs.first_complete(frontiers) {
                if let Some(wanted) = asked {
                    let Ok(answer) = answered.try_recv() else { break };
                    recent.read_back(wanted, answer);
                }
                low_us = first.get().state.progress.as_ref().map_or(low_us, |progress| progress.low_us);
                asked = recent.missing(low_us);
                if let Some(wanted) = asked {
                    session.send(wanted);
                    break;
                }
                let (epoch, open) = first.remove_entry();
                let updates = recent.advance(epoch, open.state.anomalies, low_us);
                output
                    .session(&open.capabilities[0])
                    .give_iterator(updates.into_iter().map(|(row, diff)| (row, epoch, diff)));
            }
            recent.evict(committed.with_frontier(|frontier| frontier.first().copied().unwrap_or(Epoch::MAX)));
            telemetry.set_anomalies_ahead(index, recent.ahead());
        }
    });
    updates.as_collection()
}

/// The start of the five minutes before W, as SQL.
fn from(as_of: &AsOf) -> String {
    format!("({} - {})", as_of.watermark(), interval(RECENT_US))
}

/// Anomalies that count as recent, by any grouping, as SQL. Without a watermark none do.
pub fn readings(as_of: &AsOf) -> String {
    format!(
        "sensor_data where is_anomaly and not is_late and recorded_at >= {} and recorded_at < {}",
        from(as_of),
        as_of.watermark()
    )
}

/// Whether all recent readings of a zone are still shown, as SQL.
pub fn is_shown(as_of: &AsOf, domain: &Domain, zone: &str) -> String {
    if as_of.horizon == 0 {
        return "true".to_owned();
    }
    format!(
        "not exists (select from panes where panes.zone = {zone} and pane_start > {} - {} and pane_start < {} \
         and first_epoch <= {})",
        from(as_of),
        interval(domain.pane_us()),
        as_of.watermark(),
        as_of.horizon
    )
}

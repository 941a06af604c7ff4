//! recent: which of this worker's anomalies lie in the last five minutes before W, as updates for differential; and the
//! same in SQL.

use std::rc::Rc;

use citytide_core::window::{Progress, RECENT_US, Recent, RecentAnomaly};
use citytide_domain::Domain;
use citytide_store::compare::{AsOf, interval};
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::operators::{Epoch, OpenEpochs, Rows};

type Update = (RecentAnomaly, Epoch, isize);

/// Builds the operator. `low_us` is W of the last commit, and `initial` are this worker's share of the committed
/// anomalies that may be recent.
pub fn recent<'scope>(
    anomalies: StreamVec<'scope, Epoch, RecentAnomaly>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    mut low_us: i64,
    initial: Vec<RecentAnomaly>,
) -> VecCollection<'scope, Epoch, RecentAnomaly, isize> {
    let mut builder = OperatorBuilder::new("recent".to_owned(), anomalies.scope());
    let mut anomalies_in = builder.new_input(anomalies, Pipeline);
    let mut progress_in = builder.new_input(progress, Pipeline);
    let (output, updates) = builder.new_output::<Vec<Update>>();
    let mut output = OutputBuilder::<_, Rows<Update>>::from(output);

    builder.build(move |mut capabilities| {
        let mut recent = Recent::default();
        let mut initial = Some((capabilities.remove(0), initial));
        let mut epochs: OpenEpochs<(Vec<RecentAnomaly>, Option<Rc<Progress>>), 1> = OpenEpochs::new(0);
        move |frontiers| {
            let mut output = output.activate();
            if let Some((capability, anomalies)) = initial.take() {
                let updates = recent.advance(anomalies, low_us);
                output
                    .session(&capability)
                    .give_iterator(updates.into_iter().map(|(row, diff)| (row, 0, diff)));
            }
            anomalies_in.for_each(|capability, anomalies| epochs.of(&capability).0.append(anomalies));
            progress_in.for_each(|capability, progress| epochs.of(&capability).1 = progress.pop());
            while let Some((epoch, (anomalies, progress), [capability])) = epochs.pop_complete(frontiers) {
                low_us = progress.map_or(low_us, |progress| progress.low_us);
                let updates = recent.advance(anomalies, low_us);
                output
                    .session(&capability)
                    .give_iterator(updates.into_iter().map(|(row, diff)| (row, epoch, diff)));
            }
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

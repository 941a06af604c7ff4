//! place: which panes accepted readings belong to. Batches pass through at once; what an epoch adds up to leaves when
//! it is complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_core::batch::{Batch, Tally};
use citytide_core::window::{EpochPartials, Partial, RecentAnomaly};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Epoch, OpenEpochs, Rows};
use crate::telemetry::{Stage, Telemetry};

/// The streams behind `place`.
pub struct Placed<'scope> {
    /// Batches in log order, as they came.
    pub batches: StreamVec<'scope, Epoch, Batch>,
    /// Per epoch, what this worker adds to panes.
    pub partials: StreamVec<'scope, Epoch, Partial>,
    /// Per epoch, accepted anomalies.
    pub anomalies: StreamVec<'scope, Epoch, RecentAnomaly>,
    /// Per epoch and partition, how its accepted readings were judged.
    pub tallies: StreamVec<'scope, Epoch, (i32, Tally)>,
}

#[derive(Default)]
struct Sums {
    partials: EpochPartials,
    anomalies: Vec<RecentAnomaly>,
    tallies: BTreeMap<i32, Tally>,
}

/// Builds the operator. Panes are `pane_us` microseconds long.
pub fn place<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    pane_us: i64,
    telemetry: Arc<Telemetry>,
) -> Placed<'scope> {
    let mut builder = OperatorBuilder::new("place".to_owned(), batches.scope());
    let mut input = builder.new_input(batches, Pipeline);
    let (output, batches) = builder.new_output::<Vec<Batch>>();
    let mut to_copy = OutputBuilder::<_, Rows<Batch>>::from(output);
    let (output, partials) = builder.new_output::<Vec<Partial>>();
    let mut to_window = OutputBuilder::<_, Rows<Partial>>::from(output);
    let (output, anomalies) = builder.new_output::<Vec<RecentAnomaly>>();
    let mut to_views = OutputBuilder::<_, Rows<RecentAnomaly>>::from(output);
    let (output, tallies) = builder.new_output::<Vec<(i32, Tally)>>();
    let mut to_commit = OutputBuilder::<_, Rows<(i32, Tally)>>::from(output);

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: OpenEpochs<Sums, 3> = OpenEpochs::new(1);
        move |frontiers| {
            let mut to_copy = to_copy.activate();
            input.for_each(|capability, batches| {
                let _timing = telemetry.stages.start(Stage::Place);
                let sums = epochs.of(&capability);
                for batch in batches.iter() {
                    sums.anomalies.extend(sums.partials.place(batch, pane_us));
                    *sums.tallies.entry(batch.partition).or_default() += Tally::of(batch);
                }
                to_copy.session(&capability.retain(0)).give_container(batches);
            });
            while let Some((_, sums, [partials, anomalies, tallies])) = epochs.pop_complete(frontiers) {
                to_window.activate().session(&partials).give_iterator(sums.partials.finish().into_iter());
                to_views.activate().session(&anomalies).give_iterator(sums.anomalies.into_iter());
                to_commit.activate().session(&tallies).give_iterator(sums.tallies.into_iter());
            }
        }
    });
    Placed { batches, partials, anomalies, tallies }
}

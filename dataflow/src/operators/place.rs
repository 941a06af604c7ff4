//! place: lateness and panes. Batches pass through at once; what an epoch adds up to leaves when it is complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_core::window::{EpochPartials, Mark, Partial, Placer, RecentAnomaly};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Epoch, passed};
use crate::telemetry::{Stage, Telemetry};

/// The streams behind `place`.
pub struct Placed<'scope> {
    /// Placed batches, in log order.
    pub batches: StreamVec<'scope, Epoch, Batch>,
    /// Per epoch, what this worker adds to panes.
    pub partials: StreamVec<'scope, Epoch, Partial>,
    /// Per epoch, the marks of this worker's partitions.
    pub marks: StreamVec<'scope, Epoch, Mark>,
    /// Per epoch, accepted anomalies.
    pub anomalies: StreamVec<'scope, Epoch, RecentAnomaly>,
}

type Out<D> = CapacityContainerBuilder<Vec<D>>;

#[derive(Default)]
struct OpenEpoch {
    capabilities: Option<[Capability<Epoch>; 3]>,
    partials: EpochPartials,
    marks: BTreeMap<i32, Mark>,
    anomalies: Vec<RecentAnomaly>,
}

/// Builds the operator.
pub fn place<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    mut placer: Placer,
    telemetry: Arc<Telemetry>,
) -> Placed<'scope> {
    let mut builder = OperatorBuilder::new("place".to_owned(), batches.scope());
    let mut input = builder.new_input(batches, Pipeline);
    let (output, batches) = builder.new_output::<Vec<Batch>>();
    let mut to_copy = OutputBuilder::<_, Out<Batch>>::from(output);
    let (output, partials) = builder.new_output::<Vec<Partial>>();
    let mut to_window = OutputBuilder::<_, Out<Partial>>::from(output);
    let (output, marks) = builder.new_output::<Vec<Mark>>();
    let mut to_all = OutputBuilder::<_, Out<Mark>>::from(output);
    let (output, anomalies) = builder.new_output::<Vec<RecentAnomaly>>();
    let mut to_views = OutputBuilder::<_, Out<RecentAnomaly>>::from(output);

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: BTreeMap<Epoch, OpenEpoch> = BTreeMap::new();
        move |frontiers| {
            let mut to_copy = to_copy.activate();
            input.for_each(|capability, batches| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capabilities.get_or_insert_with(|| [1, 2, 3].map(|port| capability.retain(port)));
                let pass_on = capability.retain(0);
                let _timing = telemetry.stages.start(Stage::Place);
                for batch in batches.iter_mut() {
                    let (mut mark, anomalies) = placer.place(batch, &mut open.partials);
                    if let Some(before) = open.marks.remove(&mark.partition) {
                        mark.new_zones.splice(0..0, before.new_zones);
                    }
                    open.marks.insert(mark.partition, mark);
                    open.anomalies.extend(anomalies);
                }
                to_copy.session(&pass_on).give_container(batches);
            });
            while let Some(first) = epochs.first_entry() {
                if !passed(frontiers, *first.key()) {
                    break;
                }
                let open = first.remove();
                let [partials, marks, anomalies] = open.capabilities.expect("set with the first batch");
                to_window.activate().session(&partials).give_iterator(open.partials.finish().into_iter());
                to_all.activate().session(&marks).give_iterator(open.marks.into_values());
                to_views.activate().session(&anomalies).give_iterator(open.anomalies.into_iter());
            }
        }
    });
    Placed { batches, partials, marks, anomalies }
}

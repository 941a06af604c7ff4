//! recent: which of this worker's anomalies lie in the last five minutes before W, as updates for differential.

use std::collections::BTreeMap;

use citytide_core::window::{Mark, Recent, RecentAnomaly, Watermarks};
use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Epoch, passed};

type Update = (RecentAnomaly, Epoch, isize);

#[derive(Default)]
struct OpenEpoch {
    capability: Option<Capability<Epoch>>,
    anomalies: Vec<RecentAnomaly>,
    marks: Vec<Mark>,
}

/// Builds the operator. `initial` are this worker's share of the committed anomalies that may be recent.
pub fn recent<'scope>(
    anomalies: StreamVec<'scope, Epoch, RecentAnomaly>,
    marks: StreamVec<'scope, Epoch, Mark>,
    mut watermarks: Watermarks,
    initial: Vec<RecentAnomaly>,
) -> VecCollection<'scope, Epoch, RecentAnomaly, isize> {
    let mut builder = OperatorBuilder::new("recent".to_owned(), anomalies.scope());
    let mut anomalies_in = builder.new_input(anomalies, Pipeline);
    let mut marks_in = builder.new_input(marks, Pipeline);
    let (output, updates) = builder.new_output::<Vec<Update>>();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Update>>>::from(output);

    builder.build(move |mut capabilities| {
        let mut recent = Recent::default();
        let mut initial = Some((capabilities.remove(0), initial));
        let mut epochs: BTreeMap<Epoch, OpenEpoch> = BTreeMap::new();
        move |frontiers| {
            let mut output = output.activate();
            if let Some((capability, anomalies)) = initial.take() {
                let updates = recent.advance(anomalies, watermarks.low_us());
                output
                    .session(&capability)
                    .give_iterator(updates.into_iter().map(|(row, diff)| (row, 0, diff)));
            }
            anomalies_in.for_each(|capability, anomalies| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capability.get_or_insert_with(|| capability.retain(0));
                open.anomalies.append(anomalies);
            });
            marks_in.for_each(|capability, marks| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capability.get_or_insert_with(|| capability.retain(0));
                open.marks.append(marks);
            });
            while let Some(first) = epochs.first_entry() {
                let epoch = *first.key();
                if !passed(frontiers, epoch) {
                    break;
                }
                let open = first.remove();
                open.marks.iter().for_each(|mark| watermarks.observe(mark));
                let updates = recent.advance(open.anomalies, watermarks.advance());
                let capability = open.capability.expect("set with the first message");
                output
                    .session(&capability)
                    .give_iterator(updates.into_iter().map(|(row, diff)| (row, epoch, diff)));
            }
        }
    });
    updates.as_collection()
}

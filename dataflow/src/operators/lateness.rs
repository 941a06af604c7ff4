//! lateness: which readings are late, how far each partition is, and which ones are idle. Batches pass through at once;
//! the marks of an epoch leave when it is complete.

use std::collections::BTreeMap;

use citytide_core::batch::Batch;
use citytide_core::position::Mark;
use citytide_core::window::Lateness;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Epoch, OpenEpochs, Rows};

/// The streams behind `lateness`.
pub struct Judged<'scope> {
    /// Batches in log order, each row late or accepted.
    pub batches: StreamVec<'scope, Epoch, Batch>,
    /// Per epoch, the marks of this worker's partitions.
    pub marks: StreamVec<'scope, Epoch, Mark>,
}

/// Builds the operator.
pub fn lateness<'scope>(batches: StreamVec<'scope, Epoch, Batch>, mut lateness: Lateness) -> Judged<'scope> {
    let mut builder = OperatorBuilder::new("lateness".to_owned(), batches.scope());
    let mut input = builder.new_input(batches, Pipeline);
    let (output, batches) = builder.new_output::<Vec<Batch>>();
    let mut to_score = OutputBuilder::<_, Rows<Batch>>::from(output);
    let (output, marks) = builder.new_output::<Vec<Mark>>();
    let mut to_all = OutputBuilder::<_, Rows<Mark>>::from(output);

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: OpenEpochs<BTreeMap<i32, Mark>, 1> = OpenEpochs::new(1);
        move |frontiers| {
            let mut to_score = to_score.activate();
            input.for_each(|capability, batches| {
                let marks = epochs.of(&capability);
                for batch in batches.iter_mut() {
                    lateness.judge(batch).supersede(marks);
                }
                to_score.session(&capability.retain(0)).give_container(batches);
            });
            while let Some((_, marks, [capability])) = epochs.pop_complete(frontiers) {
                to_all.activate().session(&capability).give_iterator(marks.into_values());
            }
        }
    });
    Judged { batches, marks }
}

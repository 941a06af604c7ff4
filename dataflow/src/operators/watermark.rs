//! watermark: the marks of all workers → W and what goes with it, once per epoch, the same on every worker.

use std::rc::Rc;

use citytide_core::position::Mark;
use citytide_core::window::{Progress, Watermarks};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use super::{Epoch, OpenEpochs, Rows};

/// Builds the operator. `watermarks` are those as of the last commit.
pub fn watermark<'scope>(
    marks: StreamVec<'scope, Epoch, Mark>,
    mut watermarks: Watermarks,
) -> StreamVec<'scope, Epoch, Rc<Progress>> {
    let mut builder = OperatorBuilder::new("watermark".to_owned(), marks.scope());
    let mut marks_in = builder.new_input(marks.broadcast(), Pipeline);
    let (output, progress) = builder.new_output::<Vec<Rc<Progress>>>();
    let mut output = OutputBuilder::<_, Rows<Rc<Progress>>>::from(output);

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: OpenEpochs<Vec<Mark>, 1> = OpenEpochs::new(0);
        move |frontiers| {
            marks_in.for_each(|capability, marks| epochs.of(&capability).append(marks));
            while let Some((_, marks, [capability])) = epochs.pop_complete(frontiers) {
                output.activate().session(&capability).give(Rc::new(watermarks.progress(marks)));
            }
        }
    });
    progress
}

//! The placed batches as an input of views. They are on their way to `copy` and are not copied: a view looks at them as
//! they pass.

use std::cell::RefCell;

use citytide_core::batch::Batch;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::operators::{Epoch, Rows};

/// A stream that views may look at, one behind the other.
pub struct Batches<'scope>(RefCell<StreamVec<'scope, Epoch, Batch>>);

impl<'scope> Batches<'scope> {
    pub fn new(batches: StreamVec<'scope, Epoch, Batch>) -> Batches<'scope> {
        Batches(RefCell::new(batches))
    }

    /// What `look` has to say of each batch, in its epoch.
    pub fn summaries<D: Clone + 'static>(
        &self,
        name: &str,
        mut look: impl FnMut(&Batch, &mut Vec<D>) + 'static,
    ) -> StreamVec<'scope, Epoch, D> {
        let batches = self.0.borrow().clone();
        let mut builder = OperatorBuilder::new(name.to_owned(), batches.scope());
        let mut input = builder.new_input(batches, Pipeline);
        let (output, passed_on) = builder.new_output::<Vec<Batch>>();
        let mut to_next = OutputBuilder::<_, Rows<Batch>>::from(output);
        let (output, summaries) = builder.new_output::<Vec<D>>();
        let mut to_view = OutputBuilder::<_, Rows<D>>::from(output);
        builder.build(move |capabilities| {
            drop(capabilities);
            move |_| {
                let (mut to_next, mut to_view) = (to_next.activate(), to_view.activate());
                let mut said = Vec::new();
                input.for_each(|capability, batches| {
                    batches.iter().for_each(|batch| look(batch, &mut said));
                    to_view.session(&capability.retain(1)).give_iterator(said.drain(..));
                    to_next.session(&capability.retain(0)).give_container(batches);
                });
            }
        });
        self.0.replace(passed_on);
        summaries
    }

    /// Lets an operator of its own look, which passes the batches on.
    pub fn pass<T>(
        &self,
        through: impl FnOnce(StreamVec<'scope, Epoch, Batch>) -> (StreamVec<'scope, Epoch, Batch>, T),
    ) -> T {
        let batches = self.0.borrow().clone();
        let (passed_on, said) = through(batches);
        self.0.replace(passed_on);
        said
    }

    /// The batches behind those who looked.
    pub fn into_stream(self) -> StreamVec<'scope, Epoch, Batch> {
        self.0.into_inner()
    }
}

//! baselines: what all partitions have taught the zones that are routed here; when minutes are closed, models trained,
//! and what is known written down.
//!
//! ```text
//!  taught ─── by zone ─▶┐                        ┌▶ directives ─ broadcast ─▶ score
//!  progress ───────────▶┼─ as it comes ──────────┤
//!  beats of `read` ────▶┘                        └▶ the blob that completes a snapshot ─▶ copy
//! ```
//!
//! Every worker closes the minutes of its zones once all partitions have passed them. Worker 0 decides what concerns all:
//! see [`Director`]. It is woken by the beats, which come with every epoch, whatever is read.

use std::rc::Rc;
use std::sync::Arc;

use citytide_core::detect::{Baselines, Blob, Directive, Taught};
use citytide_core::window::Progress;
use citytide_detector::Layout;
use citytide_store::clock;
use citytide_store::session::Wake;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};

use super::{Epoch, Rows, wake};
use crate::training::Director;

/// What the operator of one worker needs.
pub struct BaselinesParts<F> {
    /// The statistics of the zones routed here.
    pub baselines: Baselines,
    /// What minutes are.
    pub layout: Arc<Layout>,
    /// On worker 0: who decides.
    pub open_director: Option<F>,
}

/// The streams behind `baselines`.
pub struct BaselineStreams<'scope> {
    /// For all workers.
    pub directives: StreamVec<'scope, Epoch, Directive>,
    /// What must be written down.
    pub blobs: StreamVec<'scope, Epoch, Blob>,
}

/// Builds the operator.
pub fn baselines<'scope, F>(
    taught: StreamVec<'scope, Epoch, (usize, Taught)>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    beats: StreamVec<'scope, Epoch, ()>,
    parts: BaselinesParts<F>,
) -> BaselineStreams<'scope>
where
    F: FnOnce(Wake) -> Director,
{
    let scope = taught.scope();
    let index = scope.worker().index();
    let mut builder = OperatorBuilder::new("baselines".to_owned(), scope);
    let mut taught_in = builder.new_input(taught, Exchange::new(|(to, _): &(usize, Taught)| *to as u64));
    let mut progress_in = builder.new_input(progress, Pipeline);
    let mut beats_in = builder.new_input(beats, Pipeline);
    let (output, directives) = builder.new_output::<Vec<Directive>>();
    let mut to_score = OutputBuilder::<_, Rows<Directive>>::from(output);
    let (output, blobs) = builder.new_output::<Vec<Blob>>();
    let mut to_copy = OutputBuilder::<_, Rows<Blob>>::from(output);
    let wake = wake(scope, &builder);
    let BaselinesParts { mut baselines, layout, open_director } = parts;
    let mut director = open_director.map(|open| open(wake));

    builder.build(move |capabilities| {
        drop(capabilities);
        // What completes a snapshot is written behind all that it is made of.
        let mut last: Epoch = 0;
        move |_frontiers| {
            let mut latest: Option<[Capability<Epoch>; 2]> = None;
            let mut note = |capability: &InputCapability<Epoch>| {
                if latest.as_ref().is_none_or(|[known, _]| known.time() < capability.time()) {
                    latest = Some([capability.retain(0), capability.retain(1)]);
                }
            };
            taught_in.for_each(|capability, taught| {
                note(&capability);
                for (_, taught) in taught.drain(..) {
                    baselines.take(&taught);
                    if let Some(director) = &mut director {
                        director.take(taught);
                    }
                }
            });
            progress_in.for_each(|capability, progress| {
                note(&capability);
                if let Some(director) = &mut director {
                    progress.drain(..).for_each(|progress| director.observe(&progress.marks));
                }
            });
            beats_in.for_each(|capability, _| note(&capability));
            let Some([order, known]) = latest else { return };
            last = last.max(*order.time());
            let mut directives = Vec::new();
            let now = clock::instant();
            if let Some(mut lesson) = baselines.close(&layout, index) {
                if let Some(director) = &mut director {
                    director.close(now, &mut lesson);
                }
                directives.push(Directive::Lesson(lesson));
            }
            if let Some(director) = &mut director {
                directives.extend(director.decide(now, &baselines));
                if let Some(blob) = director.end_snapshot(now, &baselines) {
                    to_copy.activate().session(&known.delayed(&(last + 1))).give(blob);
                }
            }
            to_score.activate().session(&order).give_iterator(directives.into_iter());
        }
    });
    BaselineStreams { directives, blobs }
}

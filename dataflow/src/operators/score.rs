//! score: judges batches by what is known of their minute, and says what they teach.
//!
//! ```text
//!  batches ────▶┐ wait until what they are judged by is known ─▶ batches with verdicts ─▶ lateness
//!               ├                                           └▶ what was taught of minutes that a partition has passed,
//!  directives ─▶┘                                           │  to the worker of each zone ─▶ baselines
//!                                                           ├▶ blobs ─▶ copy
//!                                                           └▶ notes ─▶ commit
//! ```
//!
//! Invariants:
//! 1. nothing here looks at a frontier to judge: what a batch waits for comes as data, within the epoch or later;
//! 2. batches that wait hold no epoch up: they leave in the epoch that is open when they are judged. Marks are made
//!    behind this operator, so a commit says of no reading that waits that it was read;
//! 3. a partition with readings that wait is not read: `read` learns of it by [`Held`];
//! 4. what waits when the input ends is forgotten, and read again by the next run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_core::detect::{Baselines, Blob, BlobKind, Directive, Judged, Note, ScoringState, Taught};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::scheduling::Activator;

use super::{Epoch, Rows};
use crate::telemetry::{Stage, Telemetry};

/// What `score` and `read` of one worker know of each other.
#[derive(Clone, Default)]
pub struct Held(Rc<RefCell<HeldState>>);

#[derive(Default)]
struct HeldState {
    partitions: BTreeSet<i32>,
    /// Chunks that were read and have not come to `score`; `None` where nothing waits.
    on_the_way: Option<u64>,
    reader: Option<Activator>,
}

impl Held {
    /// Whether readings of a partition wait.
    pub fn holds(&self, partition: i32) -> bool {
        self.0.borrow().partitions.contains(&partition)
    }

    /// Whether readings of any partition wait, or may yet have to.
    pub fn holds_any(&self) -> bool {
        let state = self.0.borrow();
        !state.partitions.is_empty() || state.on_the_way.is_some_and(|chunks| chunks > 0)
    }

    /// Counts a chunk that was read.
    pub fn sent(&self) {
        if let Some(chunks) = &mut self.0.borrow_mut().on_the_way {
            *chunks += 1;
        }
    }

    /// Counts batches that have come.
    fn arrived(&self, batches: usize) {
        if let Some(chunks) = &mut self.0.borrow_mut().on_the_way {
            *chunks -= batches as u64;
        }
    }

    /// Whether readings wait at all.
    pub fn is_attached(&self) -> bool {
        self.0.borrow().on_the_way.is_some()
    }

    /// From here on chunks are counted.
    fn attach(&self) {
        self.0.borrow_mut().on_the_way = Some(0);
    }

    /// Who is woken when readings go on.
    pub fn wakes(&self, reader: Activator) {
        self.0.borrow_mut().reader = Some(reader);
    }

    /// Says whose readings wait.
    pub fn set(&self, partitions: BTreeSet<i32>) {
        let mut state = self.0.borrow_mut();
        if !state.partitions.is_subset(&partitions)
            && let Some(reader) = &state.reader
        {
            reader.activate();
        }
        state.partitions = partitions;
    }
}

/// What the operator of one worker needs.
pub struct ScoreParts<W, F> {
    /// Judges.
    pub scoring: ScoringState,
    /// The worker that a zone is routed to.
    pub worker_of: W,
    /// Whether a zone's model is written down here.
    pub writes: F,
    /// Partitions with readings that wait.
    pub held: Held,
    /// Where the time it takes is told, and how far the detector is.
    pub telemetry: Arc<Telemetry>,
}

/// The streams behind `score`.
pub struct Scored<'scope> {
    /// Judged batches, in log order by partition.
    pub batches: StreamVec<'scope, Epoch, Batch>,
    /// What they teach, and the worker that is to learn it.
    pub taught: StreamVec<'scope, Epoch, (usize, Taught)>,
    /// What must be written down.
    pub blobs: StreamVec<'scope, Epoch, Blob>,
    /// What the commit must say too.
    pub notes: StreamVec<'scope, Epoch, Note>,
}

/// Builds the operator.
pub fn score<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    directives: StreamVec<'scope, Epoch, Directive>,
    parts: ScoreParts<impl Fn(&str) -> usize + 'static, impl Fn(&str) -> bool + 'static>,
) -> Scored<'scope> {
    let (index, peers) = (batches.scope().worker().index(), batches.scope().worker().peers());
    let mut builder = OperatorBuilder::new("score".to_owned(), batches.scope());
    let (output, batches_out) = builder.new_output::<Vec<Batch>>();
    let mut to_lateness = OutputBuilder::<_, Rows<Batch>>::from(output);
    let (output, taught) = builder.new_output::<Vec<(usize, Taught)>>();
    let mut to_baselines = OutputBuilder::<_, Rows<(usize, Taught)>>::from(output);
    let (output, blobs) = builder.new_output::<Vec<Blob>>();
    let mut to_copy = OutputBuilder::<_, Rows<Blob>>::from(output);
    let (output, notes) = builder.new_output::<Vec<Note>>();
    let mut to_commit = OutputBuilder::<_, Rows<Note>>::from(output);
    let mut batches_in = builder.new_input(batches, Pipeline);
    // Batches leave by capabilities of batches alone: what goes round holds none of them up.
    let beside = (1..4).map(|output| (output, Antichain::from_elem(Default::default())));
    let mut directives_in = builder.new_input_connection(directives, Pipeline, beside);
    let ScoreParts { mut scoring, worker_of, writes, held, telemetry } = parts;
    held.attach();

    builder.build(move |capabilities| {
        let mut start = Some(capabilities);
        // Those of the readings that wait, for each output.
        let mut waiting: Option<[Capability<Epoch>; 4]> = None;
        // The last epoch with a zone's model: that a partition is written down is told in no earlier one, so that the
        // blob which completes a snapshot comes behind all of it.
        let mut zones_at: Epoch = 0;
        move |frontiers| {
            let mut to_lateness = to_lateness.activate();
            let mut to_baselines = to_baselines.activate();
            let mut to_copy = to_copy.activate();
            let mut to_commit = to_commit.activate();
            let mut give =
                |judged: Judged, passed_on: Option<&Capability<Epoch>>, beside: [&Capability<Epoch>; 3]| {
                    if let Some(capability) = passed_on {
                        to_lateness.session(capability).give_iterator(judged.batches.into_iter());
                    }
                    if judged.blobs.iter().any(|blob| blob.kind == BlobKind::Zone) {
                        zones_at = zones_at.max(*beside[1].time());
                    }
                    let told = beside[0].delayed(&zones_at.max(*beside[0].time()));
                    for taught in judged.taught {
                        let parts = Baselines::by_worker(taught, peers, &worker_of);
                        to_baselines.session(&told).give_iterator(parts.into_iter().enumerate());
                    }
                    to_copy.session(beside[1]).give_iterator(judged.blobs.into_iter());
                    to_commit.session(beside[2]).give_iterator(judged.notes.into_iter());
                };
            if let Some(capabilities) = start.take() {
                let mut judged = Judged::default();
                scoring.begin(&mut judged);
                give(judged, None, [&capabilities[1], &capabilities[2], &capabilities[3]]);
                telemetry.set_detector_status(index, scoring.status());
            }
            let mut is_news = false;
            directives_in.for_each(|capability, directives| {
                let mut judged = Judged::default();
                for directive in directives.drain(..) {
                    scoring.direct(directive, &writes, &mut judged);
                }
                is_news = true;
                let [taught, blobs, notes] = [1, 2, 3].map(|output| capability.retain(output));
                give(judged, None, [&taught, &blobs, &notes]);
            });
            if is_news {
                telemetry.set_detector_status(index, scoring.status());
                if let Some([passed_on, taught, blobs, notes]) = &waiting {
                    let mut judged = Judged::default();
                    telemetry.stages.time(Stage::Score, || scoring.advance(&mut judged));
                    judged.notes.extend(scoring.take_agreements());
                    give(judged, Some(passed_on), [taught, blobs, notes]);
                }
            }
            batches_in.for_each(|capability, batches| {
                let mut judged = Judged::default();
                held.arrived(batches.len());
                telemetry.stages.time(Stage::Score, || {
                    batches.drain(..).for_each(|batch| scoring.push(batch));
                    scoring.advance(&mut judged);
                });
                judged.notes.extend(scoring.take_agreements());
                let mut capabilities: [_; 4] = std::array::from_fn(|output| capability.retain(output));
                // Earlier readings of a partition may have waited in a later epoch.
                if let Some(waiting) = &waiting
                    && waiting[0].time() > capabilities[0].time()
                {
                    capabilities.iter_mut().for_each(|capability| capability.downgrade(waiting[0].time()));
                }
                let [passed_on, taught, blobs, notes] = &capabilities;
                give(judged, Some(passed_on), [taught, blobs, notes]);
                if scoring.waiting().next().is_some() {
                    waiting = Some(capabilities);
                }
            });
            if let Some(capabilities) = &mut waiting {
                match frontiers[0].frontier().first() {
                    Some(open) if open > capabilities[0].time() => {
                        capabilities.iter_mut().for_each(|capability| capability.downgrade(open));
                    }
                    Some(_) => {}
                    None => scoring.abandon(),
                }
            }
            let partitions: BTreeSet<i32> = scoring.waiting().collect();
            if partitions.is_empty() {
                waiting = None;
            }
            held.set(partitions);
        }
    });
    Scored { batches: batches_out, taught, blobs, notes }
}

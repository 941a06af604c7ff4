//! score: judges batches by what holds in their epoch, and says what they teach.
//!
//! ```text
//!  batches ────▶┐ an epoch at a time, in order ─▶ batches with verdicts ─▶ place
//!               ├ when every directive for it is here └▶ statistics, sampled rows ─▶ baselines
//!  directives ─▶┘                                     ├▶ blobs ─▶ copy
//!                                                     └▶ how far a shadow model agrees ─▶ commit
//! ```
//!
//! Invariants:
//! 1. a batch is judged once no further directive can hold in its epoch: so every worker judges an epoch by the same
//!    models, and a replay finds them again;
//! 2. blobs say what is known before the first row of their epoch.

use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_core::detect::{Blob, Change, ScoringState, StatsUpdate};
use citytide_detector::{Layout, Model, SufficientStats};
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Epoch, OpenEpoch, OpenEpochs, Rows, passed};
use crate::commit::plan::DetectorNote;
use crate::telemetry::{Stage, Telemetry};

/// What every worker does from an epoch on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Directive {
    /// Let zones learn this: their minutes are closed.
    Close(Arc<SufficientStats>),
    /// Judge by this model: its version and its bytes as they are stored.
    Model(i32, Arc<Vec<u8>>),
    /// Write down what is known.
    Remember,
}

/// What the operator of one worker needs.
pub struct ScoreParts<F> {
    /// Judges.
    pub scoring: ScoringState,
    /// For reading models.
    pub layout: Arc<Layout>,
    /// Whether a zone is routed here.
    pub is_mine: F,
    /// Where the time it takes is told, and how far the detector is.
    pub telemetry: Arc<Telemetry>,
}

/// The streams behind `score`.
pub struct Scored<'scope> {
    /// Judged batches, in log order.
    pub batches: StreamVec<'scope, Epoch, Batch>,
    /// Per epoch, the statistics of their rows.
    pub updates: StreamVec<'scope, Epoch, StatsUpdate>,
    /// What must be written down.
    pub blobs: StreamVec<'scope, Epoch, Blob>,
    /// Per epoch, how far a shadow model agrees.
    pub notes: StreamVec<'scope, Epoch, DetectorNote>,
}

#[derive(Default)]
struct Arrived {
    batches: Vec<Batch>,
    directives: Vec<Directive>,
    /// Whether what holds from here on has been applied.
    begun: bool,
}

/// Builds the operator.
pub fn score<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    directives: StreamVec<'scope, Epoch, Directive>,
    parts: ScoreParts<impl Fn(&str) -> bool + 'static>,
) -> Scored<'scope> {
    let index = batches.scope().worker().index();
    let mut builder = OperatorBuilder::new("score".to_owned(), batches.scope());
    let mut batches_in = builder.new_input(batches, Pipeline);
    let mut directives_in = builder.new_input(directives, Pipeline);
    let (output, batches) = builder.new_output::<Vec<Batch>>();
    let mut to_place = OutputBuilder::<_, Rows<Batch>>::from(output);
    let (output, updates) = builder.new_output::<Vec<StatsUpdate>>();
    let mut to_baselines = OutputBuilder::<_, Rows<StatsUpdate>>::from(output);
    let (output, blobs) = builder.new_output::<Vec<Blob>>();
    let mut to_copy = OutputBuilder::<_, Rows<Blob>>::from(output);
    let (output, notes) = builder.new_output::<Vec<DetectorNote>>();
    let mut to_commit = OutputBuilder::<_, Rows<DetectorNote>>::from(output);
    let ScoreParts { mut scoring, layout, is_mine, telemetry } = parts;

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: OpenEpochs<Arrived, 4> = OpenEpochs::new(0);
        move |frontiers| {
            batches_in.for_each(|capability, batches| epochs.of(&capability).batches.append(batches));
            directives_in
                .for_each(|capability, directives| epochs.of(&capability).directives.append(directives));
            while let Some(mut first) = epochs.first() {
                let epoch = *first.key();
                if frontiers[0].less_than(&epoch) || frontiers[1].less_equal(&epoch) {
                    break;
                }
                let OpenEpoch { state: open, capabilities: [placed, updated, known, counted] } =
                    first.get_mut();
                if !open.begun {
                    open.begun = true;
                    let mut remember = false;
                    for directive in open.directives.drain(..) {
                        match directive {
                            Directive::Close(stats) => scoring.expect(epoch, Change::Closed(stats)),
                            Directive::Model(version, bytes) => {
                                match Model::from_bytes(version, &layout, &bytes) {
                                    Ok(model) => scoring.expect(epoch, Change::Model(Arc::new(model))),
                                    Err(error) => tracing::error!("{error}"),
                                }
                            }
                            Directive::Remember => remember = true,
                        }
                    }
                    scoring.advance_to(epoch);
                    if remember {
                        to_copy.activate().session(known).give_iterator(scoring.blobs(&is_mine).into_iter());
                    }
                    telemetry.set_detector_status(index, scoring.status());
                }
                {
                    let mut to_place = to_place.activate();
                    let mut session = to_place.session(placed);
                    for mut batch in open.batches.drain(..) {
                        telemetry.stages.time(Stage::Score, || scoring.score(&mut batch));
                        session.give(batch);
                    }
                }
                if !passed(frontiers, epoch) {
                    break;
                }
                let agreements = scoring.take_agreements().into_iter();
                let agreed = |(version, zone, agreement)| DetectorNote::Agreed { version, zone, agreement };
                to_commit.activate().session(counted).give_iterator(agreements.map(agreed));
                let (stats, sampled) = scoring.take_training_data();
                let zones = stats.by_tick.into_iter();
                let mut updates: Vec<StatsUpdate> = zones
                    .map(|((minute, zone), stats)| StatsUpdate::Zone(zone, minute, Box::new(stats)))
                    .collect();
                if !sampled.is_empty() {
                    updates.push(StatsUpdate::Sample(sampled));
                }
                to_baselines.activate().session(updated).give_iterator(updates.into_iter());
                first.remove();
            }
        }
    });
    Scored { batches, updates, blobs, notes }
}

//! The detector's part of the dataflow: batches come out judged, and what they teach goes round.
//!
//! ```text
//!  batches ──▶ score ──▶ judged batches
//!                │ ▲
//!    what rows   │ │ directives: a minute is closed, a model comes into force;
//!    teach, by   │ │ broadcast, and held from HOLDS_AFTER_MS later on
//!    zone        ▼ │
//!  progress ─▶ baselines ─▶ notes for the commit, blobs for the database
//! ```

use std::rc::Rc;

use citytide_core::batch::Batch;
use citytide_core::detect::{Blob, HOLDS_AFTER_MS, Rules};
use citytide_core::window::Progress;
use citytide_store::ledger::Ledger;
use citytide_store::session::Wake;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Concat, ConnectLoop, Feedback};

use crate::commit::plan::DetectorNote;
use crate::operators::{BaselinesParts, Epoch, ScoreParts, baselines, score};
use crate::plumbing::{DetectorStart, Plumbing};
use crate::share::Share;
use crate::telemetry::Stage;
use crate::training::{self, SnapshotPolicy, Training, TrainingSettings};

/// The streams behind the detector.
pub struct Detected<'scope> {
    /// Batches in log order, with verdicts.
    pub batches: StreamVec<'scope, Epoch, Batch>,
    /// What the commit must know of.
    pub notes: StreamVec<'scope, Epoch, DetectorNote>,
    /// What must be written down.
    pub blobs: StreamVec<'scope, Epoch, Blob>,
}

/// Attaches the detector, or rules alone where none is wanted.
pub fn attach<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    plumbing: &Plumbing,
    share: Share,
) -> Detected<'scope> {
    match &plumbing.detector {
        Some(start) => by_detector(batches, progress, start, plumbing, share),
        None => by_rules(batches, plumbing),
    }
}

/// Rules alone: nothing is learnt.
fn by_rules<'scope>(batches: StreamVec<'scope, Epoch, Batch>, plumbing: &Plumbing) -> Detected<'scope> {
    let scope = batches.scope();
    let mut rules = Rules::new(&plumbing.domain);
    let timed = plumbing.telemetry.clone();
    let batches = batches.map(move |mut batch| {
        timed.stages.time(Stage::Score, || rules.score(&mut batch));
        batch
    });
    Detected { batches, notes: empty(scope), blobs: empty(scope) }
}

fn by_detector<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    start: &DetectorStart,
    plumbing: &Plumbing,
    share: Share,
) -> Detected<'scope> {
    let Ledger { marks, low_us, .. } = &plumbing.ledger;
    let (scoring, known, sample) = {
        let mut memory = start.memory.lock().expect("no holder panics");
        let mut scoring = memory.scoring.split_off(|partition| share.reads(partition));
        scoring.ask_beside(start.shadow.clone());
        (scoring, memory.baselines.of_zones(|zone| share.keeps(zone)), memory.sample().clone())
    };
    let (later, directives) = batches.scope().feedback(HOLDS_AFTER_MS);
    let parts = ScoreParts {
        scoring,
        layout: start.layout.clone(),
        is_mine: move |zone: &str| share.keeps(zone),
        telemetry: plumbing.telemetry.clone(),
    };
    let scored = score(batches, directives, parts);

    let settings = TrainingSettings {
        database: plumbing.database.clone(),
        run_id: plumbing.run.run_id,
        layout: start.layout.clone(),
        telemetry: plumbing.telemetry.clone(),
    };
    let (every_us, fitted_until_us) = (plumbing.domain.detector.train_every_us, start.fitted_until_us);
    let on_failure = plumbing.on_failure.clone();
    let open_training = move |wake: Wake| {
        let (answers, answered) = crossbeam_channel::unbounded();
        let trainer = training::spawn(settings, answers, wake, on_failure);
        let start = Box::new(move |job| trainer.send(job));
        Training::new(sample, every_us, fitted_until_us, start, answered)
    };
    let parts = BaselinesParts {
        baselines: known,
        layout: start.layout.clone(),
        low_us: *low_us,
        snapshot_policy: SnapshotPolicy::new(marks, start.replayed),
        open_training: (share.index == 0).then_some(open_training),
    };
    let learning = baselines(scored.updates, progress, parts);
    learning.directives.broadcast().connect_loop(later);
    Detected {
        batches: scored.batches,
        notes: learning.notes.concat(scored.notes),
        blobs: scored.blobs.concat(learning.blobs),
    }
}

//! The detector's part of the dataflow: it scores batches, and feeds their statistics back into its state.
//!
//! ```text
//!  batches ──▶ score ──▶ judged batches
//!                │ ▲
//!    what a part-│ │ directives: minutes are closed, a model judges from one on,
//!    ition taught│ │ a partition is not waited for; broadcast
//!    of a minute ▼ │
//!  progress ─▶ baselines ─▶ blobs for the database
//! ```

use std::rc::Rc;

use citytide_core::batch::Batch;
use citytide_core::detect::{Blob, Note, Rules, Stragglers, TimeRules};
use citytide_core::window::Progress;
use citytide_store::session::Wake;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Concat, ConnectLoop, Feedback};

use crate::operators::{BaselinesParts, Epoch, Held, ScoreParts, baselines, score};
use crate::plumbing::{DetectorStart, Plumbing};
use crate::share::{Share, route};
use crate::telemetry::Stage;
use crate::training::{self, Director, SnapshotPolicy, TrainingSettings};

/// The streams behind the detector.
pub struct Detected<'scope> {
    /// Batches in log order by partition, with verdicts.
    pub batches: StreamVec<'scope, Epoch, Batch>,
    /// What the commit must know of.
    pub notes: StreamVec<'scope, Epoch, Note>,
    /// What must be written down.
    pub blobs: StreamVec<'scope, Epoch, Blob>,
}

/// Attaches the detector, or rules alone where none is wanted. `progress` comes back from further down.
pub fn attach<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    beats: StreamVec<'scope, Epoch, ()>,
    plumbing: &Plumbing,
    share: Share,
    held: Held,
) -> Detected<'scope> {
    match &plumbing.detector {
        Some(start) => by_detector(batches, progress, beats, start, plumbing, share, held),
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
    beats: StreamVec<'scope, Epoch, ()>,
    start: &DetectorStart,
    plumbing: &Plumbing,
    share: Share,
    held: Held,
) -> Detected<'scope> {
    let partitions: Vec<i32> = plumbing.partitions.iter().map(|one| one.partition).collect();
    let mut known = start.detector.lock().expect("no holder panics");
    let mine = |partition| share.reads(partition);
    let mut scoring = known.scoring.split_off(share.peers, partitions.iter().copied(), mine);
    scoring.ask_beside(start.shadow.clone());
    let mut of_zones = known.baselines.of_zones(|zone| share.keeps(zone));
    partitions.iter().for_each(|partition| of_zones.join(*partition));
    // Zones are written down by workers that read: a snapshot is whole when all partitions are.
    let writers = share.peers.min(partitions.len().max(1)) as u64;
    let (later, directives) = batches.scope().feedback(1);
    let parts = ScoreParts {
        scoring,
        worker_of: move |zone: &str| (route(zone) % share.peers as u64) as usize,
        writes: move |zone: &str| route(zone) % writers == share.index as u64,
        held,
        telemetry: plumbing.telemetry.clone(),
    };
    let scored = score(batches, directives, parts);

    let settings = TrainingSettings {
        database: plumbing.database.clone(),
        run_id: plumbing.run.run_id,
        layout: start.layout.clone(),
        telemetry: plumbing.telemetry.clone(),
    };
    let schedule = (share.index == 0).then(|| (known.take_schedule(), std::mem::take(&mut known.jobs)));
    let time = TimeRules::new(&plumbing.domain, &start.layout);
    let stragglers = Stragglers::new(plumbing.until_caught_up, time);
    let snapshots = SnapshotPolicy::new(&plumbing.ledger.marks, start.replayed);
    let on_failure = plumbing.on_failure.clone();
    let open_director = schedule.map(|(schedule, due)| {
        move |wake: Wake| {
            let (answers, answered) = crossbeam_channel::unbounded();
            let trainer = training::spawn(settings, answers, wake, on_failure);
            let start = Box::new(move |job| trainer.send(job));
            Director::new(schedule, due, stragglers, snapshots, start, answered)
        }
    });
    let parts = BaselinesParts { baselines: of_zones, layout: start.layout.clone(), open_director };
    let learning = baselines(scored.taught, progress, beats, parts);
    learning.directives.broadcast().connect_loop(later);
    Detected { batches: scored.batches, notes: scored.notes, blobs: scored.blobs.concat(learning.blobs) }
}

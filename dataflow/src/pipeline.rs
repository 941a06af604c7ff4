//! The story on one page: source → decode → score → place → window → commit, as one worker builds it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use citytide_core::batch::{Assembler, Batch, PartitionStart};
use citytide_core::detect::{Blob, HOLDS_AFTER_MS, Memory, Rules};
use citytide_core::window::{Lateness, Mark, Placer, Watermarks, Windows};
use citytide_detector::{Layout, Model};
use citytide_domain::Domain;
use citytide_store::ledger::Ledger;
use citytide_store::panes;
use citytide_store::postgres::Database;
use citytide_store::session::{OnFailure, Session, Wake};
use citytide_store::takeover::Run;
use differential_dataflow::AsCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Concat, ConnectLoop, Feedback, Inspect};
use timely::worker::Worker;

use crate::commit::committer::Committed;
use crate::commit::faults::FailAt;
use crate::commit::plan::{DetectorNote, Plan};
use crate::commit::training::{self, TrainingSettings};
use crate::commit::writer::{self, WriterSettings};
use crate::detect::{Pace, Training};
use crate::operators::{
    self, BaselinesParts, CommitParts, Epoch, ReadParts, ScoreParts, WindowParts, commit, copy, place,
    recent, route, score, views, window,
};
use crate::sources::{Assigned, Intake, Share};
use crate::telemetry::{Stage, Telemetry};

/// Opens the intake of a worker's partitions.
pub type OpenIntake = Box<dyn Fn(Share, Vec<Assigned>, Wake) -> Intake + Send + Sync>;

/// What every worker of a run is built from.
pub struct Plumbing {
    /// The domain.
    pub domain: Arc<Domain>,
    /// The database.
    pub database: Database,
    /// The run.
    pub run: Run,
    /// Where the last commit left off.
    pub ledger: Ledger,
    /// What the learned detector starts from; `None` where rules alone judge.
    pub detector: Option<DetectorStart>,
    /// All partitions of the source, in order.
    pub partitions: Vec<Assigned>,
    /// Opens the source.
    pub open_intake: OpenIntake,
    /// Whether to end at the end offsets as of the start.
    pub until_caught_up: bool,
    /// Set to stop reading, commit what was read, and end.
    pub drain: Arc<AtomicBool>,
    /// Set when another process was asked to end: this one drains too.
    pub peer_left: Arc<AtomicBool>,
    /// What the run tells of itself.
    pub telemetry: Arc<Telemetry>,
    /// Ends the run.
    pub on_failure: OnFailure,
    /// Where to die, in tests.
    pub fail_at: Option<FailAt>,
}

/// What the learned detector of a process starts from.
pub struct DetectorStart {
    /// What it knows of the domain.
    pub layout: Arc<Layout>,
    /// What it knew at the last commit; the workers take their partitions out.
    pub memory: Mutex<Memory>,
    /// Readings that had to be seen again.
    pub replayed: i64,
    /// How far the model in force has seen, microseconds of event time.
    pub fitted_until_us: Option<i64>,
    /// A model that is asked too and decides nothing.
    pub shadow: Option<Arc<Model>>,
}

/// What worker 0 of process 0 has beyond the others.
pub struct Committing {
    /// Starts the committer.
    pub open: Box<dyn FnOnce(crossbeam_channel::Sender<Committed>, Wake) -> Session<Plan>>,
    /// Is told of every commit.
    pub on_committed: Box<dyn FnMut(&Committed)>,
    /// Is told of every mark.
    pub on_mark: Box<dyn FnMut(&Mark)>,
}

/// Builds one worker's part of the dataflow. The handle is the commit's frontier: what lies below it is committed.
pub fn build(
    worker: &mut Worker,
    plumbing: &Plumbing,
    committing: Option<Committing>,
    mut on_batch: impl FnMut(&Batch) + 'static,
) -> Handle<Epoch> {
    let Plumbing { domain, ledger, run, .. } = plumbing;
    let (index, peers) = (worker.index(), worker.peers());
    let share = Share { index, peers };
    let assigned: Vec<Assigned> =
        plumbing.partitions.iter().filter(|one| share.holds(one.partition)).cloned().collect();
    let marks: Vec<Mark> = assigned.iter().map(|one| first_mark(ledger, one)).collect();
    let is_mine = |zone: &str| route(zone) % peers as u64 == index as u64;
    let watermarks = Watermarks::new(plumbing.partitions.iter().map(|one| one.partition), ledger.low_us);
    let shared_watermarks = Rc::new(RefCell::new(watermarks.clone()));
    let committed = Handle::new();

    worker.dataflow_named("citytide", |scope| {
        let open_intake = &plumbing.open_intake;
        let chunks = operators::read(
            scope,
            ReadParts {
                open: |wake| open_intake(share, assigned.clone(), wake),
                assigned: assigned.clone(),
                epoch_offset_ms: run.epoch_offset_ms,
                committed_epoch: run.committed_epoch as Epoch,
                idle_after: (!plumbing.until_caught_up)
                    .then(|| Duration::from_micros(domain.time.idle_after_us as u64)),
                until_caught_up: plumbing.until_caught_up,
                drain: plumbing.drain.clone(),
                peer_left: plumbing.peer_left.clone(),
                watermarks: shared_watermarks.clone(),
                committed: committed.clone(),
                telemetry: plumbing.telemetry.clone(),
            },
        );
        let noted = plumbing.telemetry.clone();
        let chunks = chunks.inspect_batch(move |epoch, chunks| {
            noted.latency.received(*epoch, chunks.iter().map(|(chunk, _)| chunk));
        });

        // decode: bytes → readings, or dead letters with the reason.
        let starts = marks.iter().map(|mark| PartitionStart {
            partition: mark.partition,
            next_offset: mark.next_offset,
            zones: mark.new_zones.clone(),
        });
        let mut assembler = Assembler::new(domain, starts);
        let timed = plumbing.telemetry.clone();
        let batches = chunks.map(move |(chunk, activity)| {
            timed.stages.time(Stage::Decode, || assembler.assemble(&chunk, activity))
        });

        // Late or accepted, before anything is learnt from it.
        let mut lateness = Lateness::new(domain, &marks);
        let batches = batches.map(move |mut batch| {
            lateness.judge(&mut batch);
            batch
        });

        // score: what is anomalous, how much and why, by rules and by what the detector has learnt.
        let scored = match &plumbing.detector {
            Some(start) => by_detector(batches, start, plumbing, &ledger.marks),
            None => by_rules(batches, plumbing),
        };

        // place: what this worker adds to the panes; how far its partitions are.
        let told = marks.iter().map(|mark| Mark { new_zones: Vec::new(), ..mark.clone() });
        let placed = place(scored.batches, Placer::new(domain, told), plumbing.telemetry.clone());
        let marks = placed.marks.broadcast();
        let (notes, blobs) = (scored.learn)(marks.clone(), watermarks.clone());

        // Raw rows go to PostgreSQL as they come, tagged with their epoch.
        let batches = placed.batches.map(move |batch| {
            on_batch(&batch);
            batch
        });
        let copied = copy(batches, blobs, plumbing.telemetry.clone(), |finished, wake| {
            let settings = WriterSettings {
                database: plumbing.database.clone(),
                domain: domain.clone(),
                run_id: run.run_id,
                worker: index,
                fail_at: plumbing.fail_at.clone(),
            };
            writer::spawn(settings, finished, wake, plumbing.on_failure.clone())
        });

        // window: panes → tumbling and sliding windows; early, final and corrected rows.
        let mut windows = Windows::new(domain, ledger.low_us);
        let panes = ledger.panes.iter().filter(|pane| is_mine(&pane.zone));
        panes.for_each(|pane| windows.load(pane.clone()));
        let mut facts = Vec::new();
        for (zone, held) in ledger.facts.iter().filter(|(zone, _)| is_mine(zone)) {
            facts.extend(windows.load_facts(Arc::from(zone.as_str()), held.iter().cloned()));
        }
        let (changes, facts) = window(
            placed.partials,
            marks.clone(),
            WindowParts {
                windows,
                facts,
                watermarks: shared_watermarks,
                committed: committed.clone(),
                peer_left: plumbing.peer_left.clone(),
                telemetry: plumbing.telemetry.clone(),
                open_panes: |answers, wake| {
                    let name = format!("citytide:{}:panes-{index}", run.run_id);
                    let (database, domain) = (plumbing.database.clone(), domain.clone());
                    panes::spawn(database, domain, name, answers, wake, plumbing.on_failure.clone())
                },
            },
        );

        // views: what comes and goes, by differential dataflow.
        let anomalies = ledger.anomalies_of(index, peers);
        let recent = recent(placed.anomalies, marks.clone(), watermarks.clone(), anomalies);
        let views = views(recent, facts.as_collection());

        // commit: one transaction for everything below the frontier.
        let parts = committing.map(|committing| CommitParts {
            open: committing.open,
            marks: ledger.marks.clone(),
            watermarks,
            on_committed: committing.on_committed,
            on_mark: committing.on_mark,
        });
        commit(changes, marks, views.inner, notes, copied, parts).probe_with(&committed);
    });
    committed
}

/// Batches with verdicts, and how what they teach comes back.
struct Verdicts<'scope> {
    batches: StreamVec<'scope, Epoch, Batch>,
    /// From all workers' marks: what the commit must know of, and what must be written down.
    learn: Box<dyn FnOnce(StreamVec<'scope, Epoch, Mark>, Watermarks) -> Lore<'scope> + 'scope>,
}

type Lore<'scope> = (StreamVec<'scope, Epoch, DetectorNote>, StreamVec<'scope, Epoch, Blob>);

/// Rules alone: nothing is learnt.
fn by_rules<'scope>(batches: StreamVec<'scope, Epoch, Batch>, plumbing: &Plumbing) -> Verdicts<'scope> {
    let scope = batches.scope();
    let mut rules = Rules::new(&plumbing.domain);
    let timed = plumbing.telemetry.clone();
    let batches = batches.map(move |mut batch| {
        timed.stages.time(Stage::Score, || rules.score(&mut batch));
        batch
    });
    Verdicts { batches, learn: Box::new(move |_, _| (empty(scope), empty(scope))) }
}

/// The detector. What rows teach goes round: to the workers of their zones, and, once a minute is over, to all.
fn by_detector<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    start: &DetectorStart,
    plumbing: &Plumbing,
    ledger_marks: &[Mark],
) -> Verdicts<'scope> {
    let scope = batches.scope();
    let (index, peers) = (scope.worker().index(), scope.worker().peers());
    let share = Share { index, peers };
    let is_mine = move |zone: &str| route(zone) % peers as u64 == index as u64;
    let (judge, baselines, sample) = {
        let mut memory = start.memory.lock().expect("no holder panics");
        let mut judge = memory.judge.split_off(|partition| share.holds(partition));
        judge.ask_beside(start.shadow.clone());
        (judge, memory.baselines.of_zones(is_mine), memory.sample().clone())
    };
    let (handle, directives) = scope.feedback(HOLDS_AFTER_MS);
    let parts =
        ScoreParts { judge, layout: start.layout.clone(), is_mine, telemetry: plumbing.telemetry.clone() };
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
    let (layout, pace) = (start.layout.clone(), Pace::new(ledger_marks, start.replayed));
    let taught = scored.taught;
    let learn = move |marks, watermarks| {
        let open_training = (index == 0).then_some(open_training);
        let parts = BaselinesParts { baselines, layout, watermarks, pace, open_training };
        let learnt = operators::baselines(taught, marks, parts);
        learnt.directives.broadcast().connect_loop(handle);
        (learnt.notes.concat(scored.notes), scored.blobs.concat(learnt.blobs))
    };
    Verdicts { batches: scored.batches, learn: Box::new(learn) }
}

/// Where a partition stands before its first batch: where the ledger says, else at the log's beginning.
fn first_mark(ledger: &Ledger, assigned: &Assigned) -> Mark {
    let known = ledger.marks.iter().find(|mark| mark.partition == assigned.partition);
    known.cloned().unwrap_or_else(|| Mark::at_start(assigned.partition, assigned.next_offset))
}

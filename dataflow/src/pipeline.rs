//! The story on one page: source → decode → score → place → window → commit, as one worker builds it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use citytide_domain::Domain;
use differential_dataflow::AsCollection;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::worker::Worker;

use crate::batch::{Assembler, Batch, PartitionStart};
use crate::commit::committer::Committed;
use crate::commit::faults::FailAt;
use crate::commit::ledger::Ledger;
use crate::commit::panes;
use crate::commit::plan::Plan;
use crate::commit::postgres::Database;
use crate::commit::session::{OnFailure, Session, Wake};
use crate::commit::takeover::Run;
use crate::commit::writer::{self, WriterSettings};
use crate::detect::Detector;
use crate::operators::{
    self, CommitParts, Epoch, ReadParts, WindowParts, commit, copy, place, recent, route, views, window,
};
use crate::source::{Assigned, Intake, Share};
use crate::telemetry::{self, Stage};
use crate::window::{Mark, Placer, Watermarks, Windows};

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
    pub telemetry: Arc<telemetry::Run>,
    /// Ends the run.
    pub on_failure: OnFailure,
    /// Where to die, in tests.
    pub fail_at: Option<FailAt>,
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

        // score: rules decide what is anomalous, and why.
        let mut detector = Detector::new(domain);
        let timed = plumbing.telemetry.clone();
        let scored = batches.map(move |mut batch| {
            timed.stages.time(Stage::Score, || detector.score(&mut batch));
            batch
        });

        // place: late or accepted; what this worker adds to the panes; how far its partitions are.
        let told = marks.iter().map(|mark| Mark { new_zones: Vec::new(), ..mark.clone() });
        let placed = place(scored, Placer::new(domain, told), plumbing.telemetry.clone());
        let marks = placed.marks.broadcast();

        // Raw rows go to PostgreSQL as they come, tagged with their epoch.
        let batches = placed.batches.map(move |batch| {
            on_batch(&batch);
            batch
        });
        let copied = copy(batches, plumbing.telemetry.clone(), |finished, wake| {
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
        commit(changes, marks, views.inner, copied, parts).probe_with(&committed);
    });
    committed
}

/// Where a partition stands before its first batch: where the ledger says, else at the log's beginning.
fn first_mark(ledger: &Ledger, assigned: &Assigned) -> Mark {
    let known = ledger.marks.iter().find(|mark| mark.partition == assigned.partition);
    known.cloned().unwrap_or_else(|| Mark::at_start(assigned.partition, assigned.next_offset))
}

//! What a worker's dataflow is built from: settings, the ledger, and how sessions and sources are opened.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use citytide_core::batch::{Assembler, Batch};
use citytide_core::detect::Detector;
use citytide_core::position::Mark;
use citytide_core::window::{
    AHEAD_MAX, Lateness, Progress, Recent, SensorAnomalies, Watermarks, Windows, ZoneFact,
};
use citytide_detector::{Layout, Model};
use citytide_domain::Domain;
use citytide_store::ledger::Ledger;
use citytide_store::postgres::Database;
use citytide_store::session::{OnFailure, Session, Wake};
use citytide_store::takeover::Run;
use citytide_store::{anomalies, incidents, panes, sessions};
use differential_dataflow::VecCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::probe::Handle;

use crate::commit::committer::Committed;
use crate::commit::faults::FailAt;
use crate::commit::plan::Plan;
use crate::commit::writer::{self, Rows, WriterSettings};
use crate::operators::{CommitParts, Epoch, Held, ReadParts, WindowParts};
use crate::share::Share;
use crate::sources::{Assigned, Intake};
use crate::telemetry::Telemetry;
use crate::views::{self, Batches, IncidentParts, Inputs, RecentParts, SessionParts};

/// Opens the intake of a worker's partitions.
pub type OpenIntake = Box<dyn Fn(Share, Vec<Assigned>, Wake) -> Intake + Send + Sync>;

/// What every worker of a run is built from.
pub struct Plumbing {
    pub domain: Arc<Domain>,
    pub database: Database,
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
    pub detector: Mutex<Detector>,
    /// Readings that had to be seen again.
    pub replayed: i64,
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

impl Plumbing {
    fn assigned(&self, share: Share) -> Vec<Assigned> {
        self.partitions.iter().filter(|one| share.reads(one.partition)).cloned().collect()
    }

    /// Where a worker's partitions stand: where the ledger says, else at the log's beginning.
    fn marks(&self, share: Share) -> Vec<Mark> {
        let mark = |one: &Assigned| {
            let known = self.ledger.marks.iter().find(|mark| mark.partition == one.partition);
            known.cloned().unwrap_or_else(|| Mark::at_start(one.partition, one.next_offset))
        };
        self.assigned(share).iter().map(mark).collect()
    }

    pub fn read_parts(
        &self,
        share: Share,
        committed: &Handle<Epoch>,
        held: Held,
    ) -> ReadParts<impl FnOnce(Wake) -> Intake> {
        let assigned = self.assigned(share);
        ReadParts {
            open: {
                let assigned = assigned.clone();
                move |wake| (self.open_intake)(share, assigned, wake)
            },
            assigned,
            clock: self.run.clock,
            committed_epoch: self.run.committed_epoch as Epoch,
            idle_after: (!self.until_caught_up)
                .then(|| Duration::from_micros(self.domain.time.idle_after_us as u64)),
            until_caught_up: self.until_caught_up,
            drain: self.drain.clone(),
            committed: committed.clone(),
            held,
            telemetry: self.telemetry.clone(),
        }
    }

    pub fn assembler(&self, share: Share) -> Assembler {
        Assembler::new(&self.domain, &self.marks(share))
    }

    pub fn lateness(&self, share: Share) -> Lateness {
        let lateness = Lateness::new(&self.domain, self.marks(share));
        if self.until_caught_up { lateness.without_idleness() } else { lateness }
    }

    pub fn watermarks(&self) -> Watermarks {
        Watermarks::new(self.partitions.iter().map(|one| one.partition), self.ledger.low_us)
    }

    /// How a worker's writer is started.
    pub fn open_writer(
        &self,
        share: Share,
    ) -> impl FnOnce(crossbeam_channel::Sender<Epoch>, Wake) -> Session<Rows> {
        let settings = WriterSettings {
            database: self.database.clone(),
            domain: self.domain.clone(),
            run_id: self.run.run_id,
            worker: share.index,
            fail_at: self.fail_at.clone(),
        };
        let on_failure = self.on_failure.clone();
        move |finished, wake| writer::spawn(settings, finished, wake, on_failure)
    }

    pub fn window_parts(&self, share: Share, committed: &Handle<Epoch>) -> WindowParts {
        let ledger = &self.ledger;
        let mut windows = Windows::new(&self.domain, ledger.low_us);
        let open = ledger.panes.iter().filter(|pane| share.keeps(&pane.zone));
        open.for_each(|pane| windows.load(pane.clone()));
        let mut facts = Vec::new();
        let held = views::facts_of(ledger.rows("zone_status")).into_iter();
        for (zone, held) in held.filter(|(zone, _)| share.keeps(zone)) {
            facts.extend(windows.load_facts(zone, held));
        }
        let name = format!("citytide:{}:panes-{}", self.run.run_id, share.index);
        let (database, domain) = (self.database.clone(), self.domain.clone());
        let on_failure = self.on_failure.clone();
        WindowParts {
            windows,
            low_us: ledger.low_us,
            facts,
            committed: committed.clone(),
            telemetry: self.telemetry.clone(),
            open_panes: Box::new(move |answers, wake| {
                panes::spawn(database, domain, name, answers, wake, on_failure)
            }),
        }
    }

    /// Each anomaly is with the worker that reads its partition.
    pub fn recent_parts(&self, share: Share, committed: &Handle<Epoch>) -> RecentParts {
        let ledger = &self.ledger;
        let committed_below = self.run.committed_epoch as Epoch + 1;
        let name = format!("citytide:{}:anomalies-{}", self.run.run_id, share.index);
        let (database, on_failure) = (self.database.clone(), self.on_failure.clone());
        let partitions = anomalies::Partitions { index: share.index, peers: share.peers };
        RecentParts {
            recent: Recent::new(AHEAD_MAX, ledger.anomalies_below_us, committed_below),
            low_us: ledger.low_us,
            initial: ledger.anomalies_of(|partition| share.reads(partition)),
            committed: committed.clone(),
            telemetry: self.telemetry.clone(),
            open_anomalies: Box::new(move |answers, wake| {
                anomalies::spawn(database, partitions, name, answers, wake, on_failure)
            }),
        }
    }

    /// What a worker's share of the live views is made from.
    pub fn view_inputs<'scope>(
        &self,
        share: Share,
        committed: &Handle<Epoch>,
        recent: VecCollection<'scope, Epoch, SensorAnomalies, isize>,
        facts: VecCollection<'scope, Epoch, (Arc<str>, ZoneFact), isize>,
        batches: StreamVec<'scope, Epoch, Batch>,
        progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    ) -> Inputs<'scope> {
        Inputs {
            domain: self.domain.clone(),
            recent,
            facts,
            batches: Batches::new(batches),
            restored: views::rows_of_zones(&self.ledger.views, |zone| share.keeps(zone)),
            committed_epoch: self.run.committed_epoch as Epoch,
            progress,
            incidents: RefCell::new(Some(self.incident_parts(share, committed))),
            sessions: RefCell::new(Some(self.session_parts(share, committed))),
        }
    }

    /// The incidents of the zones routed to a worker.
    fn incident_parts(&self, share: Share, committed: &Handle<Epoch>) -> IncidentParts {
        let loaded = self.ledger.incidents.of_zones(|zone| share.keeps(zone));
        let name = format!("citytide:{}:incidents-{}", self.run.run_id, share.index);
        let (database, domain) = (self.database.clone(), self.domain.clone());
        let on_failure = self.on_failure.clone();
        IncidentParts {
            incidents: views::restored_incidents(&self.domain, self.ledger.low_us, loaded),
            committed: committed.clone(),
            open_incidents: Box::new(move |answers, wake| {
                incidents::spawn(database, domain, name, answers, wake, on_failure)
            }),
        }
    }

    /// The sessions of the zones routed to a worker.
    fn session_parts(&self, share: Share, committed: &Handle<Epoch>) -> SessionParts {
        let loaded = self.ledger.sessions.iter().filter(|(of, ..)| share.keeps(&of.zone)).cloned();
        let name = format!("citytide:{}:sessions-{}", self.run.run_id, share.index);
        let (database, domain) = (self.database.clone(), self.domain.clone());
        let on_failure = self.on_failure.clone();
        SessionParts {
            sessions: views::restored_sessions(&self.domain, self.ledger.low_us, loaded.collect()),
            committed: committed.clone(),
            open_sessions: Box::new(move |answers, wake| {
                sessions::spawn(database, domain, name, answers, wake, on_failure)
            }),
        }
    }

    pub fn commit_parts(&self, committing: Committing) -> CommitParts {
        CommitParts {
            open: committing.open,
            marks: self.ledger.marks.clone(),
            low_us: self.ledger.low_us,
            on_committed: committing.on_committed,
            on_mark: committing.on_mark,
        }
    }
}

//! The live views during a replay: the stream's own dataflow, on a worker without a thread, an epoch per page of
//! letters.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_core::window::{Progress, Recent, RecentAnomaly, SensorAnomalies, ZoneFact};
use citytide_domain::Domain;
use citytide_store::clock;
use citytide_store::ledger::Ledger;
use differential_dataflow::input::InputSession;
use timely::communication::Allocator;
use timely::communication::allocator::Thread;
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::probe::Handle;
use timely::worker::{Config, Worker};

use crate::commit::plan::ViewRow;
use crate::operators::Epoch;
use crate::views::{self, Batches, IncidentParts, Inputs, OpenIncidents, OpenSessions, SessionParts};

/// A fact that holds now (+1) or no longer (−1).
type FactChange = (Arc<str>, ZoneFact, isize);

/// What a page of letters changes.
#[derive(Default)]
pub struct Changes {
    pub anomalies: Vec<RecentAnomaly>,
    pub facts: Vec<FactChange>,
    pub batches: Vec<Batch>,
}

/// The dataflow of the live views, as of some epoch.
pub struct Views {
    worker: Worker,
    recent: Recent,
    low_us: i64,
    anomalies: InputSession<Epoch, SensorAnomalies, isize>,
    facts: InputSession<Epoch, (Arc<str>, ZoneFact), isize>,
    batches: InputHandleVec<Epoch, Batch>,
    /// Nothing is sent: W stands still.
    progress: InputHandleVec<Epoch, Rc<Progress>>,
    passed: Handle<Epoch>,
    rows: Rc<RefCell<Vec<(ViewRow, isize)>>>,
}

impl Views {
    /// As the ledger has them; `facts` are what the windows know of the zones.
    pub fn new(
        domain: &Arc<Domain>,
        committed_epoch: Epoch,
        ledger: &Ledger,
        facts: Vec<FactChange>,
        open_incidents: OpenIncidents,
        open_sessions: OpenSessions,
    ) -> Views {
        let allocator = Allocator::Thread(Thread::default());
        let mut worker = Worker::new(Config::default(), allocator, Some(clock::instant()));
        let (mut anomalies, mut known) = (InputSession::new(), InputSession::new());
        let (mut batches, mut progress) = (InputHandleVec::new(), InputHandleVec::new());
        let incidents = IncidentParts {
            incidents: views::restored_incidents(domain, ledger.low_us, ledger.incidents.clone()),
            committed: Handle::new(),
            open_incidents,
        };
        let sessions = SessionParts {
            sessions: views::restored_sessions(domain, ledger.low_us, ledger.sessions.clone()),
            committed: Handle::new(),
            open_sessions,
        };
        let (passed, rows) = (Handle::new(), Rc::new(RefCell::new(Vec::new())));
        worker.dataflow_named("views of a replay", |scope| {
            let inputs = Inputs {
                domain: domain.clone(),
                recent: anomalies.to_collection(scope),
                facts: known.to_collection(scope),
                batches: Batches::new(scope.input_from(&mut batches)),
                restored: ledger.views.clone(),
                committed_epoch,
                progress: scope.input_from(&mut progress),
                incidents: RefCell::new(Some(incidents)),
                sessions: RefCell::new(Some(sessions)),
            };
            let rows = rows.clone();
            views::define(&inputs)
                .inspect(move |(row, _, diff)| rows.borrow_mut().push((row.clone(), *diff)))
                .probe_with(&passed);
        });
        let low_us = ledger.low_us;
        // W stands still: what lies ahead of it stays where it is.
        let recent = Recent::new(0, low_us, 0);
        let mut views =
            Views { worker, recent, low_us, anomalies, facts: known, batches, progress, passed, rows };
        let anomalies = ledger.anomalies_of(|_| true);
        // What comes out repeats the tables.
        views.change(0, Changes { anomalies, facts, ..Changes::default() });
        views
    }

    /// Takes in what an epoch changes, and returns the rows that appear and disappear with it. Epochs ascend, each after
    /// the one before is committed. W stands still.
    pub fn change(&mut self, epoch: Epoch, changes: Changes) -> Vec<(ViewRow, isize)> {
        self.advance_to(epoch);
        self.recent.evict(epoch);
        for (anomaly, diff) in self.recent.advance(epoch, changes.anomalies, self.low_us) {
            self.anomalies.update(anomaly, diff);
        }
        for (zone, fact, diff) in changes.facts {
            self.facts.update((zone, fact), diff);
        }
        changes.batches.into_iter().for_each(|batch| self.batches.send(batch));
        self.advance_to(epoch + 1);
        self.anomalies.flush();
        self.facts.flush();
        self.worker.step_while(|| self.passed.less_than(&(epoch + 1)));
        self.rows.take()
    }

    fn advance_to(&mut self, epoch: Epoch) {
        self.anomalies.advance_to(epoch);
        self.facts.advance_to(epoch);
        self.batches.advance_to(epoch);
        self.progress.advance_to(epoch);
    }
}

//! A thread with one database session, which works off jobs in order.
//!
//! Timely's workers never block on I/O: they hand a job to a session and go on; what a job leads to comes back
//! through a channel and an activation. A session's first failure is its last act: it tells `on_failure`, which ends
//! the run.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::postgres::DatabaseError;

/// Ends the run. It does not return to any good: whoever calls it stops working.
pub type OnFailure = Arc<dyn Fn(DatabaseError) + Send + Sync>;

/// Wakes the operator that waits for a session.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The way into a session's thread. The queue has no bound of its own: what may be in it is bounded by the epochs
/// and bytes in flight, for which the source stops reading.
pub struct Session<J> {
    jobs: Option<UnboundedSender<J>>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static> Session<J> {
    /// Starts a thread called `name` that runs `work` on a runtime of its own.
    pub fn spawn<W>(name: String, on_failure: OnFailure, work: W) -> Session<J>
    where
        W: AsyncFnOnce(UnboundedReceiver<J>) -> Result<(), DatabaseError> + Send + 'static,
    {
        Session::spawn_on(runtime(), name, on_failure, work)
    }

    /// The same on a runtime that already drives a connection.
    pub fn spawn_on<W>(runtime: Runtime, name: String, on_failure: OnFailure, work: W) -> Session<J>
    where
        W: AsyncFnOnce(UnboundedReceiver<J>) -> Result<(), DatabaseError> + Send + 'static,
    {
        let (jobs, receiver) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                if let Err(error) = runtime.block_on(work(receiver)) {
                    on_failure(error);
                }
            })
            .expect("a session needs a thread");
        Session { jobs: Some(jobs), thread: Some(thread) }
    }

    /// Hands a job over.
    pub fn send(&self, job: J) {
        // A closed queue means that the session has failed and the process is about to end.
        let _ = self.jobs.as_ref().expect("open until dropped").send(job);
    }
}

impl<J> Drop for Session<J> {
    /// Lets the session finish its jobs.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A runtime for one thread and its connections.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs a few file descriptors")
}

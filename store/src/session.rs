//! Runs jobs in order on a thread with its own database session.
//!
//! Timely's workers never block on I/O: they send a job to a session and continue; the result comes back through a
//! channel and an activation. A session stops at its first failure and reports it to `on_failure`, which ends the run.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::postgres::DatabaseError;

/// Ends the run. The caller must not continue if it returns.
pub type OnFailure = Arc<dyn Fn(DatabaseError) + Send + Sync>;

/// Wakes the operator that waits for a session.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The sending side of a session's thread. The queue is unbounded; its length is limited by the limits on epochs and
/// bytes in flight, at which the source stops reading.
pub struct Session<J> {
    jobs: Option<UnboundedSender<J>>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static> Session<J> {
    /// Starts a thread named `name` that runs `work` on its own runtime.
    pub fn spawn<W>(name: String, on_failure: OnFailure, work: W) -> Session<J>
    where
        W: AsyncFnOnce(UnboundedReceiver<J>) -> Result<(), DatabaseError> + Send + 'static,
    {
        Session::spawn_on(runtime(), name, on_failure, work)
    }

    /// As [`Session::spawn`], on a runtime that already drives a connection.
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

    /// Queues a job.
    pub fn send(&self, job: J) {
        // The queue is closed only after the session has failed; the process is about to end.
        let _ = self.jobs.as_ref().expect("open until dropped").send(job);
    }
}

impl<J> Drop for Session<J> {
    /// Waits until the session has finished its jobs.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A tokio runtime for one thread and its connections.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs a few file descriptors")
}

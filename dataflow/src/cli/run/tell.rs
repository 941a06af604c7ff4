//! Tells of the run while it goes on, on a thread of its own: a terminal that is stopped holds up nobody who works.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::cli::status::Status;
use crate::telemetry;
use crate::telemetry::Phase;

/// Distance of two lines in a log.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A thread that tells of a run until this is dropped.
pub struct Telling {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Telling {
    /// Starts telling. Fails when the system refuses a thread.
    pub fn start(run: Arc<telemetry::Run>) -> std::io::Result<Telling> {
        let (stop, stopped) = bounded(0);
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn(move || {
            let mut status = Status::default();
            while stopped.recv_timeout(LINE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let snapshot = run.snapshot();
                let phase = snapshot.phase;
                status.observe(snapshot);
                if phase != Phase::Starting {
                    tracing::info!("{}", status.line());
                }
            }
        })?;
        Ok(Telling { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

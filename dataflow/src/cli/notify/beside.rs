//! Notifying beside a run: on a thread with sessions of its own, which the run never waits for. When it fails, that is
//! told and it is started again; the run goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use citytide_notify::Ends;
use citytide_notify::routes::Route;
use citytide_store::clock::instant;
use citytide_store::postgres::Database;
use citytide_store::session;

use super::{read_routes, with_secrets};
use crate::cli::exit_error::ExitError;
use crate::cli::settings::Configuration;
use crate::runtime::backoff::Backoff;
use crate::runtime::panic;

/// Delays between two starts: the first, the longest, and after how long of success the first comes again.
const BACKOFF: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(60)];
/// How soon a request to stop is noticed between two starts.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A thread that notifies until this is dropped.
pub struct Beside {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Reads what it needs, so that a mistake is reported before the run begins.
///
/// # Errors
///
/// When there are no routes, or a secret cannot be read.
pub fn routes(configuration: &Configuration) -> Result<Vec<Route>, ExitError> {
    with_secrets(read_routes(configuration)?, configuration)
}

impl Beside {
    /// Starts it.
    pub fn start(database: Database, routes: Vec<Route>) -> std::io::Result<Beside> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::Builder::new()
            .name(panic::NOTIFY.to_owned())
            .spawn(move || keep(&database, &routes, &asked))?;
        Ok(Beside { stop, thread: Some(thread) })
    }
}

impl Drop for Beside {
    /// What is being sent is sent, or runs into its time-out.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts it again whenever it ends, until it is asked to stop.
fn keep(database: &Database, routes: &[Route], stop: &Arc<AtomicBool>) {
    let [first, most, healthy_after] = BACKOFF;
    let mut backoff = Backoff::new(first, most, healthy_after);
    let mut said = String::new();
    while !stop.load(Ordering::Relaxed) {
        let began = instant();
        let asked = stop.clone();
        let ends = Ends { until_caught_up: false, stop: Arc::new(move || asked.load(Ordering::Relaxed)) };
        let lived = std::panic::AssertUnwindSafe(|| {
            session::runtime().block_on(citytide_notify::run(database, routes.to_vec(), &ends))
        });
        let why = match std::panic::catch_unwind(lived) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it met a bug".to_owned(),
        };
        let mut left = backoff.after(began.elapsed());
        // While another program notifies, or the server is away, once is enough.
        if why == said {
            tracing::debug!("notifying has stopped: {why}");
        } else {
            tracing::warn!("notifying has stopped: {why}; the run goes on, and this is tried again");
            said = why;
        }
        while !left.is_zero() && !stop.load(Ordering::Relaxed) {
            let nap = left.min(POLL_INTERVAL);
            std::thread::sleep(nap);
            left -= nap;
        }
    }
}

//! What process 0 does beside the stream: heartbeat, partitions ahead, BRIN summaries, retention, indexes of
//! segments that are over.
//!
//! ```text
//!  one thread ─┬─ heartbeat  every second                      citytide:<run>:heartbeat
//!              ├─ jobs       partitions, summaries, retention  citytide:<run>:upkeep
//!              └─ indexes    of segments that are over         citytide:<run>:indexes
//! ```
//!
//! The heartbeat brings the newest commit along. As long as there is no newer one, the jobs ask the server next to
//! nothing: see `schedule`.
//!
//! Invariants:
//! 1. every transaction that writes begins with the fence, so that a run that was taken over changes nothing more;
//!    building indexes and summaries changes no row and is harmless after a takeover;
//! 2. no statement of a job waits for a lock longer than [`LOCK_TIMEOUT_MS`]; what did not get its lock is tried again
//!    in the next round. Only an index waits longer, for a lock on a segment that nobody writes any more, on a session
//!    of its own: neither it nor a job can delay the heartbeat;
//! 3. a lost connection ends the run: nothing here connects again.

mod held;
mod ledger;
mod over;
mod partitions;
mod retention;
mod schedule;
mod times;
mod uncommitted;

use std::cell::Cell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use citytide_domain::Domain;
use futures_util::future;
use tokio::sync::watch;
use tokio_postgres::{Client, SimpleQueryMessage, Transaction};

use super::postgres::{Database, DatabaseError};
use super::session;
use crate::clock::instant;
use crate::followers::Follower;
use crate::incidents::shown::{self, Counts};
use crate::notifications;
use crate::takeover::Run;
use held::Held;
use schedule::Schedule;

pub use ledger::{COMMITS_MERGED_AFTER_MS, merge_commits};
pub use over::finish_segments;
use partitions::Lately;
pub use partitions::{Written, ensure_partitions};
pub use retention::{
    drop_partitions, prune_changes, prune_commits, prune_detector, prune_incidents, prune_windows,
    raise_horizon, retention_horizon,
};
pub use uncommitted::delete_uncommitted;

/// How long a statement of a job waits for a lock: what it blocks meanwhile is held up no longer either.
const LOCK_TIMEOUT_MS: u32 = 100;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// Time between two rounds of jobs.
const ROUND_EVERY: Duration = Duration::from_secs(2);
const INDEX_EVERY: Duration = Duration::from_secs(30);
/// How soon a lost connection is noticed.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Asks the upkeep of a run to stop; it notices at once.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    pub fn new() -> Stop {
        Stop(Arc::new(watch::Sender::new(false)))
    }

    /// The upkeep ends once the statement that is under way is over; an index that is being built is given up.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }

    fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    async fn asked(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}

/// What the upkeep sees.
#[derive(Debug)]
pub enum Seen {
    /// How far the followers are: every few seconds.
    Followers(Vec<Follower>),
    /// How many incidents there are, and how notifying goes, where somebody notifies: every half minute.
    Incidents(Counts, Option<notifications::Summary>),
}

/// Starts the upkeep of a run on a thread of its own, until it is asked to stop. `on_failure` is told when a connection is
/// lost, a statement fails, or another run has taken over; then the run must end. `on_seen` is told what is seen
/// meanwhile.
pub fn spawn(
    database: Database,
    domain: Domain,
    run: Run,
    stop: Stop,
    on_seen: impl Fn(Seen) + Send + 'static,
    on_failure: impl FnOnce(DatabaseError) + Send + 'static,
) -> JoinHandle<()> {
    let work = move || {
        if let Err(error) = session::runtime().block_on(all(&database, &domain, run, &stop, &on_seen)) {
            on_failure(error);
        }
    };
    std::thread::Builder::new().name("upkeep".to_owned()).spawn(work).expect("a thread can be started")
}

async fn all(
    database: &Database,
    domain: &Domain,
    run: Run,
    stop: &Stop,
    on_seen: &impl Fn(Seen),
) -> Result<(), DatabaseError> {
    let run_id = run.run_id;
    let session = async |part: &str| database.connect(&format!("citytide:{run_id}:{part}")).await;
    let heartbeats = session("heartbeat").await?;
    let jobs = session("upkeep").await?;
    let indexes = session("indexes").await?;
    let newest = Cell::new(None);
    future::try_join3(
        beat(&heartbeats, run_id, stop, &newest),
        work(jobs, domain, run, stop, &newest, on_seen),
        index(database, &indexes, run, stop),
    )
    .await?;
    Ok(())
}

/// `newest` is told the newest commit, with every beat.
async fn beat(
    client: &Client,
    run_id: i64,
    stop: &Stop,
    newest: &Cell<Option<i64>>,
) -> Result<(), DatabaseError> {
    // A heartbeat need not survive the server: it does not wait for the disk.
    let script = format!(
        "begin; set local synchronous_commit = off; select citytide_fence({run_id}); \
         update runs set heartbeat_at = clock_timestamp() where run_id = {run_id}; \
         select max(epoch) as newest from commits; commit"
    );
    while !stop.is_asked() {
        let answers = client.simple_query(&script).await.map_err(failed("the heartbeat of this run"))?;
        newest.set(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.try_get("newest").ok()??.parse().ok(),
            _ => None,
        }));
        pause(HEARTBEAT_EVERY, client, stop).await;
    }
    Ok(())
}

async fn work(
    mut client: Client,
    domain: &Domain,
    run: Run,
    stop: &Stop,
    newest: &Cell<Option<i64>>,
    on_seen: &impl Fn(Seen),
) -> Result<(), DatabaseError> {
    let run_id = run.run_id;
    client
        .batch_execute(&format!("set lock_timeout = {LOCK_TIMEOUT_MS}; set jit = off"))
        .await
        .map_err(failed("setting up the session of the upkeep"))?;
    let mut schedule = Schedule::default();
    let mut held = Held::default();
    let mut written = Written::default();
    let mut merged_below_ms = 0;
    while !stop.is_asked() {
        // By the clock of epochs, which partitions are made of: a wall clock that is set must remove none.
        let now_ms = run.now_ms();
        let committed = newest.get();
        let due = schedule.next(committed, now_ms);
        if due.partitions
            && let Some(until_ms) = done(ensure_partitions(&mut client, run_id, now_ms, None).await)?
        {
            schedule.partitions_are_made(until_ms);
        }
        if due.after_commits {
            let summarized = is_done(written.summarize(&client, now_ms).await)?;
            if is_done(prune_detector(&mut client, run_id).await)? && summarized {
                schedule.caught_up_with(committed);
            }
        }
        if due.followers {
            on_seen(Seen::Followers(held.look(&client, domain.retention.raw_us, now_ms, instant()).await?));
        }
        if due.incidents
            && let Some(counts) = done(shown::counts(&client).await)?
        {
            let notifying = done(notifications::summary(&client).await)?.flatten();
            on_seen(Seen::Incidents(counts, notifying));
        }
        if due.retention {
            is_done(retain(&mut client, domain, run_id, now_ms).await)?;
            is_done(merge_commits(&mut client, run_id, &mut merged_below_ms, now_ms).await)?;
        }
        pause(ROUND_EVERY, &client, stop).await;
    }
    Ok(())
}

async fn retain(client: &mut Client, domain: &Domain, run_id: i64, now_ms: u64) -> Result<(), DatabaseError> {
    if let Some(raw_us) = domain.retention.raw_us {
        raise_horizon(client, run_id, raw_us, now_ms).await?;
    }
    prune_commits(client, run_id).await?;
    prune_changes(client, run_id).await?;
    prune_windows(client, run_id, domain).await?;
    prune_incidents(client, run_id, domain).await?;
    // Last: it is the one that a long query can keep from its lock for hours.
    drop_partitions(client, run_id).await
}

async fn index(database: &Database, client: &Client, run: Run, stop: &Stop) -> Result<(), DatabaseError> {
    // The stream needs the other processors.
    let alone = "set max_parallel_maintenance_workers = 0; set datestyle = 'ISO'; \
                 set client_min_messages = warning";
    client.batch_execute(alone).await.map_err(failed("setting up the session for indexes"))?;
    while !stop.is_asked() {
        let indexing = std::pin::pin!(finish_segments(client, run.now_ms()));
        match future::select(indexing, std::pin::pin!(stop.asked())).await {
            // An index is a convenience: as long as the connection lives, the run goes on without it.
            future::Either::Left((Err(error), _)) if client.is_closed() => return Err(error),
            future::Either::Left((Err(error), _)) => tracing::warn!("{error}; retrying the index"),
            future::Either::Left((Ok(()), _)) => {}
            future::Either::Right(_) => {
                let _ = database.cancel(client).await;
                return Ok(());
            }
        }
        pause(INDEX_EVERY, client, stop).await;
        // Nothing may be due for long: a session that was lost meanwhile is asked something.
        client.batch_execute("").await.map_err(failed("keeping the session for indexes"))?;
    }
    Ok(())
}

/// Sleeps, but no longer than the run, and no longer than the connection: what comes next tells that it was lost.
async fn pause(duration: Duration, client: &Client, stop: &Stop) {
    let mut left = duration;
    while !left.is_zero() && !stop.is_asked() && !client.is_closed() {
        let nap = left.min(POLL_INTERVAL);
        let _ = tokio::time::timeout(nap, stop.asked()).await;
        left -= nap;
    }
}

/// Whether a job is done: what only lacked a lock is tried again in a later round.
fn is_done(outcome: Result<(), DatabaseError>) -> Result<bool, DatabaseError> {
    Ok(done(outcome)?.is_some())
}

/// What a job that is done has to say.
fn done<T>(outcome: Result<T, DatabaseError>) -> Result<Option<T>, DatabaseError> {
    match outcome {
        Err(error) if lacked_lock(&error) => {
            tracing::debug!("{error}; tried again");
            Ok(None)
        }
        outcome => outcome.map(Some),
    }
}

/// Whether a statement ended because of its lock timeout or of a deadlock.
fn lacked_lock(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Statement { sqlstate: Some(state), .. } if state == "55P03" || state == "40P01")
}

/// Begins a transaction that may write, as long as this run has not been taken over.
async fn fenced<'a>(client: &'a mut Client, run_id: i64) -> Result<Transaction<'a>, DatabaseError> {
    let transaction = client.transaction().await.map_err(failed("beginning a transaction of the upkeep"))?;
    let begin = format!("set local lock_timeout = {LOCK_TIMEOUT_MS}; select citytide_fence({run_id})");
    transaction.batch_execute(&begin).await.map_err(failed("passing the fence"))?;
    Ok(transaction)
}

fn failed(attempted: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

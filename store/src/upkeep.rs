//! Maintains the database during a run, in process 0: heartbeat, partitions ahead of time, BRIN summaries, retention,
//! indexes of complete segments.
//!
//! ```text
//!  one thread ─┬─ heartbeat  every second                      citytide:<run>:heartbeat
//!              ├─ jobs       partitions, summaries, retention  citytide:<run>:upkeep
//!              └─ indexes    of complete segments              citytide:<run>:indexes
//! ```
//!
//! The heartbeat also reads the newest commit. While there is no newer one, the jobs send almost no statements: see
//! `schedule`.
//!
//! Invariants:
//! 1. every transaction that writes begins with the fence, so that a run that was taken over changes nothing more.
//!    Building indexes and summaries changes no row and is harmless after a takeover;
//! 2. no statement of a job waits for a lock longer than [`LOCK_TIMEOUT_MS`]; a job that does not get its lock is
//!    retried in the next round. Only building an index waits longer, for a lock on a segment that is no longer
//!    written. It has its own session, so it delays neither the jobs nor the heartbeat;
//! 3. nothing here reconnects: a lost connection ends the run.

mod follower_warnings;
mod indexes;
mod merge;
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
use follower_warnings::FollowerWarnings;
use schedule::Schedule;

pub use indexes::finish_segments;
pub use merge::{COMMITS_MERGED_AFTER_MS, merge_commits};
use partitions::RecentRate;
pub use partitions::{Written, ensure_partitions};
pub use retention::{
    drop_partitions, prune_changes, prune_commits, prune_detector, prune_incidents, prune_sensors,
    prune_windows, raise_horizon, retention_horizon,
};
pub use uncommitted::delete_uncommitted;

/// How long a statement of a job waits for a lock; the statements that queue behind it wait no longer either.
const LOCK_TIMEOUT_MS: u32 = 100;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// Interval of the rounds of jobs.
const ROUND_EVERY: Duration = Duration::from_secs(2);
const INDEX_EVERY: Duration = Duration::from_secs(30);
/// How often a pause checks for a lost connection.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Stops the upkeep of a run. It interrupts pauses.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    pub fn new() -> Stop {
        Stop(Arc::new(watch::Sender::new(false)))
    }

    /// Stops the upkeep after the current statement; cancels an index that is being built.
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

/// What the upkeep reads for metrics and status.
#[derive(Debug)]
pub enum Seen {
    /// The positions of the followers, every few seconds.
    Followers(Vec<Follower>),
    /// The numbers of incidents and, where a notifier is registered, the state of notifications; every half minute.
    Incidents(Counts, Option<notifications::Summary>),
}

/// Starts the upkeep of a run on its own thread, until `stop`. Calls `on_seen` with what it reads, and `on_failure`
/// when a connection is lost, a statement fails or another run has taken over; the run must end then.
pub fn spawn(
    database: Database,
    domain: Domain,
    run: Run,
    stop: Stop,
    on_seen: impl Fn(Seen) + Send + 'static,
    on_failure: impl FnOnce(DatabaseError) + Send + 'static,
) -> JoinHandle<()> {
    let work = move || {
        if let Err(error) = session::runtime().block_on(run_all(&database, &domain, run, &stop, &on_seen)) {
            on_failure(error);
        }
    };
    std::thread::Builder::new().name("upkeep".to_owned()).spawn(work).expect("a thread can be started")
}

async fn run_all(
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
        send_heartbeats(&heartbeats, run_id, stop, &newest),
        run_jobs(jobs, domain, run, stop, &newest, on_seen),
        build_indexes(database, &indexes, run, stop),
    )
    .await?;
    Ok(())
}

/// Writes a heartbeat every second, and reads the newest commit into `newest`.
async fn send_heartbeats(
    client: &Client,
    run_id: i64,
    stop: &Stop,
    newest: &Cell<Option<i64>>,
) -> Result<(), DatabaseError> {
    // A heartbeat need not survive a crash of the server, so it does not wait for the disk.
    let script = format!(
        "begin; set local synchronous_commit = off; select citytide_fence({run_id}); \
         update runs set heartbeat_at = clock_timestamp() where run_id = {run_id}; \
         select max(epoch) as newest from commits; commit"
    );
    while !stop.is_asked() {
        let answers =
            client.simple_query(&script).await.map_err(failed("writing the heartbeat of this run"))?;
        newest.set(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.try_get("newest").ok()??.parse().ok(),
            _ => None,
        }));
        pause(HEARTBEAT_EVERY, client, stop).await;
    }
    Ok(())
}

async fn run_jobs(
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
    let mut warnings = FollowerWarnings::default();
    let mut written = Written::default();
    let mut merged_below_ms = 0;
    while !stop.is_asked() {
        // The epoch clock, since partitions hold epochs: setting the wall clock must not remove partitions.
        let now_ms = run.now_ms();
        let committed = newest.get();
        let due = schedule.next(committed, now_ms);
        if due.partitions
            && let Some(until_ms) = done(ensure_partitions(&mut client, run_id, now_ms, None).await)?
        {
            schedule.partitions_exist_until(until_ms);
        }
        if due.after_commits {
            let summarized = is_done(written.summarize(&client, now_ms).await)?;
            if is_done(prune_detector(&mut client, run_id).await)? && summarized {
                schedule.caught_up_with(committed);
            }
        }
        if due.followers {
            let followers = warnings.read(&client, domain.retention.raw_us, now_ms, instant()).await?;
            on_seen(Seen::Followers(followers));
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
    prune_sensors(client, run_id, domain).await?;
    // Last, because long queries can block its lock for hours.
    drop_partitions(client, run_id).await
}

async fn build_indexes(
    database: &Database,
    client: &Client,
    run: Run,
    stop: &Stop,
) -> Result<(), DatabaseError> {
    // No parallel workers: the stream needs the other processors.
    let settings = "set max_parallel_maintenance_workers = 0; set datestyle = 'ISO'; \
                 set client_min_messages = warning";
    client.batch_execute(settings).await.map_err(failed("setting up the session for indexes"))?;
    while !stop.is_asked() {
        let indexing = std::pin::pin!(finish_segments(client, run.now_ms()));
        match future::select(indexing, std::pin::pin!(stop.asked())).await {
            // The run does not need the indexes: only a lost connection ends it.
            future::Either::Left((Err(error), _)) if client.is_closed() => return Err(error),
            future::Either::Left((Err(error), _)) => tracing::warn!("{error}; retrying the index"),
            future::Either::Left((Ok(()), _)) => {}
            future::Either::Right(_) => {
                let _ = database.cancel(client).await;
                return Ok(());
            }
        }
        pause(INDEX_EVERY, client, stop).await;
        // Detects a lost connection also while no index is due.
        client.batch_execute("").await.map_err(failed("checking the session for indexes"))?;
    }
    Ok(())
}

/// Sleeps until `duration` has passed, `stop` is set, or the connection is lost; then the caller's next statement
/// fails.
async fn pause(duration: Duration, client: &Client, stop: &Stop) {
    let mut left = duration;
    while !left.is_zero() && !stop.is_asked() && !client.is_closed() {
        let nap = left.min(POLL_INTERVAL);
        let _ = tokio::time::timeout(nap, stop.asked()).await;
        left -= nap;
    }
}

/// Whether a job is done; one that only lacked a lock is not, and is retried in a later round.
fn is_done(outcome: Result<(), DatabaseError>) -> Result<bool, DatabaseError> {
    Ok(done(outcome)?.is_some())
}

/// The result of a job; `None` when it only lacked a lock.
fn done<T>(outcome: Result<T, DatabaseError>) -> Result<Option<T>, DatabaseError> {
    match outcome {
        Err(error) if lacked_lock(&error) => {
            tracing::debug!("{error}; retrying");
            Ok(None)
        }
        outcome => outcome.map(Some),
    }
}

/// Whether a statement failed because of its lock timeout or a deadlock.
fn lacked_lock(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Statement { sqlstate: Some(state), .. } if state == "55P03" || state == "40P01")
}

/// Begins a transaction with the fence: it fails once another run has taken over.
async fn fenced<'a>(client: &'a mut Client, run_id: i64) -> Result<Transaction<'a>, DatabaseError> {
    let transaction = client.transaction().await.map_err(failed("beginning a transaction of the upkeep"))?;
    let begin = format!("set local lock_timeout = {LOCK_TIMEOUT_MS}; select citytide_fence({run_id})");
    transaction.batch_execute(&begin).await.map_err(failed("checking the fence"))?;
    Ok(transaction)
}

fn failed(attempted: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

//! Makes a run the only one that can commit to the database.
//!
//! ```text
//!  process 0                                              the old run
//!  session lock (…, 2)      one process 0 at a time       held as long as its session exists
//!  begin
//!    transaction lock (…, 1), exclusive                   each transaction takes it shared, in `citytide_fence`
//!    read max(epoch), raise fence.run_id                  from here on `citytide_fence` fails
//!  commit
//!  delete rows above the committed epoch                  can write none any more
//! ```
//!
//! 1. When the exclusive lock is granted, every transaction of the old run has ended and its rows are visible or
//!    rolled back. Each later transaction sees the new `run_id`, because it reads it in a statement that begins after
//!    its lock. This requires READ COMMITTED: under a higher level the snapshot would be older than the lock.
//! 2. The session that takes over is the session that commits, so it is older than every COPY of its run. It never
//!    reconnects; losing it loses the lock and ends the run.
//! 3. The holder of the session lock may terminate the old run's sessions: the committing session of that run is gone,
//!    so it can never commit again. Without the lock, a takeover terminates only a run that is silent (by the
//!    database's clock) or, with `--take-over`, any run. A run that has a heartbeat while this one waits is active. A
//!    run that has crashed may have left its session behind: the takeover waits until it counts as silent.
//! 4. A takeover waits for a run without processes (a replay of dead letters), which ends soon.
//! 5. Every wait has a time limit.

mod member;
mod sessions;

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel};

use super::postgres::DatabaseError;
use super::schema::{LOCK_FENCE, LOCK_RUN, LOCK_SPACE};
use super::time::EPOCH_GRID_MS;
use crate::clock::{instant, wall_ms};
use crate::epoch_clock::EpochClock;

pub use member::{Member, join_run};
pub use sessions::{Holder, living_run};
use sessions::{end_sessions, holders, newest_run};

/// How often a takeover tries a lock and reads `runs`.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The time limits of a takeover.
#[derive(Debug, Clone, PartialEq)]
pub struct Patience {
    /// For trying the lock before reading the holder's heartbeat.
    pub lock: Duration,
    /// A run whose heartbeat is older than this is silent.
    pub silence: Duration,
    /// For transactions of the old run to end by themselves.
    pub transactions: Duration,
    /// For terminated sessions to end.
    pub termination: Duration,
    /// For a run without processes to end.
    pub maintenance: Duration,
    /// For a process other than 0 to find a run to join.
    pub run: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            lock: Duration::from_secs(2),
            silence: Duration::from_secs(5),
            transactions: Duration::from_millis(500),
            termination: Duration::from_secs(10),
            maintenance: Duration::from_secs(600),
            run: Duration::from_secs(30),
        }
    }
}

/// The run that takes the database over.
#[derive(Debug, Clone)]
pub struct Takeover {
    /// The host name, for messages.
    pub host: String,
    /// The operating system's id of this process.
    pub process_id: i32,
    /// Number of processes of the run; 0 when it reads no source.
    pub processes: i32,
    /// Workers per process.
    pub workers: i32,
    /// Whether to replace an active run.
    pub take_over: bool,
    /// The time limits.
    pub patience: Patience,
}

/// A run. All processes of it share every field but the clock.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The generation: greater than that of every earlier run.
    pub run_id: i64,
    /// The epoch of the last commit; 0 before the first.
    pub committed_epoch: i64,
    /// Difference of the run's epochs to the wall clock at its start, milliseconds: it keeps epochs above the committed
    /// one after the clock was set back.
    pub epoch_offset_ms: i64,
    /// The clock from which this process derives epochs.
    pub clock: EpochClock,
}

impl Run {
    /// The current time of the epoch clock, milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.at_ms(instant())
    }
}

/// Why a run could not take the database over, or a process could not join a run.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// Another run is active.
    #[error("this database is being written by run {} on {}, process id {}, started at {}, last heartbeat {:.1} s ago; stop it, or replace it with --take-over", .0.run_id, .0.host, .0.process_id, .0.started_at, .0.silent_s)]
    Held(Holder),
    /// A session without a run holds the lock (a run may be starting), or terminated sessions did not end.
    #[error(
        "the lock of this database is held by {holders}; when no other run is starting there, end it with --take-over"
    )]
    Stuck {
        /// The sessions that hold the lock.
        holders: String,
    },
    /// This role may not terminate the old run's sessions.
    #[error(
        "cannot terminate the sessions of the old run as role {role}: {reason}; connect as the role that run used, \
         or grant pg_signal_backend to {role}"
    )]
    MayNotTerminate {
        /// This session's role.
        role: String,
        /// The server's message.
        reason: String,
    },
    /// No run appeared that this process can join.
    #[error("process {process} found no run to join within {} s: {why}", waited.as_secs_f32())]
    NoRun {
        /// The index of this process.
        process: i32,
        waited: Duration,
        /// The state of the newest run.
        why: String,
    },
    /// The active run was started with another number of processes, so waiting does not help.
    #[error(
        "run {run_id} has {of_run} processes, this one was started with -n {mine}; give every process of a run the \
         same -n, -w and -z"
    )]
    OtherNumber {
        run_id: i64,
        /// The run's number of processes.
        of_run: i32,
        /// The number that this process was started with.
        mine: i32,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> TakeoverError {
    move |error| DatabaseError::statement(attempted, &error).into()
}

/// Takes the database over on the session that will commit. When this returns, no transaction of an earlier run can
/// commit any more, and the raw tables hold no row above the committed epoch.
///
/// `delete_uncommitted` deletes those rows, given the committed epoch, and returns their number: pass
/// [`crate::upkeep::delete_uncommitted`].
pub async fn take(
    client: &mut Client,
    request: &Takeover,
    delete_uncommitted: impl AsyncFnOnce(&Client, i64) -> Result<u64, DatabaseError>,
) -> Result<Run, TakeoverError> {
    take_session_lock(client, request).await?;
    let run = raise_fence(client, request).await?;
    let deleted = delete_uncommitted(client, run.committed_epoch).await?;
    // The deletion may have taken longer than `silence`, and other processes join only a run that is not silent.
    client
        .execute("update runs set heartbeat_at = clock_timestamp() where run_id = $1", &[&run.run_id])
        .await
        .map_err(failed("writing the first heartbeat of the run"))?;
    let Run { run_id, committed_epoch, .. } = run;
    tracing::info!("run {run_id} continues from epoch {committed_epoch}; {deleted} uncommitted rows deleted");
    Ok(run)
}

/// Takes the lock that admits one process 0 at a time. The session holds it until it ends.
async fn take_session_lock(client: &Client, request: &Takeover) -> Result<(), TakeoverError> {
    let patience = &request.patience;
    let begun = instant();
    let mut until = begun + patience.lock;
    let mut has_terminated = false;
    let mut is_logged = false;
    loop {
        let locked = client
            .query_one("select pg_try_advisory_lock($1, $2)", &[&LOCK_SPACE, &LOCK_RUN])
            .await
            .map_err(failed("locking the database for this run"))?;
        if locked.get(0) {
            return Ok(());
        }
        if instant() >= until {
            // Measured before the query: a slow answer must not make an earlier heartbeat look like a later one.
            let waited_s = (instant() - begun).as_secs_f64();
            let holder = newest_run(client).await?;
            let is_active = |holder: &Holder| holder.silent_s < waited_s;
            let is_silent = |holder: &Holder| holder.silent_s > patience.silence.as_secs_f64();
            match holder {
                Some(holder)
                    if is_active(&holder)
                        && holder.processes == 0
                        && instant() - begun < patience.maintenance =>
                {
                    if !is_logged {
                        tracing::info!("waiting for run {}, which replays dead letters", holder.run_id);
                    }
                    is_logged = true;
                }
                Some(holder) if is_active(&holder) && (has_terminated || !request.take_over) => {
                    return Err(TakeoverError::Held(holder));
                }
                None if has_terminated || !request.take_over => return stuck(client, LOCK_RUN).await,
                Some(_) if has_terminated => return stuck(client, LOCK_RUN).await,
                holder if request.take_over || holder.as_ref().is_some_and(is_silent) => {
                    // A session without a run may be a run that is starting: only `--take-over` terminates it.
                    let run_id = holder.map_or(0, |holder| holder.run_id);
                    end_sessions(client, run_id, if request.take_over { LOCK_RUN } else { 0 }).await?;
                    has_terminated = true;
                    until = instant() + patience.termination;
                }
                // The holder may have crashed a moment ago: wait for a heartbeat or for enough silence.
                _ => {}
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the error for a lock that its holders do not release.
async fn stuck<T>(client: &Client, lock: i32) -> Result<T, TakeoverError> {
    Err(TakeoverError::Stuck { holders: holders(client, lock).await? })
}

/// Replaces the old run by the new one in one transaction; terminates the old run's sessions if they block it.
async fn raise_fence(client: &mut Client, request: &Takeover) -> Result<Run, TakeoverError> {
    let patience = &request.patience;
    for lock_timeout in [patience.transactions, patience.termination] {
        match raise_fence_within(client, request, lock_timeout).await? {
            Some(run) => return Ok(run),
            None => {
                let run_id = newest_run(client).await?.map_or(0, |run| run.run_id);
                end_sessions(client, run_id, LOCK_FENCE).await?;
            }
        }
    }
    stuck(client, LOCK_FENCE).await
}

/// Tries the transaction once; `None` when a transaction of the old run holds the lock for longer than `lock_timeout`.
async fn raise_fence_within(
    client: &mut Client,
    request: &Takeover,
    lock_timeout: Duration,
) -> Result<Option<Run>, TakeoverError> {
    let begun = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await;
    let transaction = begun.map_err(failed("beginning the takeover"))?;
    let lock = format!(
        "set local lock_timeout = {}; select pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_FENCE}); set local lock_timeout = 0",
        lock_timeout.as_millis().max(1)
    );
    match transaction.batch_execute(&lock).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            transaction.rollback().await.map_err(failed("rolling the takeover back"))?;
            return Ok(None);
        }
        other => other.map_err(failed("waiting for the old run's transactions"))?,
    }
    // The snapshot of each further statement is newer than the lock.
    let now = transaction
        .query_one(
            "select coalesce((select max(epoch) from commits), 0),
                    1 + greatest((select max(run_id) from runs), (select run_id from fence))",
            &[],
        )
        .await
        .map_err(failed("reading the ledger"))?;
    let (committed_epoch, run_id): (i64, i64) = (now.get(0), now.get(1));
    let (wall_ms, since) = (wall_ms(), instant());
    let wall = i64::try_from(wall_ms).expect("a date before the year 292 million");
    let epoch_offset_ms = (committed_epoch + EPOCH_GRID_MS as i64 - wall).max(0);
    let clock = EpochClock::starting(wall_ms.saturating_add_signed(epoch_offset_ms), since);
    let why = format!("taken over by run {run_id}");
    let write = async {
        transaction.execute("update fence set run_id = $1", &[&run_id]).await?;
        transaction
            .execute(
                "update runs set ended_at = clock_timestamp(), why = coalesce(why, $1) where ended_at is null",
                &[&why],
            )
            .await?;
        let Takeover { host, process_id, processes, workers, .. } = request;
        transaction
            .execute(
                "insert into runs (run_id, host, process_id, processes, workers, epoch_offset_ms)
                 values ($1, $2, $3, $4, $5, $6)",
                &[&run_id, host, process_id, processes, workers, &epoch_offset_ms],
            )
            .await?;
        transaction
            .execute("insert into run_members (run_id, process, host) values ($1, 0, $2)", &[&run_id, host])
            .await?;
        // In the same transaction: the session has the run's name if and only if the run exists.
        transaction.batch_execute(&format!("set application_name = 'citytide:{run_id}:commit'")).await
    };
    write.await.map_err(failed("raising the fence"))?;
    transaction.commit().await.map_err(failed("committing the takeover"))?;
    Ok(Some(Run { run_id, committed_epoch, epoch_offset_ms, clock }))
}

/// Records that the run has ended, and why. Its session lock is released when its session ends.
pub async fn finish(client: &Client, run_id: i64, why: &str) -> Result<(), DatabaseError> {
    client
        .execute(
            "update runs set ended_at = clock_timestamp(), why = $2 where run_id = $1 and ended_at is null",
            &[&run_id, &why],
        )
        .await
        .map(|_| ())
        .map_err(|error| DatabaseError::statement("recording the end of the run", &error))
}

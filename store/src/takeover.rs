//! Taking the database over: how a run becomes the only one that can commit.
//!
//! ```text
//!  process 0                                              the old run
//!  session lock (…, 2)      one process 0 at a time       held for as long as its session lives
//!  begin
//!    transaction lock (…, 1), exclusive                   taken shared by every transaction, in `citytide_fence`
//!    read max(epoch), raise fence.run_id                  from here on `citytide_fence` fails
//!  commit
//!  delete what is above the committed epoch               nothing of it can come any more
//! ```
//!
//! 1. When the exclusive lock is granted, every transaction of the old run has ended and its rows are visible or
//!    gone; each later one sees the new `run_id`, for it reads it in a statement that begins after its lock.
//!    This needs READ COMMITTED: under a higher level the snapshot would be older than the lock.
//! 2. The session that takes over is the one that commits, so it is older than every COPY of its run. It is never
//!    opened again; losing it loses the lock and ends the run.
//! 3. Who holds the session lock may end the old run's sessions: its committing session is gone, it can never
//!    commit again. Without the lock only a run that is silent (by the database's clock), or that the operator
//!    wants replaced, is ended. A run is in the way when its heart beats while this one waits; one that has just
//!    died, and whose session the server still keeps, is waited for until it counts as silent.
//! 4. A run without processes (a replay of dead letters) is waited for: it is over in a moment.
//! 5. Nothing waits without a bound.

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

/// The pause between two looks at a lock or at `runs`.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long each step of a takeover may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Patience {
    /// How long the lock is tried before the holder's heartbeat is looked at.
    pub lock: Duration,
    /// A heartbeat older than this is that of a dead run.
    pub silence: Duration,
    /// How long transactions of the old run may take to end by themselves.
    pub transactions: Duration,
    /// How long sessions that were told to end may take to do so.
    pub termination: Duration,
    /// How long a run without processes is waited for.
    pub maintenance: Duration,
    /// How long a process other than 0 waits for a run to join.
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

/// Who wants to take the database over.
#[derive(Debug, Clone)]
pub struct Takeover {
    /// The machine's name, for people.
    pub host: String,
    /// The operating system's number of this process.
    pub process_id: i32,
    /// The number of processes of the run; 0 when it reads no source.
    pub processes: i32,
    /// Workers per process.
    pub workers: i32,
    /// Whether a run that lives is to be replaced.
    pub take_over: bool,
    /// How long to wait for what.
    pub patience: Patience,
}

/// A run, as all its processes know it.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Its number, above that of every earlier run: the generation.
    pub run_id: i64,
    /// The epoch from which it goes on; 0 when nothing has ever been committed.
    pub committed_epoch: i64,
    /// What its epochs are ahead of the wall clock as it was at the start, so that they lie above the committed one
    /// also after the clock was set back. Of one run: the same in all its processes.
    pub epoch_offset_ms: i64,
    /// The clock that this process makes epochs of.
    pub clock: EpochClock,
}

impl Run {
    /// What its clock of epochs shows now.
    pub fn now_ms(&self) -> u64 {
        self.clock.at_ms(instant())
    }
}

/// Why the database was not taken over, or no run joined.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// Another run lives.
    #[error("this database is being written by run {} on {}, process id {}, started at {}, last heartbeat {:.1} s ago; stop it, or replace it with --take-over", .0.run_id, .0.host, .0.process_id, .0.started_at, .0.silent_s)]
    Held(Holder),
    /// Somebody holds the lock who is no run (yet), or sessions did not end.
    #[error(
        "the lock of this database is held by {holders}; when no other run is starting there, end it with --take-over"
    )]
    Stuck {
        /// The sessions that hold it.
        holders: String,
    },
    /// The old run's sessions must be ended, but this role may not.
    #[error(
        "the sessions of the old run must be ended, but role {role} may not: {reason}; connect as the role that run used, or grant pg_signal_backend to {role}"
    )]
    MayNotTerminate {
        /// This session's role.
        role: String,
        /// The server's words.
        reason: String,
    },
    /// No run came that this process can join.
    #[error("process {process} found no run to join within {} s: {why}", waited.as_secs_f32())]
    NoRun {
        /// The index of this process.
        process: i32,
        /// How long it waited.
        waited: Duration,
        /// What is in the way.
        why: String,
    },
    /// The run that lives was started with another number of processes; only a person can mend that.
    #[error(
        "run {run_id} has {of_run} processes, this one was started with -n {mine}; give every process of a run the \
         same -n, -w and -z"
    )]
    OtherNumber {
        /// The run.
        run_id: i64,
        /// Its number of processes.
        of_run: i32,
        /// That of this process.
        mine: i32,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Wraps a failed statement.
fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> TakeoverError {
    move |error| DatabaseError::statement(attempted, &error).into()
}

/// Takes the database over on the session that will commit. When this returns, no transaction of an earlier run
/// can commit any more, and nothing above the committed epoch is left in the raw tables: `delete_uncommitted`
/// (`upkeep`'s) deletes it, given the committed epoch, and says how many rows there were.
pub async fn take(
    client: &mut Client,
    request: &Takeover,
    delete_uncommitted: impl AsyncFnOnce(&Client, i64) -> Result<u64, DatabaseError>,
) -> Result<Run, TakeoverError> {
    take_session_lock(client, request).await?;
    let run = raise_fence(client, request).await?;
    let deleted = delete_uncommitted(client, run.committed_epoch).await?;
    // The deletion may have taken longer than a heartbeat lives; members join only a run that is not silent.
    client
        .execute("update runs set heartbeat_at = clock_timestamp() where run_id = $1", &[&run.run_id])
        .await
        .map_err(failed("the first heartbeat of the run"))?;
    let Run { run_id, committed_epoch, .. } = run;
    tracing::info!("run {run_id} continues from epoch {committed_epoch}; {deleted} uncommitted rows deleted");
    Ok(run)
}

/// One process 0 at a time. The lock lives as long as the session.
async fn take_session_lock(client: &Client, request: &Takeover) -> Result<(), TakeoverError> {
    let patience = &request.patience;
    let begun = instant();
    let mut until = begun + patience.lock;
    let mut ending = false;
    let mut waits = false;
    loop {
        let locked = client
            .query_one("select pg_try_advisory_lock($1, $2)", &[&LOCK_SPACE, &LOCK_RUN])
            .await
            .map_err(failed("locking the database for this run"))?;
        if locked.get(0) {
            return Ok(());
        }
        if instant() >= until {
            // Taken before the question: an answer that is slow makes no heartbeat of before a later one.
            let waited_s = (instant() - begun).as_secs_f64();
            let holder = newest_run(client).await?;
            let lives = |holder: &Holder| holder.silent_s < waited_s;
            let silent = |holder: &Holder| holder.silent_s > patience.silence.as_secs_f64();
            match holder {
                Some(holder)
                    if lives(&holder)
                        && holder.processes == 0
                        && instant() - begun < patience.maintenance =>
                {
                    if !waits {
                        tracing::info!("waiting for run {}, which replays dead letters", holder.run_id);
                    }
                    waits = true;
                }
                // It had a heartbeat while this run waited.
                Some(holder) if lives(&holder) && (ending || !request.take_over) => {
                    return Err(TakeoverError::Held(holder));
                }
                None if ending || !request.take_over => return stuck(client, LOCK_RUN).await,
                Some(_) if ending => return stuck(client, LOCK_RUN).await,
                holder if request.take_over || holder.as_ref().is_some_and(silent) => {
                    // Only an operator's word ends a session that has no run yet: it may just be starting.
                    let run_id = holder.map_or(0, |holder| holder.run_id);
                    end_sessions(client, run_id, if request.take_over { LOCK_RUN } else { 0 }).await?;
                    ending = true;
                    until = instant() + patience.termination;
                }
                // Neither a heartbeat nor silence for long enough: a predecessor that has just died, perhaps.
                _ => {}
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Says who holds a lock that is not set free.
async fn stuck<T>(client: &Client, lock: i32) -> Result<T, TakeoverError> {
    Err(TakeoverError::Stuck { holders: holders(client, lock).await? })
}

/// The transaction in which the new run replaces the old one.
async fn raise_fence(client: &mut Client, request: &Takeover) -> Result<Run, TakeoverError> {
    let patience = &request.patience;
    for waits in [patience.transactions, patience.termination] {
        match raise_fence_within(client, request, waits).await? {
            Some(run) => return Ok(run),
            None => {
                let run_id = newest_run(client).await?.map_or(0, |run| run.run_id);
                end_sessions(client, run_id, LOCK_FENCE).await?;
            }
        }
    }
    stuck(client, LOCK_FENCE).await
}

/// As [`raise_fence`]; `None` when an old transaction holds the lock for longer than `waits`.
async fn raise_fence_within(
    client: &mut Client,
    request: &Takeover,
    waits: Duration,
) -> Result<Option<Run>, TakeoverError> {
    let begun = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await;
    let transaction = begun.map_err(failed("beginning the takeover"))?;
    let lock = format!(
        "set local lock_timeout = {}; select pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_FENCE}); set local lock_timeout = 0",
        waits.as_millis().max(1)
    );
    match transaction.batch_execute(&lock).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            transaction.rollback().await.map_err(failed("giving up the takeover's lock"))?;
            return Ok(None);
        }
        other => other.map_err(failed("waiting for the old run's transactions"))?,
    }
    // Each statement from here on has a snapshot that is younger than the lock.
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
    let wall = i64::try_from(wall_ms).expect("a date that humans live to see");
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
        // Part of the transaction: the session bears the run's name if and only if the run exists.
        transaction.batch_execute(&format!("set application_name = 'citytide:{run_id}:commit'")).await
    };
    write.await.map_err(failed("raising the fence"))?;
    transaction.commit().await.map_err(failed("committing the takeover"))?;
    Ok(Some(Run { run_id, committed_epoch, epoch_offset_ms, clock }))
}

/// Notes that the run has ended, and why. Its session lock goes with its session.
pub async fn finish(client: &Client, run_id: i64, why: &str) -> Result<(), DatabaseError> {
    client
        .execute(
            "update runs set ended_at = clock_timestamp(), why = $2 where run_id = $1 and ended_at is null",
            &[&run_id, &why],
        )
        .await
        .map(|_| ())
        .map_err(|error| DatabaseError::statement("noting the end of the run", &error))
}

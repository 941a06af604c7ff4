//! Lets processes other than 0 join the run that process 0 has started. The `run_id` in the database is the generation.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{POLL_INTERVAL, Patience, Run, TakeoverError, failed};
use crate::clock::{instant, wall_ms};
use crate::epoch_clock::EpochClock;

/// A process that joins the run of process 0.
#[derive(Debug, Clone)]
pub struct Member {
    /// The index of this process, from 1.
    pub process: i32,
    /// The number of processes that the run must have.
    pub processes: i32,
    /// The host name, for messages.
    pub host: String,
    /// The least `run_id` to join.
    pub not_before: i64,
    /// The time limits.
    pub patience: Patience,
}

/// Joins the newest run. Waits while that run is silent, has ended, has another number of processes, or already had a
/// process with this index (which has crashed, so that run is about to end).
///
/// # Errors
///
/// [`TakeoverError::OtherNumber`] or [`TakeoverError::NoRun`] when there is no such run within `patience.run`; also
/// when the server fails.
pub async fn join_run(client: &Client, member: &Member) -> Result<Run, TakeoverError> {
    let Member { process, processes, host, not_before, patience } = member;
    let until = instant() + patience.run;
    loop {
        let joined = client
            .query_opt(
                "insert into run_members (run_id, process, host)
                 select run_id, $1, $2 from runs
                 where run_id = (select max(run_id) from runs) and run_id >= $3 and processes = $4
                   and ended_at is null
                   and heartbeat_at > clock_timestamp() - $5::float8 * interval '1 second'
                 on conflict do nothing
                 returning run_id, (select epoch_offset_ms from runs r where r.run_id = run_members.run_id),
                           coalesce((select max(epoch) from commits), 0)",
                &[process, host, not_before, processes, &patience.silence.as_secs_f64()],
            )
            .await;
        let joined = match joined {
            // At a first start process 0 may not have created the tables yet.
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => None,
            joined => joined.map_err(failed("joining the run"))?,
        };
        if let Some(row) = joined {
            let epoch_offset_ms = row.get(1);
            let clock = EpochClock::starting(wall_ms().saturating_add_signed(epoch_offset_ms), instant());
            return Ok(Run { run_id: row.get(0), epoch_offset_ms, committed_epoch: row.get(2), clock });
        }
        if instant() >= until {
            return Err(explain(client, member).await?);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the error that says why the process cannot join the newest run.
async fn explain(client: &Client, member: &Member) -> Result<TakeoverError, TakeoverError> {
    let row = client
        .query_opt(
            "select run_id, processes, ended_at is not null,
                    extract(epoch from clock_timestamp() - heartbeat_at)::float8
             from runs order by run_id desc limit 1",
            &[],
        )
        .await
        .map_err(failed("looking for the newest run"))?;
    let no_run =
        |why: String| TakeoverError::NoRun { process: member.process, waited: member.patience.run, why };
    let Some(row) = row else { return Ok(no_run("there is none; is process 0 running?".to_owned())) };
    let (run_id, processes, ended, silent_s): (i64, i32, bool, f64) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let is = if ended {
        "has ended; is process 0 running?".to_owned()
    } else if silent_s > member.patience.silence.as_secs_f64() {
        format!("has been silent for {silent_s:.1} s; is process 0 running?")
    } else if processes != member.processes {
        return Ok(TakeoverError::OtherNumber { run_id, of_run: processes, mine: member.processes });
    } else if run_id < member.not_before {
        format!("is older than run {}, which this process waits for", member.not_before)
    } else {
        format!("already had a process {}; the next run has not started", member.process)
    };
    Ok(no_run(format!("run {run_id} {is}")))
}

//! Reads the newest run and the holders of its locks, and terminates their sessions.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::{TakeoverError, failed};
use crate::schema::LOCK_SPACE;

/// A run that holds the database. Times are those of the database's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    pub run_id: i64,
    pub host: String,
    /// The operating system's id of its process 0.
    pub process_id: i32,
    /// Its start, as text in UTC.
    pub started_at: String,
    /// Its number of processes; 0 for a replay of dead letters, which reads no source.
    pub processes: i32,
    /// Seconds since its last heartbeat.
    pub silent_s: f64,
}

/// Terminates the sessions of run `run_id` in this database, and those that hold citytide's advisory lock `lock`.
pub(super) async fn end_sessions(client: &Client, run_id: i64, lock: i32) -> Result<(), TakeoverError> {
    let name = format!("citytide:{run_id}:%");
    let ended = client
        .query(
            "select a.pid, a.application_name, pg_terminate_backend(a.pid)
             from pg_stat_activity a
             where a.datname = current_database() and a.pid <> pg_backend_pid()
               and (a.application_name like $1
                    or a.pid in (select l.pid from pg_locks l
                                 where l.locktype = 'advisory' and l.granted and l.classid::bigint = $3
                                   and l.objid::bigint = $2 and l.objsubid = 2
                                   and l.database = (select oid from pg_database where datname = current_database())))",
            &[&name, &i64::from(lock), &i64::from(LOCK_SPACE)],
        )
        .await;
    match ended {
        Ok(sessions) => {
            for session in sessions {
                let (pid, name): (i32, String) = (session.get(0), session.get(1));
                tracing::warn!("terminated session {pid} ({name}) of the run that was taken over");
            }
            Ok(())
        }
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let row = client
                .query_one("select current_user::text", &[])
                .await
                .map_err(failed("reading the current role"))?;
            let reason = error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default();
            Err(TakeoverError::MayNotTerminate { role: row.get(0), reason })
        }
        Err(error) => Err(failed("terminating the old run's sessions")(error)),
    }
}

/// Returns the run that was started last, whether or not it has ended.
pub(super) async fn newest_run(client: &Client) -> Result<Option<Holder>, TakeoverError> {
    let row = client
        .query_opt(
            "select run_id, host, process_id, to_char(started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC'),
                    extract(epoch from clock_timestamp() - heartbeat_at)::float8, processes
             from runs order by run_id desc limit 1",
            &[],
        )
        .await
        .map_err(failed("looking for the newest run"))?;
    let holder = |row: Row| Holder {
        run_id: row.get(0),
        host: row.get(1),
        process_id: row.get(2),
        started_at: row.get(3),
        silent_s: row.get(4),
        processes: row.get(5),
    };
    Ok(row.map(holder))
}

/// Returns the newest run if it is active: it has not ended, and its last heartbeat is at most `silence` old.
///
/// # Errors
///
/// When the server fails.
pub async fn living_run(client: &Client, silence: Duration) -> Result<Option<Holder>, TakeoverError> {
    let row = client
        .query_opt("select ended_at is null from runs order by run_id desc limit 1", &[])
        .await
        .map_err(failed("looking for an active run"))?;
    if !row.is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let newest = newest_run(client).await?;
    Ok(newest.filter(|holder| holder.silent_s <= silence.as_secs_f64()))
}

/// Describes the sessions that hold citytide's advisory lock `lock`, for messages.
pub(super) async fn holders(client: &Client, lock: i32) -> Result<String, TakeoverError> {
    let row = client
        .query_one(
            "select coalesce(string_agg(format('session %s (%s)', a.pid, a.application_name), ', '), 'nobody any more')
             from pg_locks l join pg_stat_activity a on a.pid = l.pid
             where l.locktype = 'advisory' and l.granted and l.classid::bigint = $2 and l.objid::bigint = $1
               and l.objsubid = 2 and a.datname = current_database() and a.pid <> pg_backend_pid()",
            &[&i64::from(lock), &i64::from(LOCK_SPACE)],
        )
        .await
        .map_err(failed("looking for the lock's holders"))?;
    Ok(row.get(0))
}

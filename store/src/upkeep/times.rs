//! Adds CHECK constraints on the event times of complete segments, with which the planner excludes segments from
//! queries by time.
//!
//! Only a segment whose last epoch is committed gets one: no row that violates it can follow.

use tokio_postgres::Client;

use super::{LOCK_TIMEOUT_MS, failed, lacked_lock};
use crate::partitions::bounded;
use crate::postgres::DatabaseError;
use crate::schema::READINGS;

/// Adds the missing constraints. Leaves segments that others have locked to the next call; empty ones need none.
///
/// # Errors
///
/// When the server fails or rejects a statement.
pub async fn bound_times(client: &Client) -> Result<(), DatabaseError> {
    let attempted = "looking for segments without a constraint on event time";
    let sql = format!(
        "select relname::text from ({}) as leaf where bounds[2] <= (select max(epoch) + 1 from commits) \
         and not exists (select from pg_constraint where conrelid = leaf.oid and conname = relname || '_time' \
                         and convalidated) order by bounds[1]",
        bounded(READINGS)
    );
    for row in client.query(&sql, &[]).await.map_err(failed(attempted))? {
        let segment: &str = row.get(0);
        match bound(client, segment).await {
            Err(error) if lacked_lock(&error) => tracing::debug!("{error}; retrying"),
            done => done?,
        }
    }
    Ok(())
}

async fn bound(client: &Client, segment: &str) -> Result<(), DatabaseError> {
    let attempted = format!("adding the constraint on event time of {segment}");
    let times =
        format!("select quote_literal(min(recorded_at)), quote_literal(max(recorded_at)) from {segment}");
    let row = client.query_one(&times, &[]).await.map_err(failed(attempted.as_str()))?;
    let (Some(first), Some(last)) = (row.get::<_, Option<&str>>(0), row.get::<_, Option<&str>>(1)) else {
        return Ok(());
    };
    // NOT VALID holds the exclusive lock only for the catalog change; VALIDATE reads the rows without blocking readers.
    let add = format!(
        "begin; set local lock_timeout = {LOCK_TIMEOUT_MS}; \
         alter table {segment} drop constraint if exists {segment}_time, \
         add constraint {segment}_time check (recorded_at >= {first} and recorded_at <= {last}) not valid; commit"
    );
    let added = client.batch_execute(&add).await.map_err(failed(attempted.as_str()));
    if added.is_err() {
        client.batch_execute("rollback").await.map_err(failed(attempted.as_str()))?;
    }
    added?;
    let validate = format!("alter table {segment} validate constraint {segment}_time");
    client.batch_execute(&validate).await.map_err(failed(attempted))
}

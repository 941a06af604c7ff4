//! The event times of segments that are over, as CHECK constraints: the planner leaves segments out that cannot hold what is
//! asked for.
//!
//! Only where a commit lies at or behind the last epoch: then no row can come that the constraint would refuse.

use tokio_postgres::Client;

use super::{LOCK_TIMEOUT_MS, failed, lacked_lock};
use crate::partitions::bounded;
use crate::postgres::DatabaseError;
use crate::schema::READINGS;

/// Adds what is missing. A segment that others have locked is left for the next time; an empty one needs nothing.
///
/// # Errors
///
/// When the server fails or refuses.
pub async fn bound_times(client: &Client) -> Result<(), DatabaseError> {
    let attempted = "looking for segments whose event times are not known";
    let sql = format!(
        "select relname::text from ({}) as leaf where bounds[2] <= (select max(epoch) + 1 from commits) \
         and not exists (select from pg_constraint where conrelid = leaf.oid and conname = relname || '_time' \
                         and convalidated) order by bounds[1]",
        bounded(READINGS)
    );
    for row in client.query(&sql, &[]).await.map_err(failed(attempted))? {
        let segment: &str = row.get(0);
        match bound(client, segment).await {
            Err(error) if lacked_lock(&error) => tracing::debug!("{error}; tried again"),
            done => done?,
        }
    }
    Ok(())
}

async fn bound(client: &Client, segment: &str) -> Result<(), DatabaseError> {
    let attempted = format!("noting the event times of {segment}");
    let times =
        format!("select quote_literal(min(recorded_at)), quote_literal(max(recorded_at)) from {segment}");
    let row = client.query_one(&times, &[]).await.map_err(failed(attempted.as_str()))?;
    let (Some(first), Some(last)) = (row.get::<_, Option<&str>>(0), row.get::<_, Option<&str>>(1)) else {
        return Ok(());
    };
    // The lock that keeps readers out is held for the catalog alone; the rows are read under one that does not.
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

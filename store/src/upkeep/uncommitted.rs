//! Deletes the raw rows that a crashed run copied but did not commit.
//!
//! Finds them by BRIN, not by the block count of the last commit: see `docs/decisions/0003-clean-up-by-brin.md`.

use tokio_postgres::Client;

use super::failed;
use crate::partitions::{Partition, partitions};
use crate::postgres::DatabaseError;
use crate::schema::{DETECTOR_STATE, RAW};

/// Deletes all raw rows above the committed epoch in one transaction. Returns their number.
///
/// The caller's session must hold the run's lock and have raised the fence: then no other session can add such rows,
/// and none of them belongs to a run that can still commit.
///
/// # Errors
///
/// When the server fails; nothing is deleted then.
pub async fn delete_uncommitted(client: &Client, committed_epoch: i64) -> Result<u64, DatabaseError> {
    let attempted = "deleting rows that were never committed";
    // Without statistics the planner takes a table for small and scans it, so sequential scans are off. Where no index
    // exists, the penalty makes the scan look expensive enough for JIT compilation, which would take longer than it.
    let begin = "begin; set local enable_seqscan = off; set local jit = off";
    client.batch_execute(begin).await.map_err(failed(attempted))?;
    let mut deleted = 0;
    for parent in RAW {
        for Partition { table, epochs } in partitions(client, parent).await? {
            if epochs.end as i64 - 1 <= committed_epoch {
                continue;
            }
            let delete = format!("delete from {table} where epoch > {committed_epoch}");
            deleted += client
                .execute(&delete, &[])
                .await
                .map_err(failed(format!("deleting rows of {table} that were never committed")))?;
        }
    }
    // Not counted: these are no readings.
    let delete = format!("delete from {DETECTOR_STATE} where epoch > {committed_epoch}");
    client.batch_execute(&delete).await.map_err(failed("deleting state that was never committed"))?;
    client.batch_execute("commit").await.map_err(failed(attempted))?;
    Ok(deleted)
}

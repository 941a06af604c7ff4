//! Cleaning up after a crash: what was copied but never committed.
//!
//! By BRIN, not by the block count that the last commit saw: see `docs/decisions/0003-clean-up-by-brin.md`.

use tokio_postgres::Client;

use super::failed;
use crate::partitions::{Partition, partitions};
use crate::postgres::DatabaseError;
use crate::schema::{DETECTOR_STATE, RAW};

/// Deletes all raw rows above the committed epoch, in one transaction, and returns how many there were.
///
/// The caller's session holds the lock that makes it the only run, and it has raised the fence: no other session can
/// add such rows any more, and none of them can belong to a run that still commits.
///
/// # Errors
///
/// When the server fails; then nothing is deleted.
pub async fn delete_uncommitted(client: &Client, committed_epoch: i64) -> Result<u64, DatabaseError> {
    let attempted = "deleting rows that were never committed";
    // A table that was not analysed yet looks small, and is scanned as a whole unless that is forbidden. A scan that is
    // left over then looks so dear that it would be compiled, for longer than it takes.
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
    // Not counted: it is no reading.
    let delete = format!("delete from {DETECTOR_STATE} where epoch > {committed_epoch}");
    client.batch_execute(&delete).await.map_err(failed("deleting state that was never committed"))?;
    client.batch_execute("commit").await.map_err(failed(attempted))?;
    Ok(deleted)
}

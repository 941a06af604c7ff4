//! Partitions ahead of the epochs, and the BRIN summaries of the day being written.

use std::time::Duration;

use tokio_postgres::Client;

use super::{failed, fenced, lacked_lock};
use crate::postgres::DatabaseError;
use crate::schema::{DAILY, create_day, day_bounds, day_table};

/// How often a partition is tried before the caller hears that locks are in the way.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(200);
/// For so long after midnight the day before is summarised too.
const TAIL_MS: u64 = 60_000;

/// Makes the partitions of both raw tables for the day of an epoch and for the day after.
///
/// # Errors
///
/// When the server fails, this run has been taken over, or others' locks were in the way at every attempt.
pub async fn ensure_days(client: &mut Client, run_id: i64, epoch_ms: u64) -> Result<(), DatabaseError> {
    for parent in DAILY {
        for day_ms in [epoch_ms, day_bounds(epoch_ms).1] {
            let mut tries = 1;
            while let Err(error) = ensure_day(client, run_id, parent, day_ms).await {
                if !lacked_lock(&error) || tries == TRIES {
                    return Err(error);
                }
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}

async fn ensure_day(
    client: &mut Client,
    run_id: i64,
    parent: &str,
    day_ms: u64,
) -> Result<(), DatabaseError> {
    let table = day_table(parent, day_ms);
    let attempted = format!("making the partition {table}");
    let there = client
        .query_one("select to_regclass($1) is not null", &[&table])
        .await
        .map_err(failed(attempted.as_str()))?;
    if there.get(0) {
        return Ok(());
    }
    let transaction = fenced(client, run_id).await?;
    let script = create_day(parent, day_ms).join(";\n");
    transaction.batch_execute(&script).await.map_err(failed(attempted.as_str()))?;
    transaction.commit().await.map_err(failed(attempted))
}

/// Summarises what was written since the last time: an unsummarised range matches every condition.
///
/// # Errors
///
/// When the server fails, or a vacuum holds the table for longer than a lock timeout.
pub async fn summarize(client: &Client, now_ms: u64) -> Result<(), DatabaseError> {
    for parent in DAILY {
        let mut days = vec![day_table(parent, now_ms.saturating_sub(TAIL_MS)), day_table(parent, now_ms)];
        days.dedup();
        for day in days {
            client
                .query_one("select brin_summarize_new_values(to_regclass($1))", &[&format!("{day}_epoch")])
                .await
                .map_err(failed(format!("summarising the epochs of {day}")))?;
        }
    }
    Ok(())
}

//! A day that is over gets the index that would have slowed its COPYs down to a third: (sensor_id, recorded_at).

use tokio_postgres::Client;

use super::{day_partitions, failed};
use crate::postgres::DatabaseError;
use crate::schema::READINGS;

/// Builds what is missing, one day after the other. A day is over once a commit lies at or behind its last epoch: then
/// no row of it is uncommitted, and none will come.
///
/// Not in a transaction, as CREATE INDEX CONCURRENTLY wants it; so a failed attempt leaves an invalid index, which is
/// dropped before the next one.
///
/// # Errors
///
/// When the server fails or refuses.
pub async fn index_past_days(client: &Client) -> Result<(), DatabaseError> {
    let committed = client
        .query_one("select coalesce(max(epoch), 0) from commits", &[])
        .await
        .map_err(failed("reading the committed epoch"))?;
    let committed = committed.get::<_, i64>(0) as u64;
    for (day, (_, until_ms)) in day_partitions(client, READINGS).await? {
        if until_ms <= committed + 1 {
            index_day(client, &day).await?;
        }
    }
    Ok(())
}

async fn index_day(client: &Client, day: &str) -> Result<(), DatabaseError> {
    let index = format!("{day}_sensor");
    let attempted = format!("indexing {day} by sensor");
    let valid = client
        .query_opt("select indisvalid from pg_index where indexrelid = to_regclass($1)", &[&index])
        .await
        .map_err(failed(attempted.as_str()))?
        .map(|row| row.get::<_, bool>(0));
    if valid == Some(true) {
        return Ok(());
    }
    if valid == Some(false) {
        client
            .batch_execute(&format!("drop index concurrently {index}"))
            .await
            .map_err(failed(attempted.as_str()))?;
    }
    client
        .batch_execute(&format!("create index concurrently {index} on {day} (sensor_id, recorded_at)"))
        .await
        .map_err(failed(attempted))
}

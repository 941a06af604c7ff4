//! The newest committed readings, for judging them again.

use citytide_domain::Domain;
use futures_util::{StreamExt, pin_mut};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::load::Seen;
use crate::batch::Batch;
use crate::commit::postgres::DatabaseError;
use crate::commit::schema::quoted;
use crate::commit::statements::Timestamp;

/// Reads the newest readings of an event time above `after_us`, at most `rows_max` of them, as batches in the order of
/// epoch, partition and offset; whether there would have been more.
///
/// # Errors
///
/// When the server fails.
pub async fn recent(
    client: &Client,
    domain: &Domain,
    after_us: i64,
    rows_max: usize,
) -> Result<(Vec<Batch>, bool), DatabaseError> {
    let failed = |error| DatabaseError::statement("reading the newest readings", &error);
    let metrics: Vec<String> =
        domain.metrics.iter().map(|metric| format!(", {}", quoted(&metric.name))).collect();
    let sql = format!(
        "select epoch, kafka_partition, kafka_offset, zone, sensor_id, recorded_at, is_late{} from sensor_data \
         where recorded_at > $1 order by recorded_at desc limit $2",
        metrics.concat()
    );
    let (after, limit) = (Timestamp(after_us), rows_max as i64 + 1);
    let arguments: [&(dyn ToSql + Sync); 2] = [&after, &limit];
    let rows = client.query_raw(&sql, arguments).await.map_err(failed)?;
    pin_mut!(rows);
    let (mut seen, mut count) = (Seen::new(domain.metrics.len()), 0);
    while let Some(row) = rows.next().await {
        let row = row.map_err(failed)?;
        count += 1;
        if count <= rows_max {
            seen.push(&row);
        }
    }
    let mut batches = Vec::new();
    seen.each(|_, batch| batches.push(batch));
    Ok((batches, count > rows_max))
}

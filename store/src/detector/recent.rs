//! Reads the newest committed readings, to score them again.

use citytide_core::batch::Batch;
use citytide_domain::Domain;
use tokio_postgres::Client;

use super::rows::JudgedRows;
use crate::postgres::DatabaseError;
use crate::time::Timestamp;

/// Reads the newest readings with an event time above `after_us`, at most `rows_max`, as batches in the order of epoch,
/// partition and offset. Also returns whether there are more.
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
    let (after, limit) = (Timestamp(after_us), rows_max as i64 + 1);
    let which = "where recorded_at > $1 order by recorded_at desc limit $2";
    let mut rows = JudgedRows::select(client, domain, "", which, [&after, &limit], |_, _| ()).await?;
    let is_cut = rows.count() > rows_max;
    rows.keep_first(rows_max);
    let mut batches = Vec::new();
    rows.each(|_, batch, _| batches.push(batch));
    Ok((batches, is_cut))
}

//! Builds the indexes of a segment when it is complete, and drops those of the current segment when readings come too
//! fast for them. Nothing writes a complete segment, so a plain CREATE INDEX blocks no writer.

use tokio_postgres::Client;

use super::times::bound_times;
use super::{RecentRate, failed};
use crate::partitions::{Partition, bounded, segment_of};
use crate::postgres::DatabaseError;
use crate::schema::{READINGS, SegmentIndex};

/// How long after its last epoch a segment without a later commit may still be written.
const WRITTEN_FOR_MS: u64 = 60_000;

/// Builds the missing indexes one by one, oldest segment first, then adds the constraints on event time (`times`).
///
/// A segment is complete when its last epoch is committed or a minute old. A COPY that came even later would wait for
/// the index and be included in it. Behind a backlog only the small indexes are built.
///
/// # Errors
///
/// When the server fails or rejects a statement.
pub async fn finish_segments(client: &Client, now_ms: u64) -> Result<(), DatabaseError> {
    let attempted = "looking for missing indexes of segments";
    let suffixes = SegmentIndex::ALL.map(SegmentIndex::suffix);
    let sql = format!(
        "select leaf.relname::text, suffix, indexrelid is not null \
         from ({}) as leaf cross join unnest($1::text[]) with ordinality as wanted (suffix, number) \
         left join pg_class as index on index.relname = leaf.relname || '_' || suffix \
                                    and index.relnamespace = leaf.relnamespace \
         left join pg_index on indexrelid = index.oid \
         where (bounds[2] <= (select max(epoch) + 1 from commits) or bounds[2] <= $2) and indisvalid is not true order by bounds[1], number",
        bounded(READINGS)
    );
    let written_before = now_ms.saturating_sub(WRITTEN_FOR_MS) as i64;
    let rows =
        client.query(&sql, &[&suffixes.as_slice(), &written_before]).await.map_err(failed(attempted))?;
    let RecentRate { is_fast, is_behind } = RecentRate::read(client, now_ms).await?;
    if is_fast {
        drop_btrees(client, now_ms).await?;
    }
    for row in rows {
        let (segment, suffix): (&str, &str) = (row.get(0), row.get(1));
        let index = SegmentIndex::of_suffix(suffix).expect("asked for");
        if is_behind && index.is_btree_of_all() {
            continue;
        }
        let attempted = format!("indexing {segment}");
        if row.get(2) {
            // An invalid index, left by CREATE INDEX CONCURRENTLY of an earlier version.
            let drop = format!("drop index {segment}_{suffix}");
            client.batch_execute(&drop).await.map_err(failed(attempted.as_str()))?;
        }
        client.batch_execute(&index.create(segment)).await.map_err(failed(attempted))?;
    }
    if is_behind { Ok(()) } else { bound_times(client).await }
}

/// Drops the b-trees of the segment that is being written: it was created with them when the rate was lower. They are
/// built again when it is complete.
async fn drop_btrees(client: &Client, now_ms: u64) -> Result<(), DatabaseError> {
    let Some(Partition { table, .. }) = segment_of(client, now_ms).await? else { return Ok(()) };
    for index in SegmentIndex::ALL.into_iter().filter(|index| index.is_btree_of_all()) {
        let drop = format!("drop index concurrently if exists {table}_{}", index.suffix());
        client
            .batch_execute(&drop)
            .await
            .map_err(failed(format!("dropping an index of {table}, which is too slow at this rate")))?;
    }
    Ok(())
}

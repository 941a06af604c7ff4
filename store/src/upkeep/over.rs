//! Indexes of segments: made when a segment is over, and dropped when too much comes for one that has them.
//! Nothing writes a segment that is over, so a plain CREATE INDEX is in nobody's way.

use tokio_postgres::Client;

use super::times::bound_times;
use super::{Lately, failed};
use crate::partitions::{Partition, bounded, segment_of};
use crate::postgres::DatabaseError;
use crate::schema::{READINGS, SegmentIndex};

/// For so long after its last epoch a segment without a later commit may still be written.
const WRITTEN_FOR_MS: u64 = 60_000;

/// Builds what is missing, one index after the other, oldest segment first. A segment is over once a commit lies at or
/// behind its last epoch, or that epoch is a minute ago. A COPY that comes later still would wait for the index, and be in
/// it. While a backlog is read only the small indexes are built. Then the event times of segments are noted
/// (`times`).
///
/// # Errors
///
/// When the server fails or refuses.
pub async fn finish_segments(client: &Client, now_ms: u64) -> Result<(), DatabaseError> {
    let attempted = "looking for indexes that segments lack";
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
    let Lately { is_fast, is_behind } = Lately::read(client, now_ms).await?;
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
            // Left by CREATE INDEX CONCURRENTLY of a former version.
            let drop = format!("drop index {segment}_{suffix}");
            client.batch_execute(&drop).await.map_err(failed(attempted.as_str()))?;
        }
        client.batch_execute(&index.create(segment)).await.map_err(failed(attempted))?;
    }
    if is_behind { Ok(()) } else { bound_times(client).await }
}

/// Drops the b-trees of the segment that is being written, which was made while readings came as they were measured. It
/// gets them back when it is over.
async fn drop_btrees(client: &Client, now_ms: u64) -> Result<(), DatabaseError> {
    let Some(Partition { table, .. }) = segment_of(client, now_ms).await? else { return Ok(()) };
    for index in SegmentIndex::ALL.into_iter().filter(|index| index.is_btree_of_all()) {
        let drop = format!("drop index concurrently if exists {table}_{}", index.suffix());
        client
            .batch_execute(&drop)
            .await
            .map_err(failed(format!("dropping an index of {table} while readings come so fast")))?;
    }
    Ok(())
}

//! Reads the partitions of the raw tables and their bounds from the catalog, so that all workers and processes agree on
//! which one holds an epoch.

use std::ops::Range;

use tokio_postgres::GenericClient;

use crate::postgres::DatabaseError;
use crate::schema::READINGS;

/// A partition of a raw table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub table: String,
    /// Its bounds.
    pub epochs: Range<u64>,
}

/// Matches the bounds as `pg_get_expr` prints them. Other partitions, such as a default one, are ignored.
const BOUNDS: &str = r"^FOR VALUES FROM \(''(\d+)''\) TO \(''(\d+)''\)$";

/// A query for the partitions of `parent`: `oid`, `relname`, `relnamespace`, `bounds` (two numbers, or null).
pub(crate) fn bounded(parent: &str) -> String {
    format!(
        "select pg_class.oid, relname, relnamespace, regexp_match(pg_get_expr(relpartbound, pg_class.oid), '{BOUNDS}')::bigint[] as bounds \
         from pg_inherits join pg_class on pg_class.oid = inhrelid where inhparent = to_regclass('{parent}')"
    )
}

/// Lists the partitions of `parent` in the order of their epochs.
///
/// # Errors
///
/// When the server fails.
pub async fn partitions(client: &impl GenericClient, parent: &str) -> Result<Vec<Partition>, DatabaseError> {
    let sql = format!(
        "select relname::text, bounds[1], bounds[2] from ({}) as leaf where bounds is not null order by 2",
        bounded(parent)
    );
    let rows = client.query(&sql, &[]).await;
    let rows = rows
        .map_err(|error| DatabaseError::statement(format!("listing the partitions of {parent}"), &error))?;
    let partition = |row: &tokio_postgres::Row| Partition {
        table: row.get(0),
        epochs: row.get::<_, i64>(1) as u64..row.get::<_, i64>(2) as u64,
    };
    Ok(rows.iter().map(partition).collect())
}

/// Finds the segment that holds an epoch; `None` when it has not been created yet.
///
/// # Errors
///
/// When the server fails.
pub async fn segment_of(client: &impl GenericClient, epoch: u64) -> Result<Option<Partition>, DatabaseError> {
    let segments = partitions(client, READINGS).await?;
    Ok(segments.into_iter().find(|segment| segment.epochs.contains(&epoch)))
}

/// The error for an epoch that no segment holds. A restart creates the segment.
pub fn no_segment(epoch: u64) -> DatabaseError {
    DatabaseError::Statement {
        attempted: format!("finding the segment of epoch {epoch}"),
        reason: "it has not been created; check whether a long statement holds a lock on sensor_readings"
            .to_owned(),
        sqlstate: None,
    }
}

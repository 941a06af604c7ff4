//! Records the topic and cluster that a database is filled from, and refuses another one.
//!
//! An offset is valid only in the log that it was read from. A topic that was deleted and created again has the same
//! name and another id; so has another cluster. Offsets alone do not reveal it once the new log is longer than the old
//! one.

use tokio_postgres::Client;

use super::postgres::DatabaseError;

/// The ids of a topic and its cluster, as far as the source has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// `None` from brokers before 2.8 and from other sources.
    pub topic_id: Option<String>,
    pub cluster_id: Option<String>,
}

/// Why a database cannot be used with the source.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The topic or the cluster is another one.
    #[error(
        "this database was filled from the {what} with the id {recorded}, but its id is now {current}: {cause}; \
         nothing was read or written. Use a new database (createdb NAME); only if the offsets still mean the same \
         records, run \"update citytide_database set topic_id = null, cluster_id = null\" and start again"
    )]
    Other {
        /// `topic` or `cluster`.
        what: &'static str,
        /// The id in the database.
        recorded: String,
        /// The id that the source reports.
        current: String,
        /// What usually causes this.
        cause: &'static str,
    },
    /// The server failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Compares the database's origin with that of the source and records the ids that the database does not have yet.
///
/// # Errors
///
/// [`OriginError::Other`] when they differ; nothing is written then. Also when the server fails.
pub async fn check_and_record(client: &Client, current: &Origin) -> Result<(), OriginError> {
    let failed = |error| DatabaseError::statement("reading the origin of this database", &error);
    let row =
        client.query_one("select cluster_id, topic_id from citytide_database", &[]).await.map_err(failed)?;
    let Origin { topic_id, cluster_id } = current;
    let moved = "the bootstrap servers lead to another cluster, or the cluster was created again";
    compare("cluster", moved, row.get(0), cluster_id)?;
    compare("topic", "the topic was deleted and created again", row.get(1), topic_id)?;
    let record = "update citytide_database set cluster_id = coalesce(cluster_id, $1::text), \
                topic_id = coalesce(topic_id, $2::text) \
                where (cluster_id is null and $1::text is not null) or (topic_id is null and $2::text is not null)";
    let failed = |error| DatabaseError::statement("recording the origin of this database", &error);
    client.execute(record, &[cluster_id, topic_id]).await.map_err(failed)?;
    Ok(())
}

fn compare(
    what: &'static str,
    cause: &'static str,
    recorded: Option<String>,
    current: &Option<String>,
) -> Result<(), OriginError> {
    match (recorded, current) {
        (Some(recorded), Some(current)) if recorded != *current => {
            Err(OriginError::Other { what, recorded, current: current.clone(), cause })
        }
        _ => Ok(()),
    }
}

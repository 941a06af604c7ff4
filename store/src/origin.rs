//! Which topic of which cluster a database was filled from: noted at first sight, held against what is there now.
//!
//! An offset means something only in the log that it was read from. A topic that was deleted and made again has the
//! same name and another id; another cluster has another id too. Neither is noticed by offsets alone once the new log
//! is longer than the old one was.

use tokio_postgres::Client;

use super::postgres::DatabaseError;

/// A topic's id and its cluster's, as far as the source has such things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The topic's id; `None` from brokers before 2.8 and from other sources.
    pub topic_id: Option<String>,
    /// The cluster's id.
    pub cluster_id: Option<String>,
}

/// Why a database does not go with the source.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// Another topic, or another cluster.
    #[error(
        "this database was filled from the {what} with the id {there}, but its id is now {now}: {how}; nothing \
         was read or written. Use a new database (createdb NAME); only if the offsets still mean the same \
         records, run \"update citytide_database set topic_id = null, cluster_id = null\" and start again"
    )]
    Other {
        /// Topic or cluster.
        what: &'static str,
        /// The id of the database.
        there: String,
        /// The id that was seen.
        now: String,
        /// How that may have come about.
        how: &'static str,
    },
    /// The server failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Holds the database's origin against `seen`, and notes what it does not know yet.
///
/// # Errors
///
/// [`OriginError::Other`] when they differ: nothing has been written then.
pub async fn hold(client: &Client, seen: &Origin) -> Result<(), OriginError> {
    let failed = |error| DatabaseError::statement("asking which topic this database was filled from", &error);
    let row =
        client.query_one("select cluster_id, topic_id from citytide_database", &[]).await.map_err(failed)?;
    let Origin { topic_id, cluster_id } = seen;
    let moved = "the bootstrap servers lead to another cluster, or the cluster was created again";
    differs("cluster", moved, row.get(0), cluster_id)?;
    differs("topic", "the topic was deleted and created again", row.get(1), topic_id)?;
    let note = "update citytide_database set cluster_id = coalesce(cluster_id, $1::text), \
                topic_id = coalesce(topic_id, $2::text) \
                where (cluster_id is null and $1::text is not null) or (topic_id is null and $2::text is not null)";
    let failed = |error| DatabaseError::statement("noting which topic this database is filled from", &error);
    client.execute(note, &[cluster_id, topic_id]).await.map_err(failed)?;
    Ok(())
}

fn differs(
    what: &'static str,
    how: &'static str,
    there: Option<String>,
    now: &Option<String>,
) -> Result<(), OriginError> {
    match (there, now) {
        (Some(there), Some(now)) if there != *now => {
            Err(OriginError::Other { what, there, now: now.clone(), how })
        }
        _ => Ok(()),
    }
}

//! Registers followers: programs that read the committed epochs and store their position in this database.
//!
//! Invariants:
//! 1. a follower's position is the last epoch that it has read completely; it never decreases;
//! 2. retention never hides an epoch above the position of the slowest registered follower (see
//!    [`crate::upkeep::raise_horizon`]). Registering and raising the horizon exclude each other by an advisory lock, so
//!    neither uses a stale value of the other;
//! 3. after a follower is dropped, [`advance`] fails; it does not register the follower again.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, GenericClient, Row};

use crate::postgres::DatabaseError;
use crate::schema::{LOCK_FOLLOWERS, LOCK_SPACE};
use crate::time::micros;

/// A registered follower and its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    pub name: String,
    /// The last epoch that it has read completely, milliseconds.
    pub epoch: i64,
    /// When it last advanced, microseconds of the Unix epoch; `None` when it never did.
    pub updated_us: Option<i64>,
    /// Distance from its position, or from the oldest commit if that is newer, to the newest commit; milliseconds.
    pub behind_ms: i64,
    /// Whether it keeps retention from removing readings.
    pub holds_retention: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum FollowerError {
    #[error(
        "no follower is called {name}: {}", if .known.is_empty() { "none is registered".to_owned() } else {
            format!("registered are {}", .known.join(", "))
        }
    )]
    Unknown { name: String, known: Vec<String> },
    #[error(
        "cannot register the follower {name} at epoch {epoch}: retention has removed the readings up to epoch \
         {horizon}; register it there, or above"
    )]
    BehindHorizon { name: String, epoch: i64, horizon: i64 },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Whether the table exists. It does not until a run of this version has migrated the database.
pub async fn are_kept(client: &impl GenericClient) -> Result<bool, DatabaseError> {
    let row = client.query_one("select to_regclass('followers') is not null", &[]).await;
    Ok(row.map_err(failed("looking for the table of followers"))?.get(0))
}

/// Registers a follower at position `epoch`, 0 for the beginning. If the name is registered, its position stays.
/// Returns the follower's position.
///
/// # Errors
///
/// [`FollowerError::BehindHorizon`] when retention has removed readings above the position; also when the server fails.
pub async fn register(client: &mut Client, name: &str, epoch: i64) -> Result<i64, FollowerError> {
    let attempted = format!("registering the follower {name}");
    let transaction = client.transaction().await.map_err(failed(attempted.as_str()))?;
    let lock = format!("select pg_advisory_xact_lock_shared({LOCK_SPACE}, {LOCK_FOLLOWERS})");
    transaction.batch_execute(&lock).await.map_err(failed(attempted.as_str()))?;
    // A separate statement, so that its snapshot is taken after the lock.
    let sql = "insert into followers as kept (name, epoch) values ($1, $2) \
               on conflict (name) do update set epoch = kept.epoch \
               returning epoch, (select horizon_epoch from citytide_database)";
    let row = transaction.query_one(sql, &[&name, &epoch]).await.map_err(failed(attempted.as_str()))?;
    let (position, horizon): (i64, i64) = (row.get(0), row.get(1));
    if position < horizon {
        return Err(FollowerError::BehindHorizon { name: name.to_owned(), epoch: position, horizon });
    }
    transaction.commit().await.map_err(failed(attempted))?;
    Ok(position)
}

/// Raises a follower's position to `epoch`; a lower epoch changes nothing.
///
/// # Errors
///
/// [`FollowerError::Unknown`] when the follower is not registered; also when the server fails.
pub async fn advance(client: &impl GenericClient, name: &str, epoch: i64) -> Result<(), FollowerError> {
    let sql =
        "update followers set epoch = greatest(epoch, $2), updated_at = clock_timestamp() where name = $1";
    let advanced = client.execute(sql, &[&name, &epoch]).await;
    match advanced.map_err(failed(format!("advancing the follower {name}")))? {
        0 => Err(unknown(client, name).await?),
        _ => Ok(()),
    }
}

/// Removes a follower, so that retention no longer waits for it. Returns its last position.
///
/// # Errors
///
/// [`FollowerError::Unknown`] when the follower is not registered; also when the server fails.
pub async fn drop(client: &impl GenericClient, name: &str) -> Result<i64, FollowerError> {
    let sql = "delete from followers where name = $1 returning epoch";
    let dropped = client.query_opt(sql, &[&name]).await;
    match dropped.map_err(failed(format!("dropping the follower {name}")))? {
        Some(row) => Ok(row.get(0)),
        None => Err(unknown(client, name).await?),
    }
}

async fn unknown(client: &impl GenericClient, name: &str) -> Result<FollowerError, DatabaseError> {
    let rows = client.query("select name from followers order by name", &[]).await;
    let rows = rows.map_err(failed("reading the names of the followers"))?;
    let known = rows.iter().map(|row| row.get(0)).collect();
    Ok(FollowerError::Unknown { name: name.to_owned(), known })
}

/// Lists all followers, the slowest first. `horizon` is the epoch up to which retention would remove readings if there
/// were no followers; `None` without a retention.
pub async fn list(client: &impl GenericClient, horizon: Option<i64>) -> Result<Vec<Follower>, DatabaseError> {
    let sql = "select name, epoch, updated_at, \
                      coalesce(greatest(newest - greatest(epoch, oldest - 1), 0), 0), \
                      coalesce($1::bigint is not null and epoch < least($1, newest), false) \
               from followers, (select min(epoch) as oldest, max(epoch) as newest from commits) as ledger \
               order by epoch, name";
    let rows = client.query(sql, &[&horizon]).await.map_err(failed("reading the followers"))?;
    let follower = |row: &Row| Follower {
        name: row.get(0),
        epoch: row.get(1),
        updated_us: micros(row, 2),
        behind_ms: row.get(3),
        holds_retention: row.get(4),
    };
    Ok(rows.iter().map(follower).collect())
}

fn failed(attempted: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

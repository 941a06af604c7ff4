//! What both answers need: the newest commit, and the commit and run of an epoch.

use citytide_store::postgres::DatabaseError;
use citytide_store::time::micros;
use serde_json::{Value, json};
use tokio_postgres::Transaction;

use crate::cli::models::print::rfc3339;

/// The newest commit, of which the answer speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AsOf {
    /// Its epoch; 0 before the first.
    pub epoch: i64,
    /// W, microseconds.
    pub watermark_us: Option<i64>,
    /// Raw rows up to this epoch are gone.
    pub horizon: i64,
}

impl AsOf {
    pub async fn read(snapshot: &Transaction<'_>) -> Result<AsOf, DatabaseError> {
        let sql = "select coalesce(epoch, 0), watermark, horizon_epoch from citytide_database \
                   left join (select epoch, watermark from commits order by epoch desc limit 1) as newest on true";
        let row = snapshot.query_one(sql, &[]).await.map_err(failed("reading the newest commit"))?;
        Ok(AsOf { epoch: row.get(0), watermark_us: micros(&row, 1), horizon: row.get(2) })
    }

    pub fn json(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "watermark": self.watermark_us.and_then(rfc3339),
            "horizon_epoch": self.horizon,
        })
    }
}

/// A commit and its run. Retention deletes old ones: what one of those did is not known any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    pub epoch: i64,
    pub committed_us: i64,
    pub watermark_us: Option<i64>,
    pub run_id: i64,
    /// Where the run's process 0 was.
    pub host: Option<String>,
    /// Whether the run replayed dead letters: such a run has no process that reads.
    pub is_replay: bool,
    /// What the run added to the clock.
    pub offset_ms: i64,
}

const COMMIT: &str = "select commits.epoch, committed_at, watermark, run_id, host, coalesce(processes = 0, false), \
                      coalesce(epoch_offset_ms, 0), previous_epoch from commits left join runs using (run_id)";

impl Commit {
    /// The commit that made the rows of an epoch visible.
    pub async fn of_epoch(snapshot: &Transaction<'_>, epoch: i64) -> Result<Option<Commit>, DatabaseError> {
        let sql = format!("{COMMIT} where commits.epoch >= $1 order by commits.epoch limit 1");
        let sql = format!("select * from ({sql}) as first where previous_epoch < $1");
        let row = snapshot.query_opt(&sql, &[&epoch]).await.map_err(failed("reading a commit"))?;
        Ok(row.as_ref().map(Commit::of))
    }

    /// The first commit of which W had reached this time.
    pub async fn that_reached(
        snapshot: &Transaction<'_>,
        at_us: i64,
    ) -> Result<Option<Commit>, DatabaseError> {
        let sql = format!("{COMMIT} where watermark >= $1 order by commits.epoch limit 1");
        let sql = format!(
            "select * from ({sql}) as first where previous_epoch = 0 \
             or exists (select from commits where commits.epoch = first.previous_epoch)"
        );
        let at = citytide_store::time::Timestamp(at_us);
        let row = snapshot.query_opt(&sql, &[&at]).await.map_err(failed("looking when W passed a time"))?;
        Ok(row.as_ref().map(Commit::of))
    }

    fn of(row: &tokio_postgres::Row) -> Commit {
        Commit {
            epoch: row.get(0),
            committed_us: micros(row, 1).expect("the column is not null"),
            watermark_us: micros(row, 2),
            run_id: row.get(3),
            host: row.get(4),
            is_replay: row.get(5),
            offset_ms: row.get(6),
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "committed_at": rfc3339(self.committed_us),
            "watermark": self.watermark_us.and_then(rfc3339),
            "run_id": self.run_id,
            "host": self.host,
            "is_replay": self.is_replay,
        })
    }
}

pub fn failed(attempted: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

//! The models that are stored: which there are, when each was in force, and asking for one.
//!
//! A model comes into force by a commit and in no other way: who wants one writes a row of `model_requests`, which the
//! training thread of a run, the one that lives or the next one, passes on (see [`super::training`]).
//!
//! 1. At most one request waits: a later one takes its place.
//! 2. What cannot be read is never asked for.

use std::time::Duration;

use citytide_core::detect::Agreement;
use citytide_detector::{Layout, Model, ModelError};
use tokio_postgres::{Client, Row};

use crate::clock::instant;
use crate::postgres::DatabaseError;
use crate::takeover::{Patience, TakeoverError, living_run};
use crate::time::micros;

/// How long a living run may take to put a model in force: it looks for requests twice a second, and commits what the
/// next reading brings.
pub const IN_FORCE_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two looks at what has become of a request.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A row of `models`, without the model itself.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredModel {
    /// Its number, from 1.
    pub version: i32,
    /// `shadow`, `in_force` or `retired`.
    pub status: String,
    /// Event time of the oldest reading it was fitted on, microseconds.
    pub fitted_from_us: i64,
    /// Event time of the newest.
    pub fitted_until_us: i64,
    /// Readings it was fitted on.
    pub rows: i64,
    /// Trees, rows per tree, extension, metrics.
    pub parameters: serde_json::Value,
    /// How it was trained, and how it scores the rows it was fitted on.
    pub figures: serde_json::Value,
    /// Size of the model in bytes.
    pub bytes: i64,
    /// The epoch from which it judged when it last came into force.
    pub in_force_from_epoch: Option<i64>,
    /// When it was stored, microseconds.
    pub created_at_us: i64,
    /// When it was requested and did not come into force yet, microseconds.
    pub requested_at_us: Option<i64>,
}

impl StoredModel {
    /// Whether it judges.
    pub fn is_in_force(&self) -> bool {
        self.status == "in_force"
    }
}

/// A time in which a model was in force, in epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The model.
    pub version: i32,
    /// The first epoch that it judged.
    pub from_epoch: i64,
    /// The first epoch that the next one judged; `None` for the last.
    pub until_epoch: Option<i64>,
}

/// Why a model cannot be asked for.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// There is no such model.
    #[error("there is no model {version}; citytide models list shows the existing ones")]
    Missing {
        /// The version asked for.
        version: i32,
    },
    /// Nothing to go back to.
    #[error("no other model was in force before {}; citytide models promote VERSION names one", .0.map_or("any".to_owned(), |version| format!("model {version}")))]
    NothingBefore(Option<i32>),
    /// It cannot be read.
    #[error("the model cannot be put into force: {0}")]
    Refused(#[from] ModelError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Looking for a run failed.
    #[error(transparent)]
    Run(#[from] TakeoverError),
}

/// What became of asking for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promoted {
    /// It is in force anyway, from this epoch on.
    Already {
        /// The epoch.
        from_epoch: i64,
        /// Another model that had been asked for and is not any more.
        withdrawn: Option<i32>,
    },
    /// A run put it in force.
    InForce {
        /// First epoch that it judges.
        from_epoch: i64,
    },
    /// No run lives; the next one does it.
    NextRun,
    /// A run lives, but did not do it within [`IN_FORCE_WITHIN`].
    NotYet {
        /// The run.
        run_id: i64,
    },
}

/// Whether the database has the tables of the detector: one that no run has touched since they came has not.
///
/// # Errors
///
/// When the server fails.
pub async fn are_kept(client: &Client) -> Result<bool, DatabaseError> {
    let row = client.query_one("select to_regclass('model_disagreements') is not null", &[]).await;
    Ok(row.map_err(failed("looking for the tables of the detector"))?.get(0))
}

/// All models, in the order of their versions.
///
/// # Errors
///
/// When the server fails.
pub async fn list(client: &Client) -> Result<Vec<StoredModel>, DatabaseError> {
    let sql = "select version, status, fitted_from, fitted_until, rows, parameters::text, figures::text, \
               octet_length(model)::bigint, in_force_from_epoch, created_at, \
               (select max(requested_at) from model_requests where model_requests.version = models.version) \
               from models order by version";
    let rows = client.query(sql, &[]).await.map_err(failed("reading the models"))?;
    let time = |row: &Row, column| micros(row, column).expect("the column is not null");
    let json = |row: &Row, column| serde_json::from_str(row.get(column)).expect("the column is JSON");
    let stored = |row: &Row| StoredModel {
        version: row.get(0),
        status: row.get(1),
        fitted_from_us: time(row, 2),
        fitted_until_us: time(row, 3),
        rows: row.get(4),
        parameters: json(row, 5),
        figures: json(row, 6),
        bytes: row.get(7),
        in_force_from_epoch: row.get(8),
        created_at_us: time(row, 9),
        requested_at_us: micros(row, 10),
    };
    Ok(rows.iter().map(stored).collect())
}

/// Which model was in force when, in the order of epochs.
///
/// # Errors
///
/// When the server fails.
pub async fn terms(client: &Client) -> Result<Vec<Term>, DatabaseError> {
    let sql = "select version, in_force_from_epoch, lead(in_force_from_epoch) over (order by epoch) \
               from model_changes order by epoch";
    let rows = client.query(sql, &[]).await.map_err(failed("reading when models were in force"))?;
    let term = |row: &Row| Term { version: row.get(0), from_epoch: row.get(1), until_epoch: row.get(2) };
    Ok(rows.iter().map(term).collect())
}

/// How far a model that was asked beside the one in force agreed with it, by zone, and the first epoch that counts.
///
/// # Errors
///
/// When the server fails.
pub async fn agreements(
    client: &Client,
    version: i32,
) -> Result<Vec<(String, i64, Agreement)>, DatabaseError> {
    let sql = "select zone, since_epoch, readings, flagged_by_both, only_in_force, only_shadow \
               from model_disagreements where version = $1 order by zone";
    let rows = client.query(sql, &[&version]).await.map_err(failed("reading how far models agree"))?;
    let count = |row: &Row, column| row.get::<_, i64>(column) as u64;
    let agreement = |row: &Row| Agreement {
        readings: count(row, 2),
        both: count(row, 3),
        only_in_force: count(row, 4),
        only_beside: count(row, 5),
    };
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), agreement(row))).collect())
}

/// Reads a stored model.
///
/// # Errors
///
/// When there is none of that version, it cannot be used, or the server fails.
pub async fn read(client: &Client, layout: &Layout, version: i32) -> Result<Model, PromoteError> {
    let row = client
        .query_opt("select model from models where version = $1", &[&version])
        .await
        .map_err(failed("reading a model"))?;
    let row = row.ok_or(PromoteError::Missing { version })?;
    Ok(Model::from_bytes(version, layout, row.get(0))?)
}

/// The model that was in force before the one that is.
///
/// # Errors
///
/// When there was none, or the server fails.
pub async fn before(client: &Client) -> Result<i32, PromoteError> {
    let terms = terms(client).await?;
    let last = terms.last().map(|term| term.version);
    let earlier = terms.iter().rev().map(|term| term.version).find(|version| Some(*version) != last);
    earlier.ok_or(PromoteError::NothingBefore(last))
}

/// Asks for a model, and waits until a living run has put it in force.
///
/// # Errors
///
/// When it cannot be read, or the server fails; then nothing is asked for.
pub async fn promote(client: &Client, layout: &Layout, version: i32) -> Result<Promoted, PromoteError> {
    read(client, layout, version).await?;
    if let Some(from_epoch) = in_force_from(client, version).await? {
        let withdrawn = client
            .query_opt(
                "with gone as (delete from model_requests returning version) select max(version) from gone",
                &[],
            )
            .await
            .map_err(failed("withdrawing what was asked for"))?
            .and_then(|row| row.get::<_, Option<i32>>(0))
            .filter(|other| *other != version);
        return Ok(Promoted::Already { from_epoch, withdrawn });
    }
    let attempted = "asking for a model";
    let newest = client
        .query_one("select coalesce(max(epoch), 0) from model_changes", &[])
        .await
        .map_err(failed(attempted))?
        .get::<_, i64>(0);
    // In one transaction: a run that looks sees the one or the other.
    let replace = format!(
        "begin; delete from model_requests; insert into model_requests (version) values ({version}); commit"
    );
    client.batch_execute(&replace).await.map_err(failed(attempted))?;
    let silence = Patience::default().silence;
    let until = instant() + IN_FORCE_WITHIN;
    loop {
        let change = client
            .query_opt(
                "select in_force_from_epoch from model_changes where version = $1 and epoch > $2 order by epoch limit 1",
                &[&version, &newest],
            )
            .await
            .map_err(failed("waiting for a model to come into force"))?;
        if let Some(change) = change {
            return Ok(Promoted::InForce { from_epoch: change.get(0) });
        }
        let Some(run) = living_run(client, silence).await? else { return Ok(Promoted::NextRun) };
        if instant() >= until {
            return Ok(Promoted::NotYet { run_id: run.run_id });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The epoch from which a model judges, if it is the one in force.
async fn in_force_from(client: &Client, version: i32) -> Result<Option<i64>, DatabaseError> {
    let sql = "select in_force_from_epoch from models where version = $1 and status = 'in_force'";
    let row = client.query_opt(sql, &[&version]).await.map_err(failed("asking which model is in force"))?;
    Ok(row.and_then(|row| row.get(0)))
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

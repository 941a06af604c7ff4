//! Lists the stored models, reads when each was in force, and requests that one is put in force.
//!
//! Only a commit puts a model in force. To request one, [`promote`] inserts a row into `model_requests`; the training
//! thread of the active run, or of the next one, reads it.
//!
//! 1. At most one request is pending: a new one replaces it.
//! 2. A model that cannot be read is never requested.

use std::time::Duration;

use citytide_core::detect::Agreement;
use citytide_detector::{Layout, Model, ModelError};
use tokio_postgres::{Client, Row};

use crate::clock::instant;
use crate::postgres::DatabaseError;
use crate::takeover::{Patience, TakeoverError, living_run};
use crate::time::micros;

/// How long [`promote`] waits for an active run to put a model in force: it reads requests twice a second, and commits
/// with the next reading.
pub const IN_FORCE_WITHIN: Duration = Duration::from_secs(10);
/// How often [`promote`] checks its request.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A row of `models`, without the model itself.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredModel {
    /// From 1.
    pub version: i32,
    /// `shadow`, `in_force` or `retired`.
    pub status: String,
    /// Event time of the oldest reading of the training sample, microseconds.
    pub fitted_from_us: i64,
    /// Event time of the newest one.
    pub fitted_until_us: i64,
    /// Number of readings in the training sample.
    pub rows: i64,
    /// Trees, rows per tree, extension, metrics.
    pub parameters: serde_json::Value,
    /// Size of the sample, and quantiles of the scores of its rows.
    pub figures: serde_json::Value,
    /// Size of the model, bytes.
    pub bytes: i64,
    /// The first epoch of its last term in force.
    pub in_force_from_epoch: Option<i64>,
    /// When it was stored, microseconds.
    pub created_at_us: i64,
    /// When it was requested, microseconds; `None` without a pending request.
    pub requested_at_us: Option<i64>,
}

impl StoredModel {
    /// Whether it is the model in force.
    pub fn is_in_force(&self) -> bool {
        self.status == "in_force"
    }
}

/// A time in which a model was in force, in epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    pub version: i32,
    /// The first epoch that it judged.
    pub from_epoch: i64,
    /// The first epoch that the next model judged; `None` for the last term.
    pub until_epoch: Option<i64>,
}

/// Why a model cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// There is no such model.
    #[error("there is no model {version}; citytide models list shows the existing ones")]
    Missing { version: i32 },
    /// There is no earlier model to go back to.
    #[error("no other model was in force before {}; citytide models promote VERSION names one", .0.map_or("any".to_owned(), |version| format!("model {version}")))]
    NothingBefore(Option<i32>),
    /// The model cannot be read.
    #[error("the model cannot be put into force: {0}")]
    Refused(#[from] ModelError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Looking for a run failed.
    #[error(transparent)]
    Run(#[from] TakeoverError),
}

/// The result of requesting a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promoted {
    /// The model was already in force.
    Already {
        /// The first epoch that it judged.
        from_epoch: i64,
        /// Another model whose pending request was withdrawn.
        withdrawn: Option<i32>,
    },
    /// A run has put it in force.
    InForce {
        /// The first epoch that it judges.
        from_epoch: i64,
    },
    /// No run is active; the next one puts it in force.
    NextRun,
    /// The active run has not put it in force within [`IN_FORCE_WITHIN`].
    NotYet { run_id: i64 },
}

/// Whether the detector's tables exist. They do not until a run of this version has migrated the database.
///
/// # Errors
///
/// When the server fails.
pub async fn are_kept(client: &Client) -> Result<bool, DatabaseError> {
    let row = client.query_one("select to_regclass('model_disagreements') is not null", &[]).await;
    Ok(row.map_err(failed("looking for the tables of the detector"))?.get(0))
}

/// Lists all models in the order of their versions.
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

/// Lists the terms of the models in the order of epochs.
///
/// # Errors
///
/// When the server fails.
pub async fn terms(client: &Client) -> Result<Vec<Term>, DatabaseError> {
    let sql = "select version, in_force_from_epoch, lead(in_force_from_epoch) over (order by epoch) \
               from model_changes order by epoch";
    let rows = client.query(sql, &[]).await.map_err(failed("reading the terms of the models"))?;
    let term = |row: &Row| Term { version: row.get(0), from_epoch: row.get(1), until_epoch: row.get(2) };
    Ok(rows.iter().map(term).collect())
}

/// Reads how far a model that ran in shadow agreed with the model in force: zone, first counted epoch, agreement.
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
    let rows = client.query(sql, &[&version]).await.map_err(failed("reading the agreement of models"))?;
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
/// [`PromoteError::Missing`] or [`PromoteError::Refused`]; also when the server fails.
pub async fn read(client: &Client, layout: &Layout, version: i32) -> Result<Model, PromoteError> {
    let row = client
        .query_opt("select model from models where version = $1", &[&version])
        .await
        .map_err(failed("reading a model"))?;
    let row = row.ok_or(PromoteError::Missing { version })?;
    Ok(Model::from_bytes(version, layout, row.get(0))?)
}

/// Returns the version of the model that was in force before the current one.
///
/// # Errors
///
/// [`PromoteError::NothingBefore`]; also when the server fails.
pub async fn before(client: &Client) -> Result<i32, PromoteError> {
    let terms = terms(client).await?;
    let last = terms.last().map(|term| term.version);
    let earlier = terms.iter().rev().map(|term| term.version).find(|version| Some(*version) != last);
    earlier.ok_or(PromoteError::NothingBefore(last))
}

/// Requests a model and waits until the active run has put it in force.
///
/// # Errors
///
/// As [`read`]; nothing is requested then.
pub async fn promote(client: &Client, layout: &Layout, version: i32) -> Result<Promoted, PromoteError> {
    read(client, layout, version).await?;
    if let Some(from_epoch) = in_force_from(client, version).await? {
        let withdrawn = client
            .query_opt(
                "with gone as (delete from model_requests returning version) select max(version) from gone",
                &[],
            )
            .await
            .map_err(failed("withdrawing the pending request"))?
            .and_then(|row| row.get::<_, Option<i32>>(0))
            .filter(|other| *other != version);
        return Ok(Promoted::Already { from_epoch, withdrawn });
    }
    let attempted = "requesting a model";
    let newest = client
        .query_one("select coalesce(max(epoch), 0) from model_changes", &[])
        .await
        .map_err(failed(attempted))?
        .get::<_, i64>(0);
    // One transaction: a run reads either the old request or the new one.
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

/// Returns the first epoch that a model judges, if it is in force.
async fn in_force_from(client: &Client, version: i32) -> Result<Option<i64>, DatabaseError> {
    let sql = "select in_force_from_epoch from models where version = $1 and status = 'in_force'";
    let row = client.query_opt(sql, &[&version]).await.map_err(failed("reading the model in force"))?;
    Ok(row.and_then(|row| row.get(0)))
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

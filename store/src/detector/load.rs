//! Reading back what the detector knew, and seeing again what was committed since.
//!
//! ```text
//!  detector_state: the newest epoch that is committed ─▶ Memory ◀─ sensor_readings from that epoch on, in the order of
//!  detector_minutes, model_changes, models ──────────────▶         epoch, partition, offset; nothing is written
//! ```

use std::sync::Arc;

use citytide_core::detect::{Blob, BlobKind, Closing, InForce, Memory, Past};
use citytide_detector::{Layout, Model, Sample};
use citytide_domain::Domain;
use tokio_postgres::{Client, GenericClient, Row};

use super::rows::JudgedRows;
use crate::postgres::DatabaseError;
use crate::time::micros;

/// Readings that a restart sees again at most; more would have to be an accident, and would keep the city waiting.
const READINGS_MAX: i64 = 5_000_000;

/// What a run's detector starts from.
#[derive(Debug)]
pub struct Loaded {
    /// What it knows.
    pub memory: Memory,
    /// Readings that were seen again.
    pub replayed: i64,
    /// Event time up to which the model in force was fitted, microseconds.
    pub fitted_until_us: Option<i64>,
}

/// Reads what the detector knew when `committed_epoch` was committed. What cannot be used is told and left out.
///
/// # Errors
///
/// When the server fails.
pub async fn load(
    client: &Client,
    domain: &Domain,
    layout: &Arc<Layout>,
    committed_epoch: i64,
) -> Result<Loaded, DatabaseError> {
    let fresh = || Memory::new(layout.clone(), Sample::of(domain));
    let newest = client
        .query_one(
            "select max(epoch) from detector_state where kind = 'lessons' and epoch <= $1",
            &[&committed_epoch],
        )
        .await
        .map_err(failed("looking for the detector's state"))?;
    // Nothing written down yet: then everything is seen again.
    let from: i64 = newest.get::<_, Option<i64>>(0).unwrap_or(0);
    let mut memory = fresh();
    let mut is_whole = true;
    for blob in blobs(client, from).await? {
        if let Err(error) = memory.read(&blob) {
            tracing::warn!("the detector starts without state, because its state cannot be used: {error}");
            is_whole = false;
            break;
        }
    }
    if !is_whole {
        memory = fresh();
    }
    let (past, fitted_until_us) = past(client, layout, from).await?;
    memory.begin(past);
    let replayed =
        if is_whole { replay(client, domain, &mut memory, from, committed_epoch).await? } else { 0 };
    memory.end();
    Ok(Loaded { memory, replayed, fitted_until_us })
}

/// The state as of an epoch; of zones the newest up to it.
async fn blobs(client: &Client, epoch: i64) -> Result<Vec<Blob>, DatabaseError> {
    let sql = "select distinct on (kind, key) kind, key, state from detector_state \
               where epoch = $1 or (kind = 'zone' and epoch < $1) order by kind, key, epoch desc";
    let rows = client.query(sql, &[&epoch]).await.map_err(failed("reading the detector's state"))?;
    let blob = |row: &Row| {
        let kind = BlobKind::named(row.get(0))?;
        Some(Blob { kind, key: row.get(1), state: row.get(2) })
    };
    Ok(rows.iter().filter_map(blob).collect())
}

/// What was decided in `epoch` and later, and the model that was in force then.
pub async fn past(
    client: &impl GenericClient,
    layout: &Layout,
    epoch: i64,
) -> Result<(Past, Option<i64>), DatabaseError> {
    let sql = "select epoch, closed_before, in_force_from_epoch from detector_minutes where epoch >= $1 order by epoch";
    let rows = client.query(sql, &[&epoch]).await.map_err(failed("reading when minutes were closed"))?;
    let closings = rows.iter().map(|row| Closing {
        epoch: row.get::<_, i64>(0) as u64,
        before: layout.tick(micros(row, 1).expect("a closing has a time")),
        holds_from: row.get::<_, i64>(2) as u64,
    });
    let mut past = Past { closings: closings.collect(), models: Vec::new() };
    let sql = "select version, changed.in_force_from_epoch, model, fitted_until \
               from model_changes as changed join models using (version) where changed.in_force_from_epoch >= \
               (select coalesce(max(in_force_from_epoch), 0) from model_changes where in_force_from_epoch <= $1) order by 2";
    let rows = client.query(sql, &[&epoch]).await.map_err(failed("reading the models in force"))?;
    let mut fitted_until_us = None;
    for row in &rows {
        match Model::from_bytes(row.get(0), layout, row.get(2)) {
            Ok(model) => {
                past.models.push(InForce { holds_from: row.get::<_, i64>(1) as u64, model: Arc::new(model) });
                fitted_until_us = micros(row, 3);
            }
            Err(error) => tracing::error!("{error}"),
        }
    }
    Ok((past, fitted_until_us))
}

/// Shows the memory every row that the detector judged from epoch `from` on; returns how many.
async fn replay(
    client: &Client,
    domain: &Domain,
    memory: &mut Memory,
    from: i64,
    until: i64,
) -> Result<i64, DatabaseError> {
    let attempted = "counting the readings that the detector has not written down";
    let counted = client
        .query_one("select coalesce(sum(readings), 0)::bigint from commits where epoch >= $1", &[&from])
        .await
        .map_err(failed(attempted))?;
    if counted.get::<_, i64>(0) > READINGS_MAX {
        tracing::warn!(
            "the detector does not replay {} readings that came after its state was written; it continues from there",
            counted.get::<_, i64>(0)
        );
        return Ok(0);
    }
    let rows = JudgedRows::read(client, domain, from, until, "", |_, _| ()).await?;
    rows.each(|epoch, batch, _| memory.see(epoch, batch));
    Ok(rows.count() as i64)
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

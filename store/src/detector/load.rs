//! Restores the detector at a restart: loads its newest state and replays the readings committed since.
//!
//! ```text
//!  detector_state, the newest complete one ────────▶ Detector ◀─ sensor_readings of each partition from its offset on,
//!  detector_models, models, detector_lifts ────────▶            in log order
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use citytide_core::detect::{Blob, BlobKind, Detector, Noted, Past, TimeRules};
use citytide_detector::{Layout, Model, Sample};
use citytide_domain::Domain;
use tokio_postgres::{Client, GenericClient, Row};

use super::rows::JudgedRows;
use crate::postgres::DatabaseError;
use crate::time::{Timestamp, micros};

/// Maximum number of readings to replay: more would delay the restart too much. States are written often enough that
/// more are not expected.
const READINGS_MAX: i64 = 5_000_000;
/// How far the readings after a state may have lower epochs than the state, milliseconds. Used only when a partition's
/// first reading is not found in the state's epoch or above.
const EPOCHS_BEFORE_MS: i64 = 60_000;

/// A restored detector.
#[derive(Debug)]
pub struct Loaded {
    pub detector: Detector,
    /// Number of replayed readings.
    pub replayed: i64,
}

/// A detector for a domain, without state.
pub fn new_detector(domain: &Domain, layout: &Arc<Layout>) -> Detector {
    let time = TimeRules::new(domain, layout);
    Detector::new(layout.clone(), time, Sample::of(domain), domain.detector.train_every_us)
}

/// Restores the detector as of `committed_epoch`. `partitions` are those of the source. Logs and ignores a state that
/// cannot be read.
///
/// # Errors
///
/// When the server fails.
pub async fn load(
    client: &Client,
    domain: &Domain,
    layout: &Arc<Layout>,
    committed_epoch: i64,
    partitions: &[i32],
) -> Result<Loaded, DatabaseError> {
    let fresh = || {
        let mut detector = new_detector(domain, layout);
        partitions.iter().for_each(|partition| detector.join(*partition));
        detector
    };
    let mut detector = fresh();
    let (mut from_epoch, mut offsets) = (0, BTreeMap::new());
    if let Some((as_of_us, epoch, blobs)) = state(client, committed_epoch).await? {
        match detector.read(as_of_us, &blobs) {
            Ok(found) => (from_epoch, offsets) = (epoch, found),
            Err(error) => {
                tracing::warn!("cannot use the detector's state, rebuilding it from the readings: {error}");
                detector = fresh();
            }
        }
    }
    detector.recall(past(client, layout).await?);
    let since_state = since(&offsets);
    let positions = positions(client, &offsets).await?;
    let earlier_epoch = from_epoch.saturating_sub(EPOCHS_BEFORE_MS);
    if positions.values().map(|(first, next)| next - first).sum::<i64>() > READINGS_MAX {
        let counted = count(client, earlier_epoch, committed_epoch, &since_state).await?;
        if counted > READINGS_MAX {
            tracing::warn!(
                "the {counted} readings since the detector's state was written are too many to replay; it starts \
                 without state"
            );
            return Ok(Loaded { detector: fresh(), replayed: 0 });
        }
    }
    let mut epochs = [from_epoch, committed_epoch];
    let mut rows = JudgedRows::read(client, domain, epochs, &since_state, "", |_, _| ()).await?;
    // A partition nearly always continues in the epoch that wrote its state, or above.
    let begins =
        |(partition, (first, next)): (&i32, &(i64, i64))| next <= first || rows.contains(*partition, *first);
    if from_epoch > 0 && !positions.iter().all(begins) {
        epochs[0] = earlier_epoch;
        rows = JudgedRows::read(client, domain, epochs, &since_state, "", |_, _| ()).await?;
    }
    rows.each(|_, batch, _| detector.push_again(batch));
    detector.run();
    Ok(Loaded { detector, replayed: rows.count() as i64 })
}

/// Reads, for each partition, the first offset after the state and the next offset to read.
async fn positions(
    client: &Client,
    offsets: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, (i64, i64)>, DatabaseError> {
    let sql = "select kafka_partition, first_offset, next_offset from ingest_progress";
    let rows = client.query(sql, &[]).await.map_err(failed("reading the positions of the partitions"))?;
    let position = |row: &Row| {
        let partition = row.get(0);
        (partition, (offsets.get(&partition).copied().unwrap_or(row.get(1)), row.get(2)))
    };
    Ok(rows.iter().map(position).collect())
}

/// Counts the committed readings of epochs `from` to `until` that the detector has judged after its state was written.
async fn count(client: &Client, from: i64, until: i64, since_state: &str) -> Result<i64, DatabaseError> {
    let sql = format!(
        "select count(*) from sensor_data where epoch between $1 and $2 and confidence is not null {since_state}"
    );
    let row = client.query_one(&sql, &[&from, &until]).await;
    Ok(row.map_err(failed("counting the readings since the detector's state was written"))?.get(0))
}

/// SQL condition: the row comes after the state, whose next offset for each partition is given.
fn since(offsets: &BTreeMap<i32, i64>) -> String {
    if offsets.is_empty() {
        return String::new();
    }
    let firsts: String =
        offsets.iter().map(|(partition, offset)| format!(" when {partition} then {offset}")).collect();
    format!("and kafka_offset >= case kafka_partition{firsts} else 0 end")
}

/// Reads the newest complete state: its event time in microseconds, the least epoch of its partitions, and its parts.
/// The part of a zone is the newest one up to that event time, since a zone is written only when it has changed.
async fn state(client: &Client, committed: i64) -> Result<Option<(i64, i64, Vec<Blob>)>, DatabaseError> {
    let attempted = "reading the detector's state";
    let sql = "select as_of from detector_state where kind = 'schedule' and epoch <= $1 \
               order by epoch desc, as_of desc limit 1";
    let Some(row) = client.query_opt(sql, &[&committed]).await.map_err(failed(attempted))? else {
        return Ok(None);
    };
    let as_of_us = micros(&row, 0).expect("the column is not null");
    let sql = "select distinct on (kind, key) kind, key, as_of, state, epoch from detector_state \
               where epoch <= $1 and (as_of = $2 or (kind = 'zone' and as_of < $2)) \
               order by kind, key, as_of desc, epoch desc";
    let rows = client.query(sql, &[&committed, &Timestamp(as_of_us)]).await.map_err(failed(attempted))?;
    let blob = |row: &Row| {
        let kind = BlobKind::named(row.get(0))?;
        let as_of_us = micros(row, 2).expect("the column is not null");
        Some(Blob { kind, key: row.get(1), as_of_us, state: row.get(3) })
    };
    let is_partition = |row: &&Row| row.get::<_, &str>(0) == BlobKind::Partition.as_str();
    let epoch = rows.iter().filter(is_partition).map(|row| row.get::<_, i64>(4)).min();
    Ok(Some((as_of_us, epoch.unwrap_or(0), rows.iter().filter_map(blob).collect())))
}

/// Reads the decisions of earlier runs: the models in force, the requested models, and the partitions that were not
/// waited for.
///
/// # Errors
///
/// When the server fails.
pub async fn past(client: &impl GenericClient, layout: &Layout) -> Result<Past, DatabaseError> {
    let sql = "select in_force_from, version, model from detector_models left join models using (version) order by 1";
    let rows = client.query(sql, &[]).await.map_err(failed("reading the models in force"))?;
    let mut past = Past::default();
    let mut before = None;
    for row in &rows {
        let (version, bytes): (i32, Option<Vec<u8>>) = (row.get(1), row.get(2));
        match bytes.map(|bytes| Model::from_bytes(version, layout, &bytes)) {
            Some(Ok(model)) => before = Some(Arc::new(model)),
            Some(Err(error)) => tracing::error!("{error}"),
            None => {}
        }
        let judges = before.clone().filter(|_| version > 0);
        past.models.insert(micros(row, 0).expect("the column is not null"), judges);
    }
    let sql = "select kafka_partition, kafka_offset, in_force_from, version, model \
               from detector_promotions join models using (version) order by 1, 2";
    let rows = client.query(sql, &[]).await.map_err(failed("reading the requested models"))?;
    let mut by_version: BTreeMap<i32, Arc<Model>> = BTreeMap::new();
    for row in &rows {
        let version: i32 = row.get(3);
        if let Entry::Vacant(free) = by_version.entry(version) {
            match Model::from_bytes(version, layout, row.get(4)) {
                Ok(model) => drop(free.insert(Arc::new(model))),
                Err(error) => tracing::error!("{error}"),
            }
        }
        let from_us = micros(row, 2).expect("the column is not null");
        let model = by_version.get(&version).cloned();
        past.promotions.extend(model.map(|model| (row.get(0), row.get(1), from_us, model)));
    }
    let sql =
        "select kafka_partition, kafka_offset, lifted_to, teaches_from from detector_lifts order by 1, 2";
    let rows =
        client.query(sql, &[]).await.map_err(failed("reading which partitions were not waited for"))?;
    let minute = |row: &Row, column| micros(row, column).map(|at_us| at_us.div_euclid(60_000_000));
    for row in &rows {
        let noted = minute(row, 2).map(Noted::Lifted).into_iter().chain(minute(row, 3).map(Noted::Joined));
        past.lifts.extend(noted.map(|noted| (row.get(0), row.get(1), noted)));
    }
    Ok(past)
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

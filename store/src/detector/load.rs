//! Reading back what the detector knew, and seeing again what was committed since.
//!
//! ```text
//!  detector_state: the newest complete one ────────▶ Detector ◀─ sensor_readings of each partition from its offset on,
//!  detector_models, models, detector_lifts ────────▶            in log order; nothing is written
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

/// Readings that a restart sees again at most; more would have to be an accident, and would keep the city waiting.
const READINGS_MAX: i64 = 5_000_000;
/// Milliseconds of epochs that a partition may be behind the one that wrote its state: where its first row is not found,
/// rows are looked for so much earlier.
const EPOCHS_BEFORE_MS: i64 = 60_000;

/// What a run's detector starts from.
#[derive(Debug)]
pub struct Loaded {
    /// What it knows.
    pub detector: Detector,
    /// Readings that were seen again.
    pub replayed: i64,
}

/// The detector of a domain, before it knows anything.
pub fn new_detector(domain: &Domain, layout: &Arc<Layout>) -> Detector {
    let time = TimeRules::new(domain, layout);
    Detector::new(layout.clone(), time, Sample::of(domain), domain.detector.train_every_us)
}

/// Reads what the detector knew when `committed_epoch` was committed. `partitions` are those of the source. What cannot
/// be used is told and left out.
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
                tracing::warn!("the detector builds its state again from the readings: {error}");
                detector = fresh();
            }
        }
    }
    detector.recall(past(client, layout).await?);
    let not_in_it = not_in(&offsets);
    let positions = positions(client, &offsets).await?;
    let earlier_epoch = from_epoch.saturating_sub(EPOCHS_BEFORE_MS);
    if positions.values().map(|(first, next)| next - first).sum::<i64>() > READINGS_MAX {
        let counted = count(client, earlier_epoch, committed_epoch, &not_in_it).await?;
        if counted > READINGS_MAX {
            tracing::warn!(
                "the {counted} readings since the detector's state was written are too many to replay; it starts \
                 without state"
            );
            return Ok(Loaded { detector: fresh(), replayed: 0 });
        }
    }
    let mut epochs = [from_epoch, committed_epoch];
    let mut rows = JudgedRows::read(client, domain, epochs, &not_in_it, "", |_, _| ()).await?;
    // Nearly always a partition goes on in the epoch that wrote its state.
    let begins =
        |(partition, (first, next)): (&i32, &(i64, i64))| next <= first || rows.contains(*partition, *first);
    if from_epoch > 0 && !positions.iter().all(begins) {
        epochs[0] = earlier_epoch;
        rows = JudgedRows::read(client, domain, epochs, &not_in_it, "", |_, _| ()).await?;
    }
    rows.each(|_, batch, _| detector.push_again(batch));
    detector.run();
    Ok(Loaded { detector, replayed: rows.count() as i64 })
}

/// Of each partition, the first offset that is not in a state, and the next one to read.
async fn positions(
    client: &Client,
    offsets: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, (i64, i64)>, DatabaseError> {
    let sql = "select kafka_partition, first_offset, next_offset from ingest_progress";
    let rows = client.query(sql, &[]).await.map_err(failed("reading how far the partitions are"))?;
    let position = |row: &Row| {
        let partition = row.get(0);
        (partition, (offsets.get(&partition).copied().unwrap_or(row.get(1)), row.get(2)))
    };
    Ok(rows.iter().map(position).collect())
}

/// Committed readings of some epochs that the detector has judged and that are not in a state.
async fn count(client: &Client, from: i64, until: i64, not_in_it: &str) -> Result<i64, DatabaseError> {
    let sql = format!(
        "select count(*) from sensor_data where epoch between $1 and $2 and confidence is not null {not_in_it}"
    );
    let row = client.query_one(&sql, &[&from, &until]).await;
    Ok(row.map_err(failed("counting the readings since the detector's state was written"))?.get(0))
}

/// That a row is not in a state, as SQL: it has the first offset of each partition that is.
fn not_in(offsets: &BTreeMap<i32, i64>) -> String {
    if offsets.is_empty() {
        return String::new();
    }
    let firsts: String =
        offsets.iter().map(|(partition, offset)| format!(" when {partition} then {offset}")).collect();
    format!("and kafka_offset >= case kafka_partition{firsts} else 0 end")
}

/// The newest complete state: event time, the least epoch of its partitions, and its parts; of zones the newest up to
/// it.
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

/// What was decided in former runs.
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
    let rows = client.query(sql, &[]).await.map_err(failed("reading which models were asked for"))?;
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

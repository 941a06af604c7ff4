//! Reading back what the detector knew, and seeing again what was committed since.
//!
//! ```text
//!  detector_state: the newest epoch that is committed ─▶ Memory ◀─ sensor_readings from that epoch on, in the order of
//!  detector_minutes, model_changes, models ──────────────▶         epoch, partition, offset; nothing is written
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use citytide_detector::{Layout, Model, Sample};
use citytide_domain::Domain;
use futures_util::{StreamExt, pin_mut};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::batch::{Activity, Batch, ReadProgress};
use crate::commit::panes::micros;
use crate::commit::postgres::DatabaseError;
use crate::commit::schema::quoted;
use crate::detect::{Blob, BlobKind, Closing, InForce, Memory, Past};
use crate::window::NEVER;

/// Readings that a restart sees again at most; more would have to be an accident, and would keep the city waiting.
const READINGS_MAX: i64 = 5_000_000;
/// Rows of a batch.
const BATCH_ROWS: usize = 4096;

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
            tracing::warn!("the detector begins anew, its state cannot be used: {error}");
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
async fn past(client: &Client, layout: &Layout, epoch: i64) -> Result<(Past, Option<i64>), DatabaseError> {
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
    let attempted = "reading the readings that the detector has not written down";
    let counted = client
        .query_one("select coalesce(sum(readings), 0)::bigint from commits where epoch >= $1", &[&from])
        .await
        .map_err(failed(attempted))?;
    if counted.get::<_, i64>(0) > READINGS_MAX {
        tracing::warn!(
            "the detector does not see {} readings again that came since its state was written: it goes on from there",
            counted.get::<_, i64>(0)
        );
        return Ok(0);
    }
    let metrics: Vec<String> =
        domain.metrics.iter().map(|metric| format!(", {}", quoted(&metric.name))).collect();
    // Rows that rules alone judged have no confidence: dead letters that were replayed, or a run without a detector.
    let sql = format!(
        "select epoch, kafka_partition, kafka_offset, zone, sensor_id, recorded_at, is_late{} from sensor_readings \
         where epoch between $1 and $2 and confidence is not null",
        metrics.concat()
    );
    // A table that nobody analysed yet looks small, and is scanned as a whole unless that is forbidden.
    client.batch_execute("set enable_seqscan = off").await.map_err(failed(attempted))?;
    let arguments: [&(dyn ToSql + Sync); 2] = [&from, &until];
    let rows = client.query_raw(&sql, arguments).await.map_err(failed(attempted))?;
    pin_mut!(rows);
    let mut seen = Seen::new(domain.metrics.len());
    while let Some(row) = rows.next().await {
        seen.push(&row.map_err(failed(attempted))?);
    }
    client.batch_execute("reset enable_seqscan").await.map_err(failed(attempted))?;
    let rows = seen.order.len() as i64;
    seen.each(|epoch, mut batch| memory.see(epoch, &mut batch));
    Ok(rows)
}

/// Rows in the order in which the server sends them, columns apart: epoch, partition, offset, zone, sensor, time,
/// whether late, metrics.
pub(super) struct Seen {
    /// Epoch, partition, offset, and where the row is.
    order: Vec<(i64, i32, i64, u32)>,
    zone_names: Vec<Arc<str>>,
    zone_numbers: HashMap<Arc<str>, u32>,
    zones: Vec<u32>,
    sensors: Vec<u8>,
    sensor_ends: Vec<u32>,
    event_times_us: Vec<i64>,
    late: Vec<bool>,
    metrics: Vec<Vec<f64>>,
}

impl Seen {
    pub(super) fn new(metrics: usize) -> Seen {
        Seen {
            order: Vec::new(),
            zone_names: Vec::new(),
            zone_numbers: HashMap::new(),
            zones: Vec::new(),
            sensors: Vec::new(),
            sensor_ends: Vec::new(),
            event_times_us: Vec::new(),
            late: Vec::new(),
            metrics: vec![Vec::new(); metrics],
        }
    }

    pub(super) fn push(&mut self, row: &Row) {
        self.order.push((row.get(0), row.get(1), row.get(2), self.order.len() as u32));
        let zone: &str = row.get(3);
        let number = match self.zone_numbers.get(zone) {
            Some(number) => *number,
            None => {
                let (name, number): (Arc<str>, u32) = (Arc::from(zone), self.zone_names.len() as u32);
                self.zone_names.push(name.clone());
                self.zone_numbers.insert(name, number);
                number
            }
        };
        self.zones.push(number);
        self.sensors.extend_from_slice(row.get::<_, &str>(4).as_bytes());
        self.sensor_ends.push(u32::try_from(self.sensors.len()).expect("bounded by READINGS_MAX"));
        self.event_times_us.push(micros(row, 5).expect("a reading has a time"));
        self.late.push(row.get(6));
        for (metric, column) in self.metrics.iter_mut().enumerate() {
            column.push(row.get::<_, Option<f64>>(7 + metric).unwrap_or(f64::NAN));
        }
    }

    /// Hands out all rows as batches with their epochs, in the order of epoch, partition and offset.
    pub(super) fn each(mut self, mut take: impl FnMut(u64, Batch)) {
        self.order.sort_unstable();
        let zone_names = Arc::new(std::mem::take(&mut self.zone_names));
        for of_partition in self.order.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            for rows in of_partition.chunks(BATCH_ROWS) {
                take(rows[0].0 as u64, self.batch(rows, &zone_names));
            }
        }
    }

    fn batch(&self, rows: &[(i64, i32, i64, u32)], zone_names: &Arc<Vec<Arc<str>>>) -> Batch {
        let at = || rows.iter().map(|row| row.3 as usize);
        let mut sensors = Vec::new();
        let sensor_ends = at().map(|row| {
            let start = if row == 0 { 0 } else { self.sensor_ends[row - 1] };
            sensors.extend_from_slice(&self.sensors[start as usize..self.sensor_ends[row] as usize]);
            sensors.len() as u32
        });
        Batch {
            sensor_ends: sensor_ends.collect(),
            sensors,
            partition: rows[0].1,
            offsets: rows.iter().map(|row| row.2).collect(),
            event_times_us: at().map(|row| self.event_times_us[row]).collect(),
            zones: at().map(|row| self.zones[row]).collect(),
            zone_names: zone_names.clone(),
            metrics: self.metrics.iter().map(|column| at().map(|row| column[row]).collect()).collect(),
            dead: Vec::new(),
            new_zones: Vec::new(),
            progress: ReadProgress {
                begins_at: None,
                next_offset: rows[rows.len() - 1].2 + 1,
                gaps: 0,
                lost: 0,
                cursor: None,
                activity: Activity::Active,
                at_end: false,
                end_offset: 0,
                leaving: false,
            },
            truth: Vec::new(),
            anomalies: Vec::new(),
            opinion: None,
            late: at().map(|row| self.late[row]).collect(),
            watermark_us: NEVER,
        }
    }
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

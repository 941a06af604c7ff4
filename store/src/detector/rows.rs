//! Reads rows that the detector has judged, and groups them into batches.

use std::collections::HashMap;
use std::sync::Arc;

use citytide_core::batch::{Batch, Columns, ReadProgress};
use citytide_domain::Domain;
use futures_util::{StreamExt, pin_mut};
use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row};

use crate::postgres::DatabaseError;
use crate::schema::quoted;
use crate::time::micros;

/// Maximum number of rows per batch.
const BATCH_ROWS: usize = 4096;
/// The index of the first metric's column.
const FIRST_METRIC: usize = 7;

/// Rows in columnar form, in the order in which the server sent them. `X` is what the caller reads of further columns.
pub struct JudgedRows<X> {
    /// Epoch, partition, offset, and index of each row; sorted.
    order: Vec<(i64, i32, i64, u32)>,
    zone_names: Arc<Vec<Arc<str>>>,
    zone_numbers: HashMap<Arc<str>, u32>,
    zones: Vec<u32>,
    sensors: Vec<u8>,
    sensor_ends: Vec<u32>,
    event_times_us: Vec<i64>,
    late: Vec<bool>,
    metrics: Vec<Vec<f64>>,
    extra: Vec<X>,
}

impl<X> JudgedRows<X> {
    /// Reads the committed rows of epochs `from` to `until` that the detector has judged and that satisfy `condition`,
    /// which is empty or begins with `and`. `columns` are further columns, empty or beginning with a comma; `extra`
    /// decodes them, given the row and the index of the first one.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn read(
        client: &impl GenericClient,
        domain: &Domain,
        [from, until]: [i64; 2],
        condition: &str,
        columns: &str,
        extra: impl Fn(&Row, usize) -> X,
    ) -> Result<JudgedRows<X>, DatabaseError> {
        // Without statistics the planner takes a table for small and scans it, so sequential scans are off. Where no
        // index exists, the penalty makes the scan look expensive enough for JIT compilation, which would take longer.
        client.batch_execute("set enable_seqscan = off; set jit = off").await.map_err(failed)?;
        // Only the detector writes a confidence: rules alone judge replayed dead letters and runs without a detector.
        let which = format!("where epoch between $1 and $2 and confidence is not null {condition}");
        let read = JudgedRows::select(client, domain, columns, &which, [&from, &until], extra).await?;
        client.batch_execute("reset enable_seqscan; reset jit").await.map_err(failed)?;
        Ok(read)
    }

    /// As [`JudgedRows::read`], for the rows of the clause `which`, which begins with `where`.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn select(
        client: &impl GenericClient,
        domain: &Domain,
        columns: &str,
        which: &str,
        arguments: [&(dyn ToSql + Sync); 2],
        extra: impl Fn(&Row, usize) -> X,
    ) -> Result<JudgedRows<X>, DatabaseError> {
        let metrics: Vec<String> =
            domain.metrics.iter().map(|metric| format!(", {}", quoted(&metric.name))).collect();
        let sql = format!(
            "select epoch, kafka_partition, kafka_offset, zone, sensor_id, recorded_at, is_late{}{columns} \
             from sensor_data {which}",
            metrics.concat()
        );
        let rows = client.query_raw(&sql, arguments).await.map_err(failed)?;
        pin_mut!(rows);
        let mut read = JudgedRows::new(domain.metrics.len());
        while let Some(row) = rows.next().await {
            let row = row.map_err(failed)?;
            read.push(&row);
            read.extra.push(extra(&row, FIRST_METRIC + domain.metrics.len()));
        }
        read.order.sort_unstable();
        Ok(read)
    }

    /// Drops all but the first `rows` rows that the server sent.
    pub fn keep_first(&mut self, rows: usize) {
        self.order.retain(|row| (row.3 as usize) < rows);
    }

    /// Whether the rows include that of an offset.
    pub fn contains(&self, partition: i32, offset: i64) -> bool {
        self.order.iter().any(|row| (row.1, row.2) == (partition, offset))
    }

    /// The number of rows.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// Calls `each` with the epoch, the batch and the extra values of its rows, in the order of epoch, partition and
    /// offset.
    pub fn each(&self, mut each: impl FnMut(u64, Batch, &[&X])) {
        for of_partition in self.order.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            for rows in of_partition.chunks(BATCH_ROWS) {
                let extra: Vec<&X> = rows.iter().map(|row| &self.extra[row.3 as usize]).collect();
                each(rows[0].0 as u64, self.batch(rows), &extra);
            }
        }
    }

    fn new(metrics: usize) -> JudgedRows<X> {
        JudgedRows {
            order: Vec::new(),
            zone_names: Arc::default(),
            zone_numbers: HashMap::new(),
            zones: Vec::new(),
            sensors: Vec::new(),
            sensor_ends: Vec::new(),
            event_times_us: Vec::new(),
            late: Vec::new(),
            metrics: vec![Vec::new(); metrics],
            extra: Vec::new(),
        }
    }

    fn push(&mut self, row: &Row) {
        self.order.push((row.get(0), row.get(1), row.get(2), self.order.len() as u32));
        let zone: &str = row.get(3);
        let number = match self.zone_numbers.get(zone) {
            Some(number) => *number,
            None => {
                let (name, number): (Arc<str>, u32) = (Arc::from(zone), self.zone_names.len() as u32);
                Arc::make_mut(&mut self.zone_names).push(name.clone());
                self.zone_numbers.insert(name, number);
                number
            }
        };
        self.zones.push(number);
        self.sensors.extend_from_slice(row.get::<_, &str>(4).as_bytes());
        self.sensor_ends.push(u32::try_from(self.sensors.len()).expect("a few million ids"));
        self.event_times_us.push(micros(row, 5).expect("a reading has a time"));
        self.late.push(row.get(6));
        for (metric, column) in self.metrics.iter_mut().enumerate() {
            column.push(row.get::<_, Option<f64>>(FIRST_METRIC + metric).unwrap_or(f64::NAN));
        }
    }

    fn batch(&self, rows: &[(i64, i32, i64, u32)]) -> Batch {
        let at = rows.iter().map(|row| row.3 as usize);
        let columns = Columns {
            event_times_us: &self.event_times_us,
            zones: &self.zones,
            sensors: &self.sensors,
            sensor_ends: &self.sensor_ends,
            metrics: &self.metrics,
        };
        let batch = Batch {
            offsets: rows.iter().map(|row| row.2).collect(),
            zone_names: self.zone_names.clone(),
            late: at.clone().map(|row| self.late[row]).collect(),
            ..Batch::empty(rows[0].1, ReadProgress::up_to(rows[rows.len() - 1].2 + 1))
        };
        columns.gather(at, batch)
    }
}

fn failed(error: tokio_postgres::Error) -> DatabaseError {
    DatabaseError::statement("reading the rows that the detector has judged", &error)
}

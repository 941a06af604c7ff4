//! Batches for tests and benchmarks, from rows as one would write them down.

use std::sync::Arc;

use super::{Batch, ReadProgress};
use crate::position::Reach;

/// One reading of a batch.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its offset.
    pub offset: i64,
    /// Event time, microseconds.
    pub at_us: i64,
    /// The zone.
    pub zone: String,
    /// The sensor.
    pub sensor: String,
    /// By metric; NaN where there is none.
    pub values: Vec<f64>,
}

impl Row {
    /// A reading of sensor 42 in Downtown.
    pub fn new(offset: i64, at_us: i64, values: &[f64]) -> Row {
        Row { offset, at_us, zone: "Downtown".to_owned(), sensor: "42".to_owned(), values: values.to_vec() }
    }
}

/// A batch of these rows, none of them judged yet, whose partition has been read up to behind the last one.
pub fn batch(partition: i32, rows: &[Row]) -> Batch {
    let mut zone_names: Vec<Arc<str>> = rows.iter().map(|row| Arc::from(row.zone.as_str())).collect();
    zone_names.sort();
    zone_names.dedup();
    let zone =
        |row: &Row| zone_names.iter().position(|name| **name == *row.zone).expect("named above") as u32;
    let metrics = rows.first().map_or(0, |row| row.values.len());
    let mut sensors = Vec::new();
    let mut sensor_ends = Vec::new();
    for row in rows {
        sensors.extend_from_slice(row.sensor.as_bytes());
        sensor_ends.push(sensors.len() as u32);
    }
    let next_offset = rows.last().map_or(0, |row| row.offset + 1);
    Batch {
        partition,
        offsets: rows.iter().map(|row| row.offset).collect(),
        event_times_us: rows.iter().map(|row| row.at_us).collect(),
        zones: rows.iter().map(zone).collect(),
        sensors,
        sensor_ends,
        metrics: (0..metrics).map(|metric| rows.iter().map(|row| row.values[metric]).collect()).collect(),
        zone_names: Arc::new(zone_names),
        dead: Vec::new(),
        new_zones: Vec::new(),
        progress: ReadProgress {
            begins_at: None,
            next_offset,
            gaps: 0,
            lost: 0,
            cursor: None,
            reach: Reach::active(next_offset),
        },
        truth: Vec::new(),
        anomalies: Vec::new(),
        opinion: None,
        late: vec![false; rows.len()],
        watermark_us: crate::NEVER,
    }
}

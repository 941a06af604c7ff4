//! Batches for tests, from rows as one would write them down, and a chunk of records for benchmarks.

use std::sync::Arc;

use citytide_domain::Domain;

use super::{Batch, Chunk, ReadProgress};

/// One reading of a batch.
#[derive(Debug, Clone)]
pub struct Row {
    pub offset: i64,
    /// Event time, microseconds.
    pub at_us: i64,
    pub zone: String,
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
        offsets: rows.iter().map(|row| row.offset).collect(),
        event_times_us: rows.iter().map(|row| row.at_us).collect(),
        zones: rows.iter().map(zone).collect(),
        sensors,
        sensor_ends,
        metrics: (0..metrics).map(|metric| rows.iter().map(|row| row.values[metric]).collect()).collect(),
        zone_names: Arc::new(zone_names),
        late: vec![false; rows.len()],
        ..Batch::empty(partition, ReadProgress::up_to(next_offset))
    }
}

/// A chunk of JSON readings of the domain smart-city, about 170 bytes each: 400 sensors in 8 zones, a reading each 100
/// ms, one in a hundred above a rule.
pub fn chunk(partition: i32, records: i64) -> Chunk {
    /// 2026-11-21T05:00:00Z.
    const START_MS: i64 = 1_795_237_200_000;

    let zones = Domain::smart_city().zones;
    let mut chunk = Chunk { partition, begins_at: Some(0), ..Chunk::default() };
    for offset in 0..records {
        let at_ms = 100 * offset;
        let (minute, second, millisecond) = (at_ms / 60_000 % 60, at_ms / 1_000 % 60, at_ms % 1_000);
        let spread = |most: i64| offset * 7_919 % most;
        let aqi = if spread(100) == 0 { 310 } else { 60 + spread(50) };
        let payload = format!(
            "{{\"sensor_id\":\"{}\",\"timestamp\":\"2026-11-21T05:{minute:02}:{second:02}.{millisecond:03}Z\",\"zone\":\"{}\",\
             \"temperature\":{}.{},\"humidity\":{}.{},\"aqi\":{aqi},\"noise_level\":{}.{},\"traffic_flow\":{}}}",
            offset % 400 + 1,
            zones[offset as usize % zones.len()].name,
            10 + spread(15),
            spread(10),
            40 + spread(31),
            spread(9),
            50 + spread(13),
            spread(7),
            90 + spread(61)
        );
        chunk.push(offset, START_MS + at_ms, payload.as_bytes());
    }
    chunk.reach.end_offset = records;
    chunk
}

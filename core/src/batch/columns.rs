//! Batches from rows of a larger table, as verdicts are recomputed from readings that are stored elsewhere.

use super::Batch;

/// Columns of a table of readings, as in a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Event times, microseconds of the Unix epoch.
    pub event_times_us: &'a [i64],
    /// Zones, as indices into the batch's `zone_names`.
    pub zones: &'a [u32],
    /// All sensor ids, one after the other, UTF-8.
    pub sensors: &'a [u8],
    /// End of each row's sensor id in `sensors`.
    pub sensor_ends: &'a [u32],
    /// Values by metric, then row; NaN where there is none.
    pub metrics: &'a [Vec<f64>],
}

impl Columns<'_> {
    /// `batch` with these rows in place of its own; offsets and zone names stay.
    pub fn gather(&self, rows: impl Iterator<Item = usize> + Clone, batch: Batch) -> Batch {
        let mut sensors = Vec::new();
        let sensor_ends = rows.clone().map(|row| {
            let start = if row == 0 { 0 } else { self.sensor_ends[row - 1] };
            sensors.extend_from_slice(&self.sensors[start as usize..self.sensor_ends[row] as usize]);
            sensors.len() as u32
        });
        Batch {
            sensor_ends: sensor_ends.collect(),
            sensors,
            received_at_ms: Vec::new(),
            event_times_us: rows.clone().map(|row| self.event_times_us[row]).collect(),
            zones: rows.clone().map(|row| self.zones[row]).collect(),
            metrics: self
                .metrics
                .iter()
                .map(|column| rows.clone().map(|row| column[row]).collect())
                .collect(),
            ..batch
        }
    }
}

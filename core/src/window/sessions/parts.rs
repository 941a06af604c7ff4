//! The readings of a batch as parts of sessions: runs of readings that belong together, as far as the batch shows.

use std::collections::HashMap;
use std::sync::Arc;

use citytide_domain::{SessionBy, SessionWindow};

use super::{Session, SessionsOf, Shape};
use crate::batch::Batch;
use crate::window::PaneSums;

/// How many runs of a zone or sensor a reading is held against, the newest first. What belongs together and is in two
/// parts all the same is joined where the parts arrive.
const RUNS_LOOKED_AT: usize = 4;

/// The accepted readings of a judged batch as parts of the sessions of each of the domain's session windows.
pub fn parts_of(batch: &Batch, windows: &[SessionWindow]) -> Vec<(SessionsOf, Session)> {
    let mut parts: Vec<(SessionsOf, Session)> = Vec::new();
    for (window, shape) in windows.iter().enumerate() {
        let by_sensor = shape.by == SessionBy::Sensor;
        let shape = Shape::of(shape);
        let mut runs: HashMap<(u32, &[u8]), Vec<usize>> = HashMap::new();
        let mut anomalies = batch.anomalies.iter().map(|anomaly| anomaly.row as usize).peekable();
        for row in 0..batch.rows() {
            let is_anomaly = anomalies.next_if_eq(&row).is_some();
            if batch.late[row] {
                continue;
            }
            let at_us = batch.event_times_us[row];
            let sensor = if by_sensor { batch.sensor(row) } else { b"" };
            let runs = runs.entry((batch.zones[row], sensor)).or_default();
            let near = runs.iter().rev().take(RUNS_LOOKED_AT);
            let joined = near.copied().find(|run| shape.joins(&parts[*run].1, at_us, at_us));
            let run = joined.unwrap_or_else(|| {
                let sensor: Arc<str> = String::from_utf8_lossy(sensor).into();
                let of = SessionsOf { window, zone: batch.zone(row).clone(), sensor };
                let sums = PaneSums::empty(batch.metrics.len());
                parts.push((of, Session { first_us: at_us, sums, first_epoch: 0 }));
                runs.push(parts.len() - 1);
                parts.len() - 1
            });
            let Session { first_us, sums, .. } = &mut parts[run].1;
            *first_us = at_us.min(*first_us);
            sums.readings += 1;
            sums.anomalies += u64::from(is_anomaly);
            sums.last_event_us = sums.last_event_us.max(at_us);
            for (metric, column) in sums.metrics.iter_mut().zip(&batch.metrics) {
                metric.add(column[row]);
            }
        }
    }
    parts
}

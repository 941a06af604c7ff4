//! Adds accepted readings to the partial sums of their (zone, pane). Tested together with `lateness`.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::PaneSums;
use crate::batch::Batch;
use crate::{NEVER, floor_to};

/// What one worker adds to one pane of one zone in one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    pub zone: Arc<str>,
    /// Start of the pane, microseconds.
    pub pane_us: i64,
    /// What it adds.
    pub sums: PaneSums,
}

/// An accepted anomalous reading, as the live views see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecentAnomaly {
    pub zone: Arc<str>,
    pub sensor: Arc<str>,
    /// Event time, microseconds.
    pub recorded_us: i64,
}

/// Partial sums of one epoch on one worker.
#[derive(Debug, Default)]
pub struct EpochPartials {
    slots: Vec<Partial>,
    by_pane: HashMap<(u32, i64), usize>,
    /// By zone id, the pane it was last added to and its slot: nearly every reading finds its slot here.
    latest: Vec<(i64, usize)>,
}

impl EpochPartials {
    fn slot(&mut self, zone: u32, pane_us: i64, batch: &Batch) -> &mut PaneSums {
        if self.latest.len() <= zone as usize {
            self.latest.resize(zone as usize + 1, (NEVER, 0));
        }
        if self.latest[zone as usize].0 != pane_us {
            let slots = &mut self.slots;
            let slot = *self.by_pane.entry((zone, pane_us)).or_insert_with(|| {
                slots.push(Partial {
                    zone: batch.zone_names[zone as usize].clone(),
                    pane_us,
                    sums: PaneSums::empty(batch.metrics.len()),
                });
                slots.len() - 1
            });
            self.latest[zone as usize] = (pane_us, slot);
        }
        &mut self.slots[self.latest[zone as usize].1].sums
    }

    /// Adds an accepted reading to its pane; returns it when it is anomalous.
    fn add(&mut self, batch: &Batch, row: usize, pane_us: i64, is_anomaly: bool) -> Option<RecentAnomaly> {
        let recorded_us = batch.event_times_us[row];
        let sums = self.slot(batch.zones[row], pane_us, batch);
        sums.readings += 1;
        sums.last_event_us = sums.last_event_us.max(recorded_us);
        for (metric, column) in sums.metrics.iter_mut().zip(&batch.metrics) {
            metric.add(column[row]);
        }
        sums.anomalies += u64::from(is_anomaly);
        is_anomaly.then(|| RecentAnomaly {
            zone: batch.zone(row).clone(),
            sensor: String::from_utf8_lossy(batch.sensor(row)).into(),
            recorded_us,
        })
    }

    /// Adds the accepted readings of a scored batch, whose panes are `pane_us` long. Returns the anomalous ones.
    pub fn place(&mut self, batch: &Batch, pane_us: i64) -> Vec<RecentAnomaly> {
        let mut anomalies = batch.anomalies.iter().map(|anomaly| anomaly.row as usize).peekable();
        let mut recent = Vec::new();
        for row in 0..batch.rows() {
            let is_anomaly = anomalies.next_if_eq(&row).is_some();
            if !batch.late[row] {
                recent.extend(self.add(batch, row, floor_to(batch.event_times_us[row], pane_us), is_anomaly));
            }
        }
        recent
    }

    /// The partial sums, one per (zone, pane).
    pub fn finish(self) -> Vec<Partial> {
        self.slots
    }
}

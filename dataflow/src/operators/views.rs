//! views: what comes and goes, kept by differential dataflow.
//!
//! ```text
//!  recent anomalies ─▶ per (zone, sensor): count, last ─┬▶ per zone: the ten with the most ─▶ hot_sensors
//!                                                        └▶ per zone: how many ─┐
//!  facts of a zone: last final window, last reading ────────────────────────────┴▶ zone_status
//! ```

use std::cmp::Reverse;
use std::sync::Arc;

use citytide_core::window::{RecentAnomaly, ZoneFact};
use differential_dataflow::VecCollection;

use super::Epoch;
use crate::commit::plan::{HOT_SENSORS_MAX, HotSensor, ViewRow, ZoneStatus};

/// The rows of the live views.
pub fn views<'scope>(
    recent: VecCollection<'scope, Epoch, RecentAnomaly, isize>,
    facts: VecCollection<'scope, Epoch, (Arc<str>, ZoneFact), isize>,
) -> VecCollection<'scope, Epoch, ViewRow, isize> {
    let sensors = recent.map(|anomaly| ((anomaly.zone, anomaly.sensor), anomaly.recorded_us)).reduce_named(
        "anomalies of a sensor",
        |_, times, figures| {
            let count: isize = times.iter().map(|(_, times)| *times).sum();
            let last_us = *times.last().expect("reduce is called with what is there").0;
            figures.push(((count as u64, last_us), 1));
        },
    );
    let hot = sensors
        .clone()
        .map(|((zone, sensor), (count, last_us))| (zone, (Reverse(count), sensor, last_us)))
        .reduce_named("hottest sensors of a zone", |_, sensors, hottest| {
            // Values come sorted: the most anomalies first, then by sensor.
            for (index, ((Reverse(count), sensor, last_us), _)) in
                sensors.iter().take(HOT_SENSORS_MAX).enumerate()
            {
                hottest.push(((index as u32 + 1, sensor.clone(), *count, *last_us), 1));
            }
        })
        .map(|(zone, (rank, sensor, anomalies, last_us))| {
            ViewRow::Hot(HotSensor {
                zone: zone.to_string(),
                rank,
                sensor: sensor.to_string(),
                anomalies,
                last_us,
            })
        });
    let counts = sensors.map(|((zone, _), (count, _))| (zone, count)).reduce_named(
        "anomalies of a zone",
        |_, counts, total| {
            let anomalies: u64 = counts.iter().map(|(count, sensors)| *count * *sensors as u64).sum();
            total.push((ZoneFact::RecentAnomalies(anomalies), 1));
        },
    );
    let status = facts
        .concat(counts)
        .reduce_named("status of a zone", |zone, facts, status| {
            status.extend(status_of(zone, facts).map(|row| (row, 1)))
        })
        .map(|(_, row)| ViewRow::Status(row));
    hot.concat(status)
}

fn status_of(zone: &str, facts: &[(&ZoneFact, isize)]) -> Option<ZoneStatus> {
    let mut row = ZoneStatus {
        zone: zone.to_owned(),
        last_final: None,
        recent_anomalies: 0,
        last_recorded_us: i64::MIN,
    };
    for (fact, _) in facts {
        match fact {
            ZoneFact::Final { start_us, readings, anomalies, averages } => {
                row.last_final = Some((*start_us, *readings, *anomalies, averages.clone()));
            }
            ZoneFact::LastRecorded(at_us) => row.last_recorded_us = *at_us,
            ZoneFact::RecentAnomalies(count) => row.recent_anomalies = *count,
        }
    }
    (row.last_recorded_us > i64::MIN).then_some(row)
}

#[cfg(test)]
mod tests;

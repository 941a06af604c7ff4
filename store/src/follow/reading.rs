//! The readings that a follower reads.

use tokio_postgres::Row;

use super::{Only, Wanted};
use crate::schema::quoted;
use crate::time::micros;

/// A committed reading: a row of `sensor_data`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub epoch: i64,
    /// Partition and offset identify a reading.
    pub partition: i32,
    pub offset: i64,
    pub sensor: String,
    pub zone: String,
    /// Event time, microseconds of the Unix epoch.
    pub recorded_us: i64,
    /// By metric, in the order of [`super::Follow::metrics`].
    pub values: Vec<Option<f64>>,
    pub is_late: bool,
    pub is_anomaly: bool,
    pub score: f32,
    pub severity: Option<String>,
    /// JSON; see `sensor_data.reasons`.
    pub reasons: Option<String>,
    pub model_version: i32,
    pub confidence: Option<f32>,
    pub detector: Option<String>,
}

/// The query for the readings of epochs in ($1, $2], of the zones $3 and the sensors $4 unless these are empty. If
/// `only` names a metric, $5 is [`reasons_filter`].
pub(super) fn query(metrics: &[String], wanted: Wanted, only: &Only) -> String {
    let named = only.metric.is_some();
    let columns: Vec<String> = metrics.iter().map(|metric| format!("{}, ", quoted(metric))).collect();
    let is_anomaly = if named { "is_anomaly and reasons @> $5::text::jsonb" } else { "is_anomaly" };
    let kind = match wanted {
        Wanted::All => "true".to_owned(),
        Wanted::Anomalies => is_anomaly.to_owned(),
        Wanted::Late => "is_late".to_owned(),
        Wanted::AnomaliesAndLate => format!("({is_anomaly} or is_late)"),
        Wanted::None => "false".to_owned(),
    };
    let about = only.metric.as_ref().map_or(String::new(), |metric| {
        format!(" and ({} is not null or reasons @> $5::text::jsonb)", quoted(metric))
    });
    format!(
        "select epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, is_late, is_anomaly, anomaly_score, \
         severity, reasons::text, model_version, confidence, detector, {}0 from sensor_data \
         where epoch > $1 and epoch <= $2 and {kind}{about} \
         and (cardinality($3::text[]) = 0 or zone = any ($3)) \
         and (cardinality($4::text[]) = 0 or sensor_id = any ($4)) order by epoch, kafka_partition, kafka_offset",
        columns.concat()
    )
}

/// The JSON that the reasons of a reading contain if one of them concerns the metric.
pub(super) fn reasons_filter(only: &Only) -> Option<String> {
    only.metric.as_ref().map(|metric| serde_json::json!([{"metric": metric}]).to_string())
}

/// Decodes a row of [`query`].
pub(super) fn reading(row: &Row, metrics: usize) -> Reading {
    Reading {
        epoch: row.get(0),
        partition: row.get(1),
        offset: row.get(2),
        sensor: row.get(3),
        zone: row.get(4),
        recorded_us: micros(row, 5).expect("a reading has a time"),
        is_late: row.get(6),
        is_anomaly: row.get(7),
        score: row.get(8),
        severity: row.get(9),
        reasons: row.get(10),
        model_version: row.get(11),
        confidence: row.get(12),
        detector: row.get(13),
        values: (0..metrics).map(|metric| row.get(14 + metric)).collect(),
    }
}

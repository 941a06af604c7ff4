//! One incident, and one sensor, with all that is known of it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use citytide_domain::Domain;
use citytide_store::incidents::shown::{self, ShownIncident};
use serde_json::{Value, json};
use tokio_postgres::Transaction;

use crate::api::{Api, answer};
use crate::cell::{object, rfc3339};
use crate::listing::{AsOf, Column, DAY_US, HOUR_US, Kind, columns};
use crate::now::{self, failed, hour_of, series_window};
use crate::pool::snapshot;
use crate::problem::Problem;

/// Before an incident and behind it, what its chart shows.
const AROUND_US: i64 = HOUR_US / 3;
/// What a chart shows at most.
const CHART_US: i64 = 6 * HOUR_US;
/// Readings of a sensor, and of an incident, that are shown.
const READINGS: i64 = 500;
const EVIDENCE_MAX: i64 = 20;
/// What the chart of an incident holds of each window.
pub const CHART: [(&str, Kind); 6] = [
    ("window_start", Kind::Time),
    ("avg", Kind::Number),
    ("min", Kind::Number),
    ("max", Kind::Number),
    ("is_final", Kind::Bool),
    ("revision", Kind::Integer),
];
/// What is shown of each reading that an incident is made of.
pub const EVIDENCE: [(&str, Kind); 10] = [
    ("recorded_at", Kind::Time),
    ("sensor_id", Kind::Text),
    ("severity", Kind::Text),
    ("anomaly_score", Kind::Number),
    ("reasons", Kind::Json),
    ("confidence", Kind::Number),
    ("model_version", Kind::Integer),
    ("is_late", Kind::Bool),
    ("kafka_partition", Kind::Integer),
    ("kafka_offset", Kind::Integer),
];
/// Epochs in which a sensor's newest readings are looked for first: the segment that is written has no index.
const NEWEST_MS: i64 = 900_000;

/// `GET /api/v1/incidents/ID`
pub async fn incident(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let mut session = api.pool.session().await?;
    let snapshot = snapshot(&mut session.client).await?;
    let as_of = AsOf::read(&snapshot).await?;
    let missing = || Problem::missing(format!("there is no incident {id}"));
    let incident = shown::incident(&snapshot, &id).await?.ok_or_else(missing)?;
    let occurrences = shown::occurrences(&snapshot, &api.domain, &incident).await?;
    let changes = shown::changes(&snapshot, &id).await?;
    let chart = chart(&snapshot, &api.domain, as_of, &incident).await?;
    let evidence = evidence(&snapshot, &incident).await?;
    snapshot.commit().await.map_err(failed("ending a snapshot"))?;
    session.give_back();
    let shown = json!({
        "as_of": as_of.epoch,
        "watermark": crate::listing::watermark(as_of),
        "incident": incident,
        "occurrences": occurrences,
        "changes": changes,
        "chart": chart,
        "evidence": evidence,
    });
    Ok(answer(shown.to_string()))
}

/// The metric in its zone, from a while before the incident to a while behind it, and what is typical there.
async fn chart(
    snapshot: &Transaction<'_>,
    domain: &Domain,
    as_of: AsOf,
    incident: &ShownIncident,
) -> Result<Value, Problem> {
    let Some(metric) = domain.metrics.iter().position(|metric| metric.name == incident.metric) else {
        return Ok(Value::Null);
    };
    let end_us = match incident.cleared_at {
        Some(cleared) => cleared.0.saturating_add(AROUND_US).min(as_of.watermark_us),
        None => as_of.watermark_us,
    };
    let start_us = (incident.opened_at.0 - AROUND_US).min(end_us - 2 * AROUND_US).max(end_us - CHART_US);
    let series = series_window(domain);
    let name = &incident.metric;
    let sql = format!(
        "select window_start, avg_{name}, min_{name}, max_{name}, is_final, revision from {} where zone = $1 \
         and window_start >= $2::text::timestamptz and window_start <= $3::text::timestamptz order by window_start",
        series.table()
    );
    let rows = snapshot.query(&sql, &[&incident.zone, &rfc3339(start_us), &rfc3339(end_us)]).await;
    let rows = rows.map_err(failed("reading the chart of an incident"))?;
    let names = CHART.map(|(name, _)| name);
    let typical = now::typical(snapshot, domain, hour_of(end_us)).await?;
    Ok(json!({
        "window": series.name,
        "size_ms": series.size_us / 1000,
        "step_ms": series.slide_us / 1000,
        "start_ms": start_us / 1000,
        "end_ms": end_us / 1000,
        "typical": typical.get(&incident.zone).and_then(|typical| typical[metric]),
        "rows": rows.iter().map(|row| object(&names, row)).collect::<Vec<_>>(),
    }))
}

/// The newest of the readings that it is made of.
async fn evidence(snapshot: &Transaction<'_>, incident: &ShownIncident) -> Result<Value, Problem> {
    let names = EVIDENCE.map(|(name, _)| name);
    let sql = format!(
        "select {} from sensor_data where is_anomaly and zone = $1 and recorded_at >= $2::text::timestamptz \
         and recorded_at <= $3::text::timestamptz and ($4::text is null or sensor_id = $4) \
         and reasons @> $5::text::jsonb order by recorded_at desc, kafka_partition, kafka_offset limit $6",
        names.join(", ")
    );
    let last_us = incident.last_seen_at.0;
    let first_us = incident.opened_at.0.max(last_us.saturating_sub(DAY_US));
    let about = json!([{ "metric": incident.metric }]).to_string();
    let rows = snapshot
        .query(
            &sql,
            &[
                &incident.zone,
                &rfc3339(first_us),
                &rfc3339(last_us),
                &incident.sensor_id,
                &about,
                &EVIDENCE_MAX,
            ],
        )
        .await;
    let rows = rows.map_err(|error| Problem::of_statement("reading the readings of an incident", &error))?;
    Ok(rows.iter().map(|row| object(&names, row)).collect())
}

/// What is shown of each reading of a sensor.
pub fn readings(domain: &Domain) -> Vec<Column> {
    let mut all = columns(&[("recorded_at", Kind::Time), ("zone", Kind::Text)]);
    all.extend(domain.metrics.iter().map(|metric| Column {
        name: metric.name.clone(),
        kind: Kind::Number,
        select: None,
    }));
    all.extend(columns(&[
        ("is_late", Kind::Bool),
        ("is_anomaly", Kind::Bool),
        ("anomaly_score", Kind::Number),
        ("severity", Kind::Text),
        ("reasons", Kind::Json),
        ("kafka_partition", Kind::Integer),
        ("kafka_offset", Kind::Integer),
    ]));
    all
}

/// `GET /api/v1/sensors/ID`
pub async fn sensor(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let mut session = api.pool.session().await?;
    let snapshot = snapshot(&mut session.client).await?;
    let as_of = AsOf::read(&snapshot).await?;
    let columns = readings(&api.domain);
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let since = async |epoch: i64, from_us: i64| {
        let sql = format!(
            "select {} from sensor_data where sensor_id = $1 and epoch > $2 and recorded_at > $3::text::timestamptz \
             order by recorded_at desc, kafka_partition, kafka_offset desc limit $4",
            names.join(", ")
        );
        let rows = snapshot.query(&sql, &[&id, &epoch, &rfc3339(from_us), &READINGS]).await;
        rows.map_err(|error| Problem::of_statement("reading a sensor's readings", &error))
    };
    let mut rows = since(as_of.epoch - NEWEST_MS, as_of.watermark_us.saturating_sub(HOUR_US)).await?;
    if (rows.len() as i64) < READINGS {
        rows = since(0, as_of.watermark_us.saturating_sub(7 * DAY_US)).await?;
    }
    if rows.is_empty() {
        return Err(Problem::missing(format!("there is no reading of sensor {id} in the last 7 days")));
    }
    let sql = "select incident_id from incident_states where sensor_id = $1 and condition <> 'pending' \
               order by opened_at desc limit 20";
    let ids = snapshot.query(sql, &[&id]).await.map_err(failed("looking for a sensor's incidents"))?;
    let mut incidents = Vec::new();
    for row in ids {
        incidents.extend(shown::incident(&snapshot, row.get(0)).await?);
    }
    snapshot.commit().await.map_err(failed("ending a snapshot"))?;
    session.give_back();
    let shown = json!({
        "as_of": as_of.epoch,
        "watermark": crate::listing::watermark(as_of),
        "sensor_id": id,
        "readings": rows.iter().map(|row| object(&names, row)).collect::<Vec<_>>(),
        "incidents": incidents,
    });
    Ok(answer(shown.to_string()))
}

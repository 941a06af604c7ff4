//! What the page Now shows, read in one snapshot: every figure on it is of one committed epoch.
//!
//! The page's windows: `now` is the longest window of the domain of at most five minutes, `series` the shortest. Figures
//! of now are those of the newest final `now` window, the same one in every zone; a zone without a row in it brought no
//! reading then. Typical is the mean of a zone's `now` averages at the same hour of the day (UTC) on the seven days
//! before, its spread one standard deviation; it is read again every five minutes, and is absent below
//! [`TYPICAL_ROWS_MIN`] windows.

use std::collections::{BTreeMap, HashMap};

use citytide_domain::{Domain, Metric, Window};
use citytide_store::incidents::shown::{self, Selection};
use citytide_store::postgres::DatabaseError;
use citytide_store::time::micros;
use serde_json::{Value, json};
use tokio_postgres::{Row, Transaction};

use crate::cell::{object, rfc3339};
use crate::status;

/// The longest window that counts as now.
const NOW_MAX_US: i64 = 300_000_000;
/// What a sparkline shows.
const SPARK_US: i64 = 3_600_000_000;
/// What the small chart of an incident shows.
const INCIDENT_US: i64 = 2_400_000_000;
/// Incidents that are listed.
const INCIDENTS_MAX: i64 = 50;
/// Incidents with a small chart.
const CHARTED_MAX: usize = 12;
/// Anomalies that are listed.
const ANOMALIES: i64 = 12;
/// How long typical values are kept.
const TYPICAL_MS: i64 = 300_000;
/// Windows that a typical value needs.
const TYPICAL_ROWS_MIN: i64 = 20;

/// A zone's typical value and spread of each metric.
pub type Typical = HashMap<String, Vec<Option<(f64, f64)>>>;

/// What is kept from one snapshot to the next.
#[derive(Default)]
pub struct Kept {
    /// The hour that it is of, when it was read, and the values.
    typical: Option<(i64, i64, Typical)>,
}

/// A part of the page: its name, and its JSON.
pub type Sections = BTreeMap<&'static str, String>;

/// The window of at most five minutes that is longest; the shortest one if all are longer.
pub fn now_window(domain: &Domain) -> &Window {
    let short = domain.windows.iter().filter(|window| window.size_us <= NOW_MAX_US);
    short.max_by_key(|window| window.size_us).unwrap_or_else(|| series_window(domain))
}

/// The shortest window.
pub fn series_window(domain: &Domain) -> &Window {
    domain.windows.iter().min_by_key(|window| window.size_us).expect("a domain has a window")
}

pub(crate) fn failed(attempted: &'static str) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

/// Columns of all metrics, each behind a comma.
fn of_metrics(domain: &Domain, prefixes: &[&str]) -> String {
    let of_metric = |metric: &Metric| {
        let columns: String = prefixes.iter().map(|prefix| format!(", {prefix}{}", metric.name)).collect();
        columns
    };
    domain.metrics.iter().map(of_metric).collect()
}

/// What a zone measured in the window that is now.
struct ZoneRow {
    zone: String,
    readings: i64,
    anomalies: i64,
    /// Average, least and greatest by metric.
    figures: Vec<[Option<f64>; 3]>,
}

impl ZoneRow {
    fn of(row: &Row, metrics: usize) -> ZoneRow {
        let figure = |metric: usize| std::array::from_fn(|part| row.get(4 + metric * 3 + part));
        ZoneRow {
            zone: row.get(0),
            readings: row.get(2),
            anomalies: row.get(3),
            figures: (0..metrics).map(figure).collect(),
        }
    }
}

/// The average of a metric over zones, weighted by their readings.
fn mean(rows: &[ZoneRow], metric: usize) -> Option<f64> {
    let weighted = rows.iter().filter_map(|row| Some((row.figures[metric][0]?, row.readings as f64)));
    let (sum, weight) =
        weighted.fold((0.0, 0.0), |(sum, weight), (value, of)| (sum + value * of, weight + of));
    (weight > 0.0).then(|| sum / weight)
}

/// The row whose figure is the greatest, or the least.
fn extreme(rows: &[ZoneRow], metric: usize, part: usize, sign: f64) -> (Option<f64>, Option<&str>) {
    let valued = rows.iter().filter_map(|row| Some((row.figures[metric][part]?, row.zone.as_str())));
    let found = valued.max_by(|(one, _), (other, _)| (sign * one).total_cmp(&(sign * other)));
    (found.map(|(value, _)| value), found.map(|(_, zone)| zone))
}

/// Reads everything.
pub async fn read(
    snapshot: &Transaction<'_>,
    domain: &Domain,
    kept: &mut Kept,
) -> Result<(i64, Sections), DatabaseError> {
    let status = status::read(snapshot, domain).await?;
    let mut sections = Sections::new();
    let epoch = status.epoch.unwrap_or(0);
    let now_ms = status.now_ms;
    sections.insert("status", serde_json::to_string(&status).expect("plain data"));
    if status.epoch.is_none() {
        return Ok((0, sections));
    }
    let window = now_window(domain);
    let table = window.table();
    let sql = format!("select max(window_start) from {table} where is_final");
    let newest = snapshot.query_one(&sql, &[]).await.map_err(failed("looking for the newest window"))?;
    let newest_us = micros(&newest, 0);
    let (mut rows, mut before) = (Vec::new(), Vec::new());
    if let Some(newest_us) = newest_us {
        let sql = format!(
            "select zone, window_start = $1::text::timestamptz, reading_count, anomaly_count{} from {table} \
             where window_start in ($1::text::timestamptz, $1::text::timestamptz - interval '1 hour')",
            of_metrics(domain, &["avg_", "min_", "max_"])
        );
        let found = snapshot.query(&sql, &[&rfc3339(newest_us)]).await;
        for row in found.map_err(failed("reading the newest windows"))? {
            let list = if row.get(1) { &mut rows } else { &mut before };
            list.push(ZoneRow::of(&row, domain.metrics.len()));
        }
        keep_typical(snapshot, domain, newest_us, now_ms, kept).await?;
    }
    let typical = kept.typical.as_ref().map(|(_, _, typical)| typical);
    sections.insert("zones", zones(domain, window, newest_us, &rows, typical).to_string());
    sections.insert("metrics", metrics(snapshot, domain, &rows, &before, typical).await?.to_string());
    sections.insert("incidents", incidents(snapshot, domain, typical).await?.to_string());
    sections.insert("anomalies", anomalies(snapshot, epoch).await?.to_string());
    Ok((epoch, sections))
}

/// Reads what is typical at the hour of `newest_us`, unless that is known.
async fn keep_typical(
    snapshot: &Transaction<'_>,
    domain: &Domain,
    newest_us: i64,
    now_ms: i64,
    kept: &mut Kept,
) -> Result<(), DatabaseError> {
    let hour_us = hour_of(newest_us);
    if kept.typical.as_ref().is_some_and(|(hour, read, _)| *hour == hour_us && now_ms - read < TYPICAL_MS) {
        return Ok(());
    }
    kept.typical = Some((hour_us, now_ms, typical(snapshot, domain, hour_us).await?));
    Ok(())
}

/// The hour of a time.
pub fn hour_of(at_us: i64) -> i64 {
    const HOUR_US: i64 = 3_600_000_000;
    at_us.div_euclid(HOUR_US) * HOUR_US
}

/// What is typical in the hour that begins at `hour_us`: mean and spread of the same hour on the seven days before.
pub async fn typical(
    snapshot: &Transaction<'_>,
    domain: &Domain,
    hour_us: i64,
) -> Result<Typical, DatabaseError> {
    let figures: String = domain
        .metrics
        .iter()
        .map(|Metric { name, .. }| format!(", avg(avg_{name}), stddev_samp(avg_{name}), count(avg_{name})"))
        .collect();
    let sql = format!(
        "select zone{figures} from generate_series(1, 7) as day join {} on window_start >= $1::text::timestamptz \
         - day * interval '1 day' and window_start < $1::text::timestamptz - day * interval '1 day' + interval '1 hour' \
         group by zone",
        now_window(domain).table()
    );
    let rows = snapshot.query(&sql, &[&rfc3339(hour_us)]).await;
    let rows = rows.map_err(failed("reading what is typical"))?;
    let of_row = |row: &Row| {
        let of_metric = |metric: usize| {
            let counted: i64 = row.get(3 + metric * 3);
            let (mean, spread): (Option<f64>, Option<f64>) =
                (row.get(1 + metric * 3), row.get(2 + metric * 3));
            mean.zip(spread).filter(|_| counted >= TYPICAL_ROWS_MIN)
        };
        (row.get(0), (0..domain.metrics.len()).map(of_metric).collect())
    };
    Ok(rows.iter().map(of_row).collect())
}

fn zones(
    domain: &Domain,
    window: &Window,
    newest_us: Option<i64>,
    rows: &[ZoneRow],
    typical: Option<&Typical>,
) -> Value {
    let place = |zone: &str| domain.zones.iter().position(|named| named.name == zone).unwrap_or(usize::MAX);
    // Those that the file names, in its order, also where they are silent; then the others by name.
    let mut names: Vec<&str> = domain.zones.iter().map(|zone| zone.name.as_str()).collect();
    names.extend(rows.iter().map(|row| row.zone.as_str()).filter(|zone| place(zone) == usize::MAX));
    names[domain.zones.len()..].sort_unstable();
    let of_zone = |zone: &str| {
        let row = rows.iter().find(|row| row.zone == zone);
        let part = |part: usize| row.map(|row| row.figures.iter().map(|f| f[part]).collect::<Vec<_>>());
        json!({
            "zone": zone,
            "map": domain.zones.iter().find(|named| named.name == zone).and_then(|named| named.map),
            "readings": row.map_or(0, |row| row.readings),
            "anomalies": row.map_or(0, |row| row.anomalies),
            "avg": part(0), "min": part(1), "max": part(2),
            "typical": typical.and_then(|typical| typical.get(zone)),
        })
    };
    json!({
        "window": window.name,
        "size_ms": window.size_us / 1000,
        "start_ms": newest_us.map(|us| us / 1000),
        "rows": names.into_iter().map(of_zone).collect::<Vec<_>>(),
    })
}

/// The strip: each metric over all zones.
async fn metrics(
    snapshot: &Transaction<'_>,
    domain: &Domain,
    rows: &[ZoneRow],
    before: &[ZoneRow],
    typical: Option<&Typical>,
) -> Result<Value, DatabaseError> {
    let series = series_window(domain);
    let averages: String = domain
        .metrics
        .iter()
        .map(|Metric { name, .. }| {
            format!(
                ", sum(avg_{name} * reading_count) / sum(reading_count) filter (where avg_{name} is not null)"
            )
        })
        .collect();
    let sql = format!(
        "select window_start, bool_and(is_final){averages} from {table} where window_start > \
         (select max(window_start) from {table}) - {SPARK_US} * interval '1 microsecond' \
         group by window_start order by window_start",
        table = series.table()
    );
    let found = snapshot.query(&sql, &[]).await.map_err(failed("reading the last hour"))?;
    let times: Vec<i64> = found.iter().map(|row| micros(row, 0).unwrap_or(0) / 1000).collect();
    let finals: Vec<bool> = found.iter().map(|row| row.get(1)).collect();
    let of_metric = |index: usize| {
        let value = mean(rows, index);
        let (max, max_zone) = extreme(rows, index, 2, 1.0);
        let (min, min_zone) = extreme(rows, index, 1, -1.0);
        let typical_rows = rows.iter().filter_map(|row| {
            let (usual, _) = (*typical?.get(&row.zone)?.get(index)?)?;
            row.figures[index][0].map(|_| (usual, row.readings as f64))
        });
        let (sum, weight) =
            typical_rows.fold((0.0, 0.0), |(sum, all), (usual, of)| (sum + usual * of, all + of));
        json!({
            "value": value,
            "min": min, "min_zone": min_zone, "max": max, "max_zone": max_zone,
            "change": value.zip(mean(before, index)).map(|(now, then)| now - then),
            "typical": (weight > 0.0).then(|| sum / weight),
            "spark": found.iter().map(|row| row.get::<_, Option<f64>>(2 + index)).collect::<Vec<_>>(),
        })
    };
    Ok(json!({
        "step_ms": series.slide_us / 1000,
        "times_ms": times,
        "finals": finals,
        "rows": (0..domain.metrics.len()).map(of_metric).collect::<Vec<_>>(),
    }))
}

/// What is wrong now, the worst first.
async fn incidents(
    snapshot: &Transaction<'_>,
    domain: &Domain,
    typical: Option<&Typical>,
) -> Result<Value, DatabaseError> {
    if !shown::are_kept(snapshot).await? {
        return Ok(json!({ "open": 0, "cleared": 0, "withdrawn": 0, "rows": [] }));
    }
    let selection = Selection { conditions: vec!["open".to_owned()], ..Selection::default() };
    let (list, open) = shown::list(snapshot, &selection, INCIDENTS_MAX).await?;
    let sql = "select count(*) filter (where condition = 'cleared' and cleared_at > w - interval '1 hour'), \
               count(*) filter (where condition = 'withdrawn' and last_seen_at > w - interval '1 hour') \
               from incident_states, (select watermark as w from commits order by epoch desc limit 1) as newest \
               where last_seen_at > w - interval '1 day'";
    let over = snapshot.query_one(sql, &[]).await.map_err(failed("counting incidents that are over"))?;
    let zones: Vec<&str> = list.iter().take(CHARTED_MAX).map(|incident| incident.zone.as_str()).collect();
    let series = series_window(domain);
    let sql = format!(
        "select zone, window_start{} from {table} where zone = any ($1) and window_start > (select max(window_start) \
         from {table}) - {INCIDENT_US} * interval '1 microsecond' order by window_start",
        of_metrics(domain, &["avg_", "min_", "max_"]),
        table = series.table()
    );
    let rows = snapshot.query(&sql, &[&zones]).await.map_err(failed("reading the charts of incidents"))?;
    let mut by_zone: HashMap<&str, Vec<&Row>> = HashMap::new();
    rows.iter().for_each(|row| by_zone.entry(row.get(0)).or_default().push(row));
    let shown = list.iter().enumerate().map(|(place, incident)| {
        let mut object = serde_json::to_value(incident).expect("plain data");
        let metric = domain.metrics.iter().position(|metric| metric.name == incident.metric);
        if let Some(metric) = metric.filter(|_| place < CHARTED_MAX) {
            let of_zone = by_zone.get(incident.zone.as_str()).map_or(&[][..], Vec::as_slice);
            let part = |part: usize| {
                let values = of_zone.iter().map(|row| row.get::<_, Option<f64>>(2 + metric * 3 + part));
                values.collect::<Vec<_>>()
            };
            let times = of_zone.iter().map(|row| micros(row, 1).unwrap_or(0) / 1000);
            object["chart"] = json!({
                "step_ms": series.slide_us / 1000,
                "times_ms": times.collect::<Vec<_>>(),
                "avg": part(0), "min": part(1), "max": part(2),
                "typical": typical.and_then(|typical| typical.get(&incident.zone)?[metric]),
            });
        }
        object
    });
    Ok(json!({
        "open": open,
        "cleared": over.get::<_, i64>(0),
        "withdrawn": over.get::<_, i64>(1),
        "rows": shown.collect::<Vec<_>>(),
    }))
}

/// The newest anomalies, one by one.
async fn anomalies(snapshot: &Transaction<'_>, epoch: i64) -> Result<Value, DatabaseError> {
    // The bound on the epoch leaves old segments out; a backlog has hours of event time in minutes of epochs.
    let sql = "select recorded_at, sensor_id, zone, severity, anomaly_score, reasons, is_late, kafka_partition, \
               kafka_offset, detector from sensor_data where is_anomaly and epoch > $1 \
               order by recorded_at desc, kafka_partition, kafka_offset limit $2";
    let rows = snapshot.query(sql, &[&(epoch - 900_000), &ANOMALIES]).await;
    let rows = rows.map_err(failed("reading the newest anomalies"))?;
    let names = [
        "recorded_at",
        "sensor_id",
        "zone",
        "severity",
        "anomaly_score",
        "reasons",
        "is_late",
        "kafka_partition",
        "kafka_offset",
        "detector",
    ];
    Ok(Value::Array(rows.iter().map(|row| object(&names, row)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(zone: &str, readings: i64, average: Option<f64>) -> ZoneRow {
        ZoneRow { zone: zone.to_owned(), readings, anomalies: 0, figures: vec![[average, average, average]] }
    }

    #[test]
    fn the_city_s_average_is_weighted_by_readings_and_a_silent_zone_counts_for_nothing() {
        let rows = [row("a", 1, Some(10.0)), row("b", 3, Some(20.0)), row("c", 9, None)];
        assert_eq!(mean(&rows, 0), Some(17.5));
        assert_eq!(extreme(&rows, 0, 2, 1.0), (Some(20.0), Some("b")));
        assert_eq!(extreme(&rows, 0, 1, -1.0), (Some(10.0), Some("a")));
        assert_eq!(mean(&[row("c", 9, None)], 0), None);
    }

    #[test]
    fn now_is_the_longest_window_of_five_minutes_at_most() {
        let city = Domain::smart_city();
        assert_eq!((now_window(&city).name.as_str(), series_window(&city).name.as_str()), ("5min", "1min"));
    }
}

//! Session windows recomputed from the accepted readings of one snapshot, one reading after the other.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use crate::city::{City, SessionWindow};
use crate::database::Session;

/// Disagreements that are listed.
const LISTED_MAX: usize = 10;

/// A zone, a sensor where each has sessions of its own, and the start in microseconds.
type Key = (String, String, i64);

#[derive(Debug, Default)]
struct Figures {
    end_us: i64,
    last_us: i64,
    readings: i64,
    anomalies: i64,
    is_final: bool,
    /// By metric.
    averages: Vec<Option<f64>>,
    least: Vec<Option<f64>>,
    greatest: Vec<Option<f64>>,
}

/// One statement: W, every accepted reading, and every row of the table.
fn statement(city: &City, window: &SessionWindow) -> String {
    let us = |column: &str| format!("(extract(epoch from {column}) * 1000000)::bigint");
    let each = |prefix: &str| {
        let names: Vec<String> =
            city.metrics.iter().map(|metric| format!("{prefix}{}", metric.name)).collect();
        format!("array[{}]::float8[]", names.join(", "))
    };
    let sensor = if window.by_sensor { "sensor_id" } else { "''" };
    format!(
        "select 'w', '', '', {w}, null::bigint, null::bigint, null::bigint, null::bigint, null::boolean, null::float8[], \
         null::float8[], null::float8[], true from (select watermark from commits order by epoch desc limit 1) newest \
         union all select 'reading', zone, {sensor}, {at}, null, null, null, null, is_anomaly, {values}, null, null, true \
         from sensor_data where not is_late \
         union all select 'row', zone, {sensor}, {start}, {end}, {last}, reading_count, anomaly_count, is_final, {avg}, \
         {min}, {max}, exists (select from commits where commits.epoch = kept.epoch and windows_from <= window_start) \
         and not exists (select from changes where table_name = 'metrics_{name}' and changes.epoch >= kept.epoch \
         and key ->> 'zone' = zone and coalesce(key ->> 'sensor_id', '') = {sensor} \
         and (key ->> 'window_start')::timestamptz = window_start) from metrics_{name} kept",
        w = us("watermark"),
        at = us("recorded_at"),
        start = us("window_start"),
        end = us("window_end"),
        last = us("last_recorded_at"),
        values = each(""),
        avg = each("avg_"),
        min = each("min_"),
        max = each("max_"),
        name = window.name,
    )
}

/// What of every table of sessions disagrees in one snapshot each, and how many sessions there are.
///
/// # Errors
///
/// When the server fails.
pub fn look(session: &Session, city: &City) -> Result<(Vec<String>, usize), tokio_postgres::Error> {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for window in &city.sessions {
        let rows = session.try_query(&statement(city, window))?;
        let (found, expected, mut said) = (found(&rows), expected(window, &rows), misfiled(&rows));
        count += expected.len();
        for key in expected.keys().filter(|key| !found.contains_key(key)) {
            said.push(format!("{key:?} is missing"));
        }
        for (key, row) in &found {
            match expected.get(key) {
                None => said.push(format!("{key:?} should not be there: {row:?}")),
                Some(wanted) if !same(row, wanted) => {
                    said.push(format!("{key:?}: found {row:?}, computed {wanted:?}"));
                }
                Some(_) => {}
            }
        }
        wrong
            .extend(said.into_iter().take(LISTED_MAX).map(|said| format!("metrics_{}: {said}", window.name)));
    }
    Ok((wrong, count))
}

fn same(row: &Figures, wanted: &Figures) -> bool {
    let counts = |of: &Figures| (of.end_us, of.last_us, of.readings, of.anomalies, of.is_final);
    let close = |one: &Option<f64>, other: &Option<f64>| match (one, other) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 1e-12,
        (one, other) => one.is_none() && other.is_none(),
    };
    counts(row) == counts(wanted)
        && row.least == wanted.least
        && row.greatest == wanted.greatest
        && row.averages.iter().zip(&wanted.averages).all(|(one, other)| close(one, other))
}

fn key(row: &Row) -> Key {
    (row.get(1), row.get(2), row.get(3))
}

/// Rows that followers would miss, or take for deleted.
fn misfiled(rows: &[Row]) -> Vec<String> {
    let wrong = rows.iter().filter(|row| !row.get::<_, bool>(12));
    wrong.map(|row| format!("{:?}: its epoch, windows_from or a deletion is wrong", key(row))).collect()
}

fn found(rows: &[Row]) -> BTreeMap<Key, Figures> {
    let rows = rows.iter().filter(|row| row.get::<_, &str>(0) == "row");
    let figures = |row: &Row| Figures {
        end_us: row.get(4),
        last_us: row.get(5),
        readings: row.get(6),
        anomalies: row.get(7),
        is_final: row.get(8),
        averages: row.get(9),
        least: row.get(10),
        greatest: row.get(11),
    };
    rows.map(|row| (key(row), figures(row))).collect()
}

fn expected(window: &SessionWindow, rows: &[Row]) -> BTreeMap<Key, Figures> {
    let of_kind = |kind: &'static str| rows.iter().filter(move |row| row.get::<_, &str>(0) == kind);
    let watermark_us: Option<i64> = of_kind("w").next().and_then(|row| row.get(3));
    let mut readings: Vec<&Row> = of_kind("reading").collect();
    readings.sort_by_key(|row| key(row));
    let mut sessions: BTreeMap<Key, Figures> = BTreeMap::new();
    let mut open: Option<Key> = None;
    for row in readings {
        let (zone, sensor, at_us) = key(row);
        let goes_on = |key: &Key| {
            let session = &sessions[key];
            (&key.0, &key.1) == (&zone, &sensor)
                && at_us < session.last_us + window.gap_us
                && at_us / window.max_us == session.last_us / window.max_us
        };
        let of = open.filter(goes_on).unwrap_or((zone, sensor, at_us));
        let session = sessions.entry(of.clone()).or_default();
        session.last_us = at_us;
        session.end_us = (at_us + window.gap_us).min((at_us / window.max_us + 1) * window.max_us);
        session.is_final = watermark_us.is_some_and(|w| session.end_us <= w);
        session.readings += 1;
        session.anomalies += i64::from(row.get::<_, bool>(8));
        let values: Vec<Option<f64>> = row.get(9);
        for figures in [&mut session.averages, &mut session.least, &mut session.greatest] {
            figures.resize(values.len(), None);
        }
        for (metric, value) in values.into_iter().enumerate() {
            let Some(value) = value else { continue };
            // Sums until all is read.
            session.averages[metric] = Some(session.averages[metric].unwrap_or(0.0) + value);
            session.least[metric] = Some(session.least[metric].map_or(value, |least| least.min(value)));
            session.greatest[metric] = Some(session.greatest[metric].map_or(value, |most| most.max(value)));
        }
        open = Some(of);
    }
    let counts = counts(&sessions, window, &of_kind("reading").collect::<Vec<_>>());
    for (key, session) in &mut sessions {
        for (average, count) in session.averages.iter_mut().zip(&counts[key]) {
            *average = average.map(|sum| sum / *count as f64);
        }
    }
    sessions
}

/// How many values of each metric a session has.
fn counts(
    sessions: &BTreeMap<Key, Figures>,
    window: &SessionWindow,
    readings: &[&Row],
) -> BTreeMap<Key, Vec<i64>> {
    let mut counts: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
    for row in readings {
        let (zone, sensor, at_us) = key(row);
        let sensor = if window.by_sensor { sensor } else { String::new() };
        let starts = sessions.range((zone.clone(), sensor.clone(), i64::MIN)..=(zone, sensor, at_us));
        let (of, _) = starts.last().expect("each reading is in a session");
        let values: Vec<Option<f64>> = row.get(9);
        let counts = counts.entry(of.clone()).or_insert_with(|| vec![0; values.len()]);
        for (count, value) in counts.iter_mut().zip(values) {
            *count += i64::from(value.is_some());
        }
    }
    counts
}

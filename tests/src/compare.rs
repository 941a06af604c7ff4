//! The tables against the oracle, column by column, and against those of another run, bit by bit.

use std::collections::BTreeMap;
use std::fmt::Debug;

use tokio_postgres::Row as Record;

use crate::city::City;
use crate::database::Session;
use crate::oracle::{Expected, Progress, Reason, Span, WindowRow};

/// Differences that are listed.
const LISTED_MAX: usize = 25;
/// Averages may differ by this much, relatively.
const AVERAGE_TOLERANCE: f64 = 1e-9;

/// What differs, in words.
#[derive(Debug, Default)]
pub struct Differences {
    listed: Vec<String>,
    count: usize,
}

impl Differences {
    fn note(&mut self, difference: impl FnOnce() -> String) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(difference());
        }
    }

    fn same<T: PartialEq + Debug>(&mut self, place: impl FnOnce() -> String, found: &T, expected: &T) {
        if found != expected {
            self.note(|| format!("{}: found {found:?}, expected {expected:?}", place()));
        }
    }

    fn close(&mut self, place: impl FnOnce() -> String, found: Option<f64>, expected: Option<f64>) {
        let close = match (found, expected) {
            (None, None) => true,
            (Some(a), Some(b)) => (a - b).abs() <= AVERAGE_TOLERANCE * a.abs().max(b.abs()) + 1e-12,
            _ => false,
        };
        if !close {
            self.note(|| format!("{}: found {found:?}, expected {expected:?}", place()));
        }
    }

    fn keys<K: Ord + Debug, A, B>(&mut self, table: &str, found: &BTreeMap<K, A>, expected: &BTreeMap<K, B>) {
        for key in expected.keys().filter(|key| !found.contains_key(key)) {
            self.note(|| format!("{table}: {key:?} is missing"));
        }
        for key in found.keys().filter(|key| !expected.contains_key(key)) {
            self.note(|| format!("{table}: {key:?} should not be there"));
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Panics when there are any.
    pub fn assert_none(&self) {
        assert!(self.count == 0, "{} differences:\n  {}", self.count, self.listed.join("\n  "));
    }
}

const US: &str = "(extract(epoch from {}) * 1000000)::bigint";

fn us(column: &str) -> String {
    US.replace("{}", column)
}

/// Panics when a table is not what was expected.
pub fn assert_tables(session: &Session, city: &City, expected: &Expected) {
    differences(session, city, expected).assert_none();
}

/// Compares every table with what is expected of it.
pub fn differences(session: &Session, city: &City, expected: &Expected) -> Differences {
    let mut differences = Differences::default();
    raw_rows(session, city, expected, &mut differences);
    dead_letters(session, expected, &mut differences);
    progress(session, expected, &mut differences);
    for at in 0..city.windows.len() {
        windows(session, city, at, expected, &mut differences);
    }
    let watermark: Vec<Record> =
        session.query(&format!("select {} from commits order by epoch desc limit 1", us("watermark")));
    let watermark: Option<i64> = watermark.first().and_then(|row| row.get(0));
    differences.same(|| "W of the newest commit".to_owned(), &watermark, &expected.watermark_us);
    hot_sensors(session, expected, &mut differences);
    zone_status(session, city, expected, &mut differences);
    zone_latest(session, city, expected, &mut differences);
    data_quality(session, city, expected, &mut differences);
    sensors(session, city, expected, &mut differences);
    differences
}

fn unique<K: Ord + Debug + Clone, V>(
    table: &str,
    rows: impl Iterator<Item = (K, V)>,
    differences: &mut Differences,
) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in rows {
        if map.insert(key.clone(), value).is_some() {
            differences.note(|| format!("{table}: {key:?} is there twice"));
        }
    }
    map
}

fn raw_rows(session: &Session, city: &City, expected: &Expected, differences: &mut Differences) {
    let metrics: Vec<&str> = city.metrics.iter().map(|metric| metric.name.as_str()).collect();
    let rows = session.query(&format!(
        "select kafka_partition, kafka_offset, sensor_id, zone, {}, is_late, is_anomaly, anomaly_score, severity, \
         reasons::text, model_version, detector, {} from sensor_data",
        us("recorded_at"),
        metrics.join(", ")
    ));
    let found = unique("sensor_data", rows.iter().map(|row| ((row.get(0), row.get(1)), row)), differences);
    differences.keys("sensor_data", &found, &expected.rows);
    for (key, row) in &found {
        let Some(wanted) = expected.rows.get(key) else { continue };
        let place = |column: &str| format!("sensor_data {key:?} {column}");
        differences.same(|| place("sensor_id"), &row.get::<_, &str>(2), &wanted.reading.sensor.as_str());
        differences.same(|| place("zone"), &row.get::<_, &str>(3), &wanted.reading.zone.as_str());
        differences.same(|| place("recorded_at"), &row.get::<_, i64>(4), &wanted.reading.event_us);
        differences.same(|| place("is_late"), &row.get::<_, bool>(5), &wanted.is_late);
        let anomalous = !wanted.reasons.is_empty();
        differences.same(|| place("is_anomaly"), &row.get::<_, bool>(6), &anomalous);
        differences.same(
            || place("anomaly_score"),
            &row.get::<_, f32>(7),
            &if anomalous { 1.0 } else { 0.0 },
        );
        differences.same(|| place("severity"), &row.get::<_, Option<&str>>(8), &anomalous.then_some("high"));
        let reasons = row.get::<_, Option<&str>>(9).map(reasons);
        differences.same(|| place("reasons"), &reasons, &anomalous.then(|| wanted.reasons.clone()));
        differences.same(|| place("model_version"), &row.get::<_, i32>(10), &0);
        let detector: Option<&str> = row.get(11);
        if detector.is_some_and(|detector| !anomalous || detector != "rules") {
            differences.note(|| format!("{}: found {detector:?}", place("detector")));
        }
        for (at, (name, value)) in metrics.iter().zip(&wanted.reading.values).enumerate() {
            let found: Option<f64> = row.get(12 + at);
            // −0 becomes 0.
            let (found, value) = (found.map(f64::to_bits), value.map(|value| (value + 0.0).to_bits()));
            differences.same(|| place(name), &found, &value);
        }
    }
}

fn reasons(json: &str) -> Vec<Reason> {
    let parsed: serde_json::Value = serde_json::from_str(json).expect("reasons are JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("no text").to_owned();
    let list = parsed.as_array().expect("reasons are an array");
    list.iter()
        .map(|reason| {
            let mut sentence = text(&reason["text"]);
            // Where the detector knows what is typical, it says so: beside the rule, and at the end of the sentence.
            if reason["typical"].is_number() && reason["spread"].is_number() {
                let at = sentence.find(", typical here at this hour ").unwrap_or(0);
                sentence.truncate(at);
            }
            Reason {
                metric: text(&reason["metric"]),
                actual: reason["actual"].as_f64().unwrap_or(f64::NAN),
                unit: text(&reason["unit"]),
                rule: text(&reason["rule"]),
                text: sentence,
            }
        })
        .collect()
}

fn dead_letters(session: &Session, expected: &Expected, differences: &mut Differences) {
    let rows = session.query(&format!(
        "select kafka_partition, kafka_offset, {}, reason, field, message, payload, payload_bytes from dead_letters",
        us("received_at")
    ));
    let found = unique("dead_letters", rows.iter().map(|row| ((row.get(0), row.get(1)), row)), differences);
    differences.keys("dead_letters", &found, &expected.dead);
    for (key, row) in &found {
        let Some(wanted) = expected.dead.get(key) else { continue };
        let payload = String::from_utf8_lossy(&wanted.payload[..wanted.payload.len().min(200)]);
        let place = |column: &str| format!("dead_letters {key:?} {column} of {payload:?}");
        differences.same(|| place("reason"), &row.get::<_, &str>(3), &wanted.reason.as_str());
        differences.same(|| place("field"), &row.get::<_, Option<&str>>(4), &wanted.field.as_deref());
        if row.get::<_, &str>(5).is_empty() {
            differences.note(|| format!("{}: empty", place("message")));
        }
        if row.get::<_, &[u8]>(6) != wanted.payload {
            differences.note(|| format!("{}: other bytes", place("payload")));
        }
        differences.same(|| place("payload_bytes"), &row.get::<_, i32>(7), &wanted.payload_bytes);
        if wanted.received_at_ms >= 0 {
            differences.same(|| place("received_at"), &row.get::<_, i64>(2), &(wanted.received_at_ms * 1000));
        }
    }
}

fn progress(session: &Session, expected: &Expected, differences: &mut Differences) {
    let rows = session.query(&format!(
        "select p.kafka_partition, p.first_offset, p.next_offset, p.accepted, p.late, p.dead, p.lost, p.gaps, {}, \
         c.holds from ingest_progress p join conservation c using (kafka_partition)",
        us("p.watermark")
    ));
    for row in &rows {
        let (partition, first): (i32, i64) = (row.get(0), row.get(1));
        let found = Progress {
            next_offset: row.get::<_, i64>(2) - first,
            accepted: row.get(3),
            late: row.get(4),
            dead: row.get(5),
            lost: row.get(6),
            gaps: row.get(7),
            watermark_us: row.get(8),
        };
        // A partition that holds nothing may have a row of zeros, or none.
        let wanted = expected.progress.get(&partition).cloned().unwrap_or_default();
        differences.same(|| format!("ingest_progress {partition}"), &found, &wanted);
        differences.same(|| format!("conservation {partition} holds"), &row.get::<_, bool>(9), &true);
    }
    for partition in expected.progress.keys() {
        if !rows.iter().any(|row| row.get::<_, i32>(0) == *partition) {
            differences.note(|| format!("ingest_progress {partition} is missing"));
        }
    }
}

fn windows(session: &Session, city: &City, at: usize, expected: &Expected, differences: &mut Differences) {
    let (window, expected) = (&city.windows[at], &expected.windows[at]);
    let table = format!("metrics_{}", window.name);
    let columns: Vec<String> =
        city.metrics.iter().map(|m| format!("avg_{0}, min_{0}, max_{0}", m.name)).collect();
    let rows = session.query(&format!(
        "select zone, {}, {}, reading_count, anomaly_count, is_final, revision, {} from {table}",
        us("window_start"),
        us("window_end"),
        columns.join(", ")
    ));
    let found = unique(&table, rows.iter().map(|row| ((row.get(0), row.get(1)), row)), differences);
    differences.keys(&table, &found, expected);
    for (key, row) in &found {
        let Some(wanted) = expected.get(key) else { continue };
        let place = |column: &str| format!("{table} {key:?} {column}");
        differences.same(|| place("window_end"), &row.get::<_, i64>(2), &(key.1 + window.size_us));
        differences.same(|| place("reading_count"), &row.get::<_, i64>(3), &wanted.readings);
        differences.same(|| place("anomaly_count"), &row.get::<_, i64>(4), &wanted.anomalies);
        differences.same(|| place("is_final"), &row.get::<_, bool>(5), &wanted.is_final);
        let revision: i32 = row.get(6);
        if revision < 0 || (revision > 0 && !wanted.is_final) {
            differences.note(|| format!("{}: found {revision}", place("revision")));
        }
        for (index, (metric, span)) in city.metrics.iter().zip(&wanted.metrics).enumerate() {
            let place = |figure: &str| place(&format!("{figure}_{}", metric.name));
            let column = 7 + 3 * index;
            differences.close(|| place("avg"), row.get(column), span.average());
            let some = |span: &Span, value: f64| (span.count > 0).then_some(value);
            differences.same(|| place("min"), &row.get::<_, Option<f64>>(column + 1), &some(span, span.min));
            differences.same(|| place("max"), &row.get::<_, Option<f64>>(column + 2), &some(span, span.max));
        }
    }
}

fn hot_sensors(session: &Session, expected: &Expected, differences: &mut Differences) {
    let rows = session.query(&format!(
        "select zone, rank, sensor_id, anomaly_count, {} from hot_sensors order by zone collate \"C\", rank",
        us("last_anomaly_at")
    ));
    let found: Vec<(String, i32, String, i64, i64)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))).collect();
    for row in found.iter().filter(|row| !expected.hot.contains(row)) {
        differences.note(|| format!("hot_sensors: {row:?} should not be there"));
    }
    for row in expected.hot.iter().filter(|row| !found.contains(row)) {
        differences.note(|| format!("hot_sensors: {row:?} is missing"));
    }
}

fn zone_status(session: &Session, city: &City, expected: &Expected, differences: &mut Differences) {
    let averages: Vec<String> = city.metrics.iter().map(|metric| format!("avg_{}", metric.name)).collect();
    let rows = session.query(&format!(
        "select zone, {}, reading_count, anomaly_count, anomalies_5min, {}, {} from zone_status",
        us("window_start"),
        us("last_recorded_at"),
        averages.join(", ")
    ));
    let found = unique("zone_status", rows.iter().map(|row| (row.get::<_, String>(0), row)), differences);
    differences.keys("zone_status", &found, &expected.status);
    for (zone, row) in &found {
        let Some(wanted) = expected.status.get(zone) else { continue };
        let place = |column: &str| format!("zone_status {zone:?} {column}");
        let last: Option<&WindowRow> = wanted.last_final.as_ref().map(|(_, row)| row);
        let start = wanted.last_final.as_ref().map(|(start, _)| *start);
        differences.same(|| place("window_start"), &row.get::<_, Option<i64>>(1), &start);
        differences.same(
            || place("reading_count"),
            &row.get::<_, Option<i64>>(2),
            &last.map(|last| last.readings),
        );
        differences.same(
            || place("anomaly_count"),
            &row.get::<_, Option<i64>>(3),
            &last.map(|last| last.anomalies),
        );
        differences.same(|| place("anomalies_5min"), &row.get::<_, i64>(4), &wanted.anomalies);
        differences.same(|| place("last_recorded_at"), &row.get::<_, i64>(5), &wanted.last_recorded_us);
        for (index, name) in averages.iter().enumerate() {
            let wanted = last.and_then(|last| last.metrics[index].average());
            differences.close(|| place(name), row.get(6 + index), wanted);
        }
    }
}

fn zone_latest(session: &Session, city: &City, expected: &Expected, differences: &mut Differences) {
    let columns: Vec<String> = city
        .metrics
        .iter()
        .map(|metric| format!("{}, {}", metric.name, us(&format!("{}_at", metric.name))))
        .collect();
    let rows = session.query(&format!("select zone, {} from zone_latest", columns.join(", ")));
    let found = unique("zone_latest", rows.iter().map(|row| (row.get::<_, String>(0), row)), differences);
    differences.keys("zone_latest", &found, &expected.status);
    for (zone, row) in &found {
        let Some(wanted) = expected.status.get(zone) else { continue };
        for (index, metric) in city.metrics.iter().enumerate() {
            let place = |column: &str| format!("zone_latest {zone:?} {}{column}", metric.name);
            let value: Option<f64> = row.get(1 + 2 * index);
            differences.same(|| place(""), &value, &wanted.latest[index].map(|(_, value)| value));
            let at: Option<i64> = row.get(2 + 2 * index);
            differences.same(|| place("_at"), &at, &wanted.latest[index].map(|(at, _)| at));
        }
    }
}

/// The last reading of each sensor, where no committed reading is still to be counted, which is at most a second of them;
/// and how many it had in that reading's hour and in the one before.
fn sensors(session: &Session, city: &City, expected: &Expected, differences: &mut Differences) {
    const HOUR_US: i64 = 3_600_000_000;
    type Newest = (i64, String, Vec<Option<(i64, f64)>>, BTreeMap<i64, i64>);
    let mut wanted: BTreeMap<String, Newest> = BTreeMap::new();
    for row in expected.rows.values().filter(|row| !row.is_late) {
        let reading = &row.reading;
        let none = || (i64::MIN, String::new(), vec![None; city.metrics.len()], BTreeMap::new());
        let (last_us, zone, latest, hours) = wanted.entry(reading.sensor.clone()).or_insert_with(none);
        if (reading.event_us, &reading.zone) > (*last_us, &*zone) {
            (*last_us, *zone) = (reading.event_us, reading.zone.clone());
        }
        for (latest, value) in latest.iter_mut().zip(&reading.values) {
            let at = value.map(|value| (reading.event_us, value));
            if at > *latest {
                *latest = at;
            }
        }
        *hours.entry(reading.event_us.div_euclid(HOUR_US)).or_default() += 1;
    }
    let columns: Vec<String> = city
        .metrics
        .iter()
        .map(|metric| format!("{}, {}", metric.name, us(&format!("{}_at", metric.name))))
        .collect();
    let rows = session.query(&format!(
        "select sensor_id, {}, zone, readings, readings_before, not exists (select from sensor_data d where d.sensor_id = \
         s.sensor_id and not is_late and d.epoch > s.as_of), {} from sensor_states s",
        us("last_recorded_at"),
        columns.join(", ")
    ));
    let found = unique("sensor_states", rows.iter().map(|row| (row.get::<_, String>(0), row)), differences);
    for (sensor, row) in &found {
        let Some((last_us, zone, latest, hours)) = wanted.get(sensor) else {
            differences.note(|| format!("sensor_states: {sensor:?} has no reading"));
            continue;
        };
        if !row.get::<_, bool>(5) {
            continue;
        }
        let place = |column: &str| format!("sensor_states {sensor:?} {column}");
        differences.same(|| place("last_recorded_at"), &row.get::<_, i64>(1), last_us);
        differences.same(|| place("zone"), &row.get::<_, String>(2), zone);
        let in_hour = |before: i64| hours.get(&(last_us.div_euclid(HOUR_US) - before)).copied().unwrap_or(0);
        differences.same(|| place("readings"), &row.get::<_, i64>(3), &in_hour(0));
        differences.same(|| place("readings_before"), &row.get::<_, i64>(4), &in_hour(1));
        for (index, metric) in city.metrics.iter().enumerate() {
            let value: Option<f64> = row.get(6 + 2 * index);
            differences.same(|| place(&metric.name), &value, &latest[index].map(|(_, value)| value));
            let at: Option<i64> = row.get(7 + 2 * index);
            differences.same(|| place(&format!("{}_at", metric.name)), &at, &latest[index].map(|(at, _)| at));
        }
    }
}

/// Counts of a zone and minute: accepted, late, dead, and by metric accepted ones with it and with an unusual one.
fn data_quality(session: &Session, city: &City, expected: &Expected, differences: &mut Differences) {
    let mut wanted: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
    let mut counts = |zone: &str, at_us: i64, add: &mut dyn FnMut(&mut [i64])| {
        let minute_us = at_us.div_euclid(60_000_000) * 60_000_000;
        let none = || vec![0; 3 + 2 * city.metrics.len()];
        add(wanted.entry((zone.to_owned(), minute_us)).or_insert_with(none));
    };
    for row in expected.rows.values() {
        counts(&row.reading.zone, row.reading.event_us, &mut |counts| {
            counts[usize::from(row.is_late)] += 1;
            if row.is_late {
                return;
            }
            let values = row.reading.values.iter().zip(&city.metrics);
            for (counts, (value, metric)) in counts[3..].chunks_mut(2).zip(values) {
                let Some(value) = value else { continue };
                counts[0] += 1;
                counts[1] += i64::from(*value < metric.usual.0 || *value > metric.usual.1);
            }
        });
    }
    // Where the broker stamped them, the test does not know when.
    let has_times = expected.dead.values().all(|dead| dead.received_at_ms >= 0);
    for dead in expected.dead.values().filter(|_| has_times) {
        counts("", dead.received_at_ms * 1000, &mut |counts| counts[2] += 1);
    }
    let columns = city.metrics.iter().map(|metric| format!(", count_{0}, unusual_{0}", metric.name));
    let rows = session.query(&format!(
        "select zone, {}, reading_count, late_count, dead_letter_count{} from quality_counts \
         where reading_count + late_count + dead_letter_count > 0 and (zone <> '' or {has_times})",
        us("window_start"),
        columns.collect::<String>()
    ));
    let found = unique("quality_counts", rows.iter().map(|row| ((row.get(0), row.get(1)), row)), differences);
    differences.keys("quality_counts", &found, &wanted);
    for (key, row) in &found {
        let Some(wanted) = wanted.get(key) else { continue };
        let counts: Vec<i64> = (2..row.len()).map(|column| row.get(column)).collect();
        differences.same(|| format!("quality_counts {key:?}"), &counts, wanted);
    }
}

/// Every column that does not depend on when something was committed, as text: what two runs have in common to the
/// last bit.
pub fn dump(session: &Session, city: &City) -> Vec<String> {
    let metrics: Vec<String> = city.metrics.iter().map(|metric| metric.name.clone()).collect();
    let figures: Vec<String> = metrics.iter().map(|m| format!("avg_{m}, min_{m}, max_{m}")).collect();
    let averages: Vec<String> = metrics.iter().map(|m| format!("avg_{m}")).collect();
    let mut selects = vec![
        (
            "sensor_data".to_owned(),
            format!(
                "kafka_partition, kafka_offset, sensor_id, zone, recorded_at, {}, is_late, is_anomaly, anomaly_score, \
                 severity, reasons::text, model_version, confidence, detector",
                metrics.join(", ")
            ),
        ),
        (
            "dead_letters".to_owned(),
            "kafka_partition, kafka_offset, received_at, reason, field, message, payload, payload_bytes"
                .to_owned(),
        ),
        (
            "ingest_progress".to_owned(),
            "kafka_partition, first_offset, next_offset, accepted, late, dead, lost, gaps, watermark"
                .to_owned(),
        ),
        ("hot_sensors".to_owned(), "zone, rank, sensor_id, anomaly_count, last_anomaly_at".to_owned()),
        (
            "zone_status".to_owned(),
            format!(
                "zone, window_start, reading_count, anomaly_count, {}, anomalies_5min, last_recorded_at",
                averages.join(", ")
            ),
        ),
        (
            "zone_latest".to_owned(),
            format!(
                "zone, {}",
                metrics.iter().map(|m| format!("{m}, {m}_at")).collect::<Vec<_>>().join(", ")
            ),
        ),
        (
            "quality_counts".to_owned(),
            format!(
                "zone, window_start, reading_count, late_count, dead_letter_count, {}",
                metrics.iter().map(|m| format!("count_{m}, unusual_{m}")).collect::<Vec<_>>().join(", ")
            ),
        ),
        (
            "sensor_states".to_owned(),
            format!(
                "sensor_id, zone, last_recorded_at, hour_start, minutes, readings, minutes_before, readings_before, {}",
                metrics.iter().map(|m| format!("{m}, {m}_at")).collect::<Vec<_>>().join(", ")
            ),
        ),
    ];
    for window in &city.windows {
        selects.push((
            format!("metrics_{}", window.name),
            format!(
                "zone, window_start, window_end, reading_count, anomaly_count, {}, is_final",
                figures.join(", ")
            ),
        ));
    }
    for window in &city.sessions {
        let sensor = if window.by_sensor { "sensor_id, " } else { "" };
        let sums: Vec<String> = metrics.iter().map(|m| format!("count_{m}, coalesce(sum_{m}, 0)")).collect();
        selects.push((
            format!("metrics_{}", window.name),
            format!(
                "zone, {sensor}window_start, window_end, reading_count, anomaly_count, {}, is_final, last_recorded_at, {}",
                figures.join(", "),
                sums.join(", ")
            ),
        ));
    }
    let mut dump = Vec::new();
    for (table, columns) in selects {
        let rows = session.query(&format!("select r::text from (select {columns} from {table}) r"));
        let mut lines: Vec<String> =
            rows.iter().map(|row| format!("{table} {}", row.get::<_, &str>(0))).collect();
        lines.sort_unstable();
        dump.append(&mut lines);
    }
    dump
}

//! Every table, recomputed from what was sent: a list per partition in log order, and the documented rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::city::{City, SECOND};
use crate::kafka::{Meaning, Sent};
use crate::load::Reading;

/// Bytes of a dead letter that are kept.
const PAYLOAD_KEPT: usize = 64 * 1024;
/// Ranks of `hot_sensors`.
const RANKS: usize = 10;
/// The span of `hot_sensors` and `anomalies_5min`.
const RECENT_US: i64 = 300 * SECOND;

/// W, the watermark of the newest commit.
#[derive(Debug, Clone, Copy)]
pub enum Watermark {
    /// The least one of all partitions that hold records: what `--until-caught-up` ends with.
    OfAllPartitions,
    /// The highest one of all partitions: what a run ends with when its files have ended.
    OfTheFurthest,
    /// As the database says (microseconds); for runs in which partitions become idle.
    Given(Option<i64>),
}

/// A row of `sensor_data`.
#[derive(Debug, Clone)]
pub struct Row {
    /// The reading.
    pub reading: Reading,
    /// In no window.
    pub is_late: bool,
    /// Broken rules, in the order of the metrics.
    pub reasons: Vec<Reason>,
}

/// A broken rule as `sensor_data.reasons` tells it. What is typical, the rules do not know.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Metric.
    pub metric: String,
    /// Its value.
    pub actual: f64,
    /// Its unit.
    pub unit: String,
    /// Sign and bound.
    pub rule: String,
    /// A sentence.
    pub text: String,
}

/// A row of `dead_letters`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dead {
    /// Kafka's timestamp in milliseconds.
    pub received_at_ms: i64,
    /// Reason.
    pub reason: String,
    /// Field.
    pub field: Option<String>,
    /// What is kept of the bytes.
    pub payload: Vec<u8>,
    /// How many there were.
    pub payload_bytes: i32,
}

/// A metric over a window.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// Values that are not null.
    pub count: u64,
    /// Their sum, compensated.
    pub sum: f64,
    carry: f64,
    /// The least one.
    pub min: f64,
    /// The greatest one.
    pub max: f64,
}

impl Span {
    fn add(&mut self, value: f64) {
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        }
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
        let sum = self.sum + value;
        self.carry +=
            if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
        self.count += 1;
    }

    /// The average.
    pub fn average(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.sum + self.carry) / self.count as f64)
    }
}

/// A row of a window table.
#[derive(Debug, Clone)]
pub struct WindowRow {
    /// Readings.
    pub readings: i64,
    /// Anomalous ones among them.
    pub anomalies: i64,
    /// By metric.
    pub metrics: Vec<Span>,
    /// Whether W has passed its end.
    pub is_final: bool,
}

/// A row of `ingest_progress`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The offset after the last one.
    pub next_offset: i64,
    /// Readings in windows.
    pub accepted: i64,
    /// Readings in no window.
    pub late: i64,
    /// Dead letters.
    pub dead: i64,
    /// Deleted before they were read.
    pub lost: i64,
    /// Never delivered.
    pub gaps: i64,
    /// Watermark in microseconds.
    pub watermark_us: Option<i64>,
}

/// A row of `zone_status`.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Start of the last final window of the first kind, and its figures.
    pub last_final: Option<(i64, WindowRow)>,
    /// Recent anomalies.
    pub anomalies: i64,
    /// The newest accepted reading.
    pub last_recorded_us: i64,
    /// `zone_latest`: by metric when the newest value was recorded, microseconds, and the value.
    pub latest: Vec<Option<(i64, f64)>>,
}

/// All tables.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// `sensor_data` by partition and offset.
    pub rows: BTreeMap<(i32, i64), Row>,
    /// `dead_letters` by partition and offset.
    pub dead: BTreeMap<(i32, i64), Dead>,
    /// A table per window, by zone and start in microseconds.
    pub windows: Vec<BTreeMap<(String, i64), WindowRow>>,
    /// `ingest_progress` by partition, of those that hold records.
    pub progress: BTreeMap<i32, Progress>,
    /// `commits.watermark` of the newest commit, microseconds.
    pub watermark_us: Option<i64>,
    /// `hot_sensors`: zone, rank, sensor, anomalies, last one in microseconds.
    pub hot: Vec<(String, i32, String, i64, i64)>,
    /// `zone_status` by zone.
    pub status: BTreeMap<String, Status>,
}

/// What the tables hold when all of `logs` is committed.
pub fn expect(city: &City, logs: &[Vec<Sent>], watermark: Watermark) -> Expected {
    let mut expected = Expected { windows: vec![BTreeMap::new(); city.windows.len()], ..Expected::default() };
    for (partition, log) in logs.iter().enumerate() {
        if !log.is_empty() {
            read_partition(city, partition as i32, log, &mut expected);
        }
    }
    expected.watermark_us = match watermark {
        Watermark::Given(given) => given,
        Watermark::OfTheFurthest => expected.progress.values().filter_map(|one| one.watermark_us).max(),
        Watermark::OfAllPartitions => {
            let all: Option<Vec<i64>> =
                expected.progress.values().map(|progress| progress.watermark_us).collect();
            all.and_then(|all| all.into_iter().min())
        }
    };
    let final_until = expected.watermark_us.unwrap_or(i64::MIN);
    for (window, rows) in city.windows.iter().zip(&mut expected.windows) {
        for ((_, start), row) in rows {
            row.is_final = start + window.size_us <= final_until;
        }
    }
    views(&mut expected);
    expected
}

fn read_partition(city: &City, partition: i32, log: &[Sent], expected: &mut Expected) {
    let mut progress = Progress::default();
    let mut zones: BTreeSet<String> = BTreeSet::new();
    let mut time = Time::default();
    for (offset, sent) in log.iter().enumerate() {
        progress.next_offset += 1;
        let key = (partition, offset as i64);
        let reading = match &sent.meaning {
            Meaning::Gap => {
                progress.gaps += 1;
                continue;
            }
            Meaning::Lost => {
                progress.lost += 1;
                continue;
            }
            Meaning::Garbage { reason, field } => {
                progress.dead += 1;
                expected.dead.insert(key, dead(sent, reason, field.as_deref()));
                continue;
            }
            Meaning::Reading(reading) => reading,
        };
        if let Some((reason, field)) = refuse(city, reading, sent.received_at_ms * 1000, &mut zones) {
            progress.dead += 1;
            expected.dead.insert(key, dead(sent, reason, Some(field)));
            continue;
        }
        let pane_end = (reading.event_us.div_euclid(city.pane_us()) + 1) * city.pane_us();
        let is_late = progress.watermark_us.is_some_and(|wm| pane_end + city.allowed_lateness_us <= wm);
        let row = Row { reading: reading.clone(), is_late, reasons: broken_rules(city, reading) };
        if is_late {
            progress.late += 1;
        } else {
            progress.accepted += 1;
            time.accept(city, &reading.sensor, reading.event_us);
            progress.watermark_us = time.high_us.map(|high| high - city.out_of_orderness_us);
            add_to_windows(city, &row, &mut expected.windows);
        }
        expected.rows.insert(key, row);
    }
    expected.progress.insert(partition, progress);
}

/// What a partition's accepted readings say of the time.
#[derive(Default)]
struct Time {
    /// The highest event time that counts.
    high_us: Option<i64>,
    claims: Vec<Claim>,
    /// The highest event time that counted when the last claim was made.
    claimed_at_us: Option<i64>,
}

/// A reading so far ahead that it counts only with a witness.
#[derive(Clone)]
struct Claim {
    sensor: String,
    at_us: i64,
    /// Whether no other sensor has brought an accepted reading since.
    alone: bool,
}

/// A partition's watermark behind accepted readings (event time, sensor) in log order.
pub fn watermark_us<'a>(city: &City, accepted: impl IntoIterator<Item = (i64, &'a str)>) -> Option<i64> {
    let mut time = Time::default();
    accepted.into_iter().for_each(|(at_us, sensor)| time.accept(city, sensor, at_us));
    time.high_us.map(|high| high - city.out_of_orderness_us)
}

impl Time {
    fn is_jump(&self, city: &City, at_us: i64) -> bool {
        self.high_us.is_none_or(|high| at_us > high - city.out_of_orderness_us + city.jump_max_us)
    }

    fn accept(&mut self, city: &City, sensor: &str, at_us: i64) {
        if !self.is_jump(city, at_us) {
            self.high_us = self.high_us.max(Some(at_us));
            let claims = std::mem::take(&mut self.claims);
            let stand =
                claims.into_iter().filter(|one| one.sensor != sensor && self.is_jump(city, one.at_us));
            self.claims = stand.map(|one| Claim { alone: false, ..one }).collect();
            if self.claimed_at_us.is_some_and(|at| self.high_us > Some(at + city.jump_max_us)) {
                self.claims.clear();
            }
            return;
        }
        let own = Claim { sensor: sensor.to_owned(), at_us, alone: true };
        let others = self.claims.iter().filter(|one| one.sensor != sensor);
        let left = match others.max_by_key(|one| one.at_us).cloned() {
            Some(other) => {
                self.high_us = self.high_us.max(Some(at_us.min(other.at_us)));
                vec![if at_us > other.at_us { own } else { Claim { alone: false, ..other } }]
            }
            None => {
                self.claims.push(own);
                let mut alone: Vec<Claim> = self.claims.iter().filter(|one| one.alone).cloned().collect();
                if alone.len() < 3 {
                    self.claimed_at_us = self.high_us;
                    return;
                }
                alone.sort_by_key(|one| one.at_us);
                self.high_us = self.high_us.max(Some(alone[0].at_us));
                alone.split_off(1)
            }
        };
        self.claims.clear();
        for claim in left {
            if self.is_jump(city, claim.at_us) {
                self.claims.push(claim);
            } else {
                self.high_us = self.high_us.max(Some(claim.at_us));
            }
        }
        self.claimed_at_us = self.high_us;
    }
}

fn refuse<'c>(
    city: &'c City,
    reading: &Reading,
    received_us: i64,
    zones: &mut BTreeSet<String>,
) -> Option<(&'static str, &'c str)> {
    if reading.event_us > received_us + city.future_max_us {
        return Some(("in_the_future", &city.time));
    }
    if reading.event_us < received_us - city.max_age_us {
        return Some(("too_old", &city.time));
    }
    if !city.zones.contains(&reading.zone) && !zones.contains(&reading.zone) {
        if zones.len() >= city.zones_max {
            return Some(("too_many_zones", &city.zone));
        }
        zones.insert(reading.zone.clone());
    }
    None
}

fn dead(sent: &Sent, reason: &str, field: Option<&str>) -> Dead {
    Dead {
        received_at_ms: sent.received_at_ms,
        reason: reason.to_owned(),
        field: field.map(str::to_owned),
        payload: sent.payload[..sent.payload.len().min(PAYLOAD_KEPT)].to_vec(),
        payload_bytes: sent.payload.len() as i32,
    }
}

fn broken_rules(city: &City, reading: &Reading) -> Vec<Reason> {
    let mut broken = Vec::new();
    for (metric, value) in city.metrics.iter().zip(&reading.values) {
        let Some(value) = *value else { continue };
        let mut add = |sign: &str, side: &str, bound: f64| {
            let measured = format!("{} {value} {}", metric.name, metric.unit);
            broken.push(Reason {
                metric: metric.name.clone(),
                actual: value,
                unit: metric.unit.clone(),
                rule: format!("{sign} {bound}"),
                text: format!("{}, {side} the bound of {bound}", measured.trim_end()),
            });
        };
        if let Some(below) = metric.below.filter(|below| value < *below) {
            add("<", "below", below);
        }
        if let Some(above) = metric.above.filter(|above| value > *above) {
            add(">", "above", above);
        }
    }
    broken
}

fn add_to_windows(city: &City, row: &Row, windows: &mut [BTreeMap<(String, i64), WindowRow>]) {
    let at = row.reading.event_us;
    for (window, rows) in city.windows.iter().zip(windows) {
        let mut start = at.div_euclid(window.slide_us) * window.slide_us;
        while start + window.size_us > at {
            let sums = rows.entry((row.reading.zone.clone(), start)).or_insert_with(|| WindowRow {
                readings: 0,
                anomalies: 0,
                metrics: vec![Span::default(); city.metrics.len()],
                is_final: false,
            });
            sums.readings += 1;
            sums.anomalies += i64::from(!row.reasons.is_empty());
            for (span, value) in sums.metrics.iter_mut().zip(&row.reading.values) {
                if let Some(value) = value {
                    span.add(*value);
                }
            }
            start -= window.slide_us;
        }
    }
}

fn views(expected: &mut Expected) {
    let recent = expected.watermark_us.map(|w| w - RECENT_US..w).unwrap_or(0..0);
    let mut sensors: BTreeMap<String, BTreeMap<String, (i64, i64)>> = BTreeMap::new();
    for row in expected.rows.values().filter(|row| !row.is_late) {
        let Reading { zone, sensor, event_us, values } = &row.reading;
        let status = expected.status.entry(zone.clone()).or_insert_with(|| Status {
            last_recorded_us: i64::MIN,
            latest: vec![None; values.len()],
            ..Status::default()
        });
        for (latest, value) in status.latest.iter_mut().zip(values) {
            let at = value.map(|value| (*event_us, value));
            *latest = if at > *latest { at } else { *latest };
        }
        status.last_recorded_us = status.last_recorded_us.max(*event_us);
        if !row.reasons.is_empty() && recent.contains(event_us) {
            status.anomalies += 1;
            let (count, last) =
                sensors.entry(zone.clone()).or_default().entry(sensor.clone()).or_insert((0, i64::MIN));
            *count += 1;
            *last = (*last).max(*event_us);
        }
    }
    for ((zone, start), row) in &expected.windows[0] {
        if row.is_final {
            // Ascending starts: the last one stays.
            expected.status.get_mut(zone).expect("a zone with windows has readings").last_final =
                Some((*start, row.clone()));
        }
    }
    for (zone, sensors) in sensors {
        let mut ranked: Vec<_> = sensors.into_iter().collect();
        ranked.sort_by(|(a, (count_a, _)), (b, (count_b, _))| count_b.cmp(count_a).then(a.cmp(b)));
        for (rank, (sensor, (count, last))) in ranked.into_iter().take(RANKS).enumerate() {
            expected.hot.push((zone.clone(), rank as i32 + 1, sensor, count, last));
        }
    }
}

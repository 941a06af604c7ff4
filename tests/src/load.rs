//! Traffic: what a city sends, and what else arrives. Deterministic by seed.

use chrono::{DateTime, SecondsFormat};

use crate::city::{City, SECOND};
use crate::kafka::{Meaning, Topic};

/// The beginning of time in most tests: 2024-01-01T00:00:00Z in microseconds. The past on every machine.
pub const DAWN: i64 = 1_704_067_200 * SECOND;

/// A well-formed reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Sensor.
    pub sensor: String,
    /// Zone.
    pub zone: String,
    /// Event time in microseconds.
    pub event_us: i64,
    /// A value per metric of the city.
    pub values: Vec<Option<f64>>,
}

impl Reading {
    /// A reading whose metrics all have one value.
    pub fn plain(city: &City, sensor: &str, zone: &str, event_us: i64, value: f64) -> Reading {
        let values = vec![Some(value); city.metrics.len()];
        Reading { sensor: sensor.to_owned(), zone: zone.to_owned(), event_us, values }
    }

    /// As JSON.
    pub fn json(&self, city: &City) -> Vec<u8> {
        let mut members = vec![
            format!("{}:{}", text(&city.sensor), text(&self.sensor)),
            format!("{}:{}", text(&city.time), text(&rfc3339(self.event_us))),
            format!("{}:{}", text(&city.zone), text(&self.zone)),
        ];
        for (metric, value) in city.metrics.iter().zip(&self.values) {
            if let Some(value) = value {
                members.push(format!("{}:{value}", text(&metric.name)));
            }
        }
        format!("{{{}}}", members.join(",")).into_bytes()
    }
}

/// An instant as a sensor writes it.
pub fn rfc3339(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us).expect("an instant").to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A JSON string.
pub fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Sends a reading that reaches Kafka at its own event time.
pub fn send(topic: &Topic, city: &City, partition: i32, reading: Reading) {
    let received_at_ms = reading.event_us / 1000;
    topic.send(partition, received_at_ms, reading.json(city), Meaning::Reading(reading));
}

/// Random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: i64) -> i64 {
        (self.bits() % bound as u64) as i64
    }

    /// True in `per_mille` of a thousand cases.
    pub fn chance(&mut self, per_mille: i64) -> bool {
        self.below(1000) < per_mille
    }
}

/// A source of traffic: time goes on by `step_us` with every record.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Its dice.
    pub random: Random,
    /// What the broker's clock shows, in microseconds.
    pub now_us: i64,
    /// How far time goes on with each record.
    pub step_us: i64,
    /// Number of sensors.
    pub sensors: i64,
    /// Garbage among a thousand records.
    pub garbage_per_mille: i64,
}

impl Traffic {
    /// Traffic from [`DAWN`] on.
    pub fn new(seed: u64, step_us: i64) -> Traffic {
        Traffic { random: Random(seed), now_us: DAWN, step_us, sensors: 200, garbage_per_mille: 10 }
    }

    /// Sends `count` records, each to the partition of its sensor: on time, disordered, late, twice, from lying
    /// clocks, with gaps, with anomalies, or garbage.
    pub fn send(&mut self, topic: &Topic, city: &City, partitions: i32, count: usize) {
        for _ in 0..count {
            let (sensor, payload, meaning) = self.next(city);
            let partition = (sensor % i64::from(partitions)) as i32;
            let again = self.random.chance(5);
            if again {
                topic.send(partition, self.now_us / 1000, payload.clone(), meaning.clone());
            }
            topic.send(partition, self.now_us / 1000, payload, meaning);
        }
    }

    fn next(&mut self, city: &City) -> (i64, Vec<u8>, Meaning) {
        self.now_us += self.step_us;
        let random = &mut self.random;
        let sensor = random.below(self.sensors);
        // What Kafka keeps of our clock are milliseconds.
        let received_us = self.now_us / 1000 * 1000;
        let event_us = match random.below(1000) {
            0..15 => received_us - random.below(400 * SECOND),
            // Late, but for a few that are accepted at the edge.
            15..30 => received_us - city.allowed_lateness_us - random.below(400 * SECOND),
            30..33 => received_us - city.max_age_us - 1 - random.below(1000 * SECOND),
            33..36 => received_us + city.future_max_us + 1 + random.below(1000 * SECOND),
            36..38 => received_us + random.below(city.future_max_us / 2),
            38 => received_us - city.max_age_us,
            39..200 => received_us - random.below(20 * SECOND),
            _ => received_us - random.below(2 * SECOND),
        };
        let zone = &city.zones[(sensor as usize / 3) % city.zones.len()];
        let values = city.metrics.iter().map(|_| value(random)).collect();
        let mut reading = Reading { sensor: format!("s{sensor}"), zone: zone.clone(), event_us, values };
        if reading.values.iter().all(Option::is_none) {
            reading.values[0] = Some(21.5);
        }
        if random.chance(self.garbage_per_mille) {
            let kinds = garbage(city, &reading);
            let (payload, reason, field) = kinds[random.below(kinds.len() as i64) as usize].clone();
            return (sensor, payload, Meaning::Garbage { reason, field });
        }
        (sensor, reading.json(city), Meaning::Reading(reading))
    }
}

fn value(random: &mut Random) -> Option<f64> {
    match random.below(100) {
        0..5 => None,
        5..10 => Some(random.below(20_000) as f64 / 3.0),
        10..13 => Some(-(random.below(300) as f64) / 10.0),
        13..20 => Some(random.below(90) as f64),
        _ => Some(random.below(400) as f64 / 10.0),
    }
}

/// Every way of not being a reading, made from one: bytes, reason, field.
pub fn garbage(city: &City, reading: &Reading) -> Vec<(Vec<u8>, &'static str, Option<String>)> {
    let City { sensor, time, zone, .. } = city;
    let metric = &city.metrics[0].name;
    let at = rfc3339(reading.event_us);
    let long = "x".repeat(201);
    let mut kinds: Vec<(Vec<u8>, &'static str, Option<String>)> = Vec::new();
    let mut add = |payload: &[u8], reason, field: Option<&String>| {
        kinds.push((payload.to_vec(), reason, field.cloned()));
    };
    let whole = |s: &str, t: &str, z: &str, rest: &str| {
        format!("{{{}:{s},{}:{t},{}:{z}{rest}}}", text(sensor), text(time), text(zone)).into_bytes()
    };
    let (s, t, z, m) = ("\"7\"", &*text(&at), "\"Z\"", &*format!(",{}:1", text(metric)));
    let set = |value: &str| whole(s, t, z, &format!(",{}:{value}", text(metric)));
    add(b"", "empty", None);
    add(b"\xff\xfe{", "not_utf8", None);
    add(b"{\"x\":\"\xc3\x28\"}", "not_utf8", None);
    add(b"hello", "not_json", None);
    add(b"   ", "not_json", None);
    add(&reading.json(city)[..20], "not_json", None);
    add(&[reading.json(city), b"}".to_vec()].concat(), "not_json", None);
    add(&[reading.json(city), b" 1".to_vec()].concat(), "not_json", None);
    add(&vec![b'['; 70_000], "not_json", None);
    add(b"[]", "wrong_type", None);
    add(b"null", "wrong_type", None);
    add(b"17", "wrong_type", None);
    add(&whole("null", t, z, m), "missing_field", Some(sensor));
    add(&whole("\"\"", t, z, m), "missing_field", Some(sensor));
    add(&whole("4.5", t, z, m), "wrong_type", Some(sensor));
    add(&whole("\"a\\u0000b\"", t, z, m), "wrong_type", Some(sensor));
    add(&whole(&text(&long), t, z, m), "too_long", Some(sensor));
    add(&whole(s, "null", z, m), "missing_field", Some(time));
    add(&whole(s, "true", z, m), "wrong_type", Some(time));
    add(&whole(s, "\"soon\"", z, m), "bad_timestamp", Some(time));
    add(&whole(s, "\"2024-02-30T00:00:00Z\"", z, m), "bad_timestamp", Some(time));
    add(&whole(s, t, "null", m), "missing_field", Some(zone));
    add(&whole(s, t, "\"\"", m), "missing_field", Some(zone));
    add(&whole(s, t, "3.5", m), "wrong_type", Some(zone));
    add(&whole(s, t, &text(&long), m), "too_long", Some(zone));
    add(&whole(s, t, z, ""), "no_metric", None);
    add(&set("null"), "no_metric", None);
    add(&set("\"1\""), "wrong_type", Some(metric));
    add(&set("true"), "wrong_type", Some(metric));
    add(&set("[1]"), "wrong_type", Some(metric));
    add(&set("NaN"), "bad_number", Some(metric));
    add(&set("-Infinity"), "bad_number", Some(metric));
    add(&set("1e999"), "bad_number", Some(metric));
    add(&set("-1.1e12"), "bad_number", Some(metric));
    add(&whole(s, t, z, &format!("{m}{m}")), "duplicate_field", Some(metric));
    add(&whole(s, t, z, &format!("{m},{}:\"Z\"", text(zone))), "duplicate_field", Some(zone));
    kinds
}

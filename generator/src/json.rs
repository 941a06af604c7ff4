//! A reading as JSON, written into a reused buffer.
//!
//! The constant parts (field names, zone names) are escaped once, when the encoder is created.

use citytide_domain::Domain;

use crate::city::City;
use crate::reading::{Malformation, Reading};

/// Beyond this a scaled value is written by the standard library; whole numbers below it are exact in an f64.
const EXACT_MAX: f64 = 9e15;
/// The share that is kept of a truncated payload.
const CUT: (usize, usize) = (2, 3);

#[derive(Debug, Clone)]
pub struct Encoder {
    /// `{"sensor_id":"`
    before_sensor: Vec<u8>,
    /// `","timestamp":"`
    before_time: Vec<u8>,
    /// `","zone":"Downtown"` for each zone.
    zones: Vec<Vec<u8>>,
    /// `,"temperature":` and the decimals, for each metric.
    metrics: Vec<(Vec<u8>, u8)>,
}

impl Encoder {
    pub fn new(domain: &Domain, city: &City) -> Encoder {
        let fields = &domain.fields;
        let zone = |name: &String| format!("\",{}:{}", quoted(&fields.zone), quoted(name)).into_bytes();
        Encoder {
            before_sensor: format!("{{{}:\"", quoted(&fields.sensor)).into_bytes(),
            before_time: format!("\",{}:\"", quoted(&fields.time)).into_bytes(),
            zones: city.zones().iter().map(zone).collect(),
            metrics: domain
                .metrics
                .iter()
                .map(|metric| (format!(",{}:", quoted(&metric.name)).into_bytes(), metric.decimals))
                .collect(),
        }
    }

    /// Replaces `json` by the reading, malformed if [`Reading::malformed`] says so. A metric without a value is null or
    /// absent, depending on the event.
    pub fn encode(&self, reading: &Reading, json: &mut Vec<u8>) {
        let malformed = reading.malformed;
        json.clear();
        json.extend_from_slice(&self.before_sensor);
        push_whole(json, u64::from(reading.sensor));
        if malformed != Some(Malformation::NoTime) {
            json.extend_from_slice(&self.before_time);
            match malformed {
                Some(Malformation::WrongTime) => json.extend_from_slice(b"yesterday"),
                _ => push_time(json, reading.at_ms),
            }
        }
        match malformed {
            Some(Malformation::NoZone) => json.push(b'"'),
            _ => json.extend_from_slice(&self.zones[reading.zone]),
        }
        if malformed == Some(Malformation::NotUtf8) {
            json.pop();
            json.extend_from_slice(b"\xff\"");
        }
        let leaves_out = reading.truth.is_some_and(|truth| truth.event & 1 == 1);
        for (index, ((name, decimals), value)) in self.metrics.iter().zip(&reading.values).enumerate() {
            if value.is_nan() && leaves_out {
                continue;
            }
            json.extend_from_slice(name);
            if index == 0 && malformed == Some(Malformation::WrongType) {
                json.extend_from_slice(b"\"high\"");
            } else if value.is_nan() {
                json.extend_from_slice(b"null");
            } else {
                push_value(json, *value, *decimals);
            }
        }
        json.push(b'}');
        match malformed {
            Some(Malformation::CutShort) => json.truncate(json.len() * CUT.0 / CUT.1),
            Some(Malformation::Trailing) => json.push(b'}'),
            Some(Malformation::Empty) => json.clear(),
            _ => {}
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn push_whole(json: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    json.extend_from_slice(&digits[at..]);
}

/// `number` with leading zeros to `width` digits.
fn push_padded(json: &mut Vec<u8>, number: u64, width: u32) {
    for place in (0..width).rev() {
        json.push(b'0' + (number / 10u64.pow(place) % 10) as u8);
    }
}

fn push_value(json: &mut Vec<u8>, value: f64, decimals: u8) {
    let scale = 10u64.pow(u32::from(decimals));
    let scaled = (value * scale as f64).round();
    if scaled.abs() > EXACT_MAX {
        json.extend_from_slice(format!("{value:.*}", usize::from(decimals)).as_bytes());
        return;
    }
    if scaled < 0.0 {
        json.push(b'-');
    }
    let scaled = scaled.abs() as u64;
    push_whole(json, scaled / scale);
    if decimals > 0 {
        json.push(b'.');
        push_padded(json, scaled % scale, u32::from(decimals));
    }
}

/// `2026-11-21T05:26:00.123Z`, for years 0 to 9999.
fn push_time(json: &mut Vec<u8>, at_ms: i64) {
    let (days, ms) = (at_ms.div_euclid(86_400_000), at_ms.rem_euclid(86_400_000) as u64);
    let (year, month, day) = civil(days);
    push_padded(json, year, 4);
    json.push(b'-');
    push_padded(json, month, 2);
    json.push(b'-');
    push_padded(json, day, 2);
    json.push(b'T');
    push_padded(json, ms / 3_600_000, 2);
    json.push(b':');
    push_padded(json, ms / 60_000 % 60, 2);
    json.push(b':');
    push_padded(json, ms / 1_000 % 60, 2);
    json.push(b'.');
    push_padded(json, ms % 1_000, 3);
    json.push(b'Z');
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year.max(0) as u64, month as u64, day as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{push_time, push_value};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut json = Vec::new();
        write(&mut json);
        String::from_utf8(json).expect("digits")
    }

    #[test]
    fn values_have_the_decimals_of_their_metric() {
        assert_eq!(written(|json| push_value(json, 24.3, 1)), "24.3");
        assert_eq!(written(|json| push_value(json, -0.05, 2)), "-0.05");
        assert_eq!(written(|json| push_value(json, 51.0, 1)), "51.0");
        assert_eq!(written(|json| push_value(json, 87.0, 0)), "87");
        assert_eq!(written(|json| push_value(json, 1e12, 9)), "1000000000000.000000000");
    }

    proptest! {
        #[test]
        fn times_are_those_of_the_calendar(at_ms in 0i64..4_102_444_800_000) {
            let expected = chrono::DateTime::from_timestamp_millis(at_ms).expect("in range");
            prop_assert_eq!(
                written(|json| push_time(json, at_ms)),
                expected.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
            );
        }
    }
}

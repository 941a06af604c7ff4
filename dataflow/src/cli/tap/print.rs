//! Readings and dead letters as lines of at most 80 columns, or as JSON objects.
//!
//! ```text
//!  12:00:07 ✓ #123 Tech Hub · 21.5 °C · AQI 52 · traffic 115
//!  12:00:08 ✗ #8 Old Town · 21.0 °C · AQI 50 · traffic 110
//!           0:4711 · high · noise_level 96 dB, typical here at this hour 58 ± 6
//!  12:00:08 ✓ #9 Old Town · late · 21.0 °C
//!  12:00:09 ! 0:4712 · bad_number · {"sensor_id":"9","aqi":1e999}
//!  12:01:10 ▲ 2c1743a3 Old Town · open · high
//!           aqi 318 AQI, above the bound of 300; 32 readings, 4 sensors
//! ```

use chrono::DateTime;
use citytide_domain::{Domain, Metric};
use citytide_store::follow::{DeadLetter, Reading};
use serde_json::{Value, json};

use crate::cli::dead_letters::print as letters;
use crate::cli::models::print::rfc3339;
use crate::cli::show::{Told, shown};

/// Columns of a line.
const COLUMNS: usize = 80;
/// Columns of the time, and of what stands below it.
pub(super) const TIME: usize = 9;

/// Prints pages.
pub struct Printer {
    /// The domain's metrics, each with its place among a reading's values; only one when one was asked for.
    metrics: Vec<(Metric, usize)>,
    /// Whether the one metric was asked for.
    is_one: bool,
    json: bool,
    /// The names of a reading's values, in their order.
    names: Vec<String>,
}

impl Printer {
    /// `names` are those of a reading's values.
    pub fn new(domain: &Domain, names: &[String], only: Option<&str>, json: bool) -> Printer {
        let wanted = |metric: &&Metric| only.is_none_or(|only| metric.name == only);
        let place = |metric: &Metric| {
            let place = names.iter().position(|name| *name == metric.name)?;
            Some((metric.clone(), place))
        };
        let metrics = domain.metrics.iter().filter(wanted).filter_map(place).collect();
        Printer { metrics, is_one: only.is_some(), json, names: names.to_vec() }
    }

    /// The text for a page, and the number of its rows.
    pub fn readings(&self, readings: &[Reading]) -> (String, u64) {
        let text = match self.json {
            true => readings.iter().map(|one| format!("{}\n", self.object(one))).collect(),
            false => readings.iter().map(|one| self.lines(one)).collect(),
        };
        (text, readings.len() as u64)
    }

    /// The same for dead letters.
    pub fn letters(&self, letters: &[DeadLetter]) -> (String, u64) {
        let text = letters.iter().map(|one| match self.json {
            true => {
                let mut object = letters::json(one);
                object["kind"] = "dead_letter".into();
                format!("{object}\n")
            }
            false => letter(one),
        });
        (text.collect(), letters.len() as u64)
    }

    fn lines(&self, reading: &Reading) -> String {
        let told = Told {
            is_anomaly: reading.is_anomaly,
            sensor: &reading.sensor,
            zone: &reading.zone,
            notes: if reading.is_late { vec!["late".to_owned()] } else { Vec::new() },
        };
        let values = self.metrics.iter().filter_map(|(metric, place)| {
            let value = reading.values[*place]?;
            shown(metric, value).or_else(|| self.is_one.then(|| named(metric, value)))
        });
        let line = told.line(values, COLUMNS - TIME);
        let mut text = fitted(&format!("{} {line}", clock(reading.recorded_us)));
        if reading.is_anomaly {
            let place = format!("{}:{}", reading.partition, reading.offset);
            let severity = reading.severity.as_deref().unwrap_or("anomalous");
            let sentence = reading.reasons.as_deref().and_then(first_sentence).unwrap_or_default();
            let second = format!("{:TIME$}{place} · {severity} · {sentence}", "");
            text += &fitted(second.trim_end_matches(" · "));
        }
        text
    }

    fn object(&self, reading: &Reading) -> Value {
        let reasons = reading.reasons.as_deref().map(serde_json::from_str::<Value>);
        let values = self.names.iter().cloned().zip(reading.values.iter().map(|value| json!(value)));
        json!({
            "kind": "reading",
            "epoch": reading.epoch,
            "partition": reading.partition,
            "offset": reading.offset,
            "sensor": reading.sensor,
            "zone": reading.zone,
            "recorded_at": rfc3339(reading.recorded_us),
            "values": values.collect::<serde_json::Map<_, _>>(),
            "is_late": reading.is_late,
            "is_anomaly": reading.is_anomaly,
            "score": reading.score,
            "severity": reading.severity,
            "reasons": reasons.and_then(Result::ok),
            "detector": reading.detector,
            "confidence": reading.confidence,
            "model_version": reading.model_version,
        })
    }
}

fn letter(letter: &DeadLetter) -> String {
    // More than a line holds, so that one which is cut is seen to be.
    let kept = &letter.payload[..letter.payload.len().min(4 * COLUMNS)];
    let line = format!(
        "{} ! {}:{} · {} · {}",
        clock(letter.received_at_us),
        letter.partition,
        letter.offset,
        letter.reason,
        String::from_utf8_lossy(kept)
    );
    fitted(&line)
}

/// A value of a metric that the domain does not show by itself.
fn named(metric: &Metric, value: f64) -> String {
    let number = format!("{value:.decimals$}", decimals = usize::from(metric.decimals));
    format!("{} {number} {}", metric.name, metric.unit).trim_end().to_owned()
}

/// The sentence of a reading's first reason.
fn first_sentence(reasons: &str) -> Option<String> {
    let reasons: Value = serde_json::from_str(reasons).ok()?;
    reasons.get(0)?.get("text")?.as_str().map(str::to_owned)
}

/// The time of day, UTC.
pub(super) fn clock(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us)
        .map_or_else(|| "  :  :  ".to_owned(), |at| at.format("%H:%M:%S").to_string())
}

/// A line with control characters escaped, cut to the columns of a terminal.
pub(super) fn fitted(line: &str) -> String {
    let mut text = escaped(line);
    if text.chars().count() > COLUMNS {
        text = text.chars().take(COLUMNS - 1).chain(['…']).collect();
    }
    text + "\n"
}

/// What a terminal would obey is written out: whoever sends a reading chooses the names in it.
pub fn escaped(line: &str) -> String {
    if !line.chars().any(char::is_control) {
        return line.to_owned();
    }
    let escaped = |one: char| match one.is_control() {
        true => one.escape_default().to_string(),
        false => one.to_string(),
    };
    line.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests;

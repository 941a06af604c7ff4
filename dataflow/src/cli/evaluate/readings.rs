//! Readings as lines of JSON, as `citytide-generator --stdout` prints them, and the truth about them.
//!
//! A line is a partition, a tab and the payload, or the payload alone, which is partition 0's. A line's offset is the number
//! of lines of its partition before it. What would be a dead letter is no row.

use std::collections::HashMap;
use std::path::Path;

use citytide_detector::evaluate::table::{Gathered, Row, Table};
use citytide_domain::Domain;

use super::error::EvaluateError;
use crate::decode::Decoder;

/// The kind of a truth that tells of a reading which never came.
const SILENCE: &str = "silence";
/// So far an event time may be from the moment at which a line is read: any time.
const ANY_US: i64 = i64::MAX / 4;

/// Whether the first line is JSON, behind a partition or not.
pub fn are_lines(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    first.is_some_and(|line| partition(line).1.trim_ascii_start().starts_with(b"{"))
}

/// The partition of a line, and what is behind it.
fn partition(line: &[u8]) -> (i32, &[u8]) {
    let split = line.iter().position(|byte| *byte == b'\t').and_then(|at| {
        let number = std::str::from_utf8(&line[..at]).ok()?.parse().ok()?;
        Some((number, &line[at + 1..]))
    });
    split.unwrap_or((0, line))
}

/// Anomalies by partition and offset: kind and event.
type Truth<'a> = HashMap<(i32, i64), (&'a str, u64)>;

/// Reads lines and their truth.
///
/// # Errors
///
/// When the truth is none or of other readings, or no line is a reading of the domain.
pub fn read(lines: &[u8], truth_path: &Path, truth: &[u8], domain: &Domain) -> Result<Table, EvaluateError> {
    let mut truth = read_truth(truth_path, truth)?;
    let mut domain = domain.clone();
    (domain.time.future_max_us, domain.time.max_age_us) = (ANY_US, ANY_US);
    let decoder = Decoder::new(&domain);
    let mut values = vec![f64::NAN; domain.metrics.len()];
    let mut gathered = Gathered::new(values.len());
    let mut next_offsets: HashMap<i32, i64> = HashMap::new();
    let mut first_letter = None;
    let (mut letters, mut rows) = (0, 0);
    // What follows the last line end is no line, unless something stands there.
    let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
    for (at, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        let (partition, payload) = partition(line);
        let next = next_offsets.entry(partition).or_default();
        let of_row = truth.remove(&(partition, *next));
        *next += 1;
        match decoder.decode(payload, 0, &mut values) {
            Ok(reading) => {
                rows += 1;
                let row = Row {
                    line: at + 1,
                    at_us: reading.event_time_us,
                    zone: &reading.zone,
                    sensor: &reading.sensor,
                    kind: of_row.map(|(kind, _)| kind),
                    event: of_row.map(|(_, event)| event),
                };
                gathered.push(row, values.iter().copied())?;
            }
            Err(error) => {
                letters += 1;
                first_letter.get_or_insert_with(|| (at + 1, error.to_string()));
            }
        }
    }
    if rows == 0 {
        let (line, why) = first_letter.unwrap_or((1, "it is empty".to_owned()));
        return Err(EvaluateError::NoReading { line, why });
    }
    if let Some(&(partition, offset)) = truth.keys().min() {
        let path = truth_path.display().to_string();
        return Err(EvaluateError::OtherTruth { path, partition, offset });
    }
    if letters > 0 {
        let (line, why) = first_letter.unwrap_or_default();
        tracing::warn!("{letters} lines are no readings and not judged, the first is line {line}: {why}");
    }
    Ok(gathered.table(domain.metrics.iter().map(|metric| Some(metric.name.clone())).collect())?)
}

fn read_truth<'a>(path: &Path, bytes: &'a [u8]) -> Result<Truth<'a>, EvaluateError> {
    let wrong = |line: usize, found: &[u8]| EvaluateError::Truth {
        path: path.display().to_string(),
        line,
        found: String::from_utf8_lossy(found).into_owned(),
    };
    let mut truth = Truth::new();
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate();
    match lines.next() {
        Some((_, head)) if head.starts_with(b"partition,offset,kind,") => {}
        head => return Err(wrong(1, head.map_or(&[], |(_, head)| head))),
    }
    for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let parsed = std::str::from_utf8(line).ok().and_then(|line| {
            let mut fields = line.trim_end_matches('\r').split(',');
            let place = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let (kind, _metrics) = (fields.next()?, fields.next()?);
            Some((place, (kind, fields.next()?.parse().ok()?)))
        });
        let (place, (kind, event)) = parsed.ok_or_else(|| wrong(at + 1, line))?;
        if kind != SILENCE {
            truth.insert(place, (kind, event));
        }
    }
    Ok(truth)
}

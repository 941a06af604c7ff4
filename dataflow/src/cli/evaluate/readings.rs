//! Readings as lines of JSON, as `citytide-generator --stdout` prints them, and the truth about them.
//!
//! A line is a partition, a tab and the payload, or the payload alone, which is partition 0's. A line's offset is the
//! number of lines of its partition before it. What would be a dead letter is no row.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::path::Path;

use citytide_core::decode::Decoder;
use citytide_domain::Domain;
use citytide_evaluate::{Row, Table, TableBuilder};

use super::error::EvaluateError;

/// The kind of a truth that tells of a reading which never came.
const SILENCE: &str = "silence";
/// So far an event time may be from the moment at which a line is read: any time.
const ANY_US: i64 = i64::MAX / 4;

/// Whether what begins like this is JSON, behind a partition or not.
pub fn are_lines(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    partition(head).1.trim_ascii_start().starts_with(b"{")
}

/// The partition that a line names, and what is behind it.
fn partition(line: &[u8]) -> (Option<i32>, &[u8]) {
    let split = line.iter().position(|byte| *byte == b'\t').and_then(|at| {
        let number = std::str::from_utf8(&line[..at]).ok()?.parse().ok()?;
        Some((Some(number), &line[at + 1..]))
    });
    split.unwrap_or((None, line))
}

/// Readings whose truth is not known yet.
pub struct Readings {
    builder: TableBuilder,
    names: Vec<Option<String>>,
    /// The row of each offset, by partition; `None` where the line is no reading.
    rows: HashMap<i32, Vec<Option<u32>>>,
}

impl Readings {
    /// Reads lines to their end.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or none is a reading of the domain.
    pub fn read(mut lines: impl BufRead, path: &Path, domain: &Domain) -> Result<Readings, EvaluateError> {
        let mut domain = domain.clone();
        (domain.time.future_max_us, domain.time.max_age_us) = (ANY_US, ANY_US);
        let decoder = Decoder::new(&domain);
        let mut values = vec![f64::NAN; domain.metrics.len()];
        let mut builder = TableBuilder::new(values.len());
        let mut rows: HashMap<i32, Vec<Option<u32>>> = HashMap::new();
        let mut first_letter = None;
        let (mut number, mut letters) = (0, 0);
        let mut line = Vec::new();
        while next_line(&mut lines, &mut line).map_err(|reason| EvaluateError::read(path, &reason))? {
            number += 1;
            let (partition, payload) = partition(&line);
            let rows = rows.entry(partition.unwrap_or(0)).or_default();
            match decoder.decode(payload, 0, &mut values) {
                Ok(reading) => {
                    rows.push(Some(builder.len() as u32));
                    let row = Row {
                        line: number,
                        partition,
                        event_time_us: reading.event_time_us,
                        zone: &reading.zone,
                        sensor: &reading.sensor,
                        kind: None,
                    };
                    builder.push(row, values.iter().copied())?;
                }
                Err(error) => {
                    rows.push(None);
                    letters += 1;
                    first_letter.get_or_insert_with(|| (number, error.to_string()));
                }
            }
        }
        match first_letter {
            Some((line, why)) if builder.is_empty() => return Err(EvaluateError::NoReading { line, why }),
            Some((line, why)) => {
                tracing::warn!(
                    "{letters} lines are not readings and are not judged; the first is line {line}: {why}"
                );
            }
            None => {}
        }
        let names = domain.metrics.into_iter().map(|metric| Some(metric.name)).collect();
        Ok(Readings { builder, names, rows })
    }

    /// The readings with their truth. What it says of lines that are no readings does not count.
    ///
    /// # Errors
    ///
    /// When it is no truth, or one of other readings.
    pub fn with_truth(mut self, path: &Path, truth: &[u8]) -> Result<Table, EvaluateError> {
        let shown = || path.display().to_string();
        let wrong = |line: usize, found: &[u8]| EvaluateError::Truth {
            path: shown(),
            line,
            found: String::from_utf8_lossy(found).into_owned(),
        };
        let mut lines = truth.split(|byte| *byte == b'\n').enumerate();
        match lines.next() {
            Some((_, head)) if head.starts_with(b"partition,offset,kind,") => {}
            head => return Err(wrong(1, head.map_or(&[], |(_, head)| head))),
        }
        for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            let Some(Told { partition, offset, kind, event }) = Told::parse(line) else {
                return Err(wrong(at + 1, line));
            };
            let rows = self.rows.get(&partition);
            let row = rows.and_then(|rows| rows.get(usize::try_from(offset).ok()?));
            let Some(row) = row else {
                return Err(EvaluateError::OtherTruth { path: shown(), partition, offset });
            };
            if let Some(row) = row.filter(|_| kind != SILENCE) {
                self.builder.label(row as usize, kind, event)?;
            }
        }
        Ok(self.builder.build(self.names)?)
    }
}

/// Replaces what is in `line` by the next one, without its end; whether there is one.
fn next_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = lines.read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

/// A line of the truth.
struct Told<'a> {
    partition: i32,
    offset: i64,
    kind: &'a str,
    event: u64,
}

impl Told<'_> {
    fn parse(line: &[u8]) -> Option<Told<'_>> {
        let mut fields = std::str::from_utf8(line).ok()?.trim_end_matches('\r').split(',');
        let (partition, offset) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (kind, _metrics) = (fields.next()?, fields.next()?);
        Some(Told { partition, offset, kind, event: fields.next()?.parse().ok()? })
    }
}

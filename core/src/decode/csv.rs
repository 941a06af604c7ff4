//! A row of a CSV file → the JSON object that decode understands, so that the checks are the same for both.
//!
//! 1. The header names the fields as the domain's JSON does, in any order; other columns are ignored.
//! 2. A row is one line: a quoted cell may hold commas and quotes, but no line break, so that one missing quote costs
//!    one row and not the rest of the file.
//! 3. An empty cell is a null; the sensor and the zone are text; the time is a number where it looks like one.

use citytide_domain::Domain;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::{DecodeError, Reason};

/// Longest header.
const COLUMNS_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Text,
    Time,
    Number,
}

/// The header of a CSV file.
#[derive(Debug, Clone)]
pub struct CsvHeader {
    /// `"aqi":` and how its cells are written, for each column that the domain knows.
    columns: Vec<Option<(Vec<u8>, Cell)>>,
}

impl CsvHeader {
    /// Reads the header line.
    ///
    /// # Errors
    ///
    /// Why no row below it could be a reading, as a sentence.
    pub fn parse(line: &[u8], domain: &Domain) -> Result<CsvHeader, String> {
        let (mut text, mut ends) = (vec![0; line.len() + 1], vec![0; COLUMNS_MAX]);
        let cells = split(line, &mut text, &mut ends).map_err(|error| error.message)?;
        let names: Vec<String> = cells.map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        let fields = &domain.fields;
        let kind = |name: &str| match name {
            _ if name == fields.sensor || name == fields.zone => Some(Cell::Text),
            _ if name == fields.time => Some(Cell::Time),
            _ if domain.metrics.iter().any(|metric| metric.name == name) => Some(Cell::Number),
            _ => None,
        };
        for (index, name) in names.iter().enumerate() {
            if kind(name).is_some() && names[..index].contains(name) {
                return Err(format!("its header has the column {name:?} twice"));
            }
        }
        let has = |wanted: &String| names.contains(wanted);
        let listed = || names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        for wanted in [&fields.time, &fields.sensor, &fields.zone] {
            if !has(wanted) {
                return Err(format!("its header has no column {wanted:?}, only {}", excerpt(&listed())));
            }
        }
        if !domain.metrics.iter().any(|metric| has(&metric.name)) {
            return Err(format!("its header has no column of a metric, only {}", excerpt(&listed())));
        }
        let column = |name: &String| {
            let cell = kind(name)?;
            Some((format!("{}:", serde_json::Value::from(name.as_str())).into_bytes(), cell))
        };
        Ok(CsvHeader { columns: names.iter().map(column).collect() })
    }

    /// Replaces what is in `json` by the row.
    ///
    /// # Errors
    ///
    /// When the line is no row of this file.
    pub fn to_json(&self, line: &[u8], json: &mut Vec<u8>) -> Result<(), DecodeError> {
        json.clear();
        if let Err(error) = std::str::from_utf8(line) {
            let message = format!("the bytes from {} on are not UTF-8", error.valid_up_to());
            return Err(DecodeError::of_record(Reason::NotUtf8, message));
        }
        let mut text = vec![0; line.len() + 1];
        let mut ends = vec![0; self.columns.len() + 1];
        let cells = split(line, &mut text, &mut ends)?;
        if cells.len() != self.columns.len() {
            let more = if cells.len() > self.columns.len() { "or more " } else { "" };
            let message =
                format!("the row has {} {more}columns, the header {}", cells.len(), self.columns.len());
            return Err(DecodeError::of_record(Reason::NotCsv, message));
        }
        for (cell, column) in cells.zip(&self.columns) {
            let Some((name, kind)) = column else { continue };
            json.push(if json.is_empty() { b'{' } else { b',' });
            json.extend_from_slice(name);
            // Cells of a text that is UTF-8 are cut at ASCII characters.
            let cell = std::str::from_utf8(cell).expect("a part of UTF-8 text");
            push(cell, *kind, json);
        }
        json.push(b'}');
        Ok(())
    }
}

/// The cells of one line.
fn split<'a>(
    line: &[u8],
    text: &'a mut [u8],
    ends: &'a mut [usize],
) -> Result<impl ExactSizeIterator<Item = &'a [u8]>, DecodeError> {
    if line.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        let message = "a quoted cell is not closed; a row is one line";
        return Err(DecodeError::of_record(Reason::NotCsv, message));
    }
    let mut reader: Reader = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
    let (mut result, _, mut written, mut count) = reader.read_record(line, text, ends);
    if result == ReadRecordResult::InputEmpty {
        let (last, _, more, further) = reader.read_record(&[], &mut text[written..], &mut ends[count..]);
        (result, written, count) = (last, written + more, count + further);
    }
    debug_assert!(written <= text.len() && result != ReadRecordResult::OutputFull, "room for every byte");
    let (text, ends): (&'a [u8], &'a [usize]) = (text, &ends[..count]);
    Ok((0..ends.len()).map(move |index| &text[if index == 0 { 0 } else { ends[index - 1] }..ends[index]]))
}

fn push(cell: &str, kind: Cell, json: &mut Vec<u8>) {
    let trimmed = cell.trim();
    if trimmed.is_empty() {
        json.extend_from_slice(b"null");
    } else if kind != Cell::Text && is_json_number(trimmed) {
        json.extend_from_slice(trimmed.as_bytes());
    } else if let Some(number) = (kind == Cell::Number).then(|| trimmed.parse::<f64>().ok()).flatten() {
        // What CSV files hold beside JSON's numbers: +5, 007, .5, 5., NaN, inf.
        let word = match number {
            _ if number.is_nan() => "NaN".to_owned(),
            f64::INFINITY => "Infinity".to_owned(),
            f64::NEG_INFINITY => "-Infinity".to_owned(),
            _ => format!("{number:?}"),
        };
        json.extend_from_slice(word.as_bytes());
    } else {
        serde_json::to_writer(json, cell).expect("memory takes bytes");
    }
}

/// Whether the text is a number as JSON writes it, without an exponent.
fn is_json_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(a, b)| (a, Some(b)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(digits)
}

fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(200).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "zone,timestamp,note,sensor_id,temperature,aqi";

    fn header(line: &str) -> Result<CsvHeader, String> {
        CsvHeader::parse(line.as_bytes(), &Domain::smart_city())
    }

    fn json(row: &str) -> Result<String, Reason> {
        let mut json = b"what was there before".to_vec();
        let written = header(HEADER).expect("a header").to_json(row.as_bytes(), &mut json);
        written.map(|()| String::from_utf8(json).expect("UTF-8")).map_err(|error| error.reason)
    }

    #[test]
    fn a_row_becomes_the_object_that_the_header_says() {
        let row = r#""Tech Hub",2026-11-21T05:26:00Z,"a, ""b""",007,24.30,"#;
        let expected = r#"{"zone":"Tech Hub","timestamp":"2026-11-21T05:26:00Z","sensor_id":"007","temperature":24.30,"aqi":null}"#;
        assert_eq!(json(row).as_deref(), Ok(expected));
    }

    #[test]
    fn numbers_of_csv_become_numbers_of_json_and_the_rest_stays_text() {
        let cell = |cell: &str| {
            let row = json(&format!("Z,1700000000,,s,{cell},1")).expect("a row");
            row.split_once("temperature\":")
                .expect("the metric")
                .1
                .rsplit_once(",\"aqi")
                .expect("aqi")
                .0
                .to_owned()
        };
        let pairs = [
            ("-0", "-0"),
            ("+5", "5.0"),
            ("007", "7.0"),
            (".5", "0.5"),
            ("5.", "5.0"),
            (" 7.25 ", "7.25"),
            ("1e3", "1000.0"),
            ("nan", "NaN"),
            ("-inf", "-Infinity"),
            ("1e999", "Infinity"),
            ("warm", "\"warm\""),
            ("\"1,5\"", "\"1,5\""),
        ];
        for (written, expected) in pairs {
            assert_eq!(cell(written), expected, "{written}");
        }
    }

    #[test]
    fn what_is_no_row_is_refused_with_the_reason() {
        assert_eq!(json("Z,1700000000,,s,1"), Err(Reason::NotCsv));
        assert_eq!(json("Z,1700000000,,s,1,2,3"), Err(Reason::NotCsv));
        assert_eq!(json("Z,1700000000,,s,1,2,3,4,5,6"), Err(Reason::NotCsv));
        assert_eq!(json("\"Z,1700000000,,s,1,2"), Err(Reason::NotCsv));
        let header = header(HEADER).expect("a header");
        let error = header.to_json(b"Z,\xff,,s,1,2", &mut Vec::new()).expect_err("no UTF-8");
        assert_eq!(error.reason, Reason::NotUtf8);
    }

    #[test]
    fn a_header_that_no_reading_can_come_from_is_refused() {
        assert!(header("zone,sensor_id,aqi").expect_err("no time").contains("no column \"timestamp\""));
        assert!(header("timestamp;zone;sensor_id;aqi").expect_err("semicolons").contains("timestamp;zone"));
        assert!(header("timestamp,zone,sensor_id").expect_err("nothing measured").contains("metric"));
        assert!(header("timestamp,zone,aqi,sensor_id,aqi").expect_err("twice").contains("\"aqi\" twice"));
        assert!(header("timestamp,zone,aqi,sensor_id,x,x").is_ok(), "what is ignored may be there twice");
    }
}

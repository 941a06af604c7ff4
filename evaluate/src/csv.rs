//! Reads a labelled table from CSV: commas, semicolons or tabs, quotes, either line ending.

use csv::StringRecord;

use crate::sentinel::sentinel;
use crate::time::TimesSeen;
use crate::{Row, Table, TableBuilder, TableError};

/// Labels of normal rows, in lower case, unless the caller names others; so is any number that is 0.
const NORMAL: [&str; 13] =
    ["", "false", "f", "no", "n", "normal", "normal.", "ok", "none", "null", "nan", "inlier", "benign"];
/// Fields that mean that there is no value, in lower case.
const MISSING: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "-", "?"];

/// The columns that are not metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Event time, as [`TimeFormat`](crate::TimeFormat) reads it.
    pub time: String,
    /// Label: normal (see `normal`) or the kind of anomaly; without it all rows are normal.
    pub label: Option<String>,
    /// Sensor; without it all rows are of one sensor.
    pub sensor: Option<String>,
    /// Zone; without it all rows are of one zone.
    pub zone: Option<String>,
    /// Labels that are normal; if there are none, empty, `0`, `false`, `no`, `normal` and the like are.
    pub normal: Vec<String>,
    /// Columns that are no metrics although they hold numbers.
    pub ignored: Vec<String>,
    /// Numbers that mean that there is no value.
    pub missing: Vec<f64>,
}

impl Columns {
    fn is_normal(&self, label: &str) -> bool {
        if !self.normal.is_empty() {
            return self.normal.iter().any(|normal| normal == label);
        }
        label.parse::<f64>().is_ok_and(|number| number == 0.0)
            || NORMAL.iter().any(|normal| normal.eq_ignore_ascii_case(label))
    }
}

/// What a column that may be a metric has held so far.
#[derive(Debug, Clone, Default)]
struct Candidate {
    column: usize,
    numbers: usize,
    texts: usize,
    /// Numbers with a decimal comma.
    commas: usize,
    first_text: Option<(usize, String)>,
}

/// Reads a table whose first line has the names of the columns. A named column that is not in `columns` is a metric if
/// it holds numbers, and else [ignored](Table::ignored).
///
/// # Errors
///
/// The first mistake, with its line and column.
pub fn read_csv(bytes: &[u8], columns: &Columns) -> Result<Table, TableError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| TableError::NotUtf8(1 + line_feeds(&bytes[..error.valid_up_to()])))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Records::new(text);
    if !records.advance() {
        return Err(TableError::Empty);
    }
    let names: Vec<String> = records.record.iter().map(|name| name.trim().to_owned()).collect();
    let is_duplicate = |at: &usize| !names[*at].is_empty() && names[..*at].contains(&names[*at]);
    if let Some(at) = (1..names.len()).find(is_duplicate) {
        return Err(TableError::DuplicateColumn(names[at].clone()));
    }
    let Indices { time, label, sensor, zone, mut candidates } = indices(&names, columns)?;
    let mut seen = TimesSeen::default();
    while records.advance() {
        seen.see(records.record.get(time).unwrap_or_default());
    }
    let format = seen.format().map_err(|_| TableError::DaysOrSeconds { column: columns.time.clone() })?;
    let mut records = Records::new(text);
    records.advance();
    let mut builder = TableBuilder::new(candidates.len());
    let mut values = vec![f64::NAN; candidates.len()];
    while records.advance() {
        let (line, record) = (records.line, &records.record);
        if record.len() != names.len() {
            return Err(TableError::FieldCount { line, found: record.len(), expected: names.len() });
        }
        let found = record[time].trim();
        let event_time_us = format.read(found).ok_or_else(|| {
            let (column, found) = (columns.time.clone(), found.to_owned());
            TableError::Time { line, column, found }
        })?;
        for (value, candidate) in values.iter_mut().zip(&mut candidates) {
            let field = record[candidate.column].trim();
            *value = number(field).unwrap_or(f64::NAN);
            if !value.is_nan() {
                candidate.numbers += 1;
                candidate.commas += usize::from(field.contains(','));
                *value = if columns.missing.contains(value) { f64::NAN } else { *value };
            } else if !MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(field)) {
                candidate.texts += 1;
                candidate.first_text.get_or_insert_with(|| (line, field.to_owned()));
            }
        }
        let kind = label.map(|at| record[at].trim()).filter(|kind| !columns.is_normal(kind));
        let zone = zone.map_or("all", |at| &record[at]);
        let sensor = sensor.map_or("all", |at| &record[at]);
        builder
            .push(Row { line, partition: None, event_time_us, zone, sensor, kind }, values.iter().copied())?;
    }
    let mut ignored = Vec::new();
    let mut decimal_commas = Vec::new();
    let mut metrics = Vec::with_capacity(candidates.len());
    for Candidate { column, numbers, texts, commas, first_text } in candidates {
        let name = names[column].clone();
        match first_text {
            _ if numbers == 0 || numbers < texts => {
                ignored.push(name);
                metrics.push(None);
            }
            Some((line, found)) => return Err(TableError::Number { line, column: name, found }),
            None => {
                // In a file whose cells are separated by commas, one could also separate thousands.
                if commas > 0 && records.delimiter == b',' {
                    decimal_commas.push(name.clone());
                }
                metrics.push(Some(name));
            }
        }
    }
    let mut table = builder.build(metrics)?;
    table.sentinels =
        table.names.iter().zip(&table.metrics).filter_map(|(name, column)| sentinel(name, column)).collect();
    (table.ignored, table.decimal_commas, table.time_format) = (ignored, decimal_commas, format);
    Ok(table)
}

/// A number, with a point or a comma before its decimals.
fn number(field: &str) -> Option<f64> {
    field.parse().or_else(|_| field.replacen(',', ".", 1).parse()).ok()
}

/// Positions of the columns.
struct Indices {
    time: usize,
    label: Option<usize>,
    sensor: Option<usize>,
    zone: Option<usize>,
    candidates: Vec<Candidate>,
}

fn indices(names: &[String], columns: &Columns) -> Result<Indices, TableError> {
    let index = |name: &String| {
        let found = names.iter().position(|known| known == name);
        found.ok_or_else(|| TableError::NoColumn(name.clone(), names.join(", ")))
    };
    let (time, label) = (index(&columns.time)?, columns.label.as_ref().map(index).transpose()?);
    let ignored: Vec<usize> = columns.ignored.iter().map(index).collect::<Result<_, _>>()?;
    let sensor = columns.sensor.as_ref().map(index).transpose()?;
    let zone = columns.zone.as_ref().map(index).transpose()?;
    let asked = [("time", Some(time)), ("label", label), ("sensor", sensor), ("zone", zone)];
    for (at, (what, column)) in asked.iter().enumerate() {
        // Sensor and zone may be the same column: then each zone has one sensor.
        let shared =
            asked[..at].iter().find(|(other, of)| column.is_some() && of == column && *other != "sensor");
        if let (Some((other, _)), Some(column)) = (shared, column) {
            return Err(TableError::SharedColumn(names[*column].clone(), other, what));
        }
    }
    let is_candidate = |at: &usize| {
        !names[*at].is_empty() && !ignored.contains(at) && asked.iter().all(|(_, of)| *of != Some(*at))
    };
    let candidates = (0..names.len()).filter(is_candidate);
    let candidates = candidates.map(|column| Candidate { column, ..Candidate::default() }).collect();
    Ok(Indices { time, label, sensor, zone, candidates })
}

/// The records of a text, with the line that each begins on.
struct Records<'a> {
    bytes: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    delimiter: u8,
    record: StringRecord,
    /// The line on which `record` begins, from 1.
    line: usize,
    /// Up to here line feeds are counted in `line`.
    counted: usize,
}

impl<'a> Records<'a> {
    fn new(text: &'a str) -> Records<'a> {
        let delimiter = delimiter(text.lines().next().unwrap_or_default());
        let mut options = csv::ReaderBuilder::new();
        let reader =
            options.delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
        let record = StringRecord::new();
        Records { bytes: text.as_bytes(), reader, delimiter, record, line: 1, counted: 0 }
    }

    /// Reads the next record; whether there is one.
    fn advance(&mut self) -> bool {
        let start = self.reader.position().byte() as usize;
        let is_read = self.reader.read_record(&mut self.record).expect("the text is UTF-8 in memory");
        // Empty lines before a record are not part of it.
        let empty = self.bytes[start..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        self.line += line_feeds(&self.bytes[self.counted..start + empty]);
        self.counted = start + empty;
        is_read
    }
}

fn line_feeds(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The delimiter: whichever of comma, semicolon and tab is most frequent in the first line outside quotes.
fn delimiter(head: &str) -> u8 {
    let count = |delimiter: u8| {
        let mut is_quoted = false;
        let free = head.bytes().filter(|byte| {
            is_quoted ^= *byte == b'"';
            !is_quoted && *byte == delimiter
        });
        free.count()
    };
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns {
            time: "at".to_owned(),
            label: Some("kind".to_owned()),
            sensor: Some("who".to_owned()),
            ..Columns::default()
        }
    }

    fn read(text: &str) -> Table {
        read_csv(text.as_bytes(), &columns()).expect("a table")
    }

    fn wrong(text: &str) -> String {
        read_csv(text.as_bytes(), &columns()).expect_err("wrong").to_string()
    }

    #[test]
    fn every_other_column_of_numbers_is_a_metric() {
        let table = read(
            "at,who,heat,note,,kind\n2026-11-21T00:01:00Z,a,1.5,x,7,spike\n2026-11-21 00:00:00,\"b\",,y,8,0\n",
        );
        assert_eq!(
            (table.names.as_slice(), table.ignored),
            (&["heat".to_owned()][..], vec!["note".to_owned()])
        );
        assert!(table.metrics[0][0].is_nan() && table.metrics[0][1] == 1.5);
        assert_eq!(table.kinds, [None, Some(0)]);
        assert_eq!(table.event_times_us[1] - table.event_times_us[0], 60_000_000);
    }

    #[test]
    fn a_table_is_read_as_spreadsheets_write_it() {
        let comma = read("at,who,heat,kind\n1,\"a, \"\"b\"\"\",1.5,0\n\n2,c,NA,1\n");
        assert_eq!((comma.lines, &comma.sensors[..6]), (vec![2, 4], &b"a, \"b\""[..]));
        let semicolon = read("\u{feff}at;who;heat;kind\r\n1;a;1,5;0\r\n2;a;;1");
        assert_eq!((semicolon.metrics[0][0], semicolon.lines), (1.5, vec![2, 3]));
        assert_eq!(read("at\twho\theat\tkind\n1\ta\t1e3\t0\n").metrics[0], [1000.0]);
        assert_eq!(read("at,who,heat,kind\n1,\"two\nlines\",1,0\n2,a,1,0\n").lines, [2, 4]);
    }

    #[test]
    fn decimal_commas_are_read_in_quotes_too_and_said() {
        let table = read("at,who,heat,cold,kind\n1,a,\"20,612\",1.5,0\n2,a,\"19,5\",2,0\n");
        assert_eq!(
            (table.metrics[0].as_slice(), table.decimal_commas),
            (&[20.612, 19.5][..], vec!["heat".to_owned()])
        );
        assert!(wrong("at,who,heat,kind\n1,a,\"1,234.5\",0\n2,a,1,0\n").contains("line 2, column `heat`"));
        assert!(read("at;who;heat;kind\n1;a;20,5;0\n").decimal_commas.is_empty());
    }

    #[test]
    fn the_column_of_times_is_read_as_a_whole() {
        let of = |days: [&str; 2]| {
            let [first, second] = days;
            read(&format!("at,who,heat,kind\n{first},a,1,0\n{second},a,2,0\n"))
        };
        let step = |table: Table| table.event_times_us[1] - table.event_times_us[0];
        assert_eq!(step(of(["01/05/2026 00:00", "01/06/2026 00:00"])), 86_400_000_000);
        assert_eq!(step(of(["46027.0", "46027.5"])), 43_200_000_000);
        assert!(
            wrong("at,who,heat,kind\n46027,a,1,0\n46028,a,1,0\n").contains("day numbers of a spreadsheet")
        );
        let february = "at,who,heat,kind\n2026-02-30T00:00:00Z,a,1,0\n2026-01-05T00:01:00Z,a,1,0\n";
        assert!(wrong(february).contains("line 2, column `at`: \"2026-02-30T00:00:00Z\" is not a time"));
    }

    #[test]
    fn columns_are_ignored_and_numbers_missing_where_the_caller_says_so() {
        let text = "at,who,heat,number,kind\n1,a,20,1,0\n2,a,-9999,2,0\n3,a,-9999,3,0\n4,a,21,4,0\n";
        let table = read(text);
        assert_eq!((table.names.len(), table.sentinels[0].value, table.sentinels.len()), (2, -9999.0, 1));
        let more = Columns { ignored: vec!["number".to_owned()], missing: vec![-9999.0], ..columns() };
        let table = read_csv(text.as_bytes(), &more).expect("a table");
        assert_eq!((table.names, table.sentinels), (vec!["heat".to_owned()], Vec::new()));
        assert!(table.metrics[0][1].is_nan());
        let none = Columns { ignored: vec!["size".to_owned()], ..columns() };
        assert!(
            read_csv(text.as_bytes(), &none).expect_err("no such").to_string().contains("no column `size`")
        );
        let unlabelled = Columns { label: None, ..columns() };
        assert_eq!(read_csv(text.as_bytes(), &unlabelled).expect("a table").labels(), [false; 4]);
    }

    #[test]
    fn a_label_is_normal_where_it_says_so_in_any_of_the_usual_ways() {
        let kinds = |labels: &[&str], normal: &[&str]| {
            let rows: String = labels.iter().map(|label| format!("1,a,1,{label}\n")).collect();
            let normal = normal.iter().map(|label| (*label).to_owned()).collect();
            let columns = Columns { normal, ..columns() };
            read_csv(format!("at,who,heat,kind\n{rows}").as_bytes(), &columns).expect("a table").labels()
        };
        assert_eq!(
            kinds(&["", "0", "0.0", "False", "Normal", "1", "yes"], &[]),
            [false, false, false, false, false, true, true]
        );
        assert_eq!(kinds(&["1", "-1", "0"], &["1"]), [false, true, true]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_column() {
        assert!(wrong("at,who,heat\n").contains("no column `kind`; its columns are at, who, heat"));
        assert!(wrong("at,who,heat,kind\n1,a,2\n").contains("line 2 has 3 fields"));
        assert!(wrong("at,who,heat,kind\n1,\"a,2,0\n2,a,2,0\n").contains("a quote that is not closed"));
        assert!(
            wrong("at,who,heat,kind\nsoon,a,2,0\n").contains("line 2, column `at`: \"soon\" is not a time")
        );
        assert!(
            wrong("at,who,heat,kind\n1,a,1,0\n\n2,a,x,0\n")
                .contains("line 4, column `heat`: \"x\" is not a number")
        );
        assert!(wrong("at,who,heat,kind\n1,a,x,0\n").contains("no column of numbers"));
        assert!(wrong("at,who,heat,heat,kind\n").contains("two columns are named `heat`"));
        assert!(wrong("").contains("no rows"));
        assert!(
            read_csv(b"at,who,heat,kind\n1,\xff,1,0\n", &columns())
                .expect_err("no text")
                .to_string()
                .contains("line 2 is not UTF-8")
        );
        let both = Columns { zone: Some("at".to_owned()), ..columns() };
        let both = read_csv(b"at,who,heat,kind\n", &both).expect_err("one for two").to_string();
        assert!(both.contains("`at` is asked for as time and as zone"));
    }
}

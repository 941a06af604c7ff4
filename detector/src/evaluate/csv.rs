//! A labelled table from CSV as others write it: commas, semicolons or tabs, quotes, either line end.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::table::{Gathered, Row, Table, TableError};
use super::time::time_us;

/// Labels of normal rows, in lower case, unless the caller names others; so is any number that is 0.
const NORMAL: [&str; 13] =
    ["", "false", "f", "no", "n", "normal", "normal.", "ok", "none", "null", "nan", "inlier", "benign"];
/// Fields that say that there is no value, in lower case.
const MISSING: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "-", "?"];

/// Which columns are no metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Event time: RFC 3339, with a space for the T and without offset too; or a number, as in readings.
    pub time: String,
    /// What is so: empty, `0`, `false`, `no` and `normal` are normal, anything else is the kind of anomaly.
    pub label: String,
    /// The sensor; one sensor without.
    pub sensor: Option<String>,
    /// The zone; one zone without.
    pub zone: Option<String>,
    /// The labels that are normal, instead of those above.
    pub normal: Vec<String>,
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

/// What is known of a column while it is read.
#[derive(Debug, Clone, Default)]
struct Seen {
    numbers: usize,
    texts: usize,
    first_text: Option<(usize, String)>,
}

/// Reads a table with a line of names. Every column of numbers that is not asked for is a metric; one without a name is
/// none.
///
/// # Errors
///
/// The first thing that is wrong, with its line and column.
pub fn read_csv(bytes: &[u8], columns: &Columns) -> Result<Table, TableError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        TableError::NotUtf8(1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Records::new(text);
    if !records.advance() {
        return Err(TableError::Empty);
    }
    let names: Vec<String> = records.fields().map(|name| name.trim().to_owned()).collect();
    if let Some(at) = (1..names.len()).find(|at| !names[*at].is_empty() && names[..*at].contains(&names[*at]))
    {
        return Err(TableError::Twice(names[at].clone()));
    }
    let Places { time, label, sensor, zone, others } = places(&names, columns)?;
    let mut gathered = Gathered::new(others.len());
    let mut seen = vec![Seen::default(); others.len()];
    let mut values = vec![f64::NAN; others.len()];
    let has_decimal_commas = records.delimiter == b';';
    while records.advance() {
        let (line, found) = (records.line, records.count());
        if found != names.len() {
            return Err(TableError::Fields { line, found, expected: names.len() });
        }
        let at = records.field(time).trim();
        let at_us = time_us(at).ok_or_else(|| {
            let (column, found) = (columns.time.clone(), at.to_owned());
            TableError::Time { line, column, found }
        })?;
        for ((value, seen), at) in values.iter_mut().zip(&mut seen).zip(&others) {
            let field = records.field(*at).trim();
            *value = number(field, has_decimal_commas).unwrap_or(f64::NAN);
            if !value.is_nan() {
                seen.numbers += 1;
            } else if !MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(field)) {
                seen.texts += 1;
                seen.first_text.get_or_insert_with(|| (line, field.to_owned()));
            }
        }
        let kind = Some(records.field(label).trim()).filter(|kind| !columns.is_normal(kind));
        let zone = zone.map_or("all", |at| records.field(at));
        let sensor = sensor.map_or("all", |at| records.field(at));
        gathered.push(Row { line, at_us, zone, sensor, kind }, values.iter().copied())?;
    }
    let mut ignored = Vec::new();
    let mut metrics = Vec::with_capacity(others.len());
    for (seen, at) in seen.into_iter().zip(others) {
        let is_metric = seen.numbers > 0 && seen.numbers >= seen.texts;
        match seen.first_text {
            Some((line, found)) if is_metric => {
                return Err(TableError::Number { line, column: names[at].clone(), found });
            }
            _ => {}
        }
        if !is_metric {
            ignored.push(names[at].clone());
        }
        metrics.push(is_metric.then(|| names[at].clone()));
    }
    let mut table = gathered.table(metrics)?;
    table.ignored = ignored;
    Ok(table)
}

/// A number as tables write it.
fn number(field: &str, has_decimal_commas: bool) -> Option<f64> {
    match field.parse::<f64>() {
        Ok(number) => Some(number),
        Err(_) if has_decimal_commas => field.replacen(',', ".", 1).parse().ok(),
        Err(_) => None,
    }
}

/// Where the columns are.
struct Places {
    time: usize,
    label: usize,
    sensor: Option<usize>,
    zone: Option<usize>,
    /// Those that are not asked for and have a name.
    others: Vec<usize>,
}

fn places(names: &[String], columns: &Columns) -> Result<Places, TableError> {
    let place = |name: &String| {
        let found = names.iter().position(|known| known == name);
        found.ok_or_else(|| TableError::NoColumn(name.clone(), names.join(", ")))
    };
    let (time, label) = (place(&columns.time)?, place(&columns.label)?);
    let sensor = columns.sensor.as_ref().map(place).transpose()?;
    let zone = columns.zone.as_ref().map(place).transpose()?;
    let asked = [("time", Some(time)), ("label", Some(label)), ("sensor", sensor), ("zone", zone)];
    for (at, (what, one)) in asked.iter().enumerate() {
        // One sensor to a zone may be named by one column.
        let other = asked[..at].iter().find(|(of, other)| one.is_some() && other == one && *of != "sensor");
        if let (Some((of, _)), Some(one)) = (other, one) {
            return Err(TableError::Both(names[*one].clone(), of, what));
        }
    }
    let is_other = |at: &usize| !names[*at].is_empty() && asked.iter().all(|(_, one)| *one != Some(*at));
    Ok(Places { time, label, sensor, zone, others: (0..names.len()).filter(is_other).collect() })
}

/// The records of a text, one after the other.
struct Records<'a> {
    reader: Reader,
    rest: &'a [u8],
    delimiter: u8,
    /// The fields of a record, and where each ends.
    fields: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
    /// The line on which the record begins, from 1; and the one that comes next.
    line: usize,
    next_line: usize,
}

impl<'a> Records<'a> {
    fn new(text: &'a str) -> Records<'a> {
        let delimiter = delimiter(text.lines().next().unwrap_or_default());
        Records {
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            rest: text.as_bytes(),
            delimiter,
            fields: vec![0; 4096],
            ends: vec![0; 64],
            count: 0,
            line: 1,
            next_line: 1,
        }
    }

    /// Goes to the next record, past empty lines; whether there is one.
    fn advance(&mut self) -> bool {
        let blank = self.rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
        let (bytes, lines) =
            blank.fold((0, 0), |(bytes, lines), byte| (bytes + 1, lines + usize::from(*byte == b'\n')));
        self.rest = &self.rest[bytes..];
        self.next_line += lines;
        self.line = self.next_line;
        let (mut written, mut count) = (0, 0);
        loop {
            let (result, read, wrote, ended) =
                self.reader.read_record(self.rest, &mut self.fields[written..], &mut self.ends[count..]);
            self.next_line += self.rest[..read].iter().filter(|byte| **byte == b'\n').count();
            self.rest = &self.rest[read..];
            (written, count) = (written + wrote, count + ended);
            match result {
                // An empty rest tells the reader that this was all.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return false,
            }
        }
        self.count = count;
        true
    }

    fn count(&self) -> usize {
        self.count
    }

    fn field(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        // Fields of a text that is UTF-8 are cut at ASCII characters.
        std::str::from_utf8(&self.fields[start..self.ends[at]]).expect("a part of UTF-8 text")
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.count).map(|at| self.field(at))
    }
}

/// What separates the names in a table's first line: the commonest of comma, semicolon and tab.
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
            label: "kind".to_owned(),
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
        assert!(wrong("at,who,heat,kind\nsoon,a,2,0\n").contains("line 2, column `at`: \"soon\" is no time"));
        assert!(
            wrong("at,who,heat,kind\n1,a,1,0\n\n2,a,x,0\n")
                .contains("line 4, column `heat`: \"x\" is no number")
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

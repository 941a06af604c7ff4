//! A value of an answer: from a column of any type that the tables have, to JSON and to CSV.

use chrono::{DateTime, SecondsFormat};
use citytide_store::time::POSTGRES_EPOCH_US;
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// What a cell may begin with to be taken for a formula by a spreadsheet.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    /// Microseconds of the Unix epoch.
    Time(i64),
    Text(String),
    Json(Value),
}

impl Cell {
    /// As JSON. A number that JSON has no form for is null.
    pub fn json(self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Bool(value) => value.into(),
            Cell::Integer(value) => value.into(),
            Cell::Number(value) => value.into(),
            Cell::Time(at_us) => rfc3339(at_us).into(),
            Cell::Text(text) => text.into(),
            Cell::Json(value) => value,
        }
    }

    /// Adds it to a line of CSV (RFC 4180). Text that a spreadsheet would run as a formula gets an apostrophe in front.
    pub fn csv(&self, line: &mut String) {
        match self {
            Cell::Null => {}
            Cell::Bool(value) => *line += if *value { "true" } else { "false" },
            Cell::Integer(value) => *line += &value.to_string(),
            Cell::Number(value) => *line += &value.to_string(),
            Cell::Time(at_us) => *line += &rfc3339(*at_us),
            Cell::Text(text) => quoted(text, line),
            Cell::Json(value) => quoted(&value.to_string(), line),
        }
    }
}

/// A row as a JSON object; `names` are those of its first columns.
pub fn object(names: &[&str], row: &Row) -> Value {
    let cell = |(index, name): (usize, &&str)| ((*name).to_owned(), row.get::<_, Cell>(index).json());
    Value::Object(names.iter().enumerate().map(cell).collect::<Map<_, _>>())
}

/// A time in UTC with microseconds.
pub fn rfc3339(at_us: i64) -> String {
    match DateTime::from_timestamp_micros(at_us) {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::Micros, true),
        // `infinity`, which PostgreSQL takes back.
        None if at_us > 0 => "infinity".to_owned(),
        None => "-infinity".to_owned(),
    }
}

fn quoted(text: &str, line: &mut String) {
    let defused = text.starts_with(FORMULA);
    if !defused && !text.contains([',', '"', '\n', '\r']) {
        *line += text;
        return;
    }
    line.push('"');
    if defused {
        line.push('\'');
    }
    *line += &text.replace('"', "\"\"");
    line.push('"');
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Cell, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *ty {
            Type::BOOL => Cell::Bool(bool::from_sql(ty, raw)?),
            Type::INT4 => Cell::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Cell::Integer(i64::from_sql(ty, raw)?),
            // The shortest decimal that is this very real: 0.9, not 0.8999999761581421.
            Type::FLOAT4 => Cell::Number(f32::from_sql(ty, raw)?.to_string().parse()?),
            Type::FLOAT8 => Cell::Number(f64::from_sql(ty, raw)?),
            Type::TIMESTAMPTZ => {
                Cell::Time(i64::from_be_bytes(raw.try_into()?).saturating_add(POSTGRES_EPOCH_US))
            }
            // The first byte of jsonb is the version of its form.
            Type::JSONB => Cell::Json(serde_json::from_slice(raw.get(1..).unwrap_or_default())?),
            Type::BYTEA => Cell::Text(String::from_utf8_lossy(raw).into_owned()),
            _ => Cell::Text(<&str>::from_sql(ty, raw)?.to_owned()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Cell, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Cell::Null)
    }

    fn accepts(ty: &Type) -> bool {
        let known = [
            Type::BOOL,
            Type::INT4,
            Type::INT8,
            Type::FLOAT4,
            Type::FLOAT8,
            Type::TIMESTAMPTZ,
            Type::JSONB,
            Type::BYTEA,
        ];
        known.contains(ty) || <&str as FromSql>::accepts(ty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(cell: &Cell) -> String {
        let mut line = String::new();
        cell.csv(&mut line);
        line
    }

    #[test]
    fn text_that_a_spreadsheet_would_run_is_defused_and_numbers_stay_numbers() {
        let text = |text: &str| csv(&Cell::Text(text.to_owned()));
        for (given, expected) in [
            ("Downtown", "Downtown"),
            ("=cmd()", "\"'=cmd()\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@a", "\"'@a\""),
            ("a,b", "\"a,b\""),
            ("say \"a\"", "\"say \"\"a\"\"\""),
            ("=\"a\"", "\"'=\"\"a\"\"\""),
        ] {
            assert_eq!(text(given), expected);
        }
        assert_eq!(csv(&Cell::Number(-1.5)), "-1.5");
        assert_eq!(csv(&Cell::Null), "");
    }

    #[test]
    fn a_time_is_in_utc_with_microseconds() {
        assert_eq!(Cell::Time(1_795_262_449_123_456).json(), "2026-11-21T12:00:49.123456Z");
        assert_eq!(rfc3339(i64::MAX), "infinity");
    }

    #[test]
    fn a_real_is_shown_with_the_digits_it_has() {
        let raw = 0.9_f32.to_be_bytes();
        assert_eq!(Cell::from_sql(&Type::FLOAT4, &raw).expect("a real"), Cell::Number(0.9));
    }
}

use thiserror::Error;

/// Why labelled readings cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TableError {
    #[error("reading the table: line {0} is not UTF-8; save the file as UTF-8")]
    NotUtf8(usize),
    #[error("reading the table: it has no column `{0}`; its columns are {1}")]
    NoColumn(String, String),
    #[error("reading the table: two columns are named `{0}`; rename one of them")]
    DuplicateColumn(String),
    #[error("reading the table: the column `{0}` is asked for as {1} and as {2}; name one column for each")]
    SharedColumn(String, &'static str, &'static str),
    #[error(
        "reading the table: line {line} has {found} fields, the first line {expected}; is there a quote that is not closed?"
    )]
    FieldCount { line: usize, found: usize, expected: usize },
    #[error(
        "reading the table: line {line}, column `{column}`: {found:?} is not a time; write it as 2026-11-21T05:26:00Z, in milliseconds or in seconds"
    )]
    Time { line: usize, column: String, found: String },
    #[error(
        "reading the table: the column `{column}` has whole numbers that are as likely day numbers of a spreadsheet as seconds; write dates, or seconds or milliseconds since 1970"
    )]
    DaysOrSeconds { column: String },
    #[error(
        "reading the table: line {line}, column `{column}`: {found:?} is not a number, but most of the column is; correct it, or leave it empty where nothing was measured"
    )]
    Number { line: usize, column: String, found: String },
    #[error(
        "reading the table: line {line}: {found:?} is one more than {max} different labels; is this the column of the labels?"
    )]
    TooManyKinds { line: usize, found: String, max: usize },
    #[error(
        "reading the table: it has {found} zones, and with this number of metrics at most {max} are supported; name a column of districts as the zone, not one of sensors, or none"
    )]
    TooManyZones { found: usize, max: usize },
    #[error(
        "reading the table: it has no rows, or no column of numbers besides time, label, sensor and zone"
    )]
    Empty,
}

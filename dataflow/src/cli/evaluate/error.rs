//! Why nothing could be evaluated.

use std::path::Path;

use citytide_evaluate::TableError;

use crate::cli::exit_error::ExitError;
use crate::runtime::exit::Exit;

/// Why nothing could be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A file that cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A file that cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A directory without tables.
    #[error("{path} has no file that ends with .csv")]
    NoTables {
        /// The directory.
        path: String,
    },
    /// More files than are evaluated at once.
    #[error("these are more than {max} files; name fewer of them")]
    TooManyTables { max: usize },
    /// What is written for one table only.
    #[error(
        "--scores, --report and --truth are for one input; leave them out, or evaluate the files one by one"
    )]
    OneInput,
    /// Windows that are none, or not of this file.
    #[error("reading the windows {path}: {why}")]
    Windows {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// One of several inputs.
    #[error("{path}: {error}")]
    InFile {
        /// The file.
        path: String,
        error: Box<EvaluateError>,
    },
    /// A table without the names of its columns.
    #[error("a table needs --label COLUMN and --time COLUMN; see citytide evaluate --help")]
    NoColumns,
    /// JSON lines without their truth.
    #[error("the input is JSON lines, which carry no labels: give the generator's truth with --truth FILE")]
    NoTruth,
    /// Columns of JSON lines.
    #[error(
        "the input is JSON lines, whose fields the domain file names: leave out --label, --time, --sensor and --zone"
    )]
    ColumnsOfLines,
    /// The truth about a table.
    #[error(
        "--truth is for JSON lines as citytide-generator --stdout prints them, but the input is not; name a \
         column with --label"
    )]
    TruthOfTable,
    /// A domain file that knows no metric of the table.
    #[error("no metric of the domain file {path} is a column of numbers in the table")]
    OtherDomain {
        /// The domain file.
        path: String,
    },
    /// A first row that cannot be.
    #[error("--from {text}: {why}")]
    From {
        /// What was typed.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A truth that is none.
    #[error(
        "reading the truth {path}: line {line} is not partition,offset,kind,metrics,event,sensor: {found:?}"
    )]
    Truth {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// The truth about something else.
    #[error(
        "the truth {path} names partition {partition}, offset {offset}, but the input has no reading there; are \
         they of the same run?"
    )]
    OtherTruth {
        /// The file.
        path: String,
        partition: i32,
        offset: i64,
    },
    /// No line is a reading.
    #[error("the input has no reading of this domain; line {line}: {why}")]
    NoReading {
        /// The line, from 1.
        line: usize,
        /// Why it is none.
        why: String,
    },
    /// The table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The domain file.
    #[error("{0}")]
    Domain(ExitError),
}

impl EvaluateError {
    /// A file that cannot be read.
    pub fn read(path: &Path, reason: &std::io::Error) -> EvaluateError {
        EvaluateError::Read { path: path.display().to_string(), reason: reason.to_string() }
    }

    /// A file that cannot be written.
    pub fn write(path: &Path, reason: &std::io::Error) -> EvaluateError {
        EvaluateError::Write { path: path.display().to_string(), reason: reason.to_string() }
    }

    /// Says in which of several inputs it is.
    pub fn in_file(self, path: &Path) -> EvaluateError {
        EvaluateError::InFile { path: path.display().to_string(), error: Box::new(self) }
    }

    fn exit(&self) -> Exit {
        match self {
            EvaluateError::NoColumns
            | EvaluateError::NoTruth
            | EvaluateError::ColumnsOfLines
            | EvaluateError::TruthOfTable
            | EvaluateError::OneInput
            | EvaluateError::From { .. } => Exit::Usage,
            EvaluateError::InFile { error, .. } => error.exit(),
            _ => Exit::Config,
        }
    }
}

impl From<ExitError> for EvaluateError {
    fn from(ending: ExitError) -> EvaluateError {
        EvaluateError::Domain(ending)
    }
}

impl From<EvaluateError> for ExitError {
    fn from(error: EvaluateError) -> ExitError {
        match error {
            EvaluateError::Domain(ending) => ending,
            error => ExitError::new(error.exit(), error),
        }
    }
}

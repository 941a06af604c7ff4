//! What can be wrong with files, and what to do about it.

use std::io;

/// A source of files that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Neither file nor directory.
    #[error("cannot read {path}: there is no such file or directory")]
    Missing { path: String },
    /// No right to read it.
    #[error("cannot read {path}: permission denied; let this user read it (ls -l shows its rights)")]
    Denied { path: String },
    /// The disk, or what else is below.
    #[error("cannot read {path} while {attempted}: {reason}")]
    Failed {
        path: String,
        /// What was attempted.
        attempted: &'static str,
        /// The system's words.
        reason: io::Error,
    },
    /// A name that says nothing.
    #[error(
        "cannot tell from the name of {path} what it holds: files of readings end in .json, .jsonl, .ndjson (one JSON object per line) or .csv, each also with .gz behind it"
    )]
    UnknownKind { path: String },
    /// A path that the ledger cannot hold.
    #[error("the name of {path} is not UTF-8, so the database cannot store it: rename the file")]
    NotUtf8 {
        /// The path, as far as it can be shown.
        path: String,
    },
    /// Nothing to read.
    #[error(
        "no file to read in the directory {path}: none ends in .json, .jsonl, .ndjson or .csv (or these with \
         .gz); with --follow files may be added later"
    )]
    NothingThere {
        /// The directory.
        path: String,
    },
    /// Sixteen bits per character.
    #[error("{path} is UTF-16: convert it to UTF-8, for example with\n  iconv -f UTF-16 -t UTF-8 FILE > NEW")]
    Utf16 {
        /// The file.
        path: String,
    },
    /// One array over many lines.
    #[error(
        "{path} is one JSON array: write one object per line, for example with\n  jq -c '.[]' FILE > NEW"
    )]
    OneArray {
        /// The file.
        path: String,
    },
    /// A header that does not fit the domain.
    #[error("{path} cannot be read as CSV: {reason}; its first line names the fields as the domain does")]
    Header {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes that gzip does not understand.
    #[error(
        "{path} is damaged after line {line}: {reason}; gzip -t reports the same; replace it with a complete \
         copy, committed lines are not read again"
    )]
    Corrupt {
        /// The file.
        path: String,
        /// Lines before the damage.
        line: i64,
        /// The decoder's words.
        reason: String,
    },
    /// The file is not the one that was read.
    #[error(
        "{path} was read up to line {line} (byte {bytes}), but {what}: it was cut or replaced, so its line \
         numbers no longer mean the same; restore the file, or give the new one another name"
    )]
    Changed {
        /// The file.
        path: String,
        /// Lines that were committed.
        line: i64,
        /// Bytes that were committed.
        bytes: u64,
        /// What shows it.
        what: String,
    },
}

impl FilesError {
    /// An error of the system about a path.
    pub fn of(path: &std::path::Path, attempted: &'static str, reason: io::Error) -> FilesError {
        let path = path.display().to_string();
        match reason.kind() {
            io::ErrorKind::NotFound => FilesError::Missing { path },
            io::ErrorKind::PermissionDenied => FilesError::Denied { path },
            _ => FilesError::Failed { path, attempted, reason },
        }
    }
}

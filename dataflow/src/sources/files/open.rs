//! Opens a file where reading stopped, and checks that it is still the same file.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use citytide_core::decode::CsvHeader;
use citytide_domain::Domain;
use flate2::bufread::MultiGzDecoder;

use super::LogFile;
use super::cursor::Cursor;
use super::error::FilesError;
use super::lines::{Fingerprint, HEAD_BYTES, Line, Lines};

/// Bytes that are read from a file at once.
const READ_BYTES: usize = 64 * 1024;

/// What a file holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// CSV; else JSON lines.
    pub is_csv: bool,
    /// Within gzip.
    pub is_gzip: bool,
}

impl Kind {
    /// What the name says.
    ///
    /// # Errors
    ///
    /// [`FilesError::UnknownKind`].
    pub fn of(path: &Path) -> Result<Kind, FilesError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (stem, is_gzip) = name.strip_suffix(".gz").map_or((&*name, false), |stem| (stem, true));
        match stem.rsplit_once('.').map(|(_, extension)| extension) {
            Some("json" | "jsonl" | "ndjson") => Ok(Kind { is_csv: false, is_gzip }),
            Some("csv") => Ok(Kind { is_csv: true, is_gzip }),
            _ => Err(FilesError::UnknownKind { path: path.display().to_string() }),
        }
    }
}

/// A file that is being read.
pub struct Open {
    lines: Lines<Box<dyn BufRead + Send>>,
    file: File,
    /// Of CSV.
    pub header: Option<Arc<CsvHeader>>,
    /// The offset of the next line.
    pub next_offset: i64,
    is_gzip: bool,
    path: std::path::PathBuf,
}

impl Open {
    /// Opens a file behind the last committed line; `None` while the header of a CSV file has not been written.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not the file that was read before.
    pub fn at(log: &LogFile, domain: &Domain, is_whole: bool) -> Result<Option<Open>, FilesError> {
        let mut file = open(&log.path)?;
        if let Some(cursor) = log.cursor.as_ref().filter(|_| !log.kind.is_gzip) {
            check_plain(log, &mut file, cursor)?;
        }
        let mut opened = Open::at_start(&log.path, log.kind, file)?;
        if log.kind.is_csv {
            let Some(header) = opened.header(domain, is_whole)? else { return Ok(None) };
            opened.header = Some(Arc::new(header));
        }
        let Some(cursor) = &log.cursor else { return Ok(Some(opened)) };
        if log.kind.is_gzip {
            opened.skip_to(log, cursor)?;
            return Ok(Some(opened));
        }
        let mut plain = open(&log.path)?;
        let mut head = Vec::new();
        let failed = |error| FilesError::of(&log.path, "going to where it was left", error);
        let at = behind_line_end(log, &mut plain, cursor)?;
        plain.rewind().map_err(failed)?;
        plain.by_ref().take(at.min(HEAD_BYTES as u64)).read_to_end(&mut head).map_err(failed)?;
        plain.seek(SeekFrom::Start(at)).map_err(failed)?;
        opened.lines = Lines::new(Box::new(BufReader::with_capacity(READ_BYTES, plain)), at, head);
        opened.next_offset = log.next_offset;
        Ok(Some(opened))
    }

    fn at_start(path: &Path, kind: Kind, mut file: File) -> Result<Open, FilesError> {
        let failed = |error| FilesError::of(path, "opening it", error);
        file.rewind().map_err(failed)?;
        let bytes = BufReader::with_capacity(READ_BYTES, file.try_clone().map_err(failed)?);
        let reader: Box<dyn BufRead + Send> = match kind.is_gzip {
            true => Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(bytes))),
            false => Box::new(bytes),
        };
        let lines = Lines::new(reader, 0, Vec::new());
        let (path, is_gzip) = (path.to_owned(), kind.is_gzip);
        Ok(Open { lines, file, header: None, next_offset: 0, is_gzip, path })
    }

    fn header(&mut self, domain: &Domain, is_whole: bool) -> Result<Option<CsvHeader>, FilesError> {
        let path = self.path.display().to_string();
        let refused = |reason| FilesError::Header { path: path.clone(), reason };
        match self.line(is_whole)? {
            Some(Line::Whole(line)) => CsvHeader::parse(line, domain).map(Some).map_err(refused),
            Some(Line::TooLong(..)) => Err(refused("its header is longer than a megabyte".to_owned())),
            None => Ok(None),
        }
    }

    /// The next line, which is then the one before [`Open::cursor`]; the caller counts it.
    ///
    /// # Errors
    ///
    /// When the disk fails, or gzip finds damage.
    pub fn line(&mut self, is_whole: bool) -> Result<Option<Line<'_>>, FilesError> {
        let is_written = self.is_gzip && !is_whole;
        // What gzip holds has ended where it says so.
        match self.lines.next(is_whole || self.is_gzip) {
            Ok(line) => Ok(line),
            Err(error) if is_written && error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::warn!(
                    "{} ends in the middle of its data; waiting for the rest",
                    self.path.display()
                );
                Ok(None)
            }
            Err(error) => Err(match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                    let path = self.path.display().to_string();
                    FilesError::Corrupt { path, line: self.next_offset, reason: error.to_string() }
                }
                _ => FilesError::of(&self.path, "reading on", error),
            }),
        }
    }

    /// Reads on in a gzip file up to the committed line.
    fn skip_to(&mut self, log: &LogFile, cursor: &Cursor) -> Result<(), FilesError> {
        while self.next_offset < log.next_offset {
            if self.line(true)?.is_none() {
                return Err(changed(log, cursor, format!("it now ends at line {}", self.next_offset)));
            }
            self.next_offset += 1;
        }
        let (line, bytes, last) = self.lines.last();
        let head = Fingerprint::default().with(self.lines.head());
        if (line, bytes, last, head) != (cursor.line, cursor.bytes, cursor.last, cursor.head) {
            return Err(changed(log, cursor, "that line, or the beginning, is another one".to_owned()));
        }
        Ok(())
    }

    /// The place behind the last line.
    pub fn cursor(&self) -> Cursor {
        let (line, bytes, last) = self.lines.last();
        let head = Fingerprint::default().with(self.lines.head());
        Cursor { bytes, line, head, last, whole: None }
    }

    /// Size and modification time (milliseconds of the Unix epoch) as they are now.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn stand(&self) -> Result<(u64, i64), FilesError> {
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|error| FilesError::of(&self.path, "asking for its time", error))?;
        Ok(stand(&metadata))
    }
}

fn stand(metadata: &Metadata) -> (u64, i64) {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let ms = match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_millis() as i64,
        Err(before) => -(before.duration().as_millis() as i64),
    };
    (metadata.len(), ms)
}

/// Size and modification time of the file at a path; `None` where there is none any more.
///
/// # Errors
///
/// The system's.
pub fn stand_of(path: &Path) -> Result<Option<(u64, i64)>, FilesError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(stand(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FilesError::of(path, "asking for its size", error)),
    }
}

fn open(path: &Path) -> Result<File, FilesError> {
    File::open(path).map_err(|error| FilesError::of(path, "opening it", error))
}

/// Whether a file holds what its name says, as far as its first line tells.
///
/// # Errors
///
/// What is wrong.
pub fn look(path: &Path, kind: Kind, domain: &Domain) -> Result<(), FilesError> {
    let mut opened = Open::at_start(path, kind, open(path)?)?;
    let shown = || path.display().to_string();
    let is_utf16 = match opened.line(true)? {
        Some(Line::Whole(line)) if !kind.is_csv && line.trim_ascii() == b"[" => {
            return Err(FilesError::OneArray { path: shown() });
        }
        Some(Line::Whole(line)) => line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff"),
        _ => false,
    };
    if is_utf16 {
        return Err(FilesError::Utf16 { path: shown() });
    }
    if kind.is_csv {
        Open::at_start(path, kind, open(path)?)?.header(domain, true)?;
    }
    Ok(())
}

/// Whether a file was read to its end and is as it was then. A plain file is compared where it was left.
///
/// # Errors
///
/// When it was cut or replaced.
pub fn is_finished(log: &LogFile) -> Result<bool, FilesError> {
    let Some(cursor) = &log.cursor else { return Ok(false) };
    let now = stand_of(&log.path)?;
    if log.kind.is_gzip {
        return Ok(now.is_some() && now == cursor.whole);
    }
    check_plain(log, &mut open(&log.path)?, cursor)?;
    Ok(now.is_some_and(|(size, _)| size == cursor.bytes))
}

fn check_plain(log: &LogFile, file: &mut File, cursor: &Cursor) -> Result<(), FilesError> {
    let failed = |error| FilesError::of(&log.path, "comparing it with what was read", error);
    let size = file.metadata().map_err(failed)?.len();
    if size < cursor.bytes {
        return Err(changed(log, cursor, format!("it now has only {size} bytes")));
    }
    let mut fingerprint = |from: u64, to: u64| {
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = [0; 8192];
        let (mut left, mut hash) = (to - from, Fingerprint::default());
        while left > 0 {
            let room = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = file.read(&mut bytes[..room])?;
            if read == 0 {
                break;
            }
            hash = hash.with(&bytes[..read]);
            left -= read as u64;
        }
        Ok(hash)
    };
    if fingerprint(0, cursor.bytes.min(HEAD_BYTES as u64)).map_err(failed)? != cursor.head {
        return Err(changed(log, cursor, "its beginning is another one".to_owned()));
    }
    if fingerprint(cursor.line.min(cursor.bytes), cursor.bytes).map_err(failed)? != cursor.last {
        return Err(changed(log, cursor, "that line is another one".to_owned()));
    }
    Ok(())
}

/// Where the next line begins. A last line that had no line end when it was read may have got one since, but no
/// further bytes.
fn behind_line_end(log: &LogFile, file: &mut File, cursor: &Cursor) -> Result<u64, FilesError> {
    let failed = |error| FilesError::of(&log.path, "going to where it was left", error);
    let from = cursor.bytes.saturating_sub(1);
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut around = Vec::new();
    file.take(3).read_to_end(&mut around).map_err(failed)?;
    match &around[..] {
        [b'\n', ..] | [_] | [] => Ok(cursor.bytes),
        [_, b'\n', ..] => Ok(cursor.bytes + 1),
        [_, b'\r', b'\n'] => Ok(cursor.bytes + 2),
        _ => Err(changed(log, cursor, "that line, the last one then, has grown since".to_owned())),
    }
}

fn changed(log: &LogFile, cursor: &Cursor, what: String) -> FilesError {
    let path = log.path.display().to_string();
    FilesError::Changed { path, line: log.next_offset, bytes: cursor.bytes, what }
}

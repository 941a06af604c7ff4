//! The files source: JSON lines and CSV, plain or gzip, read once, or followed as they grow and come.
//!
//! A file is a partition, a line an offset. `ingest_progress.source` names the file of a partition
//! (`file:<absolute path>`), `ingest_progress.cursor` holds how far it was read and the fingerprints that identify it.
//!
//! Invariants:
//! 1. a file keeps its number: known ones from the ledger, new ones get the next free number in the order of their
//!    paths;
//! 2. an offset is the number of a line from 0; in CSV the header is not counted. An empty line holds no record and is
//!    counted among the gaps;
//! 3. before a line is read behind a committed one, the beginning of the file and that committed line are compared with
//!    their fingerprints: a file that was cut or replaced ends the run before anything of it is written;
//! 4. one process reads all files; each worker those of its share.

mod cursor;
mod error;
mod lines;
mod open;
mod reader;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use citytide_core::position::Mark;
use citytide_domain::Domain;
use citytide_store::ledger::Ledger;
use citytide_store::session::Wake;

use super::outlet::Outlet;
use super::{Assigned, Intake, OnSourceFailure};
use crate::share::Share;
use cursor::Cursor;
pub use error::FilesError;
use open::Kind;

/// What `citytide_database.topic` says of a database that holds what was in files.
const IDENTITY: &str = "files:";
/// What `ingest_progress.source` begins with.
const SCHEME: &str = "file:";

/// Files and directories of files.
#[derive(Debug)]
pub struct Files {
    domain: Arc<Domain>,
    paths: Vec<PathBuf>,
    follow: bool,
    known: Mutex<Known>,
}

/// The numbers of the files.
#[derive(Debug, Default)]
struct Known {
    numbers: BTreeMap<PathBuf, i32>,
    next: i32,
    /// Free ones below it: of files that a run had read from, but of which nothing was committed before it ended.
    gaps: VecDeque<i32>,
    /// Numbers from here on are of files that came while the others were read.
    first_new: i32,
    /// Where the ledger has the others.
    before: BTreeMap<i32, (i64, Option<Cursor>)>,
}

/// A file as the ledger and its name describe it.
#[derive(Debug, Clone)]
struct LogFile {
    partition: i32,
    path: PathBuf,
    kind: Kind,
    next_offset: i64,
    /// Where it was read to; `None` before its first line.
    cursor: Option<Cursor>,
}

impl Files {
    /// The files at `paths`; a directory stands for all that it holds. `follow`: go on with what is added.
    pub fn new(domain: Arc<Domain>, paths: Vec<PathBuf>, follow: bool) -> Files {
        Files { domain, paths, follow, known: Mutex::default() }
    }

    /// See [`super::Source::identity`].
    pub fn identity(&self) -> String {
        IDENTITY.to_owned()
    }

    /// Whether the files end: then the run does, too.
    pub fn end(&self) -> bool {
        !self.follow
    }

    /// See [`super::Source::partition_name`].
    pub fn partition_name(&self, partition: i32) -> String {
        let known = self.known.lock().expect("no holder panics");
        let path = known.numbers.iter().find(|(_, number)| **number == partition).map(|(path, _)| path);
        format!("{SCHEME}{}", path.expect("a number that was given").display())
    }

    /// Whether every path can be read, and what is in the files looks like readings.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn look(&self) -> Result<(), FilesError> {
        self.list()?.iter().try_for_each(|path| open::look(path, Kind::of(path)?, &self.domain))
    }

    /// All files there are now, in the order of their paths.
    fn list(&self) -> Result<Vec<PathBuf>, FilesError> {
        let mut files = Vec::new();
        for path in &self.paths {
            let failed = |error| FilesError::of(path, "looking for it", error);
            let whole = std::fs::canonicalize(path).map_err(failed)?;
            if !whole.is_dir() {
                Kind::of(&whole)?;
                files.push(whole);
                continue;
            }
            let mut held = Vec::new();
            for entry in std::fs::read_dir(&whole).map_err(failed)? {
                let name = entry.map_err(failed)?.path();
                // Copies under way have hidden names with many programs.
                let is_hidden =
                    name.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if is_hidden || Kind::of(&name).is_err() {
                    continue;
                }
                match std::fs::canonicalize(&name) {
                    Ok(file) if file.is_file() && Kind::of(&file).is_ok() => held.push(file),
                    _ => {}
                }
            }
            if held.is_empty() && !self.follow {
                return Err(FilesError::NothingThere { path: path.display().to_string() });
            }
            files.extend(held);
        }
        if let Some(odd) = files.iter().find(|path| path.to_str().is_none()) {
            return Err(FilesError::NotUtf8 { path: odd.display().to_string() });
        }
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// Where each file is taken up. Files that were read to their end and are as they were then are left out, unless
    /// they are followed.
    ///
    /// # Errors
    ///
    /// When a path cannot be read, or a file is not the one that was read.
    pub fn assign(&self, ledger: &Ledger) -> Result<Vec<Assigned>, FilesError> {
        let paths = self.list()?;
        {
            let mut known = self.known.lock().expect("no holder panics");
            let names = ledger.sources.iter();
            known.numbers = names
                .filter_map(|(partition, name)| Some((PathBuf::from(name.strip_prefix(SCHEME)?), *partition)))
                .collect();
            known.next = ledger.sources.keys().last().map_or(0, |last| last + 1);
            known.gaps = (0..known.next).filter(|number| !ledger.sources.contains_key(number)).collect();
            let cursor = |mark: &Mark| mark.position.cursor.as_deref().and_then(|cursor| cursor.parse().ok());
            let marks = ledger.marks.iter();
            known.before =
                marks.map(|mark| (mark.partition, (mark.position.next_offset, cursor(mark)))).collect();
        }
        let mut assigned = Vec::new();
        for path in paths {
            let file = self.file(&path)?;
            if open::is_finished(&file)? && !self.follow {
                continue;
            }
            assigned.push(Assigned {
                partition: file.partition,
                next_offset: file.next_offset,
                low_offset: 0,
                end_offset: file.next_offset,
                is_end_known: false,
            });
        }
        assigned.sort_by_key(|one| one.partition);
        let mut known = self.known.lock().expect("no holder panics");
        known.gaps.clear();
        known.first_new = known.next;
        Ok(assigned)
    }

    /// A file as the ledger has it.
    fn file(&self, path: &Path) -> Result<LogFile, FilesError> {
        let partition = self.number(path);
        let known = self.known.lock().expect("no holder panics");
        let (next_offset, cursor) = known.before.get(&partition).copied().unwrap_or_default();
        Ok(LogFile { partition, path: path.to_owned(), kind: Kind::of(path)?, next_offset, cursor })
    }

    /// The number of a file: the one it has, or the next free one.
    fn number(&self, path: &Path) -> i32 {
        let mut known = self.known.lock().expect("no holder panics");
        if let Some(number) = known.numbers.get(path) {
            return *number;
        }
        let number = known.gaps.pop_front().unwrap_or(known.next);
        known.next = known.next.max(number + 1);
        known.numbers.insert(path.to_owned(), number);
        number
    }

    /// Starts the reader of a worker's files.
    pub fn read(
        self: &Arc<Files>,
        share: Share,
        assigned: &[Assigned],
        wake: Wake,
        on_failure: OnSourceFailure,
    ) -> Intake {
        let (outlet, intake) = Outlet::new(wake);
        let paths: BTreeMap<i32, PathBuf> = {
            let known = self.known.lock().expect("no holder panics");
            known.numbers.iter().map(|(path, number)| (*number, path.clone())).collect()
        };
        let files = assigned.iter().map(|one| self.file(&paths[&one.partition]));
        let files: Result<Vec<LogFile>, FilesError> = files.collect();
        let source = self.clone();
        std::thread::Builder::new()
            .name(format!("files-{}", share.index))
            .spawn(move || {
                let read =
                    files.and_then(|files| reader::FilesReader::new(&source, share, files, &outlet).run());
                if let Err(error) = read {
                    on_failure(error.into());
                }
            })
            .expect("a reader needs a thread");
        intake
    }
}

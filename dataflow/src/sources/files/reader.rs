//! The reader thread of one worker: its files side by side, a bounded number at once, in the order of their numbers.
//!
//! ```text
//!  waiting ──▶ open ──▶ at its end ──(it grows, when followed)──▶ waiting
//! ```
//!
//! 1. At most [`OPEN_MAX`] files are open; one that waits does not count for W until its first line, so that years of
//!    files in the order of time need the memory of a few.
//! 2. The end of a file is sent only after the next one has begun: W does not run ahead between two files.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use citytide_core::batch::Chunk;
use citytide_core::position::Reach;
use citytide_store::clock::instant;

use super::cursor::Cursor;
use super::error::FilesError;
use super::lines::Line;
use super::open::{Open, stand_of};
use super::{Files, LogFile};
use crate::share::Share;
use crate::sources::outlet::Outlet;

/// Files that one worker has open at once.
const OPEN_MAX: usize = 16;
/// How often to scan for files that have grown, and directories for new ones.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// Sleep when there was nothing to read.
const IDLE_SLEEP: Duration = Duration::from_millis(20);

enum State {
    Waiting,
    Open(Box<Open>),
    /// Read to its end; the chunk that says so is still to be sent.
    EndUnsent(Cursor),
    /// Read as far as it goes; size and modification time as they were then.
    AtEnd((u64, i64)),
}

/// Reads the files of one share.
pub struct FilesReader<'a> {
    source: &'a Files,
    share: Share,
    files: BTreeMap<i32, (LogFile, State)>,
    outlet: &'a Outlet,
    scanned_at: Instant,
}

impl<'a> FilesReader<'a> {
    /// A reader of `files`, those of `share` that are known so far.
    pub fn new(source: &'a Files, share: Share, files: Vec<LogFile>, outlet: &'a Outlet) -> FilesReader<'a> {
        let files = files.into_iter().map(|file| (file.partition, (file, State::Waiting))).collect();
        FilesReader { source, share, files, outlet, scanned_at: instant() }
    }

    /// Reads until it is stopped.
    ///
    /// # Errors
    ///
    /// The first file that cannot be read on.
    pub fn run(mut self) -> Result<(), FilesError> {
        let (mut seen, mut paused) = (0, BTreeSet::new());
        while !self.outlet.control.stopped() {
            if let Some(changed) = self.outlet.control.paused_if_changed(&mut seen) {
                paused = changed;
            }
            self.open_some()?;
            let mut some = false;
            let partitions: Vec<i32> = self.files.keys().copied().collect();
            let is_open = |state: &State| matches!(state, State::Open(_));
            for partition in partitions.iter().filter(|one| !paused.contains(one)) {
                if is_open(&self.files[partition].1) {
                    some = true;
                    if !self.read_some(*partition)? {
                        return Ok(());
                    }
                }
            }
            for partition in partitions {
                if !self.send_end(partition)? {
                    return Ok(());
                }
            }
            if self.source.follow && instant().duration_since(self.scanned_at) >= SCAN_INTERVAL {
                self.scanned_at = instant();
                if !self.rescan()? {
                    return Ok(());
                }
            }
            if !some {
                std::thread::sleep(IDLE_SLEEP);
            }
        }
        Ok(())
    }

    fn open_some(&mut self) -> Result<(), FilesError> {
        let open = self.files.values().filter(|(_, state)| matches!(state, State::Open(_))).count();
        let waiting = self.files.values_mut().filter(|(_, state)| matches!(state, State::Waiting));
        for (file, state) in waiting.take(OPEN_MAX.saturating_sub(open)) {
            *state = match Open::at(file, &self.source.domain, !self.source.follow)? {
                Some(mut opened) => {
                    opened.next_offset = file.next_offset;
                    State::Open(Box::new(opened))
                }
                // The header is still to come.
                None => State::AtEnd((0, 0)),
            };
        }
        Ok(())
    }

    /// Passes on a chunk of an open file; `false` when the reader should end.
    fn read_some(&mut self, partition: i32) -> Result<bool, FilesError> {
        let (file, state) = self.files.get_mut(&partition).expect("a file of this reader");
        let State::Open(opened) = state else { return Ok(true) };
        let (_, received_at_ms) = opened.stand()?;
        let mut chunk = Chunk { partition, header: opened.header.clone(), ..Chunk::default() };
        let mut ended = false;
        while !chunk.is_full() {
            let offset = opened.next_offset;
            match opened.line(!self.source.follow)? {
                None => {
                    ended = true;
                    break;
                }
                Some(Line::Whole(b"")) => {}
                Some(Line::Whole(line)) => chunk.push(offset, received_at_ms, line),
                Some(Line::TooLong(kept, bytes)) => {
                    chunk.push(offset, received_at_ms, kept);
                    chunk.too_long.push((offset, bytes));
                }
            }
            opened.next_offset = offset + 1;
        }
        let cursor = opened.cursor();
        if opened.next_offset > file.next_offset {
            file.next_offset = opened.next_offset;
            file.cursor = Some(cursor);
            chunk.read_up_to = Some(opened.next_offset);
            chunk.reach.end_offset = opened.next_offset;
            chunk.cursor = Some(cursor.to_string().into());
        }
        if ended {
            *state = State::EndUnsent(Cursor { whole: Some(opened.stand()?), ..cursor });
        }
        Ok(chunk.read_up_to.is_none() || self.outlet.send(chunk))
    }

    /// Sends that a file has been read to its end; `false` when the reader should end.
    fn send_end(&mut self, partition: i32) -> Result<bool, FilesError> {
        let (file, state) = self.files.get_mut(&partition).expect("a file of this reader");
        let State::EndUnsent(cursor) = state else { return Ok(true) };
        let cursor = *cursor;
        *state = State::AtEnd(cursor.whole.unwrap_or_default());
        let reach = Reach { at_end: true, ..Reach::active(file.next_offset) };
        let mut chunk = Chunk { partition, reach, ended: !self.source.follow, ..Chunk::default() };
        if file.cursor.is_some() {
            file.cursor = Some(cursor);
            chunk.cursor = Some(cursor.to_string().into());
        }
        Ok(self.outlet.send(chunk))
    }

    /// Finds files that have grown, and new ones; `false` when the reader should end.
    fn rescan(&mut self) -> Result<bool, FilesError> {
        for (file, state) in self.files.values_mut() {
            let State::AtEnd(known) = state else { continue };
            match stand_of(&file.path)? {
                Some(now) if now != *known => *state = State::Waiting,
                // Unchanged, or gone: what was read of it stays.
                _ => {}
            }
        }
        if self.share.index == 0 {
            match self.source.list() {
                Ok(paths) => {
                    for path in paths {
                        self.source.number(&path);
                    }
                }
                // What was read of a file that is gone stays.
                Err(FilesError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let new: Vec<(i32, std::path::PathBuf)> = {
            let known = self.source.known.lock().expect("no holder panics");
            let is_new = |number: i32| number >= known.first_new && !self.files.contains_key(&number);
            let mine = |number: i32| self.share.reads(number) && is_new(number);
            let listed = known.numbers.iter().filter(|(_, number)| mine(**number));
            listed.map(|(path, number)| (*number, path.clone())).collect()
        };
        for (partition, path) in new {
            let file = self.source.file(&path)?;
            self.files.insert(partition, (file, State::Waiting));
            if !self.outlet.send(Chunk { partition, begins_at: Some(0), ..Chunk::default() }) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

//! Bytes → lines, bounded, with the place behind each: what a file's offsets are made of. Knows no file.
//!
//! 1. A line ends with `\n`; a `\r` before it belongs to the line end. What stands behind the last `\n` is a line only
//!    when nothing more is expected.
//! 2. Of a line longer than [`LINE_BYTES_MAX`] the first [`LONG_LINE_KEPT`] bytes are kept; memory stays bounded.
//! 3. A byte order mark at the very beginning is no part of the first line.

use std::hash::Hasher;
use std::io::{self, BufRead, Read};

use fnv::FnvHasher;

/// Longest line that is read as a record.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// What is kept of a longer one.
const LONG_LINE_KEPT: usize = 64 * 1024;
/// Bytes of a file's beginning by which it is known again.
pub const HEAD_BYTES: usize = 4096;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// FNV-1a, 64 bits, as the database keeps it: told from another beginning or another line, not proof against malice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint(FnvHasher::default().finish())
    }
}

impl Fingerprint {
    /// With further bytes.
    pub fn with(self, bytes: &[u8]) -> Fingerprint {
        let mut hasher = FnvHasher::with_key(self.0);
        hasher.write(bytes);
        Fingerprint(hasher.finish())
    }
}

/// A line that has just been read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes without the line end.
    Whole(&'a [u8]),
    /// Its beginning, and its length up to the line feed.
    TooLong(&'a [u8], u64),
}

/// Reads lines.
pub struct Lines<R> {
    reader: R,
    /// The line under way, as far as it is kept.
    line: Vec<u8>,
    /// What is read of it beyond that.
    skipped: Vec<u8>,
    /// Bytes of the line under way.
    length: u64,
    under_way: Fingerprint,
    /// Where the last line that was returned began and ended, and what it was.
    last: (u64, u64, Fingerprint),
    head: Vec<u8>,
    returned: bool,
}

impl<R: BufRead> Lines<R> {
    /// Lines from byte `at` on, which is behind a line end or 0; `head` are the bytes before it, as far as they are
    /// within [`HEAD_BYTES`].
    pub fn new(reader: R, at: u64, head: Vec<u8>) -> Lines<R> {
        Lines {
            reader,
            line: Vec::new(),
            skipped: Vec::new(),
            length: 0,
            under_way: Fingerprint::default(),
            last: (at, at, Fingerprint::default()),
            head,
            returned: false,
        }
    }

    /// The next line; `None` where there is none (yet). `is_whole` says that nothing more is expected.
    ///
    /// # Errors
    ///
    /// The reader's.
    pub fn next(&mut self, is_whole: bool) -> io::Result<Option<Line<'_>>> {
        if std::mem::take(&mut self.returned) {
            self.line.clear();
            (self.length, self.under_way) = (0, Fingerprint::default());
        }
        let ended = loop {
            let kept = self.line.len();
            let room = (LINE_BYTES_MAX + 3).saturating_sub(kept);
            let part = if room > 0 {
                Read::take(&mut self.reader, room as u64).read_until(b'\n', &mut self.line)?;
                &self.line[kept..]
            } else {
                self.skipped.clear();
                Read::take(&mut self.reader, LONG_LINE_KEPT as u64).read_until(b'\n', &mut self.skipped)?;
                &self.skipped[..]
            };
            if part.is_empty() {
                break false;
            }
            let at = self.last.1 + self.length;
            if at < HEAD_BYTES as u64 {
                self.head.extend_from_slice(&part[..part.len().min(HEAD_BYTES - at as usize)]);
            }
            self.length += part.len() as u64;
            self.under_way = self.under_way.with(part);
            if part.ends_with(b"\n") {
                break true;
            }
        };
        if !ended && (!is_whole || self.length == 0) {
            return Ok(None);
        }
        let (start, end) = (self.last.1, self.last.1 + self.length);
        self.last = (start, end, self.under_way);
        self.returned = true;
        if self.length > LINE_BYTES_MAX as u64 + 2 {
            return Ok(Some(Line::TooLong(&self.line[..LONG_LINE_KEPT], self.length - u64::from(ended))));
        }
        let mut line = &self.line[..];
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if start == 0 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.len() > LINE_BYTES_MAX {
            return Ok(Some(Line::TooLong(&line[..LONG_LINE_KEPT], self.length - u64::from(ended))));
        }
        Ok(Some(Line::Whole(line)))
    }

    /// Where the last line that was returned began and ended, and its fingerprint, line end included.
    pub fn last(&self) -> (u64, u64, Fingerprint) {
        self.last
    }

    /// The first bytes before the end of the last line.
    pub fn head(&self) -> &[u8] {
        &self.head[..self.head.len().min(usize::try_from(self.last.1).unwrap_or(usize::MAX))]
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(bytes: &[u8], capacity: usize, is_whole: bool) -> Vec<Result<Vec<u8>, u64>> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, bytes), 0, Vec::new());
        let mut read = Vec::new();
        while let Some(line) = lines.next(is_whole).expect("bytes in memory") {
            read.push(match line {
                Line::Whole(line) => Ok(line.to_vec()),
                Line::TooLong(kept, length) => {
                    assert_eq!(kept.len(), LONG_LINE_KEPT);
                    Err(length)
                }
            });
        }
        read
    }

    fn text(lines: &[&str]) -> Vec<Result<Vec<u8>, u64>> {
        lines.iter().map(|line| Ok(line.as_bytes().to_vec())).collect()
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        for capacity in [1, 2, 3, 7, 4096] {
            let bytes = b"\xef\xbb\xbfa\r\nbc\n\n\r\nlast";
            assert_eq!(read(bytes, capacity, true), text(&["a", "bc", "", "", "last"]));
            assert_eq!(
                read(bytes, capacity, false),
                text(&["a", "bc", "", ""]),
                "the last one has not ended"
            );
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_read_and_one_byte_more_is_too_long() {
        for end in ["\n", "\r\n", ""] {
            let bytes = [vec![b'x'; LINE_BYTES_MAX], end.as_bytes().to_vec()].concat();
            assert!(matches!(&read(&bytes, 4096, true)[..], [Ok(line)] if line.len() == LINE_BYTES_MAX));
            let bytes = [vec![b'x'; LINE_BYTES_MAX + 1], end.as_bytes().to_vec(), b"next".to_vec()].concat();
            let expected = LINE_BYTES_MAX + if end.is_empty() { "next".len() + 1 } else { end.len() };
            assert_eq!(read(&bytes, 4096, true)[0], Err(expected as u64));
        }
    }

    #[test]
    fn a_line_that_arrives_in_pieces_is_one_line_and_its_place_is_known() {
        let (first, second) = (&b"one\ntw"[..], &b"o\n"[..]);
        let mut pieces = [first, second].into_iter();
        struct Growing<'a>(&'a [u8]);
        impl Read for Growing<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                self.0.read(into)
            }
        }
        let mut lines = Lines::new(BufReader::new(Growing(pieces.next().expect("a piece"))), 0, Vec::new());
        assert_eq!(lines.next(false).expect("bytes"), Some(Line::Whole(b"one")));
        assert_eq!(lines.next(false).expect("bytes"), None);
        assert_eq!(lines.last(), (0, 4, Fingerprint::default().with(b"one\n")));
        lines.reader.get_mut().0 = pieces.next().expect("a piece");
        assert_eq!(lines.next(false).expect("bytes"), Some(Line::Whole(b"two")));
        assert_eq!(lines.last(), (4, 8, Fingerprint::default().with(b"two\n")));
        assert_eq!(lines.head(), b"one\ntwo\n");
    }
}

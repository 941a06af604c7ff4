//! How far a file has been read, and the fingerprints that identify it: the `ingest_progress.cursor` of a file.

use std::fmt;
use std::str::FromStr;

use super::lines::Fingerprint;

/// A place behind a line, with the fingerprints of the file's beginning and of that line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Bytes before the place; of a gzip file, of what it holds.
    pub bytes: u64,
    /// Where the last line before the place began.
    pub line: u64,
    /// Of the first bytes, at most as many as there are before the place.
    pub head: Fingerprint,
    /// Of that last line, line end included.
    pub last: Fingerprint,
    /// Size of the file itself and its modification time in milliseconds, once it has been read to its end.
    pub whole: Option<(u64, i64)>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { bytes, line, head, last, whole } = self;
        write!(f, "bytes={bytes} line={line} head={:016x} last={:016x}", head.0, last.0)?;
        whole.map_or(Ok(()), |(size, modified_ms)| write!(f, " size={size} modified={modified_ms}"))
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Cursor, ()> {
        let field = |name: &str| {
            let mut fields = text.split(' ').filter_map(|field| field.split_once('='));
            fields.find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        let number = |name| field(name).and_then(|value| value.parse().ok());
        let hash = |name| field(name).and_then(|value| u64::from_str_radix(value, 16).ok()).map(Fingerprint);
        let modified = field("modified").and_then(|value| value.parse().ok());
        Ok(Cursor {
            bytes: number("bytes").ok_or(())?,
            line: number("line").ok_or(())?,
            head: hash("head").ok_or(())?,
            last: hash("last").ok_or(())?,
            whole: number("size").zip(modified),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let place = Cursor {
            bytes: 1 << 40,
            line: 17,
            head: Fingerprint(3),
            last: Fingerprint(u64::MAX),
            whole: None,
        };
        for cursor in [place, Cursor { whole: Some((5, -1)), ..place }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert_eq!("bytes=1 line=0".parse::<Cursor>(), Err(()));
    }
}

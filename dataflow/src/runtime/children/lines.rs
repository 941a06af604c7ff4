//! What children write, a line at a time, for a supervisor that has the terminal to itself.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Bytes of one line; a longer one is handed over in pieces.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// Takes a line with its end, of any child. An empty one says that a child's stream has ended.
pub type OnLine = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Starts a thread that hands over each line of `stream` until that ends.
pub(super) fn forward(
    stream: impl Read + Send + 'static,
    on_line: OnLine,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("lines".to_owned()).spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        // A stream that cannot be read has ended too.
        while stream.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            on_line(&line);
            line.clear();
        }
        on_line(&[]);
    })
}

//! Lines that this process did not write, because whatever reads them is too slow or gone.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lines that were dropped, by stream.
#[derive(Debug, Default)]
pub struct DroppedLines {
    /// Of the log.
    pub log: AtomicU64,
    /// Of what `--show` prints.
    pub show: AtomicU64,
}

impl DroppedLines {
    /// Of the log and of `--show`, in this order.
    pub fn counts(&self) -> [u64; 2] {
        [&self.log, &self.show].map(|count| count.load(Ordering::Relaxed))
    }
}

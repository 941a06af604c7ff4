//! Where a reader thread puts its chunks: a bounded queue behind which it waits, unless it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use citytide_core::batch::Chunk;
use citytide_store::session::Wake;
use crossbeam_channel::{SendTimeoutError, Sender, bounded};

use super::{CHUNKS_QUEUED_MAX, Control, Intake};

/// How soon a reader that waits for room notices that it should stop.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The reader's end of an [`Intake`].
pub struct Outlet {
    chunks: Sender<Chunk>,
    /// What the worker asks of the reader.
    pub control: Arc<Control>,
    wake: Wake,
}

impl Outlet {
    /// Both ends; `wake` is called after every chunk.
    pub fn new(wake: Wake) -> (Outlet, Intake) {
        let (chunks, receiver) = bounded(CHUNKS_QUEUED_MAX);
        let control = Arc::new(Control::default());
        (Outlet { chunks, control: control.clone(), wake }, Intake { chunks: receiver, control })
    }

    /// Passes a chunk on; `false` when the reader should end.
    pub fn send(&self, mut chunk: Chunk) -> bool {
        loop {
            if self.control.stopped() {
                return false;
            }
            match self.chunks.send_timeout(chunk, POLL_INTERVAL) {
                Ok(()) => {
                    (self.wake)();
                    return true;
                }
                Err(SendTimeoutError::Disconnected(_)) => return false,
                Err(SendTimeoutError::Timeout(back)) => chunk = back,
            }
        }
    }
}

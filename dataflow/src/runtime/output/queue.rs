//! The queue before a stream: bounded, and adding to it never waits.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Bytes that wait at most; a single line may be longer.
const BYTES_MAX: usize = 1024 * 1024;
/// Lines that wait at most.
const LINES_MAX: usize = 8192;

/// Lines on their way to a stream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Taken,
    bytes: usize,
    /// Whether what was taken is not written yet.
    is_writing: bool,
}

/// Everything that waited, in order: lines, then the block, then the lines that found no room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) lines: Vec<Vec<u8>>,
    /// Whether the block has changed.
    pub(super) block: bool,
    /// Lines that were dropped after the ones that are here.
    pub(super) dropped: u64,
}

impl Queue {
    /// Puts lines in, unless there is no room; says whether there was.
    pub(super) fn put(&self, lines: &[u8]) -> bool {
        let mut state = self.lock();
        let is_full =
            state.waiting.lines.len() >= LINES_MAX || state.bytes.saturating_add(lines.len()) > BYTES_MAX;
        if state.waiting.dropped > 0 || is_full && !state.waiting.lines.is_empty() {
            // Nothing overtakes the place where lines are missing.
            state.waiting.dropped += 1;
            return false;
        }
        state.bytes += lines.len();
        state.waiting.lines.push(lines.to_vec());
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Asks for the block to be drawn.
    pub(super) fn put_block(&self) {
        self.lock().waiting.block = true;
        self.changed.notify_all();
    }

    /// Takes everything, once there is something. The caller says when it is [`Queue::written`].
    pub(super) fn take(&self) -> Taken {
        let is_idle = |state: &mut State| state.waiting == Taken::default();
        let mut state = self.changed.wait_while(self.lock(), is_idle).expect("no holder panics");
        state.is_writing = true;
        state.bytes = 0;
        std::mem::take(&mut state.waiting)
    }

    /// What was taken is written.
    pub(super) fn written(&self) {
        self.lock().is_writing = false;
        self.changed.notify_all();
    }

    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Waits until everything is written, for `patience` at most.
    pub(super) fn flush(&self, patience: Duration) {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |state| !state.is_empty());
        drop(waited.expect("no holder panics"));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    fn is_empty(&self) -> bool {
        !self.is_writing && self.waiting == Taken::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_lines_counts_them_and_lets_none_overtake_the_gap() {
        let queue = Queue::default();
        let line = [b'x'; 1024];
        let room = BYTES_MAX / line.len();
        (0..room).for_each(|at| assert!(queue.put(&line), "line {at} has room"));
        assert!(!queue.put(&line) && !queue.put(b"short\n"));
        let taken = queue.take();
        assert_eq!((taken.lines.len(), taken.dropped), (room, 2));
        assert!(queue.put(b"next\n"), "what was taken makes room");
        assert_eq!(queue.take(), Taken { lines: vec![b"next\n".to_vec()], block: false, dropped: 0 });
    }

    #[test]
    fn a_single_line_of_any_length_has_room_and_many_short_ones_have_not() {
        let queue = Queue::default();
        assert!(queue.put(&vec![b'x'; 2 * BYTES_MAX]));
        assert!(!queue.put(b"y\n"));
        queue.take();
        assert_eq!((0..=LINES_MAX).filter(|_| queue.put(b"\n")).count(), LINES_MAX);
    }

    #[test]
    fn a_block_that_changes_again_and_again_is_asked_for_once() {
        let queue = Queue::default();
        (0..3).for_each(|_| queue.put_block());
        assert_eq!(queue.take(), Taken { block: true, ..Taken::default() });
        assert!(!queue.is_empty(), "it is not written yet");
        queue.written();
        assert!(queue.is_empty());
    }
}

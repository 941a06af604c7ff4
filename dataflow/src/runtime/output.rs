//! Output: how every command writes to its standard streams.
//!
//! ```text
//!  a command:  print ──────────────────────────▶ standard output
//!  a run:      any thread ── lines ──▶ queue ── a thread ──▶ standard error: the log, and the block of a terminal
//!              any thread ── lines ──▶ queue ── a thread ──▶ standard output: what `--show` prints
//! ```
//!
//! Invariants:
//! 1. a reader that has closed its end is no mistake: a command ends as SIGPIPE ends programs, a run drains;
//! 2. no thread of a run waits for whoever reads its output: when a queue is full, lines are dropped and counted, and
//!    a line in their place says how many;
//! 3. a process that ends writes what waits, for [`FLUSH_MAX`] at most.

mod queue;

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use queue::{Queue, Taken};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::SIGPIPE;

use super::exit::Exit;
use crate::telemetry::DroppedLines;

/// How long the end of a process waits for whoever reads its output.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// The name of the threads that write.
const WRITER: &str = "output";

static QUEUES: OnceLock<Queues> = OnceLock::new();

#[derive(Debug)]
struct Queues {
    log: Arc<Queue>,
    show: Arc<Queue>,
    dropped: Arc<DroppedLines>,
    /// Whether whoever read standard output has gone.
    reader_is_gone: Arc<AtomicBool>,
    /// Set once the reader has gone.
    drain: Arc<OnceLock<Arc<AtomicBool>>>,
}

/// What is to be written on standard error.
#[derive(Debug)]
pub enum Part<'a> {
    /// Lines of the log.
    Lines(&'a [u8]),
    /// The block of a terminal.
    Block,
    /// A line that says that so many are missing.
    Dropped(u64),
}

/// Prints text of a command. Ends the process when standard output is closed.
pub fn print(text: impl Display) {
    let mut stdout = std::io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(reason) if reason.kind() == ErrorKind::BrokenPipe => end_without_reader(),
        Err(reason) => {
            tracing::error!("cannot print: {reason}");
            signal_hook::low_level::exit(Exit::Away.code());
        }
    }
}

/// Ends the process as a program ends that writes to a reader which has gone.
pub fn end_without_reader() -> ! {
    // It returns only where the signal cannot be raised.
    let _ = signal_hook::low_level::emulate_default_handler(SIGPIPE);
    signal_hook::low_level::exit(128 + SIGPIPE);
}

/// Prints a line of a command.
pub fn print_line(line: impl Display) {
    print(format_args!("{line}\n"));
}

/// From here on the log and what is shown go through queues, as a run needs it. `write` writes on standard error.
/// Where the system refuses a thread, everything is written as by other commands.
pub fn begin_queues(mut write: impl FnMut(Part<'_>) + Send + 'static) {
    let dropped = Arc::new(DroppedLines::default());
    let (log, show) = (Arc::<Queue>::default(), Arc::<Queue>::default());
    let (reader_is_gone, drain) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let log_thread = spawn(log.clone(), move |taken| {
        taken.lines.iter().for_each(|lines| write(Part::Lines(lines)));
        if taken.block {
            write(Part::Block);
        }
        if taken.dropped > 0 {
            write(Part::Dropped(taken.dropped));
        }
    });
    let mut shown = Shown { dropped: dropped.clone(), reader_is_gone: reader_is_gone.clone(), drain };
    let drain = shown.drain.clone();
    let show_thread = spawn(show.clone(), move |taken| shown.write(&taken));
    if log_thread.and(show_thread).is_ok() {
        let _ = QUEUES.set(Queues { log, show, dropped, reader_is_gone, drain });
    }
}

fn spawn(queue: Arc<Queue>, mut write: impl FnMut(Taken) + Send + 'static) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(WRITER.to_owned()).spawn(move || {
        loop {
            write(queue.take());
            queue.written();
        }
    });
    thread.map(drop)
}

/// Writes lines of the log; `false` when they must be written by the caller, for there is no queue.
pub fn log(lines: &[u8]) -> bool {
    // A thread that writes cannot wait for itself.
    let Some(queues) = QUEUES.get().filter(|_| std::thread::current().name() != Some(WRITER)) else {
        return false;
    };
    count(&queues.dropped.log, queues.log.put(lines));
    true
}

/// Shows a line on standard output.
pub fn show(line: &str) {
    match QUEUES.get() {
        Some(queues) => count(&queues.dropped.show, queues.show.put(format!("{line}\n").as_bytes())),
        None => print_line(line),
    }
}

/// The block of the terminal has changed.
pub fn block_changed() {
    if let Some(queues) = QUEUES.get() {
        queues.log.put_block();
    }
}

fn count(dropped: &AtomicU64, has_room: bool) {
    if !has_room {
        dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether everything that was logged is written.
pub fn log_is_written() -> bool {
    QUEUES.get().is_none_or(|queues| queues.log.is_empty())
}

/// The count of lines that were dropped.
pub fn dropped_lines() -> Arc<DroppedLines> {
    QUEUES.get().map(|queues| queues.dropped.clone()).unwrap_or_default()
}

/// Writes what waits, before the process ends.
pub fn flush() {
    if let Some(queues) = QUEUES.get().filter(|_| std::thread::current().name() != Some(WRITER)) {
        queues.show.flush(FLUSH_MAX);
        queues.log.flush(FLUSH_MAX);
    }
}

/// Sets `drain` once whoever reads standard output has gone.
pub fn drain_without_reader(drain: Arc<AtomicBool>) {
    if let Some(queues) = QUEUES.get() {
        let drain = queues.drain.get_or_init(|| drain);
        if queues.reader_is_gone.load(Ordering::Relaxed) {
            drain.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether whoever reads standard output has gone, for a process that writes nothing there itself.
pub fn reader_is_gone() -> bool {
    let stdout = std::io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok_and(|answers| answers > 0)
        && asked[0].revents().contains(PollFlags::ERR)
}

/// The thread of what is shown.
struct Shown {
    dropped: Arc<DroppedLines>,
    reader_is_gone: Arc<AtomicBool>,
    drain: Arc<OnceLock<Arc<AtomicBool>>>,
}

impl Shown {
    fn write(&mut self, taken: &Taken) {
        for line in &taken.lines {
            self.write_line(line);
        }
        if taken.dropped > 0 {
            let missing = taken.dropped;
            self.write_line(
                format!("… {missing} lines are missing here: they were read too slowly\n").as_bytes(),
            );
        }
    }

    fn write_line(&mut self, line: &[u8]) {
        if self.reader_is_gone.load(Ordering::Relaxed) {
            return self.drain();
        }
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(line).and_then(|()| stdout.flush()) {
            Ok(()) => {}
            Err(reason) if reason.kind() == ErrorKind::BrokenPipe => {
                self.reader_is_gone.store(true, Ordering::Relaxed);
                self.drain();
            }
            // A full disk, say: what is committed matters more.
            Err(_) => count(&self.dropped.show, false),
        }
    }

    fn drain(&self) {
        if let Some(drain) = self.drain.get()
            && !drain.swap(true, Ordering::Relaxed)
        {
            tracing::info!("standard output was closed: draining");
        }
    }
}

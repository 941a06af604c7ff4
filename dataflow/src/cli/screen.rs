//! The terminal of a run: the log scrolls by, and a block of a few lines stays below it.
//!
//! ```text
//!  12:35:44 process 0 of 1: 4 partitions of kafka:sensor-data, 2 worker(s)     ← goes by
//!  rate      12,002/s · lag 0, caught up · last commit 0.1 s ago               ← stays, drawn anew in place
//!  watermark 7 s behind · 0: 5 s · 1: 7 s
//!  ▌                                                                           ← the cursor
//! ```
//!
//! Invariants:
//! 1. one process writes to the terminal: the supervisor, to which its members hand everything (see `run::report`), or
//!    the only process there is. One thread of it writes (see `runtime::output`): lines stay whole, and no thread waits
//!    for a stopped terminal;
//! 2. the cursor rests in the first column below the block, is never hidden, and colours are closed on each line: a
//!    process that is killed leaves a terminal that works;
//! 3. in the background, or after it, there is no block to go back to: the shell has written meanwhile.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::getpgrp;
use rustix::termios::{tcgetpgrp, tcgetwinsize};
use signal_hook::consts::SIGCONT;

use super::status::Line;
use crate::runtime::output::{self, Part};

/// Whether this process draws on the terminal.
static IS_LIVE: AtomicBool = AtomicBool::new(false);
/// The block that is to be drawn next.
static NEXT: Mutex<Option<Vec<Line>>> = Mutex::new(None);

struct Screen {
    picture: Picture,
    colours: bool,
    /// Set when the process was stopped and goes on.
    continued: Arc<AtomicBool>,
}

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    columns: usize,
    rows: usize,
}

/// From here on the log goes through a queue. With `colours` given this process takes the terminal that standard error
/// is, and they say whether there may be any. `missing` is the line that tells how many were dropped.
pub fn begin(colours: Option<bool>, missing: impl Fn(u64) -> String + Send + 'static) {
    IS_LIVE.store(colours.is_some(), Ordering::Relaxed);
    let mut screen = colours.map(Screen::new);
    output::begin_queues(move |part| {
        let missing = |lines| missing(lines).into_bytes();
        match (&mut screen, part) {
            (Some(screen), Part::Lines(lines)) => screen.above(lines),
            (Some(screen), Part::Dropped(lines)) => screen.above(&missing(lines)),
            (Some(screen), Part::Block) => {
                if let Some(block) = NEXT.lock().expect("no holder panics").take() {
                    screen.draw(|picture, size, colours| picture.show(block, size, colours));
                }
            }
            (None, Part::Lines(lines)) => write_all(lines),
            (None, Part::Dropped(lines)) => write_all(&missing(lines)),
            (None, Part::Block) => {}
        }
    });
}

/// Whether this process has taken the terminal.
pub fn is_live() -> bool {
    IS_LIVE.load(Ordering::Relaxed)
}

/// Columns that a line may have.
pub fn columns() -> usize {
    size().columns - 1
}

/// Writes lines of the log, above the block if there is one.
pub fn log(lines: &[u8]) {
    if !output::log(lines) {
        write_all(lines);
    }
}

/// Shows a line on standard output, above the block if there is one.
pub fn print(line: &str) {
    match is_live() {
        true => log(line.as_bytes()),
        false => output::show(line),
    }
}

/// Draws a block in place of the one that is there.
pub fn show(block: Vec<Line>) {
    if is_live() {
        *NEXT.lock().expect("no holder panics") = Some(block);
        output::block_changed();
    }
}

/// Takes the block away.
pub fn end() {
    show(Vec::new());
}

/// What the log writes to.
pub struct Log;

impl Write for Log {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<usize> {
        log(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write_all(bytes: &[u8]) {
    // When standard error cannot be written there is nowhere to report it.
    let _ = std::io::stderr().lock().write_all(bytes);
}

impl Screen {
    fn new(colours: bool) -> Screen {
        let continued = Arc::new(AtomicBool::new(false));
        // Without it a block is drawn once in the wrong place after Ctrl-Z; no reason not to run.
        let _ = signal_hook::flag::register(SIGCONT, continued.clone());
        Screen { picture: Picture::default(), colours, continued }
    }

    fn above(&mut self, lines: &[u8]) {
        self.draw(|picture, size, colours| picture.above(lines, size, colours));
    }

    fn draw(&mut self, change: impl FnOnce(&mut Picture, Option<Size>, bool) -> Vec<u8>) {
        let background = is_background();
        if self.continued.swap(false, Ordering::Relaxed) || background {
            self.picture.forget();
        }
        let bytes = change(&mut self.picture, (!background).then(size), self.colours);
        if !bytes.is_empty() {
            write_all(&bytes);
        }
    }
}

/// Whether another process group has the terminal.
fn is_background() -> bool {
    tcgetpgrp(std::io::stderr()).ok() != Some(getpgrp())
}

/// The size of the terminal; that of old when it does not say.
fn size() -> Size {
    let (columns, rows) = tcgetwinsize(std::io::stderr()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    let known = |value: u16, otherwise| if value == 0 { otherwise } else { usize::from(value) };
    Size { columns: known(columns, 80).max(2), rows: known(rows, 24) }
}

/// What stands on the terminal. Pure: it says what to write.
#[derive(Debug, Default)]
struct Picture {
    block: Vec<Line>,
    /// Columns of each line of the block as it was drawn.
    drawn: Vec<usize>,
}

impl Picture {
    /// The block has gone, or the cursor is somewhere else.
    fn forget(&mut self) {
        self.drawn.clear();
    }

    /// Lines go by. `size` is that of the terminal; `None` when the block must not be drawn.
    fn above(&mut self, lines: &[u8], size: Option<Size>, colours: bool) -> Vec<u8> {
        let mut bytes = self.erase(size);
        bytes.extend_from_slice(lines);
        if lines.last().is_some_and(|last| *last != b'\n') {
            bytes.push(b'\n');
        }
        self.draw(size, colours, &mut bytes);
        bytes
    }

    /// The block changes.
    fn show(&mut self, block: Vec<Line>, size: Option<Size>, colours: bool) -> Vec<u8> {
        self.block = block;
        let mut bytes = self.erase(size);
        self.draw(size, colours, &mut bytes);
        bytes
    }

    /// Goes back to the first line of the block. When the terminal has become narrower each line may have become
    /// several.
    fn erase(&mut self, size: Option<Size>) -> Vec<u8> {
        let columns = size.map_or(usize::MAX, |size| size.columns);
        let rows: usize = self.drawn.drain(..).map(|drawn| drawn.div_ceil(columns).max(1)).sum();
        if rows == 0 { Vec::new() } else { format!("\r\x1b[{rows}A\x1b[J").into_bytes() }
    }

    fn draw(&mut self, size: Option<Size>, colours: bool, bytes: &mut Vec<u8>) {
        let Some(size) = size else { return };
        // The last column stays free, or the cursor would hang over the edge; the last row is the cursor's.
        for line in self.block.iter().take(size.rows.saturating_sub(1)) {
            let line = line.cut(size.columns - 1);
            self.drawn.push(line.text.chars().count());
            bytes.extend_from_slice(line.painted(colours).as_bytes());
            bytes.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests;

//! The destination of readings: a topic or standard output.

use std::io::{BufWriter, ErrorKind, StdoutLock, Write};
use std::time::Duration;

use crate::failure::Failure;
use crate::kafka::Topic;

/// The result of offering a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    Accepted,
    /// Offer it again after [`Sink::rest`].
    QueueFull,
    /// The reader of standard output has closed it.
    Closed,
}

pub enum Sink {
    Topic(Topic),
    /// `partition<TAB>payload` lines.
    Lines(BufWriter<StdoutLock<'static>>),
}

impl Sink {
    /// Offers a reading. In a topic the truth is a header; lines carry the payload alone.
    pub fn offer(
        &mut self,
        partition: u32,
        key: &[u8],
        payload: &[u8],
        truth: Option<&str>,
    ) -> Result<Offer, Failure> {
        match self {
            Sink::Topic(topic) => Ok(if topic.send(partition, key, payload, truth)? {
                Offer::Accepted
            } else {
                Offer::QueueFull
            }),
            Sink::Lines(lines) => {
                let written = write!(lines, "{partition}\t")
                    .and_then(|()| lines.write_all(payload))
                    .and_then(|()| lines.write_all(b"\n"));
                offered(written)
            }
        }
    }

    /// Sleeps for `wait`, and handles acknowledgements or flushes.
    pub fn rest(&mut self, wait: Duration) -> Result<Offer, Failure> {
        match self {
            Sink::Topic(topic) => topic.serve(wait).map(|()| Offer::Accepted),
            Sink::Lines(lines) => {
                let flushed = if wait.is_zero() { Ok(()) } else { lines.flush() };
                std::thread::sleep(wait);
                offered(flushed)
            }
        }
    }

    /// Flushes standard output.
    pub fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Topic(_) => Ok(()),
            Sink::Lines(lines) => offered(lines.flush()).map(|_| ()),
        }
    }

    /// How many of the `sent` readings are acknowledged.
    pub fn delivered(&self, sent: u64) -> u64 {
        match self {
            Sink::Topic(topic) => topic.delivered(),
            Sink::Lines(_) => sent,
        }
    }

    /// Takes the notes for the user.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Sink::Topic(topic) => topic.notes(),
            Sink::Lines(_) => Vec::new(),
        }
    }

    /// Drops the unacknowledged ones of the `sent` readings.
    pub fn give_up(&self, sent: u64, patience_us: i64) -> Result<(), Failure> {
        match self {
            Sink::Topic(topic) => Err(topic.give_up(sent, patience_us)),
            Sink::Lines(_) => Ok(()),
        }
    }
}

/// A broken pipe is not an error: `head` closes it when it has enough.
fn offered(written: std::io::Result<()>) -> Result<Offer, Failure> {
    match written {
        Ok(()) => Ok(Offer::Accepted),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Offer::Closed),
        Err(error) => Err(Failure::Stdout(error)),
    }
}

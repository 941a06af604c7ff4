//! Where readings go: a topic, or lines on standard output.

use std::io::{BufWriter, ErrorKind, StdoutLock, Write};
use std::time::Duration;

use crate::failure::Failure;
use crate::kafka::Topic;

/// What became of a reading that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way.
    Yes,
    /// Not now; offer it again after [`Sink::rest`].
    NotYet,
    /// Nobody listens any more.
    Closed,
}

/// One of the two.
pub enum Sink {
    /// A Kafka topic.
    Topic(Topic),
    /// `partition<TAB>payload` lines.
    Lines(BufWriter<StdoutLock<'static>>),
}

impl Sink {
    /// Offers a reading. Its truth goes beside it where there is a beside: lines carry the payload alone.
    pub fn offer(
        &mut self,
        partition: u32,
        key: &[u8],
        payload: &[u8],
        truth: Option<&str>,
    ) -> Result<Taken, Failure> {
        match self {
            Sink::Topic(topic) => {
                Ok(if topic.send(partition, key, payload, truth)? { Taken::Yes } else { Taken::NotYet })
            }
            Sink::Lines(lines) => {
                let written = write!(lines, "{partition}\t")
                    .and_then(|()| lines.write_all(payload))
                    .and_then(|()| lines.write_all(b"\n"));
                taken(written)
            }
        }
    }

    /// Lets what was taken go on its way for as long as `wait`.
    pub fn rest(&mut self, wait: Duration) -> Result<Taken, Failure> {
        match self {
            Sink::Topic(topic) => topic.serve(wait).map(|()| Taken::Yes),
            Sink::Lines(lines) => {
                let flushed = if wait.is_zero() { Ok(()) } else { lines.flush() };
                std::thread::sleep(wait);
                taken(flushed)
            }
        }
    }

    /// Ends what is buffered here.
    pub fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Topic(_) => Ok(()),
            Sink::Lines(lines) => taken(lines.flush()).map(|_| ()),
        }
    }

    /// How many of the `sent` readings have arrived for certain.
    pub fn delivered(&self, sent: u64) -> u64 {
        match self {
            Sink::Topic(topic) => topic.delivered(),
            Sink::Lines(_) => sent,
        }
    }

    /// What there is to say meanwhile, once.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Sink::Topic(topic) => topic.notes(),
            Sink::Lines(_) => Vec::new(),
        }
    }

    /// Gives up what has not arrived of the `sent` readings.
    pub fn give_up(&self, sent: u64, patience_us: i64) -> Result<(), Failure> {
        match self {
            Sink::Topic(topic) => Err(topic.give_up(sent, patience_us)),
            Sink::Lines(_) => Ok(()),
        }
    }
}

/// A closed pipe is how `head` says that it has enough.
fn taken(written: std::io::Result<()>) -> Result<Taken, Failure> {
    match written {
        Ok(()) => Ok(Taken::Yes),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Taken::Closed),
        Err(error) => Err(Failure::Stdout(error)),
    }
}

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
    /// `partition<TAB>json` lines.
    Lines(BufWriter<StdoutLock<'static>>),
}

impl Sink {
    /// Offers a reading.
    pub fn offer(&mut self, partition: u32, key: &str, json: &[u8]) -> Result<Taken, Failure> {
        match self {
            Sink::Topic(topic) => {
                Ok(if topic.send(partition, key, json)? { Taken::Yes } else { Taken::NotYet })
            }
            Sink::Lines(lines) => {
                let written = write!(lines, "{partition}\t")
                    .and_then(|()| lines.write_all(json))
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

    /// Waits until everything of the `sent` readings has arrived.
    pub fn finish(&mut self, sent: u64) -> Result<(), Failure> {
        match self {
            Sink::Topic(topic) => topic.finish(sent),
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
}

/// A closed pipe is how `head` says that it has enough.
fn taken(written: std::io::Result<()>) -> Result<Taken, Failure> {
    match written {
        Ok(()) => Ok(Taken::Yes),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Taken::Closed),
        Err(error) => Err(Failure::Stdout(error)),
    }
}

//! The Kafka source: a consumer per worker on assigned partitions, no consumer group, no committed offsets.
//!
//! One thread per worker polls librdkafka and cuts each partition's records into chunks; a chunk leaves when it is
//! full or when nothing more is waiting, so that a quiet topic is as prompt as a busy one is efficient. All queues
//! are bounded: librdkafka's (`queued.max.messages.kbytes`), and ours (`CHUNKS_QUEUED_MAX`), behind which this
//! thread stops polling.

mod fetched;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use citytide_connection::Connection;
use crossbeam_channel::{SendTimeoutError, Sender, bounded};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::{Assigned, CHUNKS_QUEUED_MAX, Control, Intake};
use crate::batch::Chunk;
use crate::commit::ledger::Ledger;
use crate::commit::session::Wake;
use crate::launch::clock::{instant, wall_ms};
use fetched::{Fetched, Queue};

/// How long the broker may take to answer a question about the topic.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a poll waits for a record when nothing is pending.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// Trouble that lasts is told of this often: librdkafka reports every attempt to connect.
const WARN_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes that librdkafka holds for one worker.
const QUEUED_KBYTES_MAX: &str = "4096";

/// What the source asks of librdkafka; a user may replace what is not essential (see `citytide-connection`).
const SETTINGS: &[(&str, &str)] = &[
    ("client.id", "citytide"),
    // librdkafka asks for a group even where partitions are assigned; nothing joins it or commits to it.
    ("group.id", "citytide"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    // An offset that is gone ends the run; the next one finds it below the log's start and counts the loss.
    ("auto.offset.reset", "error"),
    ("queued.min.messages", "10000"),
    ("queued.max.messages.kbytes", QUEUED_KBYTES_MAX),
    // With the default of 1,000 ms a full queue puts the fetcher to sleep for a second.
    ("fetch.queue.backoff.ms", "4"),
    ("fetch.error.backoff.ms", "100"),
    ("fetch.wait.max.ms", "250"),
    ("fetch.max.bytes", "2097152"),
    ("socket.nagle.disable", "true"),
    ("reconnect.backoff.max.ms", "1000"),
    ("check.crcs", "false"),
];

/// What went wrong at Kafka, sorted by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSourceError {
    /// A restart helps once it is back.
    #[error(
        "cannot reach Kafka at {brokers} while {attempted}: {reason}; is it running, and are host and port right?"
    )]
    Away {
        /// The bootstrap servers.
        brokers: String,
        /// What was attempted.
        attempted: String,
        /// librdkafka's words.
        reason: String,
    },
    /// A restart does not help.
    #[error(
        "topic {topic} does not exist at {brokers}; create it, for example with\n  kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --partitions 4 --config message.timestamp.type=LogAppendTime"
    )]
    MissingTopic {
        /// The bootstrap servers.
        brokers: String,
        /// The topic.
        topic: String,
    },
    /// The topic is not the one that was read before.
    #[error(
        "partition {partition} of topic {topic} ends at offset {end_offset}, but the database has read it up to \
         {next_offset}: the topic was deleted and made again, or this is another cluster; use another database, or \
         another topic name"
    )]
    OtherTopic {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where its log ends.
        end_offset: i64,
        /// Where the ledger is.
        next_offset: i64,
    },
    /// Settings that librdkafka refuses, or credentials.
    #[error("{0}")]
    Unusable(String),
}

/// Where the topic is.
#[derive(Debug, Clone)]
pub struct Topic {
    /// How its brokers are reached.
    pub connection: Connection,
    /// Its name.
    pub name: String,
}

/// A partition's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The partition.
    pub partition: i32,
    /// The first offset that exists.
    pub low_offset: i64,
    /// The end offset.
    pub end_offset: i64,
}

/// Where librdkafka's own log and errors go. Errors come to `poll` as well, where they are judged; the end of a
/// partition is none.
struct Log;

impl ClientContext for Log {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if !matches!(error, KafkaError::PartitionEOF(_)) {
            tracing::debug!(%error, "librdkafka: {reason}");
        }
    }
}

impl ConsumerContext for Log {}

impl Topic {
    fn consumer(&self) -> Result<BaseConsumer<Log>, KafkaSourceError> {
        self.connection.client(SETTINGS).create_with_context(Log).map_err(|error| {
            KafkaSourceError::Unusable(format!("Kafka client for {}: {error}", self.connection))
        })
    }

    fn away(&self, attempted: &str, error: &KafkaError) -> KafkaSourceError {
        let reason = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown) => {
                "no broker answers".to_owned()
            }
            Some(code) => code.to_string(),
            None => error.to_string(),
        };
        KafkaSourceError::Away {
            brokers: self.connection.brokers().to_owned(),
            attempted: attempted.to_owned(),
            reason,
        }
    }

    /// The bounds of every partition, in the partitions' order.
    pub fn bounds(&self) -> Result<Vec<Bounds>, KafkaSourceError> {
        let consumer = self.consumer()?;
        let metadata = consumer
            .fetch_metadata(Some(&self.name), ANSWER_TIMEOUT)
            .map_err(|error| self.away("asking for the topic's partitions", &error))?;
        let missing = || KafkaSourceError::MissingTopic {
            brokers: self.connection.brokers().to_owned(),
            topic: self.name.clone(),
        };
        let topic = metadata.topics().first().ok_or_else(missing)?;
        if let Some(error) = topic.error() {
            let code = RDKafkaErrorCode::from(error);
            return Err(match code {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => missing(),
                RDKafkaErrorCode::TopicAuthorizationFailed => KafkaSourceError::Unusable(format!(
                    "Kafka at {} does not let this client read topic {}: {code}; grant it DESCRIBE and READ",
                    self.connection.brokers(),
                    self.name
                )),
                _ => KafkaSourceError::Away {
                    brokers: self.connection.brokers().to_owned(),
                    attempted: format!("asking for topic {}", self.name),
                    reason: code.to_string(),
                },
            });
        }
        let mut partitions: Vec<i32> = topic.partitions().iter().map(|partition| partition.id()).collect();
        if partitions.is_empty() {
            return Err(missing());
        }
        partitions.sort_unstable();
        let mut bounds = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let (low_offset, end_offset) =
                consumer.fetch_watermarks(&self.name, partition, ANSWER_TIMEOUT).map_err(|error| {
                    self.away(&format!("asking for the offsets of partition {partition}"), &error)
                })?;
            bounds.push(Bounds { partition, low_offset, end_offset });
        }
        Ok(bounds)
    }

    /// Where each partition is taken up; refuses a topic whose log ends below what has been committed.
    ///
    /// # Errors
    ///
    /// When Kafka does not answer, or when the topic is another one.
    pub fn assign(&self, ledger: &Ledger) -> Result<Vec<Assigned>, KafkaSourceError> {
        let bounds = self.bounds()?;
        let assigned = bounds.into_iter().map(|Bounds { partition, low_offset, end_offset }| {
            let known = ledger.marks.iter().find(|mark| mark.partition == partition);
            let next_offset = known.map_or(low_offset, |mark| mark.next_offset);
            if next_offset > end_offset {
                return Err(KafkaSourceError::OtherTopic {
                    topic: self.name.clone(),
                    partition,
                    end_offset,
                    next_offset,
                });
            }
            Ok(Assigned { partition, next_offset, low_offset, end_offset })
        });
        assigned.collect()
    }

    /// Starts the reader of the assigned partitions. `wake` is called after every chunk.
    pub fn read(
        &self,
        worker: usize,
        assigned: Vec<Assigned>,
        wake: Wake,
        on_failure: Arc<dyn Fn(KafkaSourceError) + Send + Sync>,
    ) -> Intake {
        let (chunks, receiver) = bounded(CHUNKS_QUEUED_MAX);
        let control = Arc::new(Control::default());
        let topic = self.clone();
        let held = control.clone();
        std::thread::Builder::new()
            .name(format!("kafka-{worker}"))
            .spawn(move || {
                let opened = topic.consumer().and_then(|consumer| {
                    let mut list = TopicPartitionList::new();
                    for one in &assigned {
                        let offset = Offset::Offset(one.next_offset.max(one.low_offset));
                        list.add_partition_offset(&topic.name, one.partition, offset)
                            .map_err(|error| topic.away("assigning partitions", &error))?;
                    }
                    consumer.assign(&list).map_err(|error| topic.away("assigning partitions", &error))?;
                    Ok(consumer)
                });
                let ended = opened.and_then(|consumer| {
                    let name = CString::new(topic.name.clone()).expect("a topic's name holds no NUL");
                    let (topic, queue) = (&topic, Queue::new(&consumer));
                    let reader = Reader {
                        topic,
                        name,
                        consumer: &consumer,
                        queue,
                        open: BTreeMap::new(),
                        chunks,
                        control: held,
                        wake,
                        warned_at: None,
                    };
                    reader.run(&assigned)
                });
                if let Err(error) = ended {
                    on_failure(error);
                }
            })
            .expect("a reader needs a thread");
        Intake { chunks: receiver, control }
    }
}

struct Reader<'a> {
    topic: &'a Topic,
    name: CString,
    consumer: &'a BaseConsumer<Log>,
    queue: Queue<'a, Log>,
    /// Chunks being filled, by partition.
    open: BTreeMap<i32, Chunk>,
    chunks: Sender<Chunk>,
    control: Arc<Control>,
    wake: Wake,
    /// When trouble was last told of.
    warned_at: Option<Instant>,
}

impl Reader<'_> {
    fn run(mut self, assigned: &[Assigned]) -> Result<(), KafkaSourceError> {
        for one in assigned {
            let lost_below = (one.low_offset > one.next_offset).then_some(one.low_offset);
            self.open
                .insert(one.partition, Chunk { partition: one.partition, lost_below, ..Chunk::default() });
        }
        let mut seen = 0;
        let mut pending = false;
        while !self.control.stopped() {
            if let Some(paused) = self.control.paused_if_changed(&mut seen) {
                self.pause(assigned, &paused)?;
            }
            let wait = if pending { Duration::ZERO } else { POLL_TIMEOUT };
            let mut full = Vec::new();
            let mut failed = Vec::new();
            let open = &mut self.open;
            let some = self.queue.take(wait, |fetched| match fetched {
                Fetched::Record { partition, offset, timestamp_ms, payload } => {
                    let chunk = open.get_mut(&partition).expect("an assigned partition");
                    chunk.at_end = false;
                    // Kafka's oldest message format had no timestamps.
                    chunk.push(offset, timestamp_ms.unwrap_or_else(|| wall_ms() as i64), payload);
                    if chunk.is_full() {
                        full.push(std::mem::replace(chunk, Chunk { partition, ..Chunk::default() }));
                    }
                }
                Fetched::End { partition, offset } => {
                    let chunk = open.get_mut(&partition).expect("an assigned partition");
                    chunk.at_end = true;
                    chunk.read_up_to = Some(offset);
                }
                Fetched::Failed(error) => failed.push(error),
            });
            failed.into_iter().try_for_each(|error| self.judge(error))?;
            if !some && pending {
                let said = |chunk: &Chunk| chunk.records() > 0 || chunk.at_end || chunk.lost_below.is_some();
                let ready = self.open.values_mut().filter(|chunk| said(chunk));
                full.extend(ready.map(|chunk| {
                    std::mem::replace(chunk, Chunk { partition: chunk.partition, ..Chunk::default() })
                }));
            }
            pending = some;
            if !full.into_iter().all(|chunk| self.send(chunk)) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Passes a chunk on; `false` when the reader should end.
    fn send(&self, mut chunk: Chunk) -> bool {
        chunk.end_offset = self.queue.end_offset(&self.name, chunk.partition);
        loop {
            match self.chunks.send_timeout(chunk, POLL_TIMEOUT) {
                Ok(()) => {
                    (self.wake)();
                    return true;
                }
                Err(SendTimeoutError::Disconnected(_)) => return false,
                Err(SendTimeoutError::Timeout(_)) if self.control.stopped() => return false,
                Err(SendTimeoutError::Timeout(back)) => chunk = back,
            }
        }
    }

    fn pause(&self, assigned: &[Assigned], paused: &BTreeSet<i32>) -> Result<(), KafkaSourceError> {
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        for one in assigned {
            let list = if paused.contains(&one.partition) { &mut pause } else { &mut resume };
            list.add_partition(&self.topic.name, one.partition);
        }
        let done = self.consumer.pause(&pause).and_then(|()| self.consumer.resume(&resume));
        done.map_err(|error| self.topic.away("pausing partitions", &error))
    }

    /// Transport errors pass by themselves: librdkafka reconnects. What does not ends the run.
    fn judge(&mut self, error: KafkaError) -> Result<(), KafkaSourceError> {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::Fatal
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => Err(self.topic.away("reading the topic", &error)),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Err(KafkaSourceError::Unusable(format!(
                    "Kafka at {} does not let this client read topic {}: {error}",
                    self.topic.connection.brokers(),
                    self.topic.name
                )))
            }
            _ if self.warned_at.is_some_and(|at| instant().duration_since(at) < WARN_INTERVAL) => Ok(()),
            _ => {
                self.warned_at = Some(instant());
                tracing::warn!(brokers = %self.topic.connection, %error, "Kafka is in trouble; waiting for it");
                Ok(())
            }
        }
    }
}

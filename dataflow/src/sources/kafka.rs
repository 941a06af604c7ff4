//! The Kafka source: a consumer per worker on assigned partitions, no consumer group, no committed offsets.
//!
//! One thread per worker polls librdkafka and cuts each partition's records into chunks; a chunk leaves when it is
//! full or when nothing more is waiting, so that a quiet topic is as prompt as a busy one is efficient. All queues
//! are bounded: librdkafka's (`queued.max.messages.kbytes`), and ours (`CHUNKS_QUEUED_MAX`), behind which this
//! thread stops polling.

mod error;
mod fetched;
mod group;
mod inquiry;
mod reader;

use std::ffi::CString;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use citytide_connection::{BrokerError, BrokerErrorKind, Connection, ErrorObserver};
use citytide_store::clock::instant;
use citytide_store::ledger::Ledger;
use citytide_store::origin::Origin;
use citytide_store::session::Wake;
use crossbeam_channel::bounded;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Assigned, CHUNKS_QUEUED_MAX, Control, Intake};
use crate::share::Share;
pub use error::KafkaSourceError;
pub use group::Group;
use inquiry::{Description, Inquiry};
use reader::TopicReader;

/// How long the broker may take to answer a question about the topic.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// How long all brokers may be down at once before a question is given up: a host may have several addresses.
const ALL_DOWN_MAX: Duration = Duration::from_millis(1_500);
/// How often an answer is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes that librdkafka holds for one worker.
const QUEUED_KBYTES_MAX: &str = "4096";
/// How often the topic is looked at for further partitions.
const REFRESH: &str = "topic.metadata.refresh.interval.ms";

/// What the source asks of librdkafka; a user may replace what is not essential (see `citytide-connection`).
const SETTINGS: &[(&str, &str)] = &[
    ("client.id", "citytide"),
    // librdkafka asks for a group even where partitions are assigned; nothing joins it or commits to it.
    ("group.id", "citytide"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    // An offset that is gone is judged by the reader: it counts what was lost and goes on behind it.
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
    (REFRESH, "10000"),
];

/// Where the topic is.
#[derive(Debug, Clone)]
pub struct Topic {
    /// How its brokers are reached.
    pub connection: Connection,
    pub name: String,
    /// Whether partitions that are added while it is read are read too.
    pub follow: bool,
    /// Its id and its cluster's when this process first saw it.
    seen: Arc<OnceLock<Origin>>,
}

/// A partition's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub partition: i32,
    /// The first offset that exists.
    pub low_offset: i64,
    /// The end offset.
    pub end_offset: i64,
}

impl Topic {
    /// A topic that has not been looked at.
    pub fn new(connection: Connection, name: String, follow: bool) -> Topic {
        Topic { connection, name, follow, seen: Arc::default() }
    }

    /// A client that reads.
    fn consumer(&self) -> Result<BaseConsumer<ErrorObserver>, KafkaSourceError> {
        self.client(&self.connection.client(SETTINGS))
    }

    /// A client that only asks: without a group, closing it takes no tenth of a second.
    fn inquirer(&self) -> Result<BaseConsumer<ErrorObserver>, KafkaSourceError> {
        let mut config = self.connection.client(SETTINGS);
        config.remove("group.id");
        self.client(&config)
    }

    fn client(&self, config: &ClientConfig) -> Result<BaseConsumer<ErrorObserver>, KafkaSourceError> {
        config.create_with_context(ErrorObserver::default()).map_err(|error| KafkaSourceError::Unusable {
            connection: self.connection.to_string(),
            reason: error.to_string(),
        })
    }

    /// How often further partitions are looked for; `None` for never.
    fn refresh(&self) -> Option<Duration> {
        let typed = self.connection.client(SETTINGS).get(REFRESH).and_then(|ms| ms.parse::<u64>().ok());
        typed.filter(|_| self.follow).map(Duration::from_millis)
    }

    fn c_name(&self) -> CString {
        CString::new(self.name.clone()).expect("a topic's name holds no NUL")
    }

    fn away(&self, attempted: &str, error: &KafkaError, observer: &ErrorObserver) -> KafkaSourceError {
        match observer.last() {
            Some(error) => self.failed(attempted, error),
            None => {
                let code = error.rdkafka_error_code();
                self.failed(attempted, BrokerError::of(code, &error.to_string()))
            }
        }
    }

    /// The error of a failed connection, by what can be done about it.
    fn failed(&self, attempted: &str, error: BrokerError) -> KafkaSourceError {
        let connection = self.connection.to_string();
        match error.kind {
            BrokerErrorKind::Untrusted => KafkaSourceError::Untrusted { connection, error },
            BrokerErrorKind::CertificateRefused | BrokerErrorKind::CredentialsRefused => {
                KafkaSourceError::Denied { connection, error }
            }
            _ => KafkaSourceError::Away {
                connection,
                attempted: attempted.to_owned(),
                reason: error.to_string(),
            },
        }
    }

    /// What a code about the topic itself means.
    fn refused(&self, code: RDKafkaErrorCode, observer: &ErrorObserver) -> KafkaSourceError {
        match code {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                KafkaSourceError::MissingTopic {
                    brokers: self.connection.brokers().to_owned(),
                    topic: self.name.clone(),
                }
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => KafkaSourceError::Forbidden {
                connection: self.connection.to_string(),
                topic: self.name.clone(),
                reason: code.to_string(),
            },
            _ => self.away("asking for the topic's partitions", &KafkaError::Global(code), observer),
        }
    }

    /// Asks the cluster about the topic. Brokers that are slow are waited for, those that refuse are not.
    fn describe(&self, consumer: &BaseConsumer<ErrorObserver>) -> Result<Description, KafkaSourceError> {
        let observer = consumer.context();
        let mut inquiry = Inquiry::new(consumer);
        inquiry.ask(&self.c_name(), ANSWER_TIMEOUT);
        let mut down_since: Option<Instant> = None;
        loop {
            if let Some(answer) = inquiry.answer(POLL_INTERVAL) {
                let description = answer.map_err(|code| self.refused(code, observer))?;
                observer.clear();
                self.seen.get_or_init(|| Origin {
                    topic_id: description.id.clone(),
                    cluster_id: consumer.client().fetch_cluster_id(ANSWER_TIMEOUT),
                });
                self.is_the_same(&description)?;
                return Ok(description);
            }
            // Nothing is assigned, so nothing is read; the client's errors come here.
            let _ = consumer.poll(Duration::ZERO);
            let attempted = "asking for the topic's partitions";
            if let Some(error) = observer.last().filter(BrokerError::is_final) {
                return Err(self.failed(attempted, error));
            }
            if observer.all_down() {
                let since = *down_since.get_or_insert_with(instant);
                if instant().duration_since(since) >= ALL_DOWN_MAX {
                    let none = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
                    return Err(self.away(attempted, &none, observer));
                }
            }
        }
    }

    /// The topic's id and its cluster's, once it has been looked at.
    pub fn origin(&self) -> Origin {
        let origin = self.seen.get().cloned().unwrap_or_default();
        if origin.topic_id.is_none() {
            tracing::warn!(
                "Kafka at {} has no topic ids (they came with 2.8): that topic {} was deleted and created again \
                 is noticed only when it ends below what has been read",
                self.connection,
                self.name
            );
        }
        origin
    }

    /// Refuses another topic of the same name.
    fn is_the_same(&self, description: &Description) -> Result<(), KafkaSourceError> {
        match (self.seen.get().and_then(|seen| seen.topic_id.as_ref()), &description.id) {
            (Some(before), Some(now)) if before != now => Err(KafkaSourceError::Recreated {
                topic: self.name.clone(),
                before: before.clone(),
                now: now.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The bounds of every partition, in the partitions' order.
    ///
    /// # Errors
    ///
    /// When Kafka does not answer, or when there is no such topic.
    pub fn bounds(&self) -> Result<Vec<Bounds>, KafkaSourceError> {
        let consumer = self.inquirer()?;
        let partitions = self.describe(&consumer)?.partitions;
        partitions.into_iter().map(|partition| self.bounds_of(&consumer, partition)).collect()
    }

    fn bounds_of(
        &self,
        consumer: &BaseConsumer<ErrorObserver>,
        partition: i32,
    ) -> Result<Bounds, KafkaSourceError> {
        let answer = consumer.fetch_watermarks(&self.name, partition, ANSWER_TIMEOUT);
        let (low_offset, end_offset) = answer.map_err(|error| {
            let attempted = format!("asking for the offsets of partition {partition}");
            self.away(&attempted, &error, consumer.context())
        })?;
        Ok(Bounds { partition, low_offset, end_offset })
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
            let next_offset = known.map_or(low_offset, |mark| mark.position.next_offset);
            if next_offset > end_offset {
                return Err(KafkaSourceError::OtherTopic {
                    topic: self.name.clone(),
                    partition,
                    end_offset,
                    next_offset,
                });
            }
            Ok(Assigned { partition, next_offset, low_offset, end_offset, is_end_known: true })
        });
        assigned.collect()
    }

    /// Starts the reader of the assigned partitions, and of those that are added in the worker's share. `wake` is
    /// called after every chunk.
    pub fn read(
        &self,
        share: Share,
        assigned: Vec<Assigned>,
        wake: Wake,
        on_failure: Arc<dyn Fn(KafkaSourceError) + Send + Sync>,
    ) -> Intake {
        let (chunks, receiver) = bounded(CHUNKS_QUEUED_MAX);
        let control = Arc::new(Control::default());
        let topic = self.clone();
        let held = control.clone();
        std::thread::Builder::new()
            .name(format!("kafka-{}", share.index))
            .spawn(move || {
                let ended = topic.consumer().and_then(|consumer| {
                    TopicReader::new(&topic, share, &consumer, chunks, held, wake).run(&assigned)
                });
                if let Err(error) = ended {
                    on_failure(error);
                }
            })
            .expect("a reader needs a thread");
        Intake { chunks: receiver, control }
    }
}

//! The Kafka topic: an idempotent producer with bounded queues.
//!
//! 1. A reading is sent to an explicit partition, in order. librdkafka retries until it is acknowledged, without
//!    reordering or duplicating; the caller bounds the wait ([`crate::patience`]). Readings that are dropped are
//!    therefore the last ones of each partition, never a gap.
//! 2. A full queue is not an error: the caller tries again later.
//! 3. The offset of each acknowledgement is compared with the one its reading was generated for, which detects another
//!    producer on the topic.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use citytide_connection::Connection;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::{Offset, TopicPartitionList};

use crate::failure::Failure;

const TRUTH_HEADER: &str = "truth";
/// How long a request may take, and after which part of it a broker that refuses connections counts as unreachable.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const REFUSED_AFTER: Duration = Duration::from_secs(1);
/// Bounds of the producer's queue.
const QUEUE_READINGS_MAX: u32 = 200_000;
const QUEUE_KBYTES_MAX: u32 = 98_304;
/// Most requests in flight per broker: the limit of an idempotent producer.
const IN_FLIGHT_MAX: u32 = 5;
/// Longest pause between two attempts to connect.
const RECONNECT_MS_MAX: u32 = 1_000;
/// Most delivery reports taken in a row: more than the queue can hold.
const REPORTS_MAX: u32 = QUEUE_READINGS_MAX;
/// Readings at the end of a partition that are asked for their event time: more than those that are damaged or late in
/// a row.
const LAST_READINGS: i64 = 64;
/// Most notes that wait to be printed.
const NOTES_MAX: usize = 16;

/// What librdkafka reports about the readings.
#[derive(Default)]
struct Deliveries {
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
    is_away: AtomicBool,
    last_error: Mutex<Option<String>>,
    notes: Mutex<Vec<String>>,
    /// By partition: the expected offset of the next acknowledgement.
    next_offsets: OnceLock<Vec<AtomicI64>>,
    is_shared: AtomicBool,
}

impl Deliveries {
    fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < NOTES_MAX {
            notes.push(note);
        }
    }

    /// Compares an offset with the expected one. It is negative if the broker had stored a retried batch before.
    fn compare(&self, partition: i32, offset: i64) {
        let Some(next) = self.next_offsets.get().and_then(|all| all.get(partition as usize)) else { return };
        if offset < 0 {
            next.fetch_add(1, Ordering::Relaxed);
        } else if next.swap(offset + 1, Ordering::Relaxed) != offset
            && !self.is_shared.swap(true, Ordering::Relaxed)
        {
            self.note(format!(
                "another producer writes to this topic: a reading of partition {partition} was stored at offset {offset}, \
                 not at the one it was generated for; it cannot be generated again from its offset, and the offsets in \
                 --truth are wrong"
            ));
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let mut last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        let code = error.rdkafka_error_code();
        // "All brokers are down" must not replace the reason why one is.
        if last_error.is_none() || code != Some(RDKafkaErrorCode::AllBrokersDown) {
            *last_error = Some(reason.to_owned());
        }
        match code {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    self.note(format!("no broker answers ({reason}); readings wait until one does"));
                }
            }
            // Not printed: a note follows once all brokers are down, and librdkafka reconnects.
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {}
            _ => self.note(format!("Kafka producer: {reason}")),
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
                self.compare(message.partition(), message.offset());
                if self.is_away.swap(false, Ordering::Relaxed) {
                    self.note("the broker is back".to_owned());
                }
            }
            Err((error, _)) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.first_failure.get_or_init(|| error.to_string());
            }
        }
    }
}

pub struct Topic {
    producer: BaseProducer<Deliveries>,
    connection: Connection,
    brokers: String,
    name: String,
    pub partitions: u32,
}

impl Topic {
    /// Finds the topic. It is never created: partitions and timestamp type are the user's choice.
    pub fn open(connection: &Connection, name: &str) -> Result<Topic, Failure> {
        let settings = [
            ("client.id", "citytide-generator"),
            ("linger.ms", "5"),
            ("batch.num.messages", "20000"),
            ("compression.type", "lz4"),
            ("queue.buffering.max.messages", &QUEUE_READINGS_MAX.to_string()),
            ("queue.buffering.max.kbytes", &QUEUE_KBYTES_MAX.to_string()),
            ("max.in.flight", &IN_FLIGHT_MAX.to_string()),
            ("reconnect.backoff.max.ms", &RECONNECT_MS_MAX.to_string()),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            // No timeout: a reading that is dropped while later ones are delivered would be a gap.
            ("message.timeout.ms", "0"),
        ];
        let brokers = connection.brokers();
        let producer: BaseProducer<Deliveries> = connection
            .client(&settings)
            .create_with_context(Deliveries::default())
            .map_err(|error| Failure::Producer { brokers: brokers.to_owned(), reason: error.to_string() })?;
        // Metadata of all topics: a request for one by name could create it.
        let metadata = ask(&producer, |wait| producer.client().fetch_metadata(None, wait))
            .map_err(|error| unreachable(&producer, brokers, &error))?;
        let partitions =
            metadata.topics().iter().find(|topic| topic.name() == name).map(|topic| topic.partitions().len());
        match partitions {
            Some(partitions) if partitions > 0 => Ok(Topic {
                producer,
                connection: connection.clone(),
                brokers: brokers.to_owned(),
                name: name.to_owned(),
                partitions: partitions as u32,
            }),
            _ => Err(Failure::NoTopic { topic: name.to_owned(), brokers: brokers.to_owned() }),
        }
    }

    /// The next offsets of the first `partitions` partitions.
    pub fn next_offsets(&self, partitions: u32) -> Result<Vec<i64>, Failure> {
        let end = |partition: u32| {
            let producer = &self.producer;
            ask(producer, |wait| producer.client().fetch_watermarks(&self.name, partition as i32, wait))
                .map(|(_, end)| end)
                .map_err(|error| unreachable(&self.producer, &self.brokers, &error))
        };
        let offsets: Vec<i64> = (0..partitions).map(end).collect::<Result<_, _>>()?;
        let _ =
            self.producer.context().next_offsets.set(offsets.iter().copied().map(AtomicI64::new).collect());
        Ok(offsets)
    }

    /// By partition: the newest event time among the last readings before `ends`; `None` where there are none. Records
    /// without a readable time count as of the end of time, so that nothing is sent twice.
    pub fn known_until_us(&self, ends: &[i64], time: &str) -> Result<Vec<Option<i64>>, Failure> {
        let mut known = vec![None; ends.len()];
        let unreachable = |error: &KafkaError| unreachable(&self.producer, &self.brokers, error);
        let settings = [
            ("client.id", "citytide-generator"),
            // No group is joined and nothing is committed, but librdkafka asks for a name.
            ("group.id", "citytide-generator"),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
        ];
        let consumer: BaseConsumer =
            self.connection.client(&settings).create().map_err(|error| unreachable(&error))?;
        let mut last = TopicPartitionList::new();
        for (partition, end) in ends.iter().enumerate() {
            let partition = partition as i32;
            let (low, _) = ask(&self.producer, |wait| {
                self.producer.client().fetch_watermarks(&self.name, partition, wait)
            })
            .map_err(|error| unreachable(&error))?;
            if low < *end {
                known[partition as usize] = Some(i64::MAX - 1);
                last.add_partition_offset(
                    &self.name,
                    partition,
                    Offset::Offset(low.max(end - LAST_READINGS)),
                )
                .map_err(|error| unreachable(&error))?;
            }
        }
        let mut unread = last.count();
        if unread == 0 {
            return Ok(known);
        }
        consumer.assign(&last).map_err(|error| unreachable(&error))?;
        while unread > 0 {
            match consumer.poll(ANSWER_MAX) {
                Some(Ok(record)) => {
                    let until_us = &mut known[record.partition() as usize];
                    if let Some(at_us) = record.payload().and_then(|payload| event_us(payload, time)) {
                        *until_us =
                            Some(until_us.filter(|other| *other < i64::MAX - 1).unwrap_or(at_us).max(at_us));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => unread -= 1,
                Some(Err(error)) => return Err(unreachable(&error)),
                None => {
                    let error = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                    return Err(unreachable(&error));
                }
            }
        }
        Ok(known)
    }

    /// Queues a reading with its truth in a header; `false` if the queue is full.
    pub fn send(
        &self,
        partition: u32,
        key: &[u8],
        payload: &[u8],
        truth: Option<&str>,
    ) -> Result<bool, Failure> {
        let mut record = BaseRecord::to(&self.name).partition(partition as i32).key(key).payload(payload);
        if truth.is_some() {
            record = record.headers(
                OwnedHeaders::new_with_capacity(1).insert(Header { key: TRUTH_HEADER, value: truth }),
            );
        }
        match self.producer.send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(self.refused(error.to_string())),
        }
    }

    /// Handles acknowledgements and sleeps for `wait`.
    ///
    /// # Errors
    ///
    /// A reading was refused.
    pub fn serve(&self, wait: Duration) -> Result<(), Failure> {
        let deliveries = self.producer.context();
        // A poll takes the report of one batch. With one poll a call, reports would pile up and their readings would
        // fill the queue; the little free room would then give small batches, and these even more reports.
        for _ in 0..REPORTS_MAX {
            let before = self.delivered() + deliveries.failed.load(Ordering::Relaxed);
            self.producer.poll(Duration::ZERO);
            if self.delivered() + deliveries.failed.load(Ordering::Relaxed) == before {
                break;
            }
        }
        // Sleep here: librdkafka counts whole milliseconds, so a poll for less would spin.
        std::thread::sleep(wait);
        if deliveries.failed.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.purge();
        Err(self.refused(deliveries.first_failure.get().cloned().unwrap_or_default()))
    }

    pub fn delivered(&self) -> u64 {
        self.producer.context().delivered.load(Ordering::Relaxed)
    }

    /// Takes the notes for the user.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.producer.context().notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Drops the unacknowledged ones of the `sent` readings.
    pub fn give_up(&self, sent: u64, patience_us: i64) -> Failure {
        self.purge();
        Failure::Undelivered {
            delivered: self.delivered(),
            sent,
            brokers: self.brokers.clone(),
            seconds: patience_us / 1_000_000,
            reason: last_error(&self.producer).unwrap_or_else(|| "no answer".to_owned()),
        }
    }

    fn purge(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.producer.poll(Duration::ZERO);
    }

    fn refused(&self, reason: String) -> Failure {
        Failure::Refused { topic: self.name.clone(), reason, delivered: self.delivered() }
    }
}

/// The event time of a payload, microseconds of the Unix epoch.
fn event_us(payload: &[u8], time: &str) -> Option<i64> {
    let reading: serde_json::Value = serde_json::from_slice(payload).ok()?;
    Some(DateTime::parse_from_rfc3339(reading.get(time)?.as_str()?).ok()?.timestamp_micros())
}

/// Sends a request; waits on after [`REFUSED_AFTER`] unless all brokers are down.
fn ask<T>(
    producer: &BaseProducer<Deliveries>,
    question: impl Fn(Duration) -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    question(REFUSED_AFTER).or_else(|error| {
        poll_events(producer);
        if producer.context().is_away.load(Ordering::Relaxed) {
            Err(error)
        } else {
            question(ANSWER_MAX - REFUSED_AFTER)
        }
    })
}

/// Serves librdkafka's events.
fn poll_events(producer: &BaseProducer<Deliveries>) {
    for _ in 0..NOTES_MAX {
        producer.poll(Duration::from_millis(1));
    }
}

/// The returned error says only that a request failed; the reason was an event.
fn unreachable(producer: &BaseProducer<Deliveries>, brokers: &str, error: &KafkaError) -> Failure {
    poll_events(producer);
    let reason = last_error(producer).unwrap_or_else(|| error.to_string());
    Failure::Unreachable { brokers: brokers.to_owned(), reason }
}

fn last_error(producer: &BaseProducer<Deliveries>) -> Option<String> {
    producer.context().last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

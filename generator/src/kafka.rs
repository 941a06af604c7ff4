//! The topic that is filled: an idempotent producer with bounded queues.
//!
//! 1. A reading is handed to an explicit partition, in order; librdkafka repeats what is not acknowledged, without
//!    changing that order and without a duplicate, until it is acknowledged: the bound on waiting is the caller's
//!    ([`crate::patience`]). What is given up is therefore the end of each partition's readings, never a gap.
//! 2. A full queue is no error: the caller is told and comes again.
//! 3. Each acknowledgement's offset is compared with the one its reading was made for, so that somebody else who
//!    writes to the topic is noticed.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use citytide_connection::Connection;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};

use crate::failure::Failure;

/// The header that carries the truth.
const TRUTH_HEADER: &str = "truth";
/// How long a question to the broker may take, and after how much of it a broker that refuses counts as away.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const REFUSAL: Duration = Duration::from_secs(1);
/// Most readings in the queue, and most memory for them.
const QUEUE_READINGS_MAX: u32 = 200_000;
const QUEUE_KBYTES_MAX: u32 = 98_304;
/// Most requests under way per broker: as many as an idempotent producer may have.
const IN_FLIGHT_MAX: u32 = 5;
/// Longest pause between two attempts to reach a broker that is away.
const RECONNECT_MS_MAX: u32 = 1_000;
/// Most reports of delivered batches that are taken in a row: more than the queue can hold.
const REPORTS_MAX: u32 = QUEUE_READINGS_MAX;
/// Most notes that wait to be said.
const NOTES_MAX: usize = 16;

/// What became of the readings, as told by librdkafka.
#[derive(Default)]
struct Deliveries {
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
    is_away: AtomicBool,
    last_words: Mutex<Option<String>>,
    notes: Mutex<Vec<String>>,
    /// By partition: the offset that the next acknowledgement should carry.
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

    /// Compares an offset with the expected one. A broker that has seen a repeated batch before may not tell it.
    fn compare(&self, partition: i32, offset: i64) {
        let Some(next) = self.next_offsets.get().and_then(|all| all.get(partition as usize)) else { return };
        if offset < 0 {
            next.fetch_add(1, Ordering::Relaxed);
        } else if next.swap(offset + 1, Ordering::Relaxed) != offset
            && !self.is_shared.swap(true, Ordering::Relaxed)
        {
            self.note(format!(
                "somebody else writes to this topic: a reading of partition {partition} came to lie at offset {offset}, \
                 not at the one it was made for; it cannot be made again from its offset, and --truth names others"
            ));
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let mut last_words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let code = error.rdkafka_error_code();
        // That all are down says less than why one is.
        if last_words.is_none() || code != Some(RDKafkaErrorCode::AllBrokersDown) {
            *last_words = Some(reason.to_owned());
        }
        match code {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    self.note(format!(
                        "no broker answers ({reason}); what is sent waits for one to come back"
                    ));
                }
            }
            // One line at the end of it is enough for a connection that comes and goes.
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {}
            _ => self.note(format!("the producer reports: {reason}")),
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

/// A topic at its brokers, ready to be filled.
pub struct Topic {
    producer: BaseProducer<Deliveries>,
    brokers: String,
    name: String,
    /// How many partitions it has.
    pub partitions: u32,
}

impl Topic {
    /// Finds the topic. It is never created: who creates it chooses its partitions and its clock.
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
            // Never by itself: a reading given up while later ones go on would be a gap.
            ("message.timeout.ms", "0"),
        ];
        let brokers = connection.brokers();
        let producer: BaseProducer<Deliveries> = connection
            .client(&settings)
            .create_with_context(Deliveries::default())
            .map_err(|error| Failure::Producer { brokers: brokers.to_owned(), reason: error.to_string() })?;
        // All topics: asking for one by name could create it.
        let metadata = ask(&producer, |wait| producer.client().fetch_metadata(None, wait))
            .map_err(|error| away(&producer, brokers, &error))?;
        let partitions =
            metadata.topics().iter().find(|topic| topic.name() == name).map(|topic| topic.partitions().len());
        match partitions {
            Some(partitions) if partitions > 0 => Ok(Topic {
                producer,
                brokers: brokers.to_owned(),
                name: name.to_owned(),
                partitions: partitions as u32,
            }),
            _ => Err(Failure::NoTopic { topic: name.to_owned(), brokers: brokers.to_owned() }),
        }
    }

    /// The offsets at which the first `partitions` partitions end, where the readings will go on.
    pub fn next_offsets(&self, partitions: u32) -> Result<Vec<i64>, Failure> {
        let end = |partition: u32| {
            let producer = &self.producer;
            ask(producer, |wait| producer.client().fetch_watermarks(&self.name, partition as i32, wait))
                .map(|(_, end)| end)
                .map_err(|error| away(&self.producer, &self.brokers, &error))
        };
        let offsets: Vec<i64> = (0..partitions).map(end).collect::<Result<_, _>>()?;
        let _ =
            self.producer.context().next_offsets.set(offsets.iter().copied().map(AtomicI64::new).collect());
        Ok(offsets)
    }

    /// Queues a reading, and its truth beside it; `false` when the queue is full: wait and come again.
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

    /// Serves acknowledgements for as long as `wait`, then says whether all is well.
    pub fn serve(&self, wait: Duration) -> Result<(), Failure> {
        let deliveries = self.producer.context();
        // A poll without a wait takes one report, of one batch. One for each round would let reports pile up, whose
        // readings fill the queue; what room there is then makes small batches, and small batches more reports.
        for _ in 0..REPORTS_MAX {
            let before = self.delivered() + deliveries.failed.load(Ordering::Relaxed);
            self.producer.poll(Duration::ZERO);
            if self.delivered() + deliveries.failed.load(Ordering::Relaxed) == before {
                break;
            }
        }
        // Polling for parts of a millisecond spins: librdkafka counts whole ones.
        std::thread::sleep(wait);
        if deliveries.failed.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.drop_the_rest();
        Err(self.refused(deliveries.first_failure.get().cloned().unwrap_or_default()))
    }

    /// How many readings were acknowledged.
    pub fn delivered(&self) -> u64 {
        self.producer.context().delivered.load(Ordering::Relaxed)
    }

    /// What there is to say meanwhile, once.
    pub fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.producer.context().notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives up what is not acknowledged of the `sent` readings, and says so.
    pub fn give_up(&self, sent: u64, patience_us: i64) -> Failure {
        self.drop_the_rest();
        Failure::Undelivered {
            delivered: self.delivered(),
            sent,
            brokers: self.brokers.clone(),
            seconds: patience_us / 1_000_000,
            reason: last_words(&self.producer).unwrap_or_else(|| "no answer".to_owned()),
        }
    }

    fn drop_the_rest(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.producer.poll(Duration::ZERO);
    }

    fn refused(&self, reason: String) -> Failure {
        Failure::Refused { topic: self.name.clone(), reason, delivered: self.delivered() }
    }
}

/// Asks the broker once; when it has refused so far, not again.
fn ask<T>(
    producer: &BaseProducer<Deliveries>,
    question: impl Fn(Duration) -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    question(REFUSAL).or_else(|error| {
        hear(producer);
        if producer.context().is_away.load(Ordering::Relaxed) {
            Err(error)
        } else {
            question(ANSWER_MAX - REFUSAL)
        }
    })
}

/// Lets librdkafka tell the context what it has to say.
fn hear(producer: &BaseProducer<Deliveries>) {
    for _ in 0..NOTES_MAX {
        producer.poll(Duration::from_millis(1));
    }
}

/// librdkafka's own error says only that it could not; why, it has told the context.
fn away(producer: &BaseProducer<Deliveries>, brokers: &str, error: &KafkaError) -> Failure {
    hear(producer);
    let reason = last_words(producer).unwrap_or_else(|| error.to_string());
    Failure::Away { brokers: brokers.to_owned(), reason }
}

fn last_words(producer: &BaseProducer<Deliveries>) -> Option<String> {
    producer.context().last_words.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

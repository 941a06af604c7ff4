//! The topic that is filled: an idempotent producer with a bounded queue.
//!
//! 1. A reading is handed to an explicit partition, in order; librdkafka repeats what is not acknowledged without
//!    changing that order, for up to [`DELIVERY_SECONDS_MAX`], so that a broker may go away and come back.
//! 2. A full queue is no error: the caller is told and comes again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::failure::Failure;

/// How long a question to the broker may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long librdkafka goes on trying to deliver a reading.
const DELIVERY_SECONDS_MAX: u64 = 300;
/// Most readings in the queue, and most memory for them.
const QUEUE_READINGS_MAX: u32 = 200_000;
const QUEUE_KBYTES_MAX: u32 = 98_304;
/// How long the readings that are still under way at the end are waited for.
const FLUSH_MAX: Duration = Duration::from_secs(30);

/// What became of the readings, as told by librdkafka.
#[derive(Default)]
struct Deliveries {
    delivered: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
    is_away: AtomicBool,
}

impl ClientContext for Deliveries {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    eprintln!(
                        "no broker answers ({reason}); trying again for up to {DELIVERY_SECONDS_MAX} s"
                    );
                }
            }
            // One line at the end of it is enough for a connection that comes and goes.
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {}
            _ => eprintln!("the producer reports: {reason}"),
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
                if self.is_away.swap(false, Ordering::Relaxed) {
                    eprintln!("the broker is back");
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
    pub fn open(brokers: &str, name: &str) -> Result<Topic, Failure> {
        let producer: BaseProducer<Deliveries> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "citytide-generator")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("batch.num.messages", "20000")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", QUEUE_READINGS_MAX.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX.to_string())
            .set("message.timeout.ms", (DELIVERY_SECONDS_MAX * 1_000).to_string())
            .create_with_context(Deliveries::default())
            .map_err(|error| Failure::Brokers { brokers: brokers.to_owned(), reason: error.to_string() })?;
        let away =
            |error: KafkaError| Failure::Away { brokers: brokers.to_owned(), reason: error.to_string() };
        // All topics: asking for one by name could create it.
        let metadata = producer.client().fetch_metadata(None, ANSWER_MAX).map_err(away)?;
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

    /// The offsets at which the first `partitions` partitions end.
    pub fn next_offsets(&self, partitions: u32) -> Result<Vec<i64>, Failure> {
        let end = |partition: u32| {
            self.producer
                .client()
                .fetch_watermarks(&self.name, partition as i32, ANSWER_MAX)
                .map(|(_, end)| end)
                .map_err(|error| Failure::Away { brokers: self.brokers.clone(), reason: error.to_string() })
        };
        (0..partitions).map(end).collect()
    }

    /// Queues a reading; `false` when the queue is full: wait and come again.
    pub fn send(&self, partition: u32, key: &str, json: &[u8]) -> Result<bool, Failure> {
        let record = BaseRecord::to(&self.name).partition(partition as i32).key(key).payload(json);
        match self.producer.send(record) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(Failure::Refused { topic: self.name.clone(), reason: error.to_string() }),
        }
    }

    /// Serves acknowledgements for as long as `wait`, then says whether all is well.
    pub fn serve(&self, wait: Duration) -> Result<(), Failure> {
        // Polling for parts of a millisecond spins: librdkafka counts whole ones.
        self.producer.poll(Duration::ZERO);
        std::thread::sleep(wait);
        self.undelivered(self.producer.context().failed.load(Ordering::Relaxed))
    }

    /// How many readings were acknowledged.
    pub fn delivered(&self) -> u64 {
        self.producer.context().delivered.load(Ordering::Relaxed)
    }

    /// Waits until all `sent` readings are acknowledged, for 30 s at most.
    pub fn finish(&self, sent: u64) -> Result<(), Failure> {
        // Its own error says only that time ran out; the counts say for how many.
        let _ = self.producer.flush(FLUSH_MAX);
        self.undelivered(sent - self.delivered())
    }

    fn undelivered(&self, count: u64) -> Result<(), Failure> {
        if count == 0 {
            return Ok(());
        }
        let reason = self.producer.context().first_failure.get().cloned();
        let reason = reason.unwrap_or_else(|| "no answer in time".to_owned());
        Err(Failure::Undelivered { count, brokers: self.brokers.clone(), reason })
    }
}

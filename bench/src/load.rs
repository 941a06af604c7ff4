//! A producer of the measurement's own: readings whose event time is the moment of `send`, to the microsecond, so
//! that a row tells when it was sent; or any other event time.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::stage::PARTITIONS;

const ZONES: [&str; 8] = [
    "Downtown",
    "University District",
    "Industrial Park",
    "Residential North",
    "Residential South",
    "Shopping District",
    "Tech Hub",
    "Medical Center",
];
/// Sensors that send.
const SENSORS: u64 = 400;
/// How often a paced load sends.
const TICK: Duration = Duration::from_millis(1);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Microseconds of the Unix epoch by this machine's clock.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i64
}

struct Failures(Arc<AtomicU64>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A producer on a topic.
pub struct Load {
    producer: ThreadedProducer<Failures>,
    topic: String,
    failures: Arc<AtomicU64>,
}

impl Load {
    /// Opens it; `linger_ms` is how long the client gathers records before it sends them.
    pub fn open(brokers: &str, topic: &str, linger_ms: u32) -> Result<Load> {
        let failures = Arc::new(AtomicU64::new(0));
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("linger.ms", linger_ms.to_string())
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", "200000")
            .create_with_context(Failures(failures.clone()))
            .context("a producer")?;
        Ok(Load { producer, topic: topic.to_owned(), failures })
    }

    /// Sends the reading `number` of a partition with this event time.
    pub fn send(&self, partition: i32, number: u64, time_us: i64) -> Result<()> {
        let sensor = number % (SENSORS / PARTITIONS as u64) * PARTITIONS as u64 + partition as u64;
        let time = chrono::DateTime::from_timestamp_micros(time_us).context("a time")?;
        let mut payload = String::with_capacity(192);
        write!(
            payload,
            r#"{{"sensor_id":"{sensor}","timestamp":"{}","zone":"{}","temperature":{}.{},"humidity":{}.5,"aqi":{},"noise_level":{}.0,"traffic_flow":{}}}"#,
            time.format("%Y-%m-%dT%H:%M:%S%.6fZ"),
            ZONES[sensor as usize % ZONES.len()],
            15 + number % 12,
            number % 10,
            40 + number % 30,
            if number % 20 == 7 { 320 } else { 50 + number % 60 },
            45 + number % 25,
            80 + number % 200,
        )?;
        loop {
            let record: BaseRecord<'_, (), str> =
                BaseRecord::to(&self.topic).partition(partition).payload(&payload);
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(TICK);
                }
                Err((error, _)) => return Err(error).context("sending a reading"),
            }
        }
    }

    /// Waits until everything is delivered.
    pub fn flush(&self) -> Result<()> {
        self.producer.flush(FLUSH_TIMEOUT).context("flushing")?;
        let failed = self.failures.load(Ordering::Relaxed);
        ensure!(failed == 0, "{failed} readings were not delivered");
        Ok(())
    }
}

/// A load of its own thread: `rate` readings per second, stamped as they are handed over, until it is ended.
pub struct Live {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Live {
    /// Starts it.
    pub fn start(brokers: &str, topic: &str, rate: u64) -> Result<Live> {
        let load = Load::open(brokers, topic, 5)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
                while sent < due {
                    load.send((sent % PARTITIONS as u64) as i32, sent / PARTITIONS as u64, now_us())?;
                    sent += 1;
                }
                std::thread::sleep(TICK);
            }
            load.flush()?;
            Ok(sent)
        });
        Ok(Live { stop, thread })
    }

    /// Ends it; returns how many readings it has sent.
    pub fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a load that does not panic")
    }
}

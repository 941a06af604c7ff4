//! A topic of the test's own. Partition, offset and timestamp of every record are known, because nobody else writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::folder::Folder;
use crate::load::Reading;
use crate::services::{Services, unique, wait_until};

/// The longest batch that a broker takes unless it is told otherwise (`message.max.bytes`).
const MESSAGE_BYTES_MAX: &str = "1048588";

/// What a record is, in the test's own words.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A well-formed reading: the oracle decides between accepted, late and dead by time and zones.
    Reading(Reading),
    /// A record that cannot be decoded, for this reason and in this field.
    Garbage {
        /// Reason.
        reason: &'static str,
        /// JSON name of the field.
        field: Option<String>,
    },
    /// An offset that Kafka never delivers: a control record, an aborted transaction, or what compaction removed before
    /// it was read.
    Gap,
    /// A record that was deleted before it could be read.
    Lost,
}

/// Headers of a record: names, which may repeat, and values, which may be null.
pub type Headers<'a> = [(&'a str, Option<&'a [u8]>)];

/// One offset of a partition.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Kafka's timestamp in milliseconds.
    pub received_at_ms: i64,
    /// The bytes.
    pub payload: Vec<u8>,
    /// What they mean.
    pub meaning: Meaning,
}

/// Whose clock stamps the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The test's.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// Who has the lead of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// Kafka's number of the node; -1 for nobody.
    pub node: i32,
    /// Replicas in sync, the leader's among them.
    pub in_sync: usize,
}

struct Failures(Arc<AtomicU64>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A topic that lives as long as the test, with the record of what was sent: by partition, in the order of offsets.
pub struct Topic {
    /// Its name.
    pub name: String,
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
    producer: ThreadedProducer<Failures>,
    failures: Arc<AtomicU64>,
    sent: Mutex<Vec<Vec<Sent>>>,
    /// The directory that stands in for the topic, where the source is files.
    pub folder: Option<Folder>,
}

impl Topic {
    /// No topic, but files.
    pub fn of_files(services: &Services, folder: Folder, partitions: i32) -> Topic {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &services.brokers);
        let failures = Arc::new(AtomicU64::new(0));
        Topic {
            name: String::new(),
            brokers: services.brokers.clone(),
            admin: config.create().expect("an admin client"),
            producer: producer(&services.brokers, &failures),
            failures,
            sent: Mutex::new(vec![Vec::new(); partitions as usize]),
            folder: Some(folder),
        }
    }

    /// Creates a topic.
    pub fn create(services: &Services, test: &str, partitions: i32, stamp: Stamp) -> Topic {
        Topic::replicated(services, test, partitions, stamp, 1)
    }

    /// Creates a topic of which `replicas` nodes hold every partition.
    pub fn replicated(
        services: &Services,
        test: &str,
        partitions: i32,
        stamp: Stamp,
        replicas: i32,
    ) -> Topic {
        let name = unique(test);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &services.brokers);
        let admin: AdminClient<DefaultClientContext> = config.create().expect("an admin client");
        let stamp = if stamp == Stamp::CreateTime { "CreateTime" } else { "LogAppendTime" };
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(replicas))
            .set("message.timestamp.type", stamp)
            .set("retention.ms", "-1");
        let created =
            block_on(admin.create_topics([&topic], &AdminOptions::new())).expect("creating a topic");
        created.into_iter().for_each(|result| {
            result.expect("creating a topic");
        });
        let failures = Arc::new(AtomicU64::new(0));
        let producer = producer(&services.brokers, &failures);
        let sent = Mutex::new(vec![Vec::new(); partitions as usize]);
        let brokers = services.brokers.clone();
        Topic { name, brokers, admin, producer, failures, sent, folder: None }
    }

    /// Sends one record. It is delivered at the latest when [`Topic::flush`] returns.
    pub fn send(&self, partition: i32, received_at_ms: i64, payload: Vec<u8>, meaning: Meaning) {
        let mut sent = self.sent.lock().expect("the record of what was sent");
        if let Some(folder) = &self.folder {
            sent[partition as usize].push(folder.line(payload, meaning));
            return folder.write_now_and_then(&sent);
        }
        loop {
            let record: BaseRecord<'_, (), [u8]> =
                BaseRecord::to(&self.name).partition(partition).timestamp(received_at_ms).payload(&payload);
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err((error, _)) => panic!("sending a record: {error}"),
            }
        }
        sent[partition as usize].push(Sent { received_at_ms, payload, meaning });
    }

    /// Sends a record with a key; no payload is a value that is null, a tombstone to compaction.
    pub fn send_keyed(
        &self,
        partition: i32,
        received_at_ms: i64,
        key: &str,
        payload: Option<Vec<u8>>,
        meaning: Meaning,
    ) {
        let mut sent = self.sent.lock().expect("the record of what was sent");
        let record = BaseRecord::to(&self.name).partition(partition).timestamp(received_at_ms).key(key);
        let record: BaseRecord<'_, str, [u8]> = match &payload {
            Some(payload) => record.payload(payload),
            None => record,
        };
        self.producer.send(record).map_err(|(error, _)| error).expect("sending a record");
        sent[partition as usize].push(Sent { received_at_ms, payload: payload.unwrap_or_default(), meaning });
    }

    /// Sends a record with a key and headers.
    pub fn send_with_headers(
        &self,
        partition: i32,
        received_at_ms: i64,
        payload: Vec<u8>,
        meaning: Meaning,
        headers: &Headers<'_>,
    ) {
        let mut sent = self.sent.lock().expect("the record of what was sent");
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }));
        let record = BaseRecord::to(&self.name)
            .partition(partition)
            .timestamp(received_at_ms)
            .key(b"key".as_slice())
            .payload(&payload)
            .headers(headers);
        self.producer.send(record).map_err(|(error, _)| error).expect("sending a record");
        sent[partition as usize].push(Sent { received_at_ms, payload, meaning });
    }

    /// Waits until everything is in the topic, at the offsets that the record of what was sent says.
    pub fn flush(&self) {
        if let Some(folder) = &self.folder {
            return folder.write(&self.sent());
        }
        self.producer.flush(Duration::from_secs(60)).expect("delivering records");
        assert_eq!(self.failures.load(Ordering::SeqCst), 0, "every record is delivered");
    }

    /// What was sent so far, by partition in the order of offsets.
    pub fn sent(&self) -> Vec<Vec<Sent>> {
        self.sent.lock().expect("the record of what was sent").clone()
    }

    /// Number of offsets used so far.
    pub fn offsets(&self) -> i64 {
        self.sent.lock().expect("the record of what was sent").iter().map(|log| log.len() as i64).sum()
    }

    /// The leader of every partition, as a broker sees it now.
    pub fn leaders(&self) -> Vec<Leader> {
        let metadata = self.producer.client().fetch_metadata(Some(&self.name), Duration::from_secs(10));
        let metadata = metadata.expect("a broker that answers");
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.name).expect("the topic");
        let leader = |partition: &rdkafka::metadata::MetadataPartition| Leader {
            node: partition.leader(),
            in_sync: partition.isr().len(),
        };
        topic.partitions().iter().map(leader).collect()
    }

    /// Sends records with a compression of their own.
    pub fn send_compressed(&self, partition: i32, codec: &str, records: Vec<(i64, Vec<u8>, Meaning)>) {
        self.flush();
        let producer: rdkafka::producer::BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("compression.type", codec)
            .set("linger.ms", "50")
            .create()
            .expect("a producer that compresses");
        let mut sent = self.sent.lock().expect("the record of what was sent");
        for (received_at_ms, payload, meaning) in records {
            let record: BaseRecord<'_, (), [u8]> =
                BaseRecord::to(&self.name).partition(partition).timestamp(received_at_ms).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).expect("sending a record");
            sent[partition as usize].push(Sent { received_at_ms, payload, meaning });
        }
        producer.flush(Duration::from_secs(30)).expect("delivering compressed records");
    }

    /// Gives the topic these settings, and the broker's defaults for all others.
    pub fn configure(&self, settings: &[(&str, &str)]) {
        let topic = AlterConfig::new(ResourceSpecifier::Topic(&self.name));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let changed = block_on(self.admin.alter_configs([&topic], &AdminOptions::new()));
        changed.expect("settings of the topic").into_iter().for_each(|result| {
            result.expect("settings of the topic");
        });
    }

    /// The offsets of a partition that a consumer is given now, from the first one to the end.
    pub fn delivered(&self, partition: i32) -> Vec<i64> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.name)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .expect("a consumer");
        let mut beginning = TopicPartitionList::new();
        beginning.add_partition_offset(&self.name, partition, Offset::Beginning).expect("an offset");
        consumer.assign(&beginning).expect("an assignment");
        let mut offsets = Vec::new();
        loop {
            match consumer.poll(Duration::from_secs(30)).expect("a broker that delivers") {
                Ok(record) => offsets.push(record.offset()),
                Err(KafkaError::PartitionEOF(_)) => return offsets,
                Err(error) => panic!("reading partition {partition}: {error}"),
            }
        }
    }

    /// Adds partitions until there are `count`.
    pub fn grow(&self, count: usize) {
        self.flush();
        let more = NewPartitions::new(&self.name, count);
        let grown =
            block_on(self.admin.create_partitions([&more], &AdminOptions::new())).expect("more partitions");
        grown.into_iter().for_each(|result| {
            result.expect("more partitions");
        });
        self.sent.lock().expect("the record of what was sent").resize(count, Vec::new());
        // The producer learns of them in its own time.
        wait_until("the producer knows the new partitions", Duration::from_secs(30), || {
            let metadata = self.producer.client().fetch_metadata(Some(&self.name), Duration::from_secs(5));
            metadata.is_ok_and(|all| all.topics().iter().any(|topic| topic.partitions().len() == count))
        });
    }

    /// Deletes the topic and makes another one of the same name; what was sent is forgotten.
    pub fn make_again(&mut self) {
        self.flush();
        let partitions = self.sent().len();
        let deleted = block_on(self.admin.delete_topics(&[&self.name], &AdminOptions::new()));
        deleted.expect("deleting the topic").into_iter().for_each(|result| {
            result.expect("deleting the topic");
        });
        let fresh = NewTopic::new(&self.name, partitions as i32, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "CreateTime")
            .set("retention.ms", "-1");
        // A topic is deleted in the broker's own time.
        wait_until("the topic is made again", Duration::from_secs(30), || {
            block_on(self.admin.create_topics([&fresh], &AdminOptions::new()))
                .is_ok_and(|made| made.iter().all(Result::is_ok))
        });
        // A producer holds on to the topic that it knew.
        self.producer = producer(&self.brokers, &self.failures);
        *self.sent.lock().expect("the record of what was sent") = vec![Vec::new(); partitions];
    }

    /// Sends records in a transaction of its own and commits or aborts it. A transaction ends with a control record.
    pub fn send_transaction(&self, partition: i32, records: Vec<(i64, Vec<u8>, Meaning)>, commit: bool) {
        self.flush();
        let producer: rdkafka::producer::BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("transactional.id", unique("transaction"))
            .create()
            .expect("a transactional producer");
        let limit = Duration::from_secs(30);
        producer.init_transactions(limit).expect("transactions");
        producer.begin_transaction().expect("a transaction");
        let mut sent = self.sent.lock().expect("the record of what was sent");
        let log = &mut sent[partition as usize];
        for (received_at_ms, payload, meaning) in records {
            let record: BaseRecord<'_, (), [u8]> =
                BaseRecord::to(&self.name).partition(partition).timestamp(received_at_ms).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).expect("sending in a transaction");
            let meaning = if commit { meaning } else { Meaning::Gap };
            log.push(Sent { received_at_ms, payload, meaning });
        }
        producer.flush(limit).expect("delivering a transaction");
        if commit { producer.commit_transaction(limit) } else { producer.abort_transaction(limit) }
            .expect("ending a transaction");
        log.push(Sent { received_at_ms: 0, payload: Vec::new(), meaning: Meaning::Gap });
        // The broker answers before it has written the control record.
        wait_until("the transaction has ended", limit, || {
            let ends = producer.client().fetch_watermarks(&self.name, partition, limit);
            ends.is_ok_and(|(_, end)| end == log.len() as i64)
        });
    }

    /// Deletes everything before `offset`, as retention does; what lies between `read` and `offset` is lost.
    pub fn delete_before(&self, partition: i32, read: i64, offset: i64) {
        self.flush();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.name, partition, Offset::Offset(offset)).expect("an offset");
        block_on(self.admin.delete_records(&offsets, &AdminOptions::new())).expect("deleting records");
        let mut sent = self.sent.lock().expect("the record of what was sent");
        for record in &mut sent[partition as usize][read as usize..offset as usize] {
            record.meaning = Meaning::Lost;
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        if self.folder.is_some() {
            return;
        }
        let deleted = block_on(self.admin.delete_topics(&[&self.name], &AdminOptions::new()));
        if let Err(error) = deleted {
            eprintln!("the topic {} could not be deleted: {error}", self.name);
        }
    }
}

fn producer(brokers: &str, failures: &Arc<AtomicU64>) -> ThreadedProducer<Failures> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("message.max.bytes", MESSAGE_BYTES_MAX)
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "1000000")
        .create_with_context(Failures(failures.clone()))
        .expect("a producer")
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

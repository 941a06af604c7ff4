//! Asks the cluster for a topic's id and partitions, without waiting for the answer.
//!
//! rdkafka wraps neither topic ids nor a question that does not block the thread that reads; so this room calls
//! `rd_kafka_DescribeTopics` (<https://docs.confluent.io/platform/current/clients/librdkafka/html/rdkafka_8h.html>)
//! itself. A topic id ([KIP-516](https://cwiki.apache.org/confluence/display/KAFKA/KIP-516%3A+Topic+Identifiers)) tells
//! a topic from another one that took its name; brokers before 2.8 have none.

use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;

/// A topic as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its id; `None` when the broker has none.
    pub id: Option<String>,
    /// Its partitions, ascending.
    pub partitions: Vec<i32>,
}

/// Questions about a topic, one at a time.
pub struct Inquiry<'a, C: ConsumerContext> {
    consumer: &'a BaseConsumer<C>,
    queue: *mut native::rd_kafka_queue_t,
    under_way: bool,
}

impl<'a, C: ConsumerContext> Inquiry<'a, C> {
    /// Nothing asked yet.
    pub fn new(consumer: &'a BaseConsumer<C>) -> Inquiry<'a, C> {
        // SAFETY: the client lives as long as `self`; the queue is destroyed in `drop`.
        let queue = unsafe { native::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Inquiry { consumer, queue, under_way: false }
    }

    /// Whether an answer is awaited.
    pub fn under_way(&self) -> bool {
        self.under_way
    }

    /// Asks about a topic; the answer, or that there is none, comes within `patience`.
    pub fn ask(&mut self, topic: &CStr, patience: Duration) {
        let client = self.consumer.client().native_ptr();
        let mut names = [topic.as_ptr()];
        let patience_ms = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
        let mut said: [c_char; 128] = [0; 128];
        // SAFETY: client and queue are alive; names and options are only borrowed for the call, which copies them, and
        // are destroyed once; `said` takes as many bytes as it is told to have.
        unsafe {
            let topics = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = native::rd_kafka_AdminOptions_new(client, operation);
            let set = native::rd_kafka_AdminOptions_set_request_timeout(
                options,
                patience_ms,
                said.as_mut_ptr(),
                said.len(),
            );
            assert_eq!(RDKafkaErrorCode::from(set), RDKafkaErrorCode::NoError, "a timeout is in range");
            native::rd_kafka_DescribeTopics(client, topics, options, self.queue);
            native::rd_kafka_AdminOptions_destroy(options);
            native::rd_kafka_TopicCollection_destroy(topics);
        }
        self.under_way = true;
    }

    /// The answer, if it comes within `wait`.
    pub fn answer(&mut self, wait: Duration) -> Option<Result<Description, RDKafkaErrorCode>> {
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is ours; the event is valid until it is destroyed, once, after its last use.
        unsafe {
            let event = native::rd_kafka_queue_poll(self.queue, wait_ms);
            if event.is_null() {
                return None;
            }
            let answer = described(event);
            native::rd_kafka_event_destroy(event);
            self.under_way = false;
            Some(answer)
        }
    }
}

impl<C: ConsumerContext> Drop for Inquiry<'_, C> {
    fn drop(&mut self) {
        // SAFETY: gives back what `new` made; an answer that still comes is dropped by librdkafka.
        unsafe { native::rd_kafka_queue_destroy(self.queue) };
    }
}

/// # Safety
///
/// `event` is an event that has not been destroyed.
unsafe fn described(event: *mut native::rd_kafka_event_t) -> Result<Description, RDKafkaErrorCode> {
    // SAFETY: everything that is read belongs to the event, which outlives this function, and arrays have as many
    // entries as librdkafka says. What is kept is copied.
    unsafe {
        match RDKafkaErrorCode::from(native::rd_kafka_event_error(event)) {
            RDKafkaErrorCode::NoError => {}
            code => return Err(code),
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let mut count = 0;
        let topics = native::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count != 1 {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let topic = *topics;
        let error = native::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            match RDKafkaErrorCode::from(native::rd_kafka_error_code(error)) {
                RDKafkaErrorCode::NoError => {}
                code => return Err(code),
            }
        }
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let known = !id.is_null()
            && (native::rd_kafka_Uuid_most_significant_bits(id) != 0
                || native::rd_kafka_Uuid_least_significant_bits(id) != 0);
        let id =
            known.then(|| CStr::from_ptr(native::rd_kafka_Uuid_base64str(id)).to_string_lossy().into_owned());
        let partitions = native::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let mut partitions: Vec<i32> = (0..count)
            .map(|index| native::rd_kafka_TopicPartitionInfo_partition(*partitions.add(index)))
            .collect();
        partitions.sort_unstable();
        Ok(Description { id, partitions })
    }
}

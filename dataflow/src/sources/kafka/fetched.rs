//! Records from librdkafka's consumer queue, many at a time and with the offset of a partition's end.
//!
//! `rdkafka::BaseConsumer::poll` takes the queue's lock and asks the clock for every record, and its `PartitionEOF`
//! drops the offset, without which control records at the end of a partition cannot be counted. So this room calls
//! `rd_kafka_consume_batch_queue`
//! (<https://docs.confluent.io/platform/current/clients/librdkafka/html/rdkafka_8h.html>) itself; everything else about
//! the consumer stays with rdkafka.
//!
//! A topic has labels if one of its records carries the header `truth`: then a record with it is anomalous, and one
//! without it, or with an empty one, is normal. librdkafka copies headers on request, which takes as long when there
//! are none: so of a backlog a sample is read, and of a live stream every header.

use std::ffi::{CStr, CString, c_int};
use std::ops::Range;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;

/// Records that are taken at once.
const BATCH: usize = 1024;
/// Records of a batch whose headers are looked at, one after the other.
const LOOKED_AT: usize = 64;
/// The header that tells the truth about an anomalous reading.
const TRUTH: &CStr = c"truth";

/// What the queue holds.
pub enum Fetched<'a> {
    /// A record.
    Record {
        partition: i32,
        offset: i64,
        /// Kafka's timestamp in milliseconds; `None` in its oldest message format.
        timestamp_ms: Option<i64>,
        /// Whether that is the sender's own (CreateTime) and not the broker's.
        is_senders: bool,
        /// Its value; empty for a tombstone.
        payload: &'a [u8],
        /// Whether its reading is anomalous, where the topic tells and it was looked at.
        is_anomalous: Option<bool>,
    },
    /// The partition has been read to its end.
    End {
        partition: i32,
        /// Everything below was delivered, or holds no record for us.
        offset: i64,
    },
    /// An error from librdkafka.
    Failed {
        /// The partition, where it is one's.
        partition: i32,
        /// What it is.
        code: RDKafkaErrorCode,
        /// In librdkafka's words.
        reason: String,
    },
}

/// The queue of a consumer.
pub struct Queue<'a, C: ConsumerContext> {
    consumer: &'a BaseConsumer<C>,
    queue: *mut native::rd_kafka_queue_t,
    messages: Vec<*mut native::rd_kafka_message_t>,
    /// What librdkafka logs; in a queue without events it would print it.
    said: *mut native::rd_kafka_queue_t,
    /// Which part of the next batch is looked at. It moves on: partitions and sensors may come in a rhythm.
    looked_at: usize,
    /// Whether the topic has told the truth of a record.
    is_labelled: bool,
}

impl<'a, C: ConsumerContext + ClientContext> Queue<'a, C> {
    /// The queue of a consumer with assigned partitions.
    pub fn new(consumer: &'a BaseConsumer<C>) -> Queue<'a, C> {
        // SAFETY: the client lives as long as `self`; the reference that is taken is given back in `drop`.
        let queue = unsafe { native::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        assert!(!queue.is_null(), "a consumer with a group.id has a queue");
        // SAFETY: the same; the client keeps a reference of its own to the queue of its log.
        let said = unsafe {
            let said = native::rd_kafka_queue_new(consumer.client().native_ptr());
            native::rd_kafka_set_log_queue(consumer.client().native_ptr(), said);
            said
        };
        Queue {
            consumer,
            queue,
            messages: vec![std::ptr::null_mut(); BATCH],
            said,
            looked_at: 0,
            is_labelled: false,
        }
    }

    /// Passes what librdkafka has logged meanwhile, its client-wide errors among it, to the consumer's context.
    pub fn listen(&self) {
        loop {
            // SAFETY: the queue is ours; an event is valid until it is destroyed, once, after its last use, and so are
            // the strings of a log event, which are the event's.
            unsafe {
                let event = native::rd_kafka_queue_poll(self.said, 0);
                if event.is_null() {
                    return;
                }
                let (mut facility, mut words, mut level) = (std::ptr::null(), std::ptr::null(), 0);
                if native::rd_kafka_event_log(event, &mut facility, &mut words, &mut level) == 0 {
                    let level = if level <= 3 { RDKafkaLogLevel::Error } else { RDKafkaLogLevel::Info };
                    let [facility, words] =
                        [facility, words].map(|text| CStr::from_ptr(text).to_string_lossy());
                    self.consumer.context().log(level, &facility, words.trim());
                }
                native::rd_kafka_event_destroy(event);
            }
        }
    }

    /// Waits for `wait` until there is something, then takes what is there, at most a batch. `false` when there was
    /// nothing.
    pub fn take(&mut self, wait: Duration, mut each: impl FnMut(Fetched<'_>)) -> bool {
        // librdkafka waits until it has as many as it is asked for: so for one, and then for no longer.
        let mut taken = if wait.is_zero() { 0 } else { self.consume(wait, 1, &mut each) };
        if taken > 0 || wait.is_zero() {
            taken += self.consume(Duration::ZERO, BATCH, &mut each);
        }
        taken > 0
    }

    fn consume(&mut self, wait: Duration, most: usize, each: &mut impl FnMut(Fetched<'_>)) -> usize {
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is ours and `messages` has room for BATCH >= `most` pointers.
        let taken = unsafe {
            native::rd_kafka_consume_batch_queue(self.queue, wait_ms, self.messages.as_mut_ptr(), most)
        };
        // It is negative only for a queue that cannot be consumed.
        let taken = usize::try_from(taken).expect("the consumer's queue can be consumed");
        let is_looked_at = sample(self.looked_at, taken);
        self.looked_at += 1;
        for (index, &message) in self.messages[..taken].iter().enumerate() {
            // SAFETY: librdkafka filled the first `taken` pointers with messages, each valid until it is destroyed,
            // which happens once, after the last reference to it is gone.
            unsafe {
                let mut is_anomalous = None;
                if is_looked_at.contains(&index) {
                    let told = truth(&*message);
                    self.is_labelled |= told.is_some();
                    is_anomalous = self.is_labelled.then_some(told == Some(true));
                }
                each(fetched(&*message, is_anomalous));
                native::rd_kafka_message_destroy(message);
            }
        }
        taken
    }

    /// A partition's end offset from the last fetch response; sends no request.
    pub fn end_offset(&self, topic: &CString, partition: i32) -> i64 {
        let (mut low, mut high) = (0, 0);
        // SAFETY: the client lives as long as `self`, the name is NUL-terminated, both results may be written.
        unsafe {
            native::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                partition,
                &mut low,
                &mut high,
            );
        }
        high
    }
}

impl<C: ConsumerContext> Drop for Queue<'_, C> {
    fn drop(&mut self) {
        // SAFETY: gives back the references that `new` took.
        unsafe {
            native::rd_kafka_queue_destroy(self.queue);
            native::rd_kafka_queue_destroy(self.said);
        }
    }
}

/// Which records of a batch are looked at, when it is the turn of a part of it.
fn sample(turn: usize, records: usize) -> Range<usize> {
    let from = turn % records.div_ceil(LOOKED_AT).max(1) * LOOKED_AT;
    from..from + LOOKED_AT
}

/// What the header of a record says, if there is one.
///
/// # Safety
///
/// `message` comes from librdkafka and is not destroyed meanwhile.
unsafe fn truth(message: &native::rd_kafka_message_t) -> Option<bool> {
    if message.err != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return None;
    }
    let (mut headers, mut value, mut bytes) = (std::ptr::null_mut(), std::ptr::null(), 0);
    // SAFETY: the message is valid; headers, which belong to it, are asked for their last one of that name only if
    // there are any; all results may be written.
    let found = unsafe {
        native::rd_kafka_message_headers(message, &mut headers)
            == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            && native::rd_kafka_header_get_last(headers, TRUTH.as_ptr(), &mut value, &mut bytes)
                == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    };
    found.then_some(bytes > 0)
}

/// # Safety
///
/// `message` comes from librdkafka and is not destroyed while the result lives.
unsafe fn fetched(message: &native::rd_kafka_message_t, is_anomalous: Option<bool>) -> Fetched<'_> {
    match RDKafkaErrorCode::from(message.err) {
        RDKafkaErrorCode::NoError => {
            let payload = match message.payload.is_null() {
                true => &[][..],
                // SAFETY: librdkafka owns `len` bytes there for as long as the message lives.
                false => unsafe { std::slice::from_raw_parts(message.payload.cast::<u8>(), message.len) },
            };
            let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: the message is valid and the kind may be written.
            let timestamp_ms = unsafe { native::rd_kafka_message_timestamp(message, &mut kind) };
            Fetched::Record {
                partition: message.partition,
                offset: message.offset,
                timestamp_ms: (timestamp_ms >= 0).then_some(timestamp_ms),
                is_senders: kind == native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME,
                payload,
                is_anomalous,
            }
        }
        RDKafkaErrorCode::PartitionEOF => {
            Fetched::End { partition: message.partition, offset: message.offset }
        }
        code => {
            // SAFETY: a message that is an error has words, which belong to it.
            let reason = unsafe { CStr::from_ptr(native::rd_kafka_message_errstr(message)) };
            let reason = reason.to_string_lossy().into_owned();
            Fetched::Failed { partition: message.partition, code, reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_records_are_all_looked_at_and_of_many_each_part_in_its_turn() {
        for turn in 0..20 {
            assert_eq!(sample(turn, 1), 0..LOOKED_AT);
            assert_eq!(sample(turn, LOOKED_AT), 0..LOOKED_AT);
        }
        for records in [LOOKED_AT + 1, 700, BATCH] {
            let parts = records.div_ceil(LOOKED_AT);
            let mut looked_at: Vec<usize> =
                (3..3 + parts).flat_map(|turn| sample(turn, records)).filter(|at| *at < records).collect();
            looked_at.sort_unstable();
            assert_eq!(looked_at, (0..records).collect::<Vec<_>>(), "{records}");
        }
    }
}

//! The thread that reads a worker's partitions: records into chunks, and what happens to a topic meanwhile.
//!
//! 1. A partition's chunks leave in log order, each when it is full or when nothing more is waiting.
//! 2. A partition that was added while the topic is read is announced by its first chunk (`begins_at`), by the one
//!    reader that it is assigned to.
//! 3. Offsets that retention deleted before they were read are recorded as lost (`lost_below`), never skipped.
//! 4. A record whose sender's timestamp (CreateTime) lies ahead of this machine's clock is passed on with what the clock
//!    said (`ahead`).
//! 5. A topic that took the name of the one that is being read ends the run.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use citytide_connection::{BrokerError, ErrorObserver};
use citytide_core::batch::Chunk;
use citytide_core::position::Reach;
use citytide_store::clock::{instant, wall_ms};
use citytide_store::session::Wake;
use crossbeam_channel::{SendTimeoutError, Sender};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::fetched::{Fetched, Queue};
use super::inquiry::Inquiry;
use super::{ANSWER_TIMEOUT, Bounds, KafkaSourceError, Topic};
use crate::share::Share;
use crate::sources::{Assigned, Control};

/// How long a poll waits for a record when nothing is pending.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// Errors are logged this often at most: librdkafka reports every attempt to connect.
const WARN_INTERVAL: Duration = Duration::from_secs(5);

/// One partition.
struct Log {
    /// The chunk that is being filled.
    open: Chunk,
    /// Everything below is in chunks that have left, or was lost.
    sent_up_to: i64,
}

impl Log {
    fn new(open: Chunk, sent_up_to: i64) -> Log {
        Log { open, sent_up_to }
    }

    /// The next offset that is expected.
    fn next_offset(&self) -> i64 {
        let behind = self.open.offsets.last().map_or(0, |last| last + 1);
        self.sent_up_to.max(behind).max(self.open.read_up_to.unwrap_or(0))
    }

    /// The open chunk, to be sent.
    fn take(&mut self) -> Chunk {
        self.sent_up_to = self.next_offset();
        let fresh = Chunk { partition: self.open.partition, ..Chunk::default() };
        std::mem::replace(&mut self.open, fresh)
    }

    /// Whether the open chunk says anything.
    fn says_something(&self) -> bool {
        let chunk = &self.open;
        chunk.records() > 0 || chunk.reach.at_end || chunk.lost_below.is_some() || chunk.begins_at.is_some()
    }
}

/// What librdkafka said of a partition.
struct Failure {
    partition: i32,
    code: RDKafkaErrorCode,
    reason: String,
}

/// Reads the partitions of one worker.
pub struct TopicReader<'a> {
    topic: &'a Topic,
    name: CString,
    share: Share,
    consumer: &'a BaseConsumer<ErrorObserver>,
    queue: Queue<'a, ErrorObserver>,
    inquiry: Inquiry<'a, ErrorObserver>,
    /// How often the topic's partitions are asked for, and when next.
    refresh: Option<(Duration, Instant)>,
    logs: BTreeMap<i32, Log>,
    paused: BTreeSet<i32>,
    chunks: Sender<Chunk>,
    control: Arc<Control>,
    wake: Wake,
    /// When an error was last logged.
    warned_at: Option<Instant>,
    /// What the wall clock said when it was last asked, milliseconds.
    clock_ms: i64,
}

impl<'a> TopicReader<'a> {
    pub fn new(
        topic: &'a Topic,
        share: Share,
        consumer: &'a BaseConsumer<ErrorObserver>,
        chunks: Sender<Chunk>,
        control: Arc<Control>,
        wake: Wake,
    ) -> TopicReader<'a> {
        TopicReader {
            topic,
            name: topic.c_name(),
            share,
            consumer,
            queue: Queue::new(consumer),
            inquiry: Inquiry::new(consumer),
            refresh: topic.refresh().map(|every| (every, instant() + every)),
            logs: BTreeMap::new(),
            paused: BTreeSet::new(),
            chunks,
            control,
            wake,
            warned_at: None,
            clock_ms: 0,
        }
    }

    /// Reads until the worker wants no more.
    ///
    /// # Errors
    ///
    /// What ends the run.
    pub fn run(mut self, assigned: &[Assigned]) -> Result<(), KafkaSourceError> {
        let mut list = TopicPartitionList::new();
        for one in assigned {
            let mut log = Log::new(Chunk { partition: one.partition, ..Chunk::default() }, one.next_offset);
            self.record_lost(&mut log, one.low_offset);
            self.add(&mut list, one.partition, log.sent_up_to)?;
            self.logs.insert(one.partition, log);
        }
        self.consumer.assign(&list).map_err(|error| self.away("assigning partitions", &error))?;
        let mut seen = 0;
        let mut pending = false;
        while !self.control.stopped() {
            if let Some(paused) = self.control.paused_if_changed(&mut seen) {
                self.set_paused(paused)?;
            }
            let wait = if pending { Duration::ZERO } else { POLL_TIMEOUT };
            let (some, mut full, failures) = self.take(wait);
            if !some && pending {
                let ready = self.logs.values_mut().filter(|log| log.says_something());
                full.extend(ready.map(Log::take));
            }
            if !full.into_iter().all(|chunk| self.send(chunk)) {
                return Ok(());
            }
            pending = some;
            for failure in failures {
                pending |= self.judge(&failure)?;
            }
            if !some {
                self.queue.listen();
                if let Some(error) = self.consumer.context().take() {
                    self.report(error)?;
                }
            }
            pending |= self.poll_partitions()?;
        }
        Ok(())
    }

    /// Takes what waits: whether there was anything, the chunks that became full, and what librdkafka complains of.
    fn take(&mut self, wait: Duration) -> (bool, Vec<Chunk>, Vec<Failure>) {
        let (mut full, mut failures) = (Vec::new(), Vec::new());
        let (logs, clock_ms) = (&mut self.logs, &mut self.clock_ms);
        let some = self.queue.take(wait, |fetched| match fetched {
            Fetched::Record { partition, offset, timestamp_ms, is_senders, payload, is_anomalous } => {
                let log = logs.get_mut(&partition).expect("an assigned partition");
                log.open.reach.at_end = false;
                // Kafka's oldest message format had no timestamps.
                let received_at_ms = timestamp_ms.unwrap_or_else(|| wall_ms() as i64);
                if is_senders && received_at_ms > *clock_ms {
                    // It is asked only where its answer may matter.
                    *clock_ms = wall_ms() as i64;
                    if received_at_ms > *clock_ms {
                        log.open.ahead.push((offset, *clock_ms));
                    }
                }
                log.open.push(offset, received_at_ms, payload);
                log.open.truth.extend(is_anomalous.map(|is_anomalous| (offset, is_anomalous)));
                if log.open.is_full() {
                    full.push(log.take());
                }
            }
            Fetched::End { partition, offset } => {
                let chunk = &mut logs.get_mut(&partition).expect("an assigned partition").open;
                chunk.reach.at_end = true;
                chunk.read_up_to = Some(offset);
            }
            Fetched::Failed { partition, code, reason } => failures.push(Failure { partition, code, reason }),
        });
        (some, full, failures)
    }

    /// Passes a chunk on; `false` when the reader should end.
    fn send(&self, mut chunk: Chunk) -> bool {
        chunk.reach.end_offset =
            chunk.reach.end_offset.max(self.queue.end_offset(&self.name, chunk.partition));
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

    /// Asks for the topic's partitions when it is time to, and adds those that are new; `true` if there is a chunk to
    /// send.
    fn poll_partitions(&mut self) -> Result<bool, KafkaSourceError> {
        let Some((every, at)) = self.refresh else { return Ok(false) };
        if self.inquiry.under_way() {
            return match self.inquiry.answer(Duration::ZERO) {
                Some(Ok(description)) => {
                    self.topic.is_the_same(&description)?;
                    self.add_partitions(&description.partitions)
                }
                // Reading reports the same error, and handles it.
                Some(Err(code)) => {
                    tracing::debug!(%code, "asking whether the topic has further partitions");
                    Ok(false)
                }
                None => Ok(false),
            };
        }
        let now = instant();
        if now >= at {
            self.refresh = Some((every, now + every));
            self.inquiry.ask(&self.name, ANSWER_TIMEOUT);
        }
        Ok(false)
    }

    /// Begins to read the partitions of this worker's share that are new; `true` when there is one.
    fn add_partitions(&mut self, partitions: &[i32]) -> Result<bool, KafkaSourceError> {
        let new = |partition: &&i32| self.share.reads(**partition) && !self.logs.contains_key(*partition);
        let new: Vec<i32> = partitions.iter().filter(new).copied().collect();
        if new.is_empty() {
            return Ok(false);
        }
        let mut list = TopicPartitionList::new();
        for &partition in &new {
            let Bounds { low_offset, end_offset, .. } = self.topic.bounds_of(self.consumer, partition)?;
            let begins_at = Some(low_offset);
            let chunk = Chunk { partition, begins_at, reach: Reach::active(end_offset), ..Chunk::default() };
            self.add(&mut list, partition, low_offset)?;
            self.logs.insert(partition, Log::new(chunk, low_offset));
            tracing::info!(
                "partition {partition} of topic {} is new: reading it from offset {low_offset}",
                self.topic.name
            );
        }
        let assigned = self.consumer.incremental_assign(&list);
        assigned.map_err(|error| self.away("assigning new partitions", &error))?;
        Ok(true)
    }

    fn add(
        &self,
        list: &mut TopicPartitionList,
        partition: i32,
        offset: i64,
    ) -> Result<(), KafkaSourceError> {
        list.add_partition_offset(&self.topic.name, partition, Offset::Offset(offset))
            .map_err(|error| self.away("assigning partitions", &error))
    }

    /// Counts what lies below `low_offset` and was not read as lost.
    fn record_lost(&self, log: &mut Log, low_offset: i64) {
        let next_offset = log.next_offset();
        if low_offset <= next_offset {
            return;
        }
        log.open.lost_below = Some(low_offset);
        log.sent_up_to = low_offset;
        tracing::warn!(
            "partition {} of topic {}: {} offsets from {next_offset} on were deleted by retention before they were \
             read; they are counted as lost (ingest_progress.lost)",
            log.open.partition,
            self.topic.name,
            low_offset - next_offset,
        );
    }

    /// An offset that the broker does not have: lost when retention was faster, another topic when its log ends below.
    fn out_of_range(&mut self, partition: i32) -> Result<(), KafkaSourceError> {
        let Bounds { low_offset, end_offset, .. } = self.topic.bounds_of(self.consumer, partition)?;
        let mut log = self.logs.remove(&partition).expect("an assigned partition");
        let next_offset = log.next_offset();
        if next_offset > end_offset {
            let topic = self.topic.name.clone();
            return Err(KafkaSourceError::OtherTopic { topic, partition, end_offset, next_offset });
        }
        if log.says_something() {
            self.send(log.take());
        }
        self.record_lost(&mut log, low_offset);
        let mut list = TopicPartitionList::new();
        self.add(&mut list, partition, log.next_offset())?;
        self.logs.insert(partition, log);
        // librdkafka has stopped fetching it, and seeks only where it fetches.
        let again =
            self.consumer.incremental_unassign(&list).and_then(|()| self.consumer.incremental_assign(&list));
        again.map_err(|error| self.away("taking a partition up behind what was lost", &error))?;
        let paused = self.paused.clone();
        self.paused.remove(&partition);
        self.set_paused(paused)
    }

    /// Pauses partitions and lets others go on.
    ///
    /// librdkafka goes on where the application was, and takes the end of a partition for a record that the application
    /// has had (`rd_kafka_q_serve_rkmessages`): the next record would be passed over. So a partition goes on where its
    /// log here says.
    fn set_paused(&mut self, paused: BTreeSet<i32>) -> Result<(), KafkaSourceError> {
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        for partition in paused.difference(&self.paused) {
            pause.add_partition(&self.topic.name, *partition);
        }
        for partition in self.paused.difference(&paused) {
            self.add(&mut resume, *partition, self.logs[partition].next_offset())?;
        }
        let mut done = self.consumer.pause(&pause);
        if resume.count() > 0 {
            let sought = self.consumer.seek_partitions(resume.clone(), Duration::ZERO);
            done = done.and(sought.map(drop)).and_then(|()| self.consumer.resume(&resume));
        }
        self.paused = paused;
        done.map_err(|error| self.away("pausing partitions", &error))
    }

    /// Logs an error that passes by itself; any other one ends the run. `true` if there is a chunk to send.
    fn judge(&mut self, failure: &Failure) -> Result<bool, KafkaSourceError> {
        use RDKafkaErrorCode as Code;
        let Failure { partition, code, reason } = failure;
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange if self.logs.contains_key(partition) => {
                self.out_of_range(*partition).map(|()| true)
            }
            Code::Fatal | Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                Err(self.away("reading the topic", &KafkaError::MessageConsumption(*code)))
            }
            Code::TopicAuthorizationFailed => Err(self.topic.refused(*code, self.consumer.context())),
            Code::AllBrokersDown => Ok(false),
            _ => self.report(BrokerError::of(Some(*code), reason)).map(|()| false),
        }
    }

    /// Logs a transport error, which passes by itself because librdkafka reconnects; a final one ends the run.
    fn report(&mut self, error: BrokerError) -> Result<(), KafkaSourceError> {
        if error.is_final() {
            return Err(self.topic.failed("reading the topic", error));
        }
        let now = instant();
        if self.warned_at.is_none_or(|at| now.duration_since(at) >= WARN_INTERVAL) {
            self.warned_at = Some(now);
            tracing::warn!(brokers = %self.topic.connection, %error, "connection to Kafka failed; trying again");
        }
        Ok(())
    }

    fn away(&self, attempted: &str, error: &KafkaError) -> KafkaSourceError {
        self.topic.away(attempted, error, self.consumer.context())
    }
}

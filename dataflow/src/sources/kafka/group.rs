//! The committed offsets, written into a consumer group for lag tools. Nothing here ever reads them.
//!
//! 1. An offset is written after its PostgreSQL transaction, never before.
//! 2. One write at a time, at most every [`WRITE_INTERVAL`]: what is committed meanwhile is one write together.
//! 3. Nothing waits for it, and a failure is a warning: PostgreSQL holds the offsets that count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use citytide_connection::ErrorObserver;
use citytide_store::clock::instant;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::{SETTINGS, Topic};

/// Shortest time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a failure that lasts is told of.
const WARN_INTERVAL: Duration = Duration::from_secs(60);
/// How long the last write may take at the end of a run.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);

type Offsets = Arc<Mutex<BTreeMap<i32, i64>>>;

/// Follows the commits of a run.
pub struct Group {
    newest: Offsets,
    /// Closed at the end of the run.
    wake: Option<Sender<()>>,
    /// Closed when the last write is over.
    ended: Receiver<()>,
}

impl Group {
    /// Starts to follow; `name` is the group's.
    pub fn open(topic: &Topic, name: &str) -> Group {
        let newest = Offsets::default();
        let (wake, woken) = bounded(1);
        let (end, ended) = bounded(1);
        let (topic, name, held) = (topic.clone(), name.to_owned(), newest.clone());
        std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || follow(&topic, &name, &held, &woken, end))
            .expect("the consumer group needs a thread");
        Group { newest, wake: Some(wake), ended }
    }

    /// Takes note of what a transaction has committed.
    pub fn committed(&self, offsets: impl Iterator<Item = (i32, i64)>) {
        self.newest.lock().expect("no holder panics").extend(offsets);
        if let Some(wake) = &self.wake {
            // When it is full the follower has not looked yet.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.wake = None;
        let _ = self.ended.recv_timeout(LAST_WRITE_MAX);
    }
}

fn follow(topic: &Topic, name: &str, newest: &Offsets, woken: &Receiver<()>, end: Sender<()>) {
    let mut config = topic.connection.client(SETTINGS);
    config.set("group.id", name);
    let made: Result<BaseConsumer<ErrorObserver>, _> = config.create_with_context(ErrorObserver::default());
    let consumer = match made {
        Ok(consumer) => consumer,
        Err(error) => {
            tracing::warn!(%error, "cannot write offsets into the consumer group {name}; lag tools will not see this run");
            return;
        }
    };
    let mut warned_at: Option<Instant> = None;
    let mut open = true;
    while open {
        // A call that comes while this one sleeps stays in the channel.
        open = woken.recv().is_ok() && !ends_within(WRITE_INTERVAL, woken);
        let offsets = std::mem::take(&mut *newest.lock().expect("no holder panics"));
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            let added = list.add_partition_offset(&topic.name, partition, Offset::Offset(offset));
            added.expect("an offset that Kafka gave is one that it takes");
        }
        let written = if list.count() == 0 { Ok(()) } else { consumer.commit(&list, CommitMode::Sync) };
        let Err(error) = written else { continue };
        let now = instant();
        if warned_at.is_none_or(|at| now.duration_since(at) >= WARN_INTERVAL) {
            warned_at = Some(now);
            tracing::warn!(
                %error,
                "cannot write offsets into the consumer group {name}: lag tools show older ones, and nothing else \
                 depends on it (--consumer-group '' switches it off)"
            );
        }
    }
    // Closing the client takes a tenth of a second, for which the end of the run does not wait.
    drop(end);
}

/// Waits, and says whether the run has ended meanwhile.
fn ends_within(interval: Duration, woken: &Receiver<()>) -> bool {
    let until = instant() + interval;
    loop {
        let left = until.saturating_duration_since(instant());
        match woken.recv_timeout(left) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
}

//! Sources: bytes with (partition, offset), in log order, from threads outside timely.
//!
//! The seam is [`Intake`]: a bounded queue of chunks and a [`Control`] that can pause partitions and stop the reader.
//! Whoever fills the queue keeps each partition's order and says when its end is reached; everything behind the
//! queue is the same for every [`Source`].

pub mod files;
pub mod kafka;
mod outlet;
pub mod simulation;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use citytide_core::batch::Chunk;
use citytide_store::ledger::Ledger;
use citytide_store::origin::Origin;
use citytide_store::session::Wake;
use crossbeam_channel::Receiver;

use crate::share::Share;

/// Chunks that may wait between a reader and its worker.
pub const CHUNKS_QUEUED_MAX: usize = 4;

/// Where one partition is taken up, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    pub partition: i32,
    /// The next offset to read.
    pub next_offset: i64,
    /// The first offset that still exists; above `next_offset` when retention was faster.
    pub low_offset: i64,
    /// The end offset as of the start.
    pub end_offset: i64,
    /// Whether that is known; else the source says when the end is reached.
    pub is_end_known: bool,
}

/// Where the readings come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A Kafka topic.
    Kafka(kafka::Topic),
    /// The generator's city, inside.
    Simulation(Arc<simulation::Simulation>),
    /// Files of JSON lines or CSV.
    Files(Arc<files::Files>),
}

/// A source that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] kafka::KafkaSourceError),
    /// Files.
    #[error(transparent)]
    Files(#[from] files::FilesError),
}

/// Ends the run because its source failed.
pub type OnSourceFailure = Arc<dyn Fn(SourceError) + Send + Sync>;

impl Source {
    /// What a database holds the readings of, as `citytide_database.topic` says it: offsets of two sources mean the
    /// same only where this is the same.
    pub fn identity(&self) -> String {
        match self {
            Source::Kafka(topic) => topic.name.clone(),
            Source::Simulation(simulation) => simulation.identity(),
            Source::Files(files) => files.identity(),
        }
    }

    /// What tells it from another source of the same name, once it has been looked at.
    pub fn origin(&self) -> Origin {
        match self {
            Source::Kafka(topic) => topic.origin(),
            Source::Simulation(_) | Source::Files(_) => Origin::default(),
        }
    }

    /// What `ingest_progress.source` calls a partition.
    pub fn partition_name(&self, partition: i32) -> String {
        match self {
            Source::Kafka(topic) => format!("kafka:{}/{partition}", topic.name),
            Source::Simulation(_) => format!("simulation/{partition}"),
            Source::Files(files) => files.partition_name(partition),
        }
    }

    /// Whether it comes to an end by itself: then the run does, too.
    pub fn ends(&self) -> bool {
        matches!(self, Source::Files(files) if files.end())
    }

    /// Whether it is there. An empty database is claimed for a source only after this.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn look(&self) -> Result<(), SourceError> {
        match self {
            Source::Kafka(topic) => Ok(topic.bounds().map(drop)?),
            Source::Simulation(_) => Ok(()),
            Source::Files(files) => Ok(files.look()?),
        }
    }

    /// Where each partition is taken up, in the partitions' order.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, or that it is not what the ledger's offsets were read from.
    pub fn assign(&self, ledger: &Ledger) -> Result<Vec<Assigned>, SourceError> {
        match self {
            Source::Kafka(topic) => Ok(topic.assign(ledger)?),
            Source::Simulation(simulation) => Ok(simulation.assign(ledger)),
            Source::Files(files) => Ok(files.assign(ledger)?),
        }
    }

    /// Follows the commits in a consumer group; none without a name.
    pub fn group(&self, name: &str) -> Option<kafka::Group> {
        match self {
            Source::Kafka(topic) => (!name.is_empty()).then(|| kafka::Group::open(topic, name)),
            Source::Simulation(_) | Source::Files(_) => None,
        }
    }

    /// Starts the reader of a worker's partitions. One that is added meanwhile is introduced by its first chunk
    /// (`Chunk::begins_at`), by the reader in whose share it lies. `wake` is called after every chunk.
    pub fn read(
        &self,
        share: Share,
        assigned: Vec<Assigned>,
        wake: Wake,
        on_failure: OnSourceFailure,
    ) -> Intake {
        match self {
            Source::Kafka(topic) => {
                topic.read(share, assigned, wake, Arc::new(move |error| on_failure(error.into())))
            }
            Source::Simulation(simulation) => simulation.read(share.index, &assigned, wake),
            Source::Files(files) => files.read(share, &assigned, wake, on_failure),
        }
    }
}

/// What a worker reads from.
pub struct Intake {
    /// Chunks in each partition's order.
    pub chunks: Receiver<Chunk>,
    /// Influence on the reader.
    pub control: Arc<Control>,
}

/// A worker's influence on its reader.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    changes: AtomicU64,
    paused: Mutex<BTreeSet<i32>>,
}

impl Control {
    /// Ends the reader soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the reader should end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks the reader to deliver nothing of a partition, or to go on with it. What is under way may still come.
    pub fn pause(&self, partition: i32, paused: bool) {
        let mut partitions = self.paused.lock().expect("no holder panics");
        let changed = if paused { partitions.insert(partition) } else { partitions.remove(&partition) };
        if changed {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// The paused partitions, if they changed since `seen`, which is brought up to date.
    pub fn paused_if_changed(&self, seen: &mut u64) -> Option<BTreeSet<i32>> {
        let changes = self.changes.load(Ordering::Acquire);
        (std::mem::replace(seen, changes) != changes)
            .then(|| self.paused.lock().expect("no holder panics").clone())
    }
}

#[cfg(test)]
mod tests;

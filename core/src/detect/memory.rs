//! Everything that the detector knows as of an epoch: written down as blobs, read back, and brought up to date by what
//! was committed since.

use std::collections::VecDeque;
use std::sync::Arc;

use citytide_detector::{Layout, Model, Sample, SensorStates, StateError, ZoneModel};
use thiserror::Error;

use super::baselines::{Baselines, Closing};
use super::scoring_state::{Change, ScoringState};
use crate::batch::Batch;

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobKind {
    /// The sensors of a partition; the key is its number.
    Partition,
    /// A zone's model; the key is the zone. Written when it has changed.
    Zone,
    /// Statistics of minutes that are not closed yet; the key is a worker.
    Lessons,
    /// The training's sample; the key is empty.
    Sample,
}

impl BlobKind {
    const ALL: [BlobKind; 4] = [BlobKind::Partition, BlobKind::Zone, BlobKind::Lessons, BlobKind::Sample];

    /// Its word in `detector_state.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            BlobKind::Partition => "partition",
            BlobKind::Zone => "zone",
            BlobKind::Lessons => "lessons",
            BlobKind::Sample => "sample",
        }
    }

    /// The kind of that word.
    pub fn named(word: &str) -> Option<BlobKind> {
        BlobKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A part of what the detector knows, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it holds.
    pub kind: BlobKind,
    /// Which of its kind.
    pub key: String,
    /// The bytes.
    pub state: Vec<u8>,
}

/// Why what was written down cannot be used.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// Not of this program, or damaged.
    #[error("reading {what}: {why}")]
    Unreadable {
        /// Which part.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// Of other metrics.
    #[error("it has the metrics {found}, but the domain has {expected}")]
    OtherDomain {
        /// Its metrics.
        found: String,
        /// The domain's.
        expected: String,
    },
    /// The state of a partition or a zone.
    #[error("{what}: {why}")]
    State {
        /// Which.
        what: String,
        /// What is wrong.
        #[source]
        why: StateError,
    },
}

/// A model and the epoch from which it judges.
#[derive(Debug, Clone)]
pub struct InForce {
    /// From here on.
    pub holds_from: u64,
    /// The model.
    pub model: Arc<Model>,
}

/// What was decided since the blobs were written, in the order of epochs.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Minutes closed.
    pub closings: VecDeque<Closing>,
    /// Models put in force; the first may hold from before.
    pub models: Vec<InForce>,
}

/// What the detector knows. While readings are replayed, of all partitions and zones.
#[derive(Debug)]
pub struct Memory {
    layout: Arc<Layout>,
    /// What judges.
    pub scoring: ScoringState,
    /// What is not closed yet.
    pub baselines: Baselines,
    closings: VecDeque<Closing>,
    epoch: u64,
}

impl Memory {
    /// Knows nothing.
    pub fn new(layout: Arc<Layout>, sample: Sample) -> Memory {
        Memory {
            scoring: ScoringState::new(layout.clone(), sample),
            baselines: Baselines::new(&layout),
            closings: VecDeque::new(),
            epoch: 0,
            layout,
        }
    }

    /// Takes in a blob.
    ///
    /// # Errors
    ///
    /// When it is not of this program or of another domain.
    pub fn read(&mut self, blob: &Blob) -> Result<(), MemoryError> {
        let of = |what: &str| format!("the state of {what} {}", blob.key);
        let layout = &*self.layout;
        match blob.kind {
            BlobKind::Partition => {
                let unreadable = |why| MemoryError::State { what: of("partition"), why };
                let partition = blob.key.parse().map_err(|_| MemoryError::Unreadable {
                    what: of("partition"),
                    why: "that is no partition".to_owned(),
                })?;
                let states = SensorStates::from_bytes(layout, &blob.state).map_err(unreadable)?;
                self.scoring.partitions.insert(partition, states);
            }
            BlobKind::Zone => {
                let unreadable = |why| MemoryError::State { what: of("zone"), why };
                let zone = ZoneModel::from_bytes(layout, &blob.state).map_err(unreadable)?;
                self.scoring.zones.insert(Arc::from(blob.key.as_str()), zone);
            }
            BlobKind::Lessons => self.baselines.merge(Baselines::from_bytes(layout, &blob.state)?),
            BlobKind::Sample => {
                let sample: Sample =
                    bincode::deserialize(&blob.state).map_err(|error| MemoryError::Unreadable {
                        what: "the training's sample".to_owned(),
                        why: error.to_string(),
                    })?;
                // Another domain's rows, or other settings: a sample is soon filled again.
                if sample.fits(layout) && sample.is_like(&self.scoring.training_data.sample) {
                    self.scoring.training_data.sample = sample;
                }
            }
        }
        Ok(())
    }

    /// After the last blob, before the first batch: notes what was decided since.
    pub fn begin(&mut self, past: Past) {
        for (holds_from, stats) in self.baselines.coming() {
            self.scoring.expect(*holds_from, Change::Closed(stats.clone()));
        }
        for one in past.models {
            self.scoring.expect(one.holds_from, Change::Model(one.model));
        }
        self.closings = past.closings;
    }

    /// Sees a committed batch again. Batches come in the order of epoch, partition and offset; what the judge says of
    /// them is thrown away.
    pub fn see(&mut self, epoch: u64, batch: &mut Batch) {
        if epoch != self.epoch {
            self.end_epoch();
            self.close(|closing| closing.epoch < epoch);
            self.scoring.advance_to(epoch);
            self.epoch = epoch;
        }
        self.scoring.score(batch);
    }

    /// After the last batch.
    pub fn end(&mut self) {
        self.end_epoch();
        self.close(|_| true);
        self.scoring.take_training_data();
    }

    fn end_epoch(&mut self) {
        let (stats, _) = self.scoring.take_training_data();
        for ((minute, zone), stats) in stats.by_tick {
            self.baselines.add(zone, minute, stats);
        }
        let epoch = self.epoch;
        self.close(|closing| closing.epoch <= epoch);
    }

    fn close(&mut self, is_due: impl Fn(&Closing) -> bool) {
        while let Some(closing) = self.closings.pop_front_if(|closing| is_due(closing)) {
            let closed = self.baselines.close(closing);
            self.scoring.expect(closing.holds_from, Change::Closed(closed));
        }
    }

    /// The training's sample.
    pub fn sample(&self) -> &Sample {
        &self.scoring.training_data.sample
    }
}

/// The blob of the training's sample.
pub fn sample_blob(sample: &Sample) -> Blob {
    let state = bincode::serialize(sample).expect("lists of numbers");
    Blob { kind: BlobKind::Sample, key: String::new(), state }
}

#[cfg(test)]
mod tests;

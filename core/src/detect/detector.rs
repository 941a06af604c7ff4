//! The whole detector in one place, as workers have it in parts: for evaluating it, for bringing what a run knew up to
//! date, and for judging again what was committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_detector::{Layout, Model, Sample, ZoneModel, ZoneModels};

use super::event_time::{BEGINNING_US, KNOWN_AFTER_MINUTES, NO_MINUTE};
use super::scoring_state::Partition;
use super::snapshot::{Blob, BlobKind, SnapshotError};
use super::{
    Baselines, Directive, Judged, Note, Noted, Schedule, ScoringState, StoredModel, TimeRules, TrainJob,
};
use crate::batch::Batch;

/// What was decided in former runs.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Models by the event time from which they judge, microseconds; `None`: the one before stayed, or rules alone judge.
    pub models: BTreeMap<i64, Option<Arc<Model>>>,
    /// Partitions that were lifted, or joined: partition, first offset, minute; by partition and offset.
    pub lifts: Vec<(i32, i64, Noted)>,
    /// Models asked for by hand: partition, first offset, event time that its reading knows in microseconds, model; by
    /// partition and offset.
    pub promotions: Vec<(i32, i64, i64, Arc<Model>)>,
}

/// What the detector knows of all partitions and zones.
#[derive(Debug)]
pub struct Detector {
    layout: Arc<Layout>,
    empty: Sample,
    every_us: i64,
    /// What judges.
    pub scoring: ScoringState,
    /// What is not closed yet.
    pub baselines: Baselines,
    /// When models are trained.
    pub schedule: Schedule,
    /// Trainings that are due and whose models are not known.
    pub jobs: Vec<TrainJob>,
    /// What a commit would have to say.
    pub notes: Vec<Note>,
}

impl Detector {
    /// Knows nothing. `sample` is empty and says how many rows a training takes; trainings are `every_us` apart.
    pub fn new(layout: Arc<Layout>, time: TimeRules, sample: Sample, every_us: i64) -> Detector {
        Detector {
            scoring: ScoringState::new(layout.clone(), time, &sample),
            baselines: Baselines::default(),
            schedule: Schedule::new(layout.clone(), every_us, sample.clone()),
            jobs: Vec::new(),
            notes: Vec::new(),
            empty: sample,
            every_us,
            layout,
        }
    }

    /// Takes in a snapshot; the offset of each of its partitions from which on readings must be seen again.
    ///
    /// # Errors
    ///
    /// When a part is not of this program or of another domain.
    pub fn read(&mut self, as_of_us: i64, blobs: &[Blob]) -> Result<BTreeMap<i32, i64>, SnapshotError> {
        let snapshot = self.layout.tick(as_of_us);
        let (mut zones, mut offsets) = (ZoneModels::default(), BTreeMap::new());
        for blob in blobs {
            match blob.kind {
                BlobKind::Partition => {
                    let number = blob.key.parse().map_err(|_| SnapshotError::Unreadable {
                        what: "partition",
                        why: format!("{:?} is no partition", blob.key),
                    })?;
                    let (partition, offset) =
                        Partition::read(&self.layout, &self.empty, snapshot, &blob.state)?;
                    self.scoring.partitions.insert(number, partition);
                    self.baselines.join(number);
                    offsets.insert(number, offset);
                }
                BlobKind::Zone => {
                    let zone = ZoneModel::from_bytes(&self.layout, &blob.state)?;
                    zones.insert(Arc::from(blob.key.as_str()), zone);
                }
                BlobKind::Schedule => self.schedule.read(&blob.state)?,
            }
        }
        if snapshot != self.layout.tick(BEGINNING_US) {
            self.scoring.begin_at(snapshot, zones);
            self.baselines.begin_at(snapshot);
        }
        Ok(offsets)
    }

    /// Waits for a partition, of which no reading may have come yet.
    pub fn join(&mut self, partition: i32) {
        self.baselines.join(partition);
    }

    /// Takes note of what was decided before, and tells how far the partitions of the snapshot are.
    pub fn recall(&mut self, past: Past) {
        let tick = |(from_us, model): (i64, _)| (self.layout.tick(from_us), model);
        past.lifts.iter().for_each(|(partition, ..)| self.baselines.join(*partition));
        self.scoring.recall(past.models.into_iter().map(tick).collect(), &past.lifts, past.promotions);
        let mut judged = Judged::default();
        self.scoring.begin(&mut judged);
        self.learn(&mut judged);
    }

    /// The schedule, for who decides in a run; a new one stays.
    pub fn take_schedule(&mut self) -> Schedule {
        let new = Schedule::new(self.layout.clone(), self.every_us, self.empty.clone());
        std::mem::replace(&mut self.schedule, new)
    }

    /// Takes in readings. Batches of a partition come in log order; all that were read side by side must be here before
    /// any of them is judged.
    pub fn push(&mut self, batch: Batch) {
        self.baselines.join(batch.partition);
        self.scoring.push(batch);
    }

    /// The same of readings that a former run passed on: they change what is known, and are not passed on again.
    pub fn push_again(&mut self, batch: Batch) {
        self.baselines.join(batch.partition);
        self.scoring.push_again(batch);
    }

    /// Takes note that a partition has no reading to be pushed below an offset: what came there was none. What was noted
    /// of it up to there holds.
    pub fn pass_over(&mut self, partition: i32, next_offset: i64) {
        if let Some(partition) = self.scoring.partitions.get_mut(&partition) {
            partition.pass_over(next_offset);
        }
    }

    /// Judges what can be judged; readings that wait for another partition, or for a model, stay.
    pub fn run(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        loop {
            let mut judged = Judged::default();
            self.scoring.advance(&mut judged);
            let is_news = !judged.taught.is_empty();
            self.learn(&mut judged);
            self.notes.append(&mut judged.notes);
            batches.append(&mut judged.batches);
            if !is_news {
                return batches;
            }
        }
    }

    /// The same when no partition brings more: none is waited for.
    pub fn settle(&mut self) -> Vec<Batch> {
        let mut batches = self.run();
        loop {
            let furthest = self.baselines.furthest();
            if furthest == NO_MINUTE {
                return batches;
            }
            let needed = furthest - KNOWN_AFTER_MINUTES;
            // One that waits itself has said what it waits for.
            let waiting: Vec<i32> = self.scoring.waiting().collect();
            let behind = self.baselines.behind(needed).map(|(partition, _)| partition);
            let behind: Vec<i32> = behind.filter(|partition| !waiting.contains(partition)).collect();
            let mut judged = Judged::default();
            for partition in behind {
                let lift = Directive::Lift { partition, minute: needed };
                self.scoring.direct(lift, |_| false, &mut judged);
            }
            self.notes.append(&mut judged.notes);
            if judged.taught.is_empty() {
                return batches;
            }
            self.learn(&mut judged);
            batches.append(&mut self.run());
        }
    }

    /// Puts the model of a training in force; `None` when it failed, and the one before stays.
    pub fn put_in_force(&mut self, from: i64, model: Option<StoredModel>) {
        self.scoring.direct(Directive::Model { from, model }, |_| false, &mut Judged::default());
    }

    fn learn(&mut self, judged: &mut Judged) {
        for taught in judged.taught.drain(..) {
            self.baselines.take(&taught);
            self.schedule.take(taught.rows);
        }
        let Some(mut lesson) = self.baselines.close(&self.layout, 0) else { return };
        let mut due = self.schedule.close(lesson.after, lesson.before);
        due.retain(|job| !self.scoring.knows_model(job.from));
        lesson.awaited = due.iter().map(|job| job.from).collect();
        self.jobs.append(&mut due);
        self.scoring.direct(Directive::Lesson(lesson), |_| false, judged);
    }
}

#[cfg(test)]
mod tests;

//! What worker 0 decides for all: when to train, whom not to wait for, when to write down what is known. The training
//! itself is on a thread of its own.

mod thread;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use citytide_core::detect::{
    Baselines, Blob, Directive, Lesson, Schedule, SnapshotRate, StoredModel, Stragglers, Taught, TrainJob,
};
use citytide_core::position::Mark;
use crossbeam_channel::Receiver;

pub use thread::{TrainingSettings, spawn};

/// How long what is known stays unwritten when there are few readings.
const EVERY: Duration = Duration::from_secs(10);
/// How long a living stream waits for a model that is being trained.
const TRAINING_PATIENCE: Duration = Duration::from_secs(2);

/// What comes back from the thread that trains.
#[derive(Debug)]
pub enum TrainAnswer {
    /// The model of a training; `None` when it failed.
    Trained { from: i64, model: Option<StoredModel> },
    /// This model was asked for by hand.
    Asked(StoredModel),
}

/// Decides.
pub struct Director {
    schedule: Schedule,
    stragglers: Stragglers,
    start: Box<dyn Fn(TrainJob)>,
    answers: Receiver<TrainAnswer>,
    /// Ticks whose models are being trained.
    awaited: BTreeSet<i64>,
    /// Since when readings wait for a model.
    waited_since: Option<Instant>,
    /// Ticks whose models come too late.
    postponed: BTreeSet<i64>,
    /// The model for the next tick that is closed.
    next: Option<StoredModel>,
    snapshots: SnapshotPolicy,
}

impl Director {
    /// Goes on with a schedule and the trainings that are due; `start` hands a job to the thread, whose answers come
    /// through `answers`.
    pub fn new(
        schedule: Schedule,
        due: Vec<TrainJob>,
        stragglers: Stragglers,
        snapshots: SnapshotPolicy,
        start: Box<dyn Fn(TrainJob)>,
        answers: Receiver<TrainAnswer>,
    ) -> Director {
        let mut director = Director {
            schedule,
            stragglers,
            start,
            answers,
            awaited: BTreeSet::new(),
            waited_since: None,
            postponed: BTreeSet::new(),
            next: None,
            snapshots,
        };
        director.train(due);
        director
    }

    fn train(&mut self, due: Vec<TrainJob>) {
        for job in due {
            self.awaited.insert(job.from);
            (self.start)(job);
        }
    }

    /// Takes in what a partition has taught.
    pub fn take(&mut self, taught: Taught) {
        self.snapshots.bytes.insert(taught.partition, taught.written_bytes);
        self.schedule.take(taught.rows);
    }

    /// Takes note of what partitions say of themselves.
    pub fn observe(&mut self, marks: &[Mark]) {
        self.stragglers.observe(marks);
        self.snapshots.observe(marks);
    }

    /// Decides what goes with a lesson.
    pub fn close(&mut self, now: Instant, lesson: &mut Lesson) {
        let due = self.schedule.close(lesson.after, lesson.before);
        lesson.awaited = due.iter().map(|job| job.from).collect();
        self.train(due);
        lesson.model = self.next.take();
        lesson.snapshot = self.snapshots.is_due(now) && self.schedule.begin_snapshot(lesson.before + 1);
    }

    /// What there is to decide now.
    pub fn decide(&mut self, now: Instant, baselines: &Baselines) -> Vec<Directive> {
        let mut directives = Vec::new();
        for answer in self.answers.try_iter() {
            match answer {
                TrainAnswer::Asked(model) => directives.push(Directive::Promote(model)),
                TrainAnswer::Trained { from, model } if self.postponed.remove(&from) => {
                    self.next = model.or(self.next.take());
                }
                TrainAnswer::Trained { from, model } => {
                    self.awaited.remove(&from);
                    directives.push(Directive::Model { from, model });
                }
            }
        }
        let is_waited_for =
            |from: &i64| self.schedule.is_needed(*from, baselines) && self.stragglers.is_living();
        match self.awaited.first().copied().filter(is_waited_for) {
            None => self.waited_since = None,
            Some(from) => {
                let since = *self.waited_since.get_or_insert(now);
                if now.duration_since(since) >= TRAINING_PATIENCE {
                    tracing::warn!(
                        "a model is still being trained; it comes into force when the training ends"
                    );
                    self.waited_since = None;
                    self.awaited.remove(&from);
                    self.postponed.insert(from);
                    directives.push(Directive::Model { from, model: None });
                }
            }
        }
        let lifts = self.stragglers.lifts(now, baselines).into_iter();
        directives.extend(lifts.map(|(partition, minute)| Directive::Lift { partition, minute }));
        directives
    }

    /// What completes the snapshot, once all that it is made of is written down.
    pub fn end_snapshot(&mut self, now: Instant, baselines: &Baselines) -> Option<Blob> {
        let blob = self.schedule.end_snapshot(baselines.written())?;
        self.snapshots.written(now);
        Some(blob)
    }
}

/// When to write down what is known.
#[derive(Debug, Default)]
pub struct SnapshotPolicy {
    readings: HashMap<i32, i64>,
    /// All readings when it was last written down.
    written: i64,
    written_at: Option<Instant>,
    /// What each partition took when it was written down, bytes.
    bytes: BTreeMap<i32, usize>,
}

impl SnapshotPolicy {
    /// Goes on from the committed marks, after `replayed` readings that are not written down.
    pub fn new<'a>(marks: impl IntoIterator<Item = &'a Mark>, replayed: i64) -> SnapshotPolicy {
        let mut policy = SnapshotPolicy::default();
        policy.observe(marks);
        policy.written = policy.all() - replayed;
        policy
    }

    fn observe<'a>(&mut self, marks: impl IntoIterator<Item = &'a Mark>) {
        let readings = |mark: &Mark| (mark.partition, mark.position.counts.readings());
        self.readings.extend(marks.into_iter().map(readings));
    }

    fn all(&self) -> i64 {
        self.readings.values().sum()
    }

    fn is_due(&self, now: Instant) -> bool {
        let new = self.all() - self.written;
        let bytes: usize = self.bytes.values().sum();
        let is_long_ago = self.written_at.is_none_or(|at| now.duration_since(at) >= EVERY);
        SnapshotRate::default().is_due(new, bytes) || (new > 0 && is_long_ago)
    }

    fn written(&mut self, now: Instant) {
        (self.written, self.written_at) = (self.all(), Some(now));
    }
}

#[cfg(test)]
mod tests;

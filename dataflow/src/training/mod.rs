//! When to write down what is known, and when to train: on worker 0, from the sample, at boundaries of event time. The
//! training itself is on a thread of its own.

mod thread;

use std::collections::HashMap;
use std::sync::Arc;

use citytide_core::NEVER;
use citytide_core::detect::{Blob, SampledRows, sample_blob};
use citytide_core::position::Mark;
use citytide_detector::Sample;
use crossbeam_channel::Receiver;

pub use thread::{TrainingSettings, spawn};

/// Readings after which what is known is written down: what a restart replays at most, and what it takes.
const READINGS_MAX: i64 = 250_000;
/// Milliseconds of epochs after which it is written down if there were any readings.
const EVERY_MS: u64 = 10_000;
/// Rows of the sample with which a first model is trained.
const FIRST_ROWS: usize = 500;
/// Rows of them that are not set aside as severe: a first training that fails would wait for the next boundary.
const FIRST_ORDINARY: usize = 200;

/// When to write down what is known: the same on every worker, since all see the same marks.
#[derive(Debug, Clone)]
pub struct SnapshotPolicy {
    readings: HashMap<i32, i64>,
    /// All readings when it was last written down.
    written: i64,
    at_epoch: u64,
}

impl SnapshotPolicy {
    /// Goes on from the committed marks, after `replayed` readings that are not written down.
    pub fn new<'a>(marks: impl IntoIterator<Item = &'a Mark>, replayed: i64) -> SnapshotPolicy {
        let readings: HashMap<i32, i64> =
            marks.into_iter().map(|mark| (mark.partition, mark.position.counts.readings())).collect();
        SnapshotPolicy { written: readings.values().sum::<i64>() - replayed, readings, at_epoch: 0 }
    }

    /// Takes note of an epoch's marks; whether to write down what is known.
    pub fn is_due(&mut self, epoch: u64, marks: &[Mark]) -> bool {
        self.readings.extend(marks.iter().map(|mark| (mark.partition, mark.position.counts.readings())));
        let all: i64 = self.readings.values().sum();
        let new = all - self.written;
        let is_due = new >= READINGS_MAX || (new > 0 && epoch >= self.at_epoch + EVERY_MS);
        if is_due {
            (self.written, self.at_epoch) = (all, epoch);
        }
        is_due
    }
}

/// A model that is stored and may come into force.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its version.
    pub version: i32,
    /// As it is stored.
    pub bytes: Arc<Vec<u8>>,
}

/// A training that is wanted.
#[derive(Debug)]
pub struct TrainJob {
    /// From these rows.
    pub sample: Sample,
    /// Event time at which it looks back, microseconds.
    pub until_us: i64,
}

/// What comes back from the thread that trains.
#[derive(Debug)]
pub enum TrainAnswer {
    /// This model is to come into force: trained, or asked for by hand.
    Ready(Ready),
    /// The training has ended, with or without a model.
    Ended,
}

/// The sample and the schedule; the training itself happens on a thread of its own.
pub struct Training {
    sample: Sample,
    every_us: i64,
    /// W from which the next training is due; `NEVER` as soon as there are rows.
    next_us: i64,
    is_under_way: bool,
    start: Box<dyn Fn(TrainJob)>,
    answers: Receiver<TrainAnswer>,
}

impl Training {
    /// Goes on with a sample. `fitted_until_us` is how far the model in force has seen, if there is one; `start` hands
    /// a job to the thread, whose answers come through `answers`.
    pub fn new(
        sample: Sample,
        every_us: i64,
        fitted_until_us: Option<i64>,
        start: Box<dyn Fn(TrainJob)>,
        answers: Receiver<TrainAnswer>,
    ) -> Training {
        let next_us = fitted_until_us.map_or(NEVER, |until_us| next_boundary(until_us, every_us));
        Training { sample, every_us, next_us, is_under_way: false, start, answers }
    }

    /// Adds rows to the sample.
    pub fn sample(&mut self, rows: SampledRows) {
        rows.into_iter().for_each(|(hash, row)| self.sample.add(hash, row));
        self.sample.take_new();
    }

    /// Starts a training when W says so.
    pub fn look(&mut self, low_us: i64) {
        if low_us == NEVER || self.is_under_way {
            return;
        }
        let is_due = match self.next_us {
            NEVER => self.sample.len() >= FIRST_ROWS && self.sample.rows(low_us).len() >= FIRST_ORDINARY,
            next_us => low_us >= next_us,
        };
        if !is_due {
            return;
        }
        self.is_under_way = true;
        self.next_us = next_boundary(low_us, self.every_us);
        (self.start)(TrainJob { sample: self.sample.clone(), until_us: low_us });
    }

    /// A model that is to come into force, if there is one.
    pub fn ready(&mut self) -> Option<Ready> {
        let mut newest = None;
        for answer in self.answers.try_iter() {
            match answer {
                TrainAnswer::Ready(ready) => newest = Some(ready),
                TrainAnswer::Ended => self.is_under_way = false,
            }
        }
        newest
    }

    /// What must be written down.
    pub fn blob(&self) -> Blob {
        sample_blob(&self.sample)
    }
}

fn next_boundary(after_us: i64, every_us: i64) -> i64 {
    after_us - after_us.rem_euclid(every_us) + every_us
}

#[cfg(test)]
mod tests {
    use super::*;
    use citytide_detector::SampleRow;

    #[test]
    fn a_first_training_waits_for_ordinary_rows_and_further_ones_for_their_boundary() {
        let hour_us = 3_600_000_000;
        let (started, jobs) = crossbeam_channel::unbounded();
        let (answers, answered) = crossbeam_channel::unbounded();
        let start = Box::new(move |job: TrainJob| started.send(job.until_us).expect("the test listens"));
        let sample = Sample::new(10_000, 24 * hour_us);
        let mut training = Training::new(sample, hour_us, None, start, answered);
        let rows = |numbers: std::ops::Range<u64>, is_severe: bool| {
            let row = |hash| (hash, SampleRow { event_time_us: 0, is_severe, features: vec![0.0] });
            numbers.map(row).collect::<SampledRows>()
        };
        training.sample(rows(0..900, true));
        training.look(1);
        training.sample(rows(900..1_099, false));
        training.look(2);
        training.sample(rows(1_099..1_100, false));
        training.look(NEVER);
        training.look(3);
        training.look(hour_us);
        assert_eq!(jobs.try_iter().collect::<Vec<_>>(), [3], "one at a time, and not before it has rows");
        answers.send(TrainAnswer::Ended).expect("it is listened to");
        assert!(training.ready().is_none());
        training.look(hour_us - 1);
        training.look(hour_us);
        assert_eq!(jobs.try_iter().collect::<Vec<_>>(), [hour_us]);
    }
}

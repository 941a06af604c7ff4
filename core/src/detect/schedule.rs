//! When models are trained, from which rows, and when what is known is written down: decided in one place.
//!
//! Invariant: a training is due at a tick and made from the rows of the ticks before it: functions of the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_detector::{Layout, Sample, SampleRow};
use serde::{Deserialize, Serialize};

use super::Baselines;
use super::event_time::{BEGINNING_US, known_at};
use super::snapshot::{Blob, BlobKind, SnapshotError, read, write};
use crate::NEVER;

/// Rows of the sample with which a first model is trained.
const FIRST_ROWS: usize = 500;
/// Rows of them that are not set aside as severe: a first training that fails would wait for the next boundary.
const FIRST_ORDINARY: usize = 200;

/// A training that is due.
#[derive(Debug, Clone)]
pub struct TrainJob {
    /// The tick from which on the model is to judge.
    pub from: i64,
    /// From these rows.
    pub sample: Sample,
    /// Event time at which it looks back, microseconds.
    pub until_us: i64,
}

/// The training's sample and what is due.
#[derive(Debug)]
pub struct Schedule {
    layout: Arc<Layout>,
    every_us: i64,
    sample: Sample,
    /// Event time from which the next training is due; [`NEVER`]: as soon as there are rows.
    next_us: i64,
    /// Rows of ticks that are not closed.
    coming: BTreeMap<i64, Vec<(u64, SampleRow)>>,
    /// The snapshot under way, and what was known as of its tick.
    snapshot: Option<(i64, Option<Blob>)>,
}

/// As it is written down: when it is, all else of the snapshot has been.
#[derive(Serialize, Deserialize)]
struct StoredSchedule {
    metrics: String,
    sample: Sample,
    next_us: i64,
}

impl Schedule {
    /// A first training as soon as there are rows, further ones at multiples of `every_us` of event time. `sample` is
    /// empty.
    pub fn new(layout: Arc<Layout>, every_us: i64, sample: Sample) -> Schedule {
        let beginning = layout.tick(BEGINNING_US);
        let mut schedule =
            Schedule { layout, every_us, sample, next_us: NEVER, coming: BTreeMap::new(), snapshot: None };
        schedule.begin_snapshot(beginning);
        schedule.copy_before(beginning + 1);
        schedule
    }

    /// Takes in rows of ticks that a partition has passed.
    pub fn take(&mut self, rows: Vec<(u64, SampleRow)>) {
        for (hash, row) in rows {
            self.coming.entry(self.layout.tick(row.event_time_us)).or_default().push((hash, row));
        }
    }

    /// Goes on to where all ticks before `before` are closed, from `closed`: the trainings that are due on the way.
    pub fn close(&mut self, closed: i64, before: i64) -> Vec<TrainJob> {
        let mut jobs = Vec::new();
        loop {
            let with_rows = self.coming.first_key_value().map(|(tick, _)| tick + 1);
            let boundary = (self.next_us != NEVER)
                .then(|| self.next_us.div_euclid(self.layout.tick_us).max(closed.saturating_add(1)));
            let Some(tick) = with_rows.into_iter().chain(boundary).min().filter(|tick| *tick <= before)
            else {
                break;
            };
            self.copy_before(tick);
            while let Some(first) = self.coming.first_entry().filter(|first| *first.key() < tick) {
                first.remove().into_iter().for_each(|(hash, row)| self.sample.add(hash, row));
            }
            let until_us = tick * self.layout.tick_us;
            let is_due = match self.next_us {
                NEVER => {
                    self.sample.len() >= FIRST_ROWS && self.sample.rows(until_us).len() >= FIRST_ORDINARY
                }
                next_us => until_us >= next_us,
            };
            if is_due {
                self.next_us = until_us - until_us.rem_euclid(self.every_us) + self.every_us;
                jobs.push(TrainJob { from: tick, sample: self.sample.clone(), until_us });
            }
        }
        self.copy_before(before.saturating_add(1));
        jobs
    }

    /// Copies what is known as of the snapshot, once no tick before it is to come but all of `tick` and later ones.
    fn copy_before(&mut self, tick: i64) {
        if let Some((as_of, copy @ None)) = &mut self.snapshot
            && tick > *as_of
        {
            let stored = StoredSchedule {
                metrics: self.layout.fingerprint(),
                sample: self.sample.clone(),
                next_us: self.next_us,
            };
            let state = write(BlobKind::Schedule, &stored);
            let as_of_us = *as_of * self.layout.tick_us;
            *copy = Some(Blob { kind: BlobKind::Schedule, key: String::new(), as_of_us, state });
        }
    }

    /// Begins a snapshot as of a tick that is not closed, unless one is under way that knows something; whether it has.
    pub fn begin_snapshot(&mut self, as_of: i64) -> bool {
        let beginning = self.layout.tick(BEGINNING_US);
        let begins = self.snapshot.as_ref().is_none_or(|(under_way, _)| *under_way == beginning);
        if begins {
            self.snapshot = Some((as_of, None));
        }
        begins
    }

    /// What completes the snapshot, once all partitions are in that of the tick `written`.
    pub fn end_snapshot(&mut self, written: i64) -> Option<Blob> {
        let is_whole = |snapshot: &mut (i64, Option<Blob>)| snapshot.0 <= written && snapshot.1.is_some();
        self.snapshot.take_if(is_whole)?.1
    }

    /// Goes on from what [`Schedule::end_snapshot`] said.
    ///
    /// # Errors
    ///
    /// When it is not of this program, damaged, or of other metrics.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let stored: StoredSchedule =
            read(BlobKind::Schedule, &self.layout, bytes, |stored: &StoredSchedule| &stored.metrics)?;
        self.next_us = stored.next_us;
        self.snapshot = None;
        // Other settings: a sample is soon filled again.
        if stored.sample.fits(&self.layout) && stored.sample.is_like(&self.sample) {
            self.sample = stored.sample;
        }
        Ok(())
    }

    /// Whether readings come that need the model of a tick.
    pub fn is_needed(&self, from: i64, baselines: &Baselines) -> bool {
        known_at(&self.layout, baselines.furthest()) >= from
    }

    /// The training's sample.
    pub fn sample(&self) -> &Sample {
        &self.sample
    }
}

#[cfg(test)]
mod tests;

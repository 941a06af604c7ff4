//! The figures of one process's run, as its workers write them and anybody may read them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use citytide_core::NEVER;
use citytide_core::batch::Tally;
use citytide_core::detect::DetectorStatus;
use citytide_core::position::{Activity, Counts, Mark};
use citytide_store::clock;
use citytide_store::followers::Follower;
use citytide_store::incidents::shown::Counts as IncidentCounts;
use citytide_store::notifications::Summary;
use citytide_store::upkeep::Seen;

use super::last_hour::LastHour;
use super::{DetectorFigures, DroppedLines, LastCommit, Latency, PartitionFigures, Phase, Snapshot, Stages};
use crate::sources::Assigned;

/// The figures of a run: its threads write them, anybody reads a [`Snapshot`].
#[derive(Debug)]
pub struct Telemetry {
    /// How long each stage has worked.
    pub stages: Stages,
    /// From receiving a record to its commit.
    pub latency: Latency,
    began: Instant,
    /// Set when the run was asked to end.
    drain: Arc<AtomicBool>,
    /// When the committed frontier last moved, milliseconds since `began`.
    moved_ms: AtomicU64,
    figures: Mutex<Figures>,
    detector: Mutex<Detector>,
    /// By worker, anomalies ahead of W.
    anomalies_ahead: Mutex<BTreeMap<usize, usize>>,
    followers: Mutex<Vec<Follower>>,
    incidents: Mutex<Option<(IncidentCounts, Option<Summary>)>>,
    dropped: Arc<DroppedLines>,
}

#[derive(Debug, Default)]
struct Detector {
    workers: BTreeMap<usize, DetectorStatus>,
    trainings: u64,
    failed: u64,
    failure: Option<String>,
}

#[derive(Debug, Default)]
struct Figures {
    workers: usize,
    low_us: i64,
    /// When readings were first committed that did not move W, since it last moved; milliseconds since the process
    /// began.
    low_held_since_ms: Option<u64>,
    partitions: BTreeMap<i32, Partition>,
    commits: u64,
    last_commit: Option<(u64, Instant)>,
    last_hour: LastHour,
}

#[derive(Debug)]
struct Partition {
    figures: PartitionFigures,
    /// What had become of its offsets before this run.
    before: Counts,
    tally: Tally,
}

impl Telemetry {
    /// A process of a run that is starting; `drain` is set when it is asked to end. Process 0 sees
    /// marks and commits.
    pub fn new(process: u16, drain: Arc<AtomicBool>) -> Telemetry {
        Telemetry {
            stages: Stages::default(),
            latency: Latency::new(process == 0),
            began: clock::instant(),
            drain,
            moved_ms: AtomicU64::new(0),
            figures: Mutex::default(),
            detector: Mutex::default(),
            anomalies_ahead: Mutex::default(),
            followers: Mutex::default(),
            incidents: Mutex::default(),
            dropped: Arc::default(),
        }
    }

    /// Tells `dropped` as well.
    pub fn counting(self, dropped: Arc<DroppedLines>) -> Telemetry {
        Telemetry { dropped, ..self }
    }

    /// Lines that this process did not write.
    pub fn dropped_lines(&self) -> &DroppedLines {
        &self.dropped
    }

    /// The workers begin, where the last commit left off: `marks` and `low_us` are the ledger's.
    pub fn begin(&self, workers: usize, assigned: &[Assigned], marks: &[Mark], low_us: i64) {
        self.frontier_moved();
        let partition = |one: &Assigned| {
            let known = marks.iter().find(|mark| mark.partition == one.partition);
            let mark = known.cloned().unwrap_or_else(|| Mark::at_start(one.partition, one.next_offset));
            let figures = PartitionFigures { end_offset: one.end_offset, ..figures(&mark) };
            (one.partition, Partition { before: figures.counts, figures, tally: Tally::default() })
        };
        let partitions = assigned.iter().map(partition).collect();
        *self.figures.lock().expect("no holder panics") =
            Figures { workers, low_us, partitions, ..Figures::default() };
    }

    /// The committed frontier has moved.
    pub fn frontier_moved(&self) {
        self.moved_ms.store(self.uptime_ms(), Ordering::Relaxed);
    }

    fn uptime_ms(&self) -> u64 {
        clock::instant().saturating_duration_since(self.began).as_millis() as u64
    }

    /// How far the detector of a worker is.
    pub fn set_detector_status(&self, worker: usize, status: DetectorStatus) {
        self.detector.lock().expect("no holder panics").workers.insert(worker, status);
    }

    /// How many anomalies ahead of W a worker keeps.
    pub fn set_anomalies_ahead(&self, worker: usize, count: usize) {
        self.anomalies_ahead.lock().expect("no holder panics").insert(worker, count);
    }

    /// What the upkeep sees.
    pub fn see(&self, seen: Seen) {
        match seen {
            Seen::Followers(followers) => *self.followers.lock().expect("no holder panics") = followers,
            Seen::Incidents(counts, notifying) => {
                *self.incidents.lock().expect("no holder panics") = Some((counts, notifying));
            }
        }
    }

    /// A training has ended, or why it could not.
    pub fn trained(&self, trained: Result<(), String>) {
        let mut detector = self.detector.lock().expect("no holder panics");
        match trained {
            Ok(()) => {
                detector.trainings += 1;
                detector.failure = None;
            }
            Err(why) => {
                detector.failed += 1;
                detector.failure = Some(why);
            }
        }
    }

    /// Takes note of a mark, which may not be committed yet: only of where the partition's end is, and whether it is
    /// idle.
    pub fn mark(&self, mark: &Mark) {
        let mut state = self.figures.lock().expect("no holder panics");
        let partition = state.partitions.entry(mark.partition).or_insert_with(|| Partition {
            figures: figures(&Mark::at_start(mark.partition, mark.position.first_offset)),
            before: Counts::default(),
            tally: Tally::default(),
        });
        partition.figures.end_offset = mark.reach.end_offset;
        partition.figures.activity = mark.reach.activity;
        let is_active = |one: &Partition| one.figures.activity == Activity::Active;
        if mark.reach.activity != Activity::Active && !state.partitions.values().any(is_active) {
            // Nobody holds W back any more: it stands still because all are silent.
            state.low_held_since_ms = None;
        }
    }

    /// Takes note of a commit: its epoch, how long its transaction took, W, the marks of what it moved, and how the
    /// readings that it brought were judged, by partition.
    pub fn committed<'a>(
        &self,
        epoch: u64,
        took: Duration,
        low_us: i64,
        marks: impl IntoIterator<Item = &'a Mark>,
        tallies: &BTreeMap<i32, Tally>,
    ) {
        self.stages.add(super::Stage::Commit, took);
        self.latency.committed(epoch, clock::wall_ms());
        let mut state = self.figures.lock().expect("no holder panics");
        let has_moved = std::mem::replace(&mut state.low_us, low_us) != low_us;
        let accepted_before = state.accepted();
        state.commits += 1;
        state.last_commit = Some((epoch, clock::instant()));
        for mark in marks {
            let Some(partition) = state.partitions.get_mut(&mark.partition) else { continue };
            let end_offset = partition.figures.end_offset.max(mark.reach.end_offset);
            partition.figures = PartitionFigures { end_offset, ..figures(mark) };
        }
        for (number, tally) in tallies {
            if let Some(partition) = state.partitions.get_mut(number) {
                partition.tally += *tally;
            }
        }
        if has_moved {
            state.low_held_since_ms = None;
        } else if state.accepted() > accepted_before {
            state.low_held_since_ms.get_or_insert(self.uptime_ms());
        }
        let labelled = state.tally().labelled;
        state.last_hour.observe(self.uptime_ms(), labelled);
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let now = clock::instant();
        let uptime_ms = now.saturating_duration_since(self.began).as_millis() as u64;
        let state = self.figures.lock().expect("no holder panics");
        let incidents = self.incidents.lock().expect("no holder panics").clone();
        let phase = match (state.workers, self.drain.load(Ordering::Relaxed)) {
            (0, _) => Phase::Starting,
            (_, false) => Phase::Running,
            (_, true) => Phase::Draining,
        };
        let since = |one: &Partition| one.figures.counts.since(&one.before);
        Snapshot {
            phase,
            uptime_ms,
            now_ms: clock::wall_ms(),
            low_us: (state.workers > 0 && state.low_us != NEVER).then_some(state.low_us),
            low_held_ms: state.low_held_since_ms.map_or(0, |since_ms| uptime_ms.saturating_sub(since_ms)),
            partitions: state.partitions.values().map(|one| one.figures.clone()).collect(),
            counts: state.partitions.values().map(since).sum(),
            tally: state.tally(),
            last_hour: state.last_hour.counts(uptime_ms),
            commits: state.commits,
            last_commit: state.last_commit.map(|(epoch, at)| LastCommit {
                epoch,
                ago_ms: now.saturating_duration_since(at).as_millis() as u64,
            }),
            standing_ms: uptime_ms.saturating_sub(self.moved_ms.load(Ordering::Relaxed)),
            stages: self.stages.times(),
            workers: state.workers,
            anomalies_ahead: self.anomalies_ahead.lock().expect("no holder panics").values().sum(),
            detector: self.detector_figures(),
            followers: self.followers.lock().expect("no holder panics").clone(),
            incidents: incidents.as_ref().map(|(counts, _)| *counts),
            notifying: incidents.and_then(|(_, notifying)| notifying),
        }
    }

    fn detector_figures(&self) -> Option<DetectorFigures> {
        let detector = self.detector.lock().expect("no holder panics");
        // All workers know the same of zones and models.
        let first = detector.workers.values().next()?;
        Some(DetectorFigures {
            version: first.version,
            zones: first.zones,
            sensors: detector.workers.values().map(|worker| worker.sensors).sum(),
            partitions_full: detector.workers.values().map(|worker| worker.partitions_full).sum(),
            trainings: detector.trainings,
            trainings_failed: detector.failed,
            training_failure: detector.failure.clone(),
        })
    }
}

impl Figures {
    fn accepted(&self) -> i64 {
        self.partitions.values().map(|one| one.figures.counts.accepted).sum()
    }

    fn tally(&self) -> Tally {
        self.partitions.values().map(|one| one.tally).sum()
    }
}

fn figures(mark: &Mark) -> PartitionFigures {
    let Mark { partition, position, reach, .. } = mark;
    PartitionFigures {
        partition: *partition,
        first_offset: position.first_offset,
        next_offset: position.next_offset,
        end_offset: reach.end_offset,
        counts: position.counts,
        watermark_us: (position.watermark_us != NEVER).then_some(position.watermark_us),
        activity: reach.activity,
    }
}

#[cfg(test)]
mod tests;

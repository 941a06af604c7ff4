//! Stage times: how long the stages of the dataflow have worked, all workers of this process together.
//!
//! Measured per batch, at the operators: two looks at the monotonic clock and one atomic addition, some 60 ns, for up
//! to 4,096 readings that cost about a microsecond each. A stage that is never scheduled for lack of work adds nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use citytide_store::clock;
use serde::{Deserialize, Serialize};

/// A stage of the dataflow, in the order of a reading's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Taking chunks from the source's queue, on a worker.
    Read,
    /// Bytes to readings, on a worker.
    Decode,
    /// Judging readings, on a worker.
    Score,
    /// Lateness and partial sums, on a worker.
    Place,
    /// Panes to windows, on a worker.
    Window,
    /// Encoding raw rows for COPY, on a worker.
    Copy,
    /// The transactions of the commit, on the committer's thread.
    Commit,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 7] =
        [Stage::Read, Stage::Decode, Stage::Score, Stage::Place, Stage::Window, Stage::Copy, Stage::Commit];

    /// Its name, that of the operator.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Read => "read",
            Stage::Decode => "decode",
            Stage::Score => "score",
            Stage::Place => "place",
            Stage::Window => "window",
            Stage::Copy => "copy",
            Stage::Commit => "commit",
        }
    }
}

/// Nanoseconds by stage, in the order of [`Stage::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTimes(pub [u64; Stage::ALL.len()]);

impl StageTimes {
    /// How long a stage has worked.
    pub fn of(&self, stage: Stage) -> Duration {
        Duration::from_nanos(self.0[stage as usize])
    }
}

/// The clocks of all stages; they only rise.
#[derive(Debug, Default)]
pub struct Stages {
    nanos: [AtomicU64; Stage::ALL.len()],
}

impl Stages {
    /// Times what follows until the guard is dropped.
    pub fn start(&self, stage: Stage) -> Timing<'_> {
        Timing { stages: self, stage, since: clock::instant() }
    }

    /// Does `work` and times it.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let _timing = self.start(stage);
        work()
    }

    /// Adds what was measured elsewhere.
    pub fn add(&self, stage: Stage, took: Duration) {
        self.nanos[stage as usize].fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// What has come together so far.
    pub fn times(&self) -> StageTimes {
        StageTimes(Stage::ALL.map(|stage| self.nanos[stage as usize].load(Ordering::Relaxed)))
    }
}

/// A stage at work.
#[must_use]
pub struct Timing<'a> {
    stages: &'a Stages,
    stage: Stage,
    since: Instant,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.stages.add(self.stage, clock::instant().saturating_duration_since(self.since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up_by_stage() {
        let stages = Stages::default();
        stages.add(Stage::Decode, Duration::from_nanos(30));
        stages.add(Stage::Decode, Duration::from_nanos(12));
        stages.add(Stage::Commit, Duration::from_millis(1));
        assert_eq!(stages.times(), StageTimes([0, 42, 0, 0, 0, 0, 1_000_000]));
        assert_eq!(stages.times().of(Stage::Commit), Duration::from_millis(1));
    }

    #[test]
    fn a_stage_is_timed_until_its_guard_is_dropped_and_gives_what_it_did() {
        let stages = Stages::default();
        let slept = stages.time(Stage::Place, || {
            std::thread::sleep(Duration::from_millis(2));
            7
        });
        assert_eq!(slept, 7);
        assert!(stages.times().of(Stage::Place) >= Duration::from_millis(2));
        assert_eq!(stages.times().of(Stage::Copy), Duration::ZERO);
    }

    #[test]
    fn a_stages_number_is_its_place_in_the_list() {
        for (index, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, index, "{}", stage.name());
        }
    }
}

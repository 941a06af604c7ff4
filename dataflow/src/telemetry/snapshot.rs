//! What a run says of itself at one moment. It goes to the status, to the metrics, and, as JSON, from the process that
//! does the work to the one that owns the terminal.

use citytide_core::batch::{Labelled, Tally};
use citytide_core::position::{Activity, Counts};
use citytide_store::followers::Follower;
use citytide_store::incidents::shown::Counts as IncidentCounts;
use citytide_store::notifications::Summary;
use serde::{Deserialize, Serialize};

use super::StageTimes;

/// What a process of a run is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Schema, ledger, and the other processes: nothing is read yet.
    #[default]
    Starting,
    /// At work.
    Running,
    /// Asked to end: what was read is being committed.
    Draining,
}

/// W that is held back for longer, while readings are accepted, is worth a word, milliseconds.
pub const LOW_HELD_MAX_MS: u64 = 120_000;

/// A partition as of the last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionFigures {
    /// Its number.
    pub partition: i32,
    /// The first offset that was ever asked for.
    pub first_offset: i64,
    /// The committed offset: everything below is visible.
    pub next_offset: i64,
    /// Its end as far as the source knows.
    pub end_offset: i64,
    /// What became of its offsets, since the first one.
    pub counts: Counts,
    /// Its watermark in microseconds, once it has an accepted reading.
    pub watermark_us: Option<i64>,
    /// Whether it counts for W.
    pub activity: Activity,
}

impl PartitionFigures {
    /// Offsets that are not committed yet.
    pub fn lag(&self) -> i64 {
        (self.end_offset - self.next_offset).max(0)
    }
}

/// The last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCommit {
    pub epoch: u64,
    /// How long ago it was, milliseconds.
    pub ago_ms: u64,
}

/// A run at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What it is about.
    pub phase: Phase,
    /// How long the process has been there, milliseconds.
    pub uptime_ms: u64,
    /// The clock of the machine, milliseconds of the Unix epoch.
    pub now_ms: u64,
    /// W in microseconds, once there is one.
    pub low_us: Option<i64>,
    /// How long W has stood still while readings were accepted, milliseconds; 0 when it moves or nothing is accepted.
    pub low_held_ms: u64,
    /// All partitions, in order.
    pub partitions: Vec<PartitionFigures>,
    /// What became of the offsets that this run has committed.
    pub counts: Counts,
    /// Verdicts on the accepted readings among them.
    pub tally: Tally,
    /// Readings whose truth is known, of the last hour of the clock.
    pub last_hour: Labelled,
    /// Commits of this run.
    pub commits: u64,
    /// The last commit of this run.
    pub last_commit: Option<LastCommit>,
    /// How long the committed frontier has stood still, milliseconds.
    pub standing_ms: u64,
    /// How long each stage has worked.
    pub stages: StageTimes,
    /// Worker threads of this process.
    pub workers: usize,
    /// Anomalies ahead of W that this process keeps; further ones wait in the database.
    pub anomalies_ahead: usize,
    /// How far the detector is; `None` before it has judged, and where rules alone judge.
    pub detector: Option<DetectorFigures>,
    /// The programs that follow this database, the slowest first.
    pub followers: Vec<Follower>,
    /// How many incidents there are, once they were counted.
    pub incidents: Option<IncidentCounts>,
    /// How notifying goes, where somebody notifies.
    pub notifying: Option<Summary>,
}

/// How far the detector is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorFigures {
    /// Version of the model in force; 0 when there is none.
    pub version: i32,
    /// Zones that are judged by rules alone, by what other zones taught, and by what they taught themselves.
    pub zones: [usize; 3],
    /// Sensors of this process with state.
    pub sensors: usize,
    /// Partitions of this process with more sensors than `sensors_max`.
    pub partitions_full: usize,
    /// Models trained by this run.
    pub trainings: u64,
    /// Trainings that failed.
    pub trainings_failed: u64,
    /// Why the last training failed, until one succeeds.
    pub training_failure: Option<String>,
}

impl Snapshot {
    /// The partition that holds W back: the one that counts and is furthest behind. `None` unless W has been held back
    /// for longer than [`LOW_HELD_MAX_MS`].
    pub fn holder(&self) -> Option<&PartitionFigures> {
        let active = self.partitions.iter().filter(|one| one.activity == Activity::Active);
        active.min_by_key(|one| one.watermark_us).filter(|_| self.low_held_ms > LOW_HELD_MAX_MS)
    }

    /// Offsets that are not committed yet.
    pub fn lag(&self) -> i64 {
        self.partitions.iter().map(PartitionFigures::lag).sum()
    }
}

//! What partitions have taught the zones that are routed to one worker, until all have passed a tick.
//!
//! Invariants:
//! 1. a tick is closed once every partition has passed its end; what they taught of it is all that it teaches;
//! 2. statistics are integers: from any partitions, in any order, they add up to the same bits.

use std::collections::BTreeMap;

use std::sync::Arc;

use citytide_detector::{Layout, SufficientStats};

use super::event_time::{NO_MINUTE, tick_of};
use super::{Lesson, Taught};

/// How far all partitions are, and the statistics of ticks that some have passed and others not.
#[derive(Debug, Clone)]
pub struct Baselines {
    partitions: BTreeMap<i32, Reached>,
    passed: SufficientStats,
    /// Ticks before this one are closed.
    closed_before: i64,
}

/// How far a partition is; [`NO_MINUTE`] where it has not begun.
#[derive(Debug, Clone, Copy)]
struct Reached {
    minute: i64,
    /// The tick of the last snapshot that it is in.
    written: i64,
}

impl Default for Reached {
    fn default() -> Reached {
        Reached { minute: NO_MINUTE, written: NO_MINUTE }
    }
}

impl Default for Baselines {
    fn default() -> Baselines {
        Baselines {
            partitions: BTreeMap::new(),
            passed: SufficientStats::default(),
            closed_before: NO_MINUTE,
        }
    }
}

impl Baselines {
    /// Begins with all ticks before `tick` closed.
    pub(super) fn begin_at(&mut self, tick: i64) {
        self.closed_before = tick;
    }

    /// Waits for a partition from here on.
    pub fn join(&mut self, partition: i32) {
        self.partitions.entry(partition).or_default();
    }

    /// Takes in what a partition has taught.
    pub fn take(&mut self, taught: &Taught) {
        let reached = self.partitions.entry(taught.partition).or_default();
        reached.minute = taught.minute.max(reached.minute);
        reached.written = taught.written.max(reached.written);
        self.passed.merge(&taught.stats);
    }

    /// Closes the ticks that all partitions have passed, on worker `by`: the lesson of what they taught, without what
    /// worker 0 decides; `None` when there are none.
    pub fn close(&mut self, layout: &Layout, by: usize) -> Option<Lesson> {
        let minute = self.partitions.values().map(|reached| reached.minute).min()?;
        let (after, before) = (self.closed_before, tick_of(layout, minute));
        if before <= after {
            return None;
        }
        self.closed_before = before;
        let stats = Arc::new(self.passed.take_before(before));
        Some(Lesson { by, after, before, stats, model: None, awaited: Vec::new(), snapshot: false })
    }

    /// The tick before which all are closed.
    pub fn closed_before(&self) -> i64 {
        self.closed_before
    }

    /// The minute of the partition that is furthest.
    pub fn furthest(&self) -> i64 {
        self.partitions.values().map(|reached| reached.minute).max().unwrap_or(NO_MINUTE)
    }

    /// The tick of the last snapshot that all partitions are in.
    pub fn written(&self) -> i64 {
        self.partitions.values().map(|reached| reached.written).min().unwrap_or(NO_MINUTE)
    }

    /// Partitions that are not as far as a minute, and how far they are.
    pub fn behind(&self, minute: i64) -> impl Iterator<Item = (i32, i64)> {
        let minutes = self.partitions.iter().map(|(partition, reached)| (*partition, reached.minute));
        minutes.filter(move |(_, at)| *at < minute)
    }

    /// The part that belongs to some zones.
    pub fn of_zones(&self, is_mine: impl Fn(&str) -> bool) -> Baselines {
        let mut part = self.clone();
        part.passed.by_tick.retain(|(_, zone), _| is_mine(zone));
        part
    }

    /// Of what a partition has taught, the part for each of `workers` workers.
    pub fn by_worker(taught: Taught, workers: usize, worker_of: impl Fn(&str) -> usize) -> Vec<Taught> {
        let Taught { partition, minute, stats, rows, written, written_bytes } = taught;
        let stats_of_none = SufficientStats::default;
        let none = |_| Taught {
            partition,
            minute,
            stats: stats_of_none(),
            rows: Vec::new(),
            written,
            written_bytes,
        };
        let mut parts: Vec<Taught> = (0..workers).map(none).collect();
        for ((tick, zone), stats) in stats.by_tick {
            parts[worker_of(&zone)].stats.by_tick.insert((tick, zone), stats);
        }
        parts[0].rows = rows;
        parts
    }
}

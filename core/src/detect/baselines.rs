//! What partitions have taught the zones that are routed to one worker, until all have passed a tick.
//!
//! Invariants:
//! 1. a tick is closed once every partition has passed its end; what they taught of it is all that it teaches;
//! 2. statistics are integers: from any partitions, in any order, they add up to the same bits.

use std::collections::BTreeMap;

use citytide_detector::{Layout, SufficientStats};

use super::Taught;
use super::event_time::{NO_MINUTE, tick_of};

/// How far all partitions are, and the statistics of ticks that some have passed and others not.
#[derive(Debug, Clone)]
pub struct Baselines {
    /// Of each partition, its minute, and the tick of the last snapshot that it is in; [`NO_MINUTE`] until there is one.
    partitions: BTreeMap<i32, (i64, i64)>,
    passed: SufficientStats,
    /// Ticks before this one are closed.
    closed_before: i64,
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
        self.partitions.entry(partition).or_insert((NO_MINUTE, NO_MINUTE));
    }

    /// Takes in what a partition has taught.
    pub fn take(&mut self, taught: &Taught) {
        let (minute, written) = self.partitions.entry(taught.partition).or_insert((NO_MINUTE, NO_MINUTE));
        *minute = taught.minute.max(*minute);
        *written = taught.written.max(*written);
        self.passed.merge(&taught.stats);
    }

    /// Closes the ticks that all partitions have passed: the tick before which all are closed then, and what they
    /// taught; `None` when there are none.
    pub fn close(&mut self, layout: &Layout) -> Option<(i64, SufficientStats)> {
        let before = tick_of(layout, self.partitions.values().map(|(minute, _)| *minute).min()?);
        if before <= self.closed_before {
            return None;
        }
        self.closed_before = before;
        Some((before, self.passed.take_before(before)))
    }

    /// The tick before which all are closed.
    pub fn closed_before(&self) -> i64 {
        self.closed_before
    }

    /// The minute of the partition that is furthest.
    pub fn furthest(&self) -> i64 {
        self.partitions.values().map(|(minute, _)| *minute).max().unwrap_or(NO_MINUTE)
    }

    /// The tick of the last snapshot that all partitions are in.
    pub fn written(&self) -> i64 {
        self.partitions.values().map(|(_, written)| *written).min().unwrap_or(NO_MINUTE)
    }

    /// Partitions that are not as far as a minute, and how far they are.
    pub fn behind(&self, minute: i64) -> impl Iterator<Item = (i32, i64)> {
        let minutes = self.partitions.iter().map(|(partition, (at, _))| (*partition, *at));
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

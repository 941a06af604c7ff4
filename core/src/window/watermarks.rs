//! W, the least watermark of the active partitions, from the partitions' marks.
//!
//! Invariants:
//! 1. a partition without a watermark yet holds W back: its readings may have any event time;
//! 2. W never falls. A partition that returns from idleness with an older watermark corrects final windows
//!    instead of reopening them;
//! 3. with no active partition W stands still, unless partitions have ended for good: then W is the highest watermark
//!    among those.

use std::collections::BTreeMap;

use crate::NEVER;
use crate::position::{Activity, Mark};

/// How far ahead of the least active partition another one may run, microseconds of event time.
const LEAD_MAX_US: i64 = 10 * 60 * 1_000_000;

/// How far the partitions are at the end of an epoch: the same on every worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// W, microseconds; [`NEVER`] before there is one.
    pub low_us: i64,
    /// What partitions said in this epoch.
    pub marks: Vec<Mark>,
    /// Partitions that should wait for the slowest one that still has a backlog.
    pub ahead: Vec<i32>,
}

/// The partitions' watermarks and W.
#[derive(Debug, Clone)]
pub struct Watermarks {
    partitions: BTreeMap<i32, Option<(i64, Activity, bool)>>,
    low_us: i64,
}

impl Watermarks {
    /// `partitions` that have not spoken yet; `low_us` is the committed W.
    pub fn new(partitions: impl IntoIterator<Item = i32>, low_us: i64) -> Watermarks {
        Watermarks { partitions: partitions.into_iter().map(|partition| (partition, None)).collect(), low_us }
    }

    /// Takes note of a mark. [`Watermarks::advance`] must follow once an epoch's marks are all in.
    pub fn observe(&mut self, mark: &Mark) {
        let Mark { partition, position, reach, .. } = mark;
        self.partitions.insert(*partition, Some((position.watermark_us, reach.activity, reach.at_end)));
    }

    /// Raises W to the least watermark of the active partitions, if that is higher, and returns it.
    pub fn advance(&mut self) -> i64 {
        let active = self.partitions.values().filter_map(|partition| match partition {
            None => Some(NEVER),
            Some((watermark_us, Activity::Active, _)) => Some(*watermark_us),
            Some(_) => None,
        });
        let least_us = active.min().or_else(|| {
            let ended =
                self.partitions.values().flatten().filter(|(_, activity, _)| *activity == Activity::Ended);
            ended.map(|(watermark_us, ..)| *watermark_us).max()
        });
        if let Some(least_us) = least_us {
            self.low_us = self.low_us.max(least_us);
        }
        self.low_us
    }

    /// Takes note of all marks of an epoch.
    pub fn progress(&mut self, marks: Vec<Mark>) -> Progress {
        marks.iter().for_each(|mark| self.observe(mark));
        let low_us = self.advance();
        Progress { low_us, marks, ahead: self.ahead() }
    }

    /// W, [`NEVER`] before every active partition has an accepted reading.
    pub fn low_us(&self) -> i64 {
        self.low_us
    }

    /// Partitions that are so far ahead that they should wait for the slowest one that still has a backlog, in order.
    /// A partition at its end is not waited for: pausing others would not bring it forward.
    pub fn ahead(&self) -> Vec<i32> {
        let known = || self.partitions.iter().filter_map(|(number, told)| told.map(|told| (*number, told)));
        let behind = known().filter_map(|(_, told)| match told {
            (watermark_us, Activity::Active, false) => Some(watermark_us),
            _ => None,
        });
        let Some(least_us) = behind.min() else { return Vec::new() };
        let bound_us = least_us.saturating_add(LEAD_MAX_US);
        known().filter(|(_, (own_us, ..))| *own_us > bound_us).map(|(number, _)| number).collect()
    }
}

#[cfg(test)]
mod tests;

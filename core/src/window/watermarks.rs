//! W, the least watermark of the active partitions, from what the partitions say of themselves.
//!
//! Invariants:
//! 1. a partition that has not spoken yet holds W back: nobody knows what it will bring;
//! 2. W never falls. A partition that returns from idleness with an older watermark corrects final windows
//!    instead of reopening them;
//! 3. with no active partition W stands still, unless partitions have ended for good: then W is the highest watermark
//!    among those.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::NEVER;
use crate::batch::{Activity, Tally};

/// How far ahead of the least active partition another one may run, microseconds of event time.
const LEAD_MAX_US: i64 = 10 * 60 * 1_000_000;

/// What a partition says of itself at the end of an epoch. Counts are totals since the partition's first offset, so
/// that a later mark stands for all earlier ones, except for `new_zones`, which add up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The partition.
    pub partition: i32,
    /// The first offset that was ever asked for.
    pub first_offset: i64,
    /// The next offset to read.
    pub next_offset: i64,
    /// Readings that are in all of their windows.
    pub accepted: i64,
    /// Readings that came too late and are in none.
    pub late: i64,
    /// Records that are no readings.
    pub dead: i64,
    /// Offsets that retention deleted before they were read.
    pub lost: i64,
    /// Offsets that hold no record for us.
    pub gaps: i64,
    /// The partition's watermark in microseconds; [`NEVER`] before its first accepted reading.
    pub watermark_us: i64,
    /// What the source wants back together with `next_offset`.
    pub cursor: Option<Arc<str>>,
    /// Whether it counts for W.
    pub activity: Activity,
    /// Whether it has been read to its end: then waiting for it would be in vain.
    pub at_end: bool,
    /// The partition's end offset as far as the source knows; for the lag only.
    pub end_offset: i64,
    /// Whether the process that reads it was asked to end: then all others drain too.
    pub leaving: bool,
    /// Verdicts on its accepted readings, since the run began; for people only.
    pub tally: Tally,
    /// Zones that the partition brought for the first time.
    pub new_zones: Vec<String>,
}

impl Mark {
    /// A partition before its first record; `offset` is the first one that will be asked for.
    pub fn at_start(partition: i32, offset: i64) -> Mark {
        Mark {
            partition,
            first_offset: offset,
            next_offset: offset,
            accepted: 0,
            late: 0,
            dead: 0,
            lost: 0,
            gaps: 0,
            watermark_us: NEVER,
            cursor: None,
            activity: Activity::Active,
            at_end: false,
            end_offset: offset,
            leaving: false,
            tally: Tally::default(),
            new_zones: Vec::new(),
        }
    }

    /// Whether the ledger would say the same of both.
    pub fn stands_where(&self, other: &Mark) -> bool {
        let told = |mark: &Mark| {
            (
                mark.next_offset,
                mark.accepted,
                mark.late,
                mark.dead,
                mark.lost,
                mark.gaps,
                mark.watermark_us,
                mark.activity,
            )
        };
        told(self) == told(other)
    }
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
        self.partitions.insert(mark.partition, Some((mark.watermark_us, mark.activity, mark.at_end)));
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

    /// W, [`NEVER`] before every active partition has an accepted reading.
    pub fn low_us(&self) -> i64 {
        self.low_us
    }

    /// Whether a partition is so far ahead that it should wait for the slowest one that still has a backlog.
    /// A partition at its end is not waited for: pausing others would not bring it forward.
    pub fn is_ahead(&self, partition: i32) -> bool {
        let Some(Some((own_us, _, _))) = self.partitions.get(&partition) else { return false };
        let behind = self.partitions.iter().filter_map(|(number, other)| match other {
            Some((watermark_us, Activity::Active, false)) if *number != partition => Some(*watermark_us),
            _ => None,
        });
        behind.min().is_some_and(|least_us| *own_us > least_us.saturating_add(LEAD_MAX_US))
    }
}

#[cfg(test)]
mod tests;

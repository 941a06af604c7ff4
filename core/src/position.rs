//! How far a partition has been read, and what became of its offsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::NEVER;

/// What became of a partition's offsets. They sum to `next_offset − first_offset`.
///
/// ```
/// use citytide_core::position::Counts;
///
/// let before = Counts { accepted: 3, dead: 1, ..Counts::default() };
/// let now = Counts { accepted: 5, dead: 1, ..Counts::default() };
/// assert_eq!(now.since(&before), Counts { accepted: 2, ..Counts::default() });
/// assert_eq!(now.offsets(), 6);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Readings that are in all of their windows.
    pub accepted: i64,
    /// Readings that came too late and are in none.
    pub late: i64,
    /// Records that are no readings.
    pub dead: i64,
    /// Offsets that retention deleted before they were read.
    pub lost: i64,
    /// Offsets that hold no record for us: control records, compaction, aborted transactions.
    pub gaps: i64,
}

impl Counts {
    /// Readings, accepted and late.
    pub fn readings(&self) -> i64 {
        self.accepted + self.late
    }

    pub fn offsets(&self) -> i64 {
        self.accepted + self.late + self.dead + self.lost + self.gaps
    }

    /// What has come since `before`.
    pub fn since(&self, before: &Counts) -> Counts {
        Counts {
            accepted: self.accepted - before.accepted,
            late: self.late - before.late,
            dead: self.dead - before.dead,
            lost: self.lost - before.lost,
            gaps: self.gaps - before.gaps,
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(counts: I) -> Counts {
        counts.fold(Counts::default(), |sum, one| Counts {
            accepted: sum.accepted + one.accepted,
            late: sum.late + one.late,
            dead: sum.dead + one.dead,
            lost: sum.lost + one.lost,
            gaps: sum.gaps + one.gaps,
        })
    }
}

/// How far a partition has been read, as the ledger keeps it (`ingest_progress`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The first offset that was ever asked for.
    pub first_offset: i64,
    /// The next offset to read.
    pub next_offset: i64,
    /// Since the first offset.
    pub counts: Counts,
    /// The partition's watermark in microseconds; [`NEVER`] before its first accepted reading.
    pub watermark_us: i64,
    /// Event times far ahead of the watermark that one sensor alone has brought so far.
    pub claim: Option<Claim>,
    /// What the source wants back together with `next_offset`, to find the place again.
    pub cursor: Option<Arc<str>>,
}

impl Position {
    /// Before the first record; `offset` is the first one that will be asked for.
    pub fn at_start(offset: i64) -> Position {
        Position {
            first_offset: offset,
            next_offset: offset,
            counts: Counts::default(),
            watermark_us: NEVER,
            claim: None,
            cursor: None,
        }
    }
}

/// What one sensor says of the time, far ahead of its partition's watermark, and nobody has confirmed yet. Kept with the
/// position, so that a restart decides the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub sensor: Arc<str>,
    /// The highest event time that it has claimed, microseconds.
    pub highest_us: i64,
    /// Those that it has claimed since another sensor last brought an accepted reading; fewer than make a witness.
    pub alone_us: Vec<i64>,
    /// The watermark when it last claimed one, microseconds.
    pub since_us: i64,
}

/// Whether a partition counts for the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Activity {
    /// It has never held a record: does not count.
    Empty,
    /// It holds the watermark back.
    Active,
    /// It has been read to its end, which is for good. While others are active it does not count; when all have ended,
    /// what the furthest one brought is final.
    Ended,
    /// It has been read to its end and has brought no accepted reading for `idle_after`: does not count until it
    /// brings one.
    Idle,
}

impl Activity {
    /// Whether it has been read to its end and is not waited for.
    pub fn is_at_rest(self) -> bool {
        matches!(self, Activity::Ended | Activity::Idle)
    }
}

/// What a source says of a partition at the moment. Only the activity is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Whether it counts for W.
    pub activity: Activity,
    /// Whether it has been read to its end: then waiting for it would be in vain.
    pub at_end: bool,
    /// The partition's end offset as far as the source knows; for the lag only.
    pub end_offset: i64,
    /// Whether the process that reads it was asked to end: then all others drain too.
    pub leaving: bool,
    /// For how long the source has looked for records, milliseconds: the time by which partitions are idle.
    pub watched_ms: u64,
}

impl Reach {
    /// Active, with more to come up to `end_offset`.
    pub fn active(end_offset: i64) -> Reach {
        Reach { activity: Activity::Active, at_end: false, end_offset, leaving: false, watched_ms: 0 }
    }
}

impl Default for Reach {
    fn default() -> Reach {
        Reach::active(0)
    }
}

/// What a partition says of itself at the end of an epoch. The position's counts are totals, so that a later mark
/// stands for all earlier ones, except for `new_zones`, which add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub partition: i32,
    pub position: Position,
    pub reach: Reach,
    /// Zones that the partition brought for the first time.
    pub new_zones: Vec<String>,
}

impl Mark {
    /// A partition before its first record; `offset` is the first one that will be asked for.
    pub fn at_start(partition: i32, offset: i64) -> Mark {
        Mark {
            partition,
            position: Position::at_start(offset),
            reach: Reach::active(offset),
            new_zones: Vec::new(),
        }
    }

    /// Whether the ledger would say the same of both.
    pub fn stands_where(&self, other: &Mark) -> bool {
        // A cursor alone is no news: it moves with the offset.
        let position = |mark: &Mark| Position { cursor: None, first_offset: 0, ..mark.position.clone() };
        position(self) == position(other) && self.reach.activity == other.reach.activity
    }

    /// Puts a mark in the place of an earlier one of its partition, whose new zones it takes over.
    pub fn supersede(mut self, marks: &mut BTreeMap<i32, Mark>) {
        if let Some(before) = marks.remove(&self.partition) {
            self.new_zones.splice(0..0, before.new_zones);
        }
        marks.insert(self.partition, self);
    }
}

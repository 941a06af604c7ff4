//! Session windows: readings of a zone, or of a sensor in a zone, that follow each other by less than a gap.
//!
//! ```text
//!  batches ─▶ parts_of (per batch) ── runs of readings ──▶ Sessions (the zones of one worker) ──▶ rows that come and go
//! ```
//!
//! A session is `[start, end)`: it starts with its first reading, and ends a gap after its last one. Two readings a gap
//! apart or more belong to two sessions. No session goes on across a multiple of `max`, so one that would never end is
//! cut where nothing but the time of its readings decides.
//!
//! Invariants:
//! 1. after `apply(epoch, ..)`, the rows told so far, those that disappeared taken away, equal a recompute from all
//!    accepted readings up to that epoch;
//! 2. a row is final iff its end is not above W. A late reading may extend a session beyond W: then it is open again;
//! 3. a session leaves memory only when W is well past its end and the epoch that last changed it is committed; none
//!    does while sessions are being read back. A reading that may belong to one that has left has it read back first:
//!    see `missing`. So memory is bounded by the sessions that are open, whatever `allowed_lateness` is.

mod parts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use citytide_domain::{Domain, SessionWindow};
use serde::{Deserialize, Serialize};

use super::PaneSums;
use crate::{NEVER, floor_to};
pub use parts::parts_of;

/// How long W is past a session's end before it leaves memory, microseconds: most late readings are late by moments.
const KEPT_FOR_LATE_US: i64 = 10 * 60 * 1_000_000;
/// How far W goes on between two looks for what can leave memory.
const EVICT_EVERY_US: i64 = 10 * 1_000_000;

/// Whose sessions: of which of the domain's session windows, zone and sensor; `""` where the zone's readings make them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionsOf {
    pub window: usize,
    pub zone: Arc<str>,
    pub sensor: Arc<str>,
}

/// Readings that belong to one session: all of it, or what a worker has of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Event time of the first reading, microseconds.
    pub first_us: i64,
    /// What the readings add up to; it knows the time of the last one.
    pub sums: PaneSums,
    /// First epoch that added to it; 0 while it is a part.
    pub first_epoch: u64,
}

/// A session's row as of an epoch. The commit adds what only the database knows: the revision.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    pub of: SessionsOf,
    pub session: Session,
    /// End, exclusive, microseconds.
    pub end_us: i64,
    /// Whether W has passed the end.
    pub is_final: bool,
}

/// Where sessions must be read back: those that readings between two times may belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRange {
    pub of: SessionsOf,
    /// The first and the last reading, microseconds.
    pub from_us: i64,
    pub until_us: i64,
}

/// When readings belong together.
#[derive(Debug, Clone, Copy)]
struct Shape {
    gap_us: i64,
    max_us: i64,
}

impl Shape {
    fn of(window: &SessionWindow) -> Shape {
        Shape { gap_us: window.gap_us, max_us: window.max_us }
    }

    /// The multiple of `max` after a time.
    fn cut_after(self, at_us: i64) -> i64 {
        floor_to(at_us, self.max_us) + self.max_us
    }

    fn end_us(self, session: &Session) -> i64 {
        (session.last_us() + self.gap_us).min(self.cut_after(session.first_us))
    }

    /// Whether readings from `first_us` to `last_us` belong to a session.
    fn joins(self, session: &Session, first_us: i64, last_us: i64) -> bool {
        floor_to(session.first_us, self.max_us) == floor_to(first_us, self.max_us)
            && first_us - session.last_us() < self.gap_us
            && session.first_us - last_us < self.gap_us
    }
}

impl Session {
    /// Event time of the last reading, microseconds.
    pub fn last_us(&self) -> i64 {
        self.sums.last_event_us
    }

    fn merge(&mut self, other: &Session) {
        self.first_us = self.first_us.min(other.first_us);
        self.first_epoch = self.first_epoch.min(other.first_epoch);
        self.sums.merge(&other.sums);
    }
}

/// A session by its start.
type Id = (SessionsOf, i64);

#[derive(Debug)]
struct Held {
    session: Session,
    /// The epoch that last changed it.
    changed_epoch: u64,
    /// Whether its row was told, and as final.
    is_told: bool,
    is_final: bool,
    /// Whether `deadlines` has it.
    is_awaited: bool,
}

/// The sessions of some zones.
#[derive(Debug)]
pub struct Sessions {
    shapes: Vec<Shape>,
    /// By start.
    groups: HashMap<SessionsOf, BTreeMap<i64, Held>>,
    /// When sessions end, at the earliest: they may have been extended since.
    deadlines: BTreeSet<(i64, Id)>,
    /// Final ones by their end, which may have been extended since.
    past: BTreeSet<(i64, Id)>,
    low_us: i64,
    /// A session that ended before this may be in the database only.
    evicted_below_us: i64,
    /// Whether sessions are being read back: the answer may be older than a commit made meanwhile.
    awaits: bool,
}

impl Sessions {
    /// Sessions as of the committed watermark, before any is loaded.
    pub fn new(domain: &Domain, low_us: i64) -> Sessions {
        let mut sessions = Sessions {
            shapes: domain.sessions.iter().map(Shape::of).collect(),
            groups: HashMap::new(),
            deadlines: BTreeSet::new(),
            past: BTreeSet::new(),
            low_us,
            evicted_below_us: NEVER,
            awaits: false,
        };
        sessions.evicted_below_us = sessions.kept_from_us();
        sessions
    }

    /// Sessions that end at or after this belong in memory: after a restart they are loaded.
    pub fn kept_from_us(&self) -> i64 {
        match self.low_us {
            NEVER => NEVER,
            low_us => low_us - KEPT_FOR_LATE_US,
        }
    }

    /// W as of the last epoch.
    pub fn low_us(&self) -> i64 {
        self.low_us
    }

    /// Takes in a session that was read from the database, unless memory holds it and knows better.
    pub fn load(&mut self, of: SessionsOf, session: Session, is_final: bool) {
        let end_us = self.shapes[of.window].end_us(&session);
        let group = self.groups.entry(of.clone()).or_default();
        let meets = group.range(..=session.last_us()).next_back();
        if meets.is_some_and(|(_, known)| known.session.last_us() >= session.first_us) {
            return;
        }
        let first_us = session.first_us;
        let (is_told, is_awaited) = (true, !is_final);
        group.insert(first_us, Held { session, changed_epoch: 0, is_told, is_final, is_awaited });
        let times = if is_final { &mut self.past } else { &mut self.deadlines };
        times.insert((end_us, (of, first_us)));
    }

    /// What must be loaded before `apply` of these parts. What memory holds when it is asked stays until that `apply`.
    pub fn missing(&mut self, parts: &[(SessionsOf, Session)]) -> Vec<SessionRange> {
        let mut ranges: Vec<SessionRange> = parts
            .iter()
            .filter(|(_, part)| part.first_us < self.evicted_below_us)
            .map(|(of, part)| SessionRange {
                of: of.clone(),
                from_us: part.first_us,
                until_us: part.last_us(),
            })
            .collect();
        ranges.sort_by(|one, other| (&one.of, one.from_us).cmp(&(&other.of, other.from_us)));
        ranges.dedup_by(|later, earlier| {
            let meets = later.of == earlier.of && later.from_us <= earlier.until_us;
            if meets {
                earlier.until_us = earlier.until_us.max(later.until_us);
            }
            meets
        });
        self.awaits = !ranges.is_empty();
        ranges
    }

    /// Applies an epoch: all workers' parts for these zones, and W at its end. Returns rows that appeared (+1) or
    /// disappeared (−1).
    pub fn apply(
        &mut self,
        epoch: u64,
        parts: Vec<(SessionsOf, Session)>,
        low_us: i64,
    ) -> Vec<(SessionRow, isize)> {
        self.awaits = false;
        let mut changes = Changes { epoch, gone: BTreeMap::new(), changed: BTreeSet::new() };
        for (of, part) in parts {
            self.add(of, part, &mut changes);
        }
        self.finalize(low_us, &mut changes);
        let Changes { gone, changed, .. } = changes;
        let mut rows: Vec<(SessionRow, isize)> = gone.into_values().map(|row| (row, -1)).collect();
        for (of, first_us) in changed {
            let shape = self.shapes[of.window];
            let held = self.groups.get_mut(&of).and_then(|group| group.get_mut(&first_us));
            // Another session has taken it in meanwhile.
            let Some(held) = held else { continue };
            held.is_told = true;
            rows.push((row(shape, of, held), 1));
        }
        rows
    }

    /// Adds a part to its session, joining those that it bridges.
    fn add(&mut self, of: SessionsOf, part: Session, changes: &mut Changes) {
        let shape = self.shapes[of.window];
        let group = self.groups.entry(of.clone()).or_default();
        let mut session = Session { first_epoch: changes.epoch, ..part };
        let mut awaited_us = None;
        loop {
            let until_us = (session.last_us() + shape.gap_us).min(shape.cut_after(session.first_us));
            let near = group.range(..until_us).next_back();
            let first_us = match near {
                Some((&first_us, near))
                    if shape.joins(&near.session, session.first_us, session.last_us()) =>
                {
                    first_us
                }
                _ => break,
            };
            let held = group.remove(&first_us).expect("it was found");
            changes.touch(shape, &of, &held);
            // Going from later to earlier ones, the last one begins the session, or the part does.
            awaited_us = held.is_awaited.then_some(first_us);
            session.merge(&held.session);
        }
        let first_us = session.first_us;
        let (id, end_us) = ((of, first_us), shape.end_us(&session));
        changes.changed.insert(id.clone());
        if awaited_us != Some(first_us) {
            self.deadlines.insert((end_us, id));
        }
        group.insert(
            first_us,
            Held { session, changed_epoch: changes.epoch, is_told: false, is_final: false, is_awaited: true },
        );
    }

    /// Raises W, and marks the sessions whose end it has passed.
    fn finalize(&mut self, low_us: i64, changes: &mut Changes) {
        self.low_us = self.low_us.max(low_us);
        while let Some((due_us, (of, first_us))) = self.deadlines.first() {
            if *due_us > self.low_us || self.low_us == NEVER {
                break;
            }
            let shape = self.shapes[of.window];
            let id = (of.clone(), *first_us);
            self.deadlines.pop_first();
            // One that another session has taken in has no deadline any more.
            let Some(held) = self.groups.get_mut(&id.0).and_then(|group| group.get_mut(&id.1)) else {
                continue;
            };
            let end_us = shape.end_us(&held.session);
            if end_us > self.low_us {
                self.deadlines.insert((end_us, id));
                continue;
            }
            changes.touch(shape, &id.0, held);
            held.is_final = true;
            held.is_awaited = false;
            held.changed_epoch = changes.epoch;
            changes.changed.insert(id.clone());
            self.past.insert((end_us, id));
        }
    }

    /// Lets go of sessions that W has passed long ago and whose last change lies below `committed_below`, the first
    /// epoch that is not committed yet.
    pub fn evict(&mut self, committed_below: u64) {
        let kept_from_us = self.kept_from_us();
        if self.awaits
            || kept_from_us == NEVER
            || kept_from_us < self.evicted_below_us.saturating_add(EVICT_EVERY_US)
        {
            return;
        }
        let mut stay = Vec::new();
        while let Some((end_us, _)) = self.past.first() {
            if *end_us >= kept_from_us {
                break;
            }
            let (_, id) = self.past.pop_first().expect("there is a first one");
            let Some(group) = self.groups.get_mut(&id.0) else { continue };
            // One that was extended beyond W comes back when it is final again.
            let Some(held) = group.get(&id.1).filter(|held| held.is_final) else { continue };
            let end_us = self.shapes[id.0.window].end_us(&held.session);
            if end_us >= kept_from_us || held.changed_epoch >= committed_below {
                stay.push((end_us, id));
                continue;
            }
            group.remove(&id.1);
            if group.is_empty() {
                self.groups.remove(&id.0);
            }
        }
        self.past.extend(stay);
        self.evicted_below_us = kept_from_us;
    }

    /// Sessions in memory.
    pub fn sessions(&self) -> usize {
        self.groups.values().map(BTreeMap::len).sum()
    }
}

fn row(shape: Shape, of: SessionsOf, held: &Held) -> SessionRow {
    let session = held.session.clone();
    SessionRow { of, end_us: shape.end_us(&session), session, is_final: held.is_final }
}

/// What an epoch changes.
struct Changes {
    epoch: u64,
    /// Rows as they were told before.
    gone: BTreeMap<Id, SessionRow>,
    changed: BTreeSet<Id>,
}

impl Changes {
    /// Before a session changes or is taken in by another one.
    fn touch(&mut self, shape: Shape, of: &SessionsOf, held: &Held) {
        if held.is_told {
            let id = (of.clone(), held.session.first_us);
            self.gone.entry(id).or_insert_with(|| row(shape, of.clone(), held));
        }
    }
}

#[cfg(test)]
mod tests;

//! Partitions that the others cannot wait for.
//!
//! Everybody waits for a partition that is behind: its readings are on their way. Not so for one that has nothing to
//! read, and not for longer than a few seconds for one that is read to its end, still minutes behind, and does not come
//! nearer: its sensors send what is old. It is lifted as far as the others need, and not further.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Baselines;
use super::event_time::{EventClock, KNOWN_AFTER_MINUTES, NO_MINUTE, TimeRules};
use crate::position::{Activity, Mark};

/// How long the others wait for a partition that is read to its end, behind, and in the same minute.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the partitions, for deciding whom to wait for.
#[derive(Debug)]
pub struct Stragglers {
    /// Whether the run ends where the log ends: then a partition at its end has nothing more to say.
    until_caught_up: bool,
    time: TimeRules,
    partitions: BTreeMap<i32, Standing>,
    /// Since when the others wait for a partition, and the minute that it has been in since then.
    waited_since: BTreeMap<i32, (i64, Instant)>,
    /// Those that are not waited for until they have caught up.
    left_out: BTreeSet<i32>,
}

#[derive(Debug)]
struct Standing {
    activity: Activity,
    at_end: bool,
    minute: i64,
}

impl Stragglers {
    /// Nothing is known yet.
    pub fn new(until_caught_up: bool, time: TimeRules) -> Stragglers {
        Stragglers {
            until_caught_up,
            time,
            partitions: BTreeMap::new(),
            waited_since: BTreeMap::new(),
            left_out: BTreeSet::new(),
        }
    }

    /// Takes note of what partitions say of themselves.
    pub fn observe(&mut self, marks: &[Mark]) {
        for mark in marks {
            let minute = EventClock::at(mark.position.watermark_us).minute(&self.time);
            let standing = Standing { activity: mark.reach.activity, at_end: mark.reach.at_end, minute };
            self.partitions.insert(mark.partition, standing);
        }
    }

    /// The partitions to lift, each to a minute.
    pub fn lifts(&mut self, now: Instant, baselines: &Baselines) -> Vec<(i32, i64)> {
        let furthest = baselines.furthest();
        if furthest == NO_MINUTE {
            return Vec::new();
        }
        let needed = furthest - KNOWN_AFTER_MINUTES;
        self.left_out.retain(|one| self.partitions.get(one).is_some_and(|one| one.minute < needed));
        let behind: BTreeMap<i32, i64> = baselines.behind(needed).collect();
        self.waited_since.retain(|partition, (minute, _)| behind.get(partition) == Some(minute));
        let mut lifts = Vec::new();
        for (partition, minute) in behind {
            let Some(standing) = self.partitions.get(&partition) else { continue };
            let is_over = match standing.activity {
                Activity::Ended | Activity::Idle => true,
                // Where nobody knows yet whether there is something, it may come.
                Activity::Empty => standing.at_end,
                Activity::Active => self.until_caught_up && standing.at_end,
            };
            let is_late = !self.until_caught_up && standing.at_end && {
                let (_, since) = *self.waited_since.entry(partition).or_insert((minute, now));
                self.left_out.contains(&partition) || now.duration_since(since) >= PATIENCE
            };
            if is_late && !is_over {
                self.left_out.insert(partition);
            }
            if is_over || is_late {
                lifts.push((partition, needed));
            }
        }
        lifts
    }

    /// Whether everything that is there has been read: nobody waits for what is to come.
    pub fn is_living(&self) -> bool {
        !self.until_caught_up
            && self.partitions.values().all(|one| one.at_end || one.activity != Activity::Active)
    }
}

#[cfg(test)]
mod tests;

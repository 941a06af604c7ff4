//! The partitions of one worker as its source knows them: whose chunks come, in which order, and what is said of each.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use citytide_core::batch::Chunk;
use citytide_core::position::{Activity, Reach};

use super::Held;
use crate::sources::{Assigned, Intake};

/// How soon a partition at its end is told of time when its readings have waited: in a later epoch than they.
const TICK_AFTER_WAIT: Duration = Duration::from_millis(200);
/// Chunks of a partition that are kept while it is not read.
const WAITING_MAX: usize = 8;

/// What a look for records adds to the time that was watched at most. What lies further back is a stall: nobody knows
/// what came meanwhile.
const WATCHED_AT_ONCE_MAX: Duration = Duration::from_secs(1);
/// Ticks of time during `idle_after`.
const TICKS: u32 = 10;

struct Partition {
    /// Never idle: only who sees which readings are accepted can tell.
    activity: Activity,
    /// Whether it had been read to its end when it was last heard of.
    at_end: bool,
    /// When it last brought a record, as the time that was watched.
    brought_at: Duration,
    /// When it is next told that time passes; `None` when it has been told of `idle_after` since its last record.
    tick_at: Option<Duration>,
    next_offset: i64,
    /// Where to end under `until_caught_up`.
    target: i64,
    done: bool,
    ahead: bool,
    /// Whether its readings wait for what they are judged by.
    held: bool,
    /// Whether enough of it is here: until nothing is.
    is_much: bool,
    /// Whether the source was asked to bring no more of it.
    paused: bool,
    /// Chunks that had been read when the partition was paused.
    waiting: VecDeque<Chunk>,
    end_offset: i64,
}

impl Partition {
    fn at_start(one: &Assigned) -> Partition {
        Partition {
            // Where the end is unknown, only a record shows that there is something to wait for.
            activity: match one.end_offset == 0 || !one.is_end_known {
                true => Activity::Empty,
                false => Activity::Active,
            },
            at_end: false,
            brought_at: Duration::ZERO,
            tick_at: Some(Duration::ZERO),
            next_offset: one.next_offset,
            target: if one.is_end_known { one.end_offset } else { i64::MAX },
            done: one.is_end_known && one.next_offset >= one.end_offset,
            ahead: false,
            held: false,
            is_much: false,
            paused: false,
            waiting: VecDeque::new(),
            end_offset: one.end_offset,
        }
    }

    /// Whether its chunks are passed on.
    fn flows(&self) -> bool {
        !self.ahead && !self.held
    }

    fn reach(&self, watched: Duration) -> Reach {
        let watched_ms = u64::try_from(watched.as_millis()).expect("fewer than 2^64 milliseconds");
        Reach { activity: self.activity, watched_ms, ..Reach::active(self.end_offset) }
    }
}

pub struct Partitions {
    by_number: BTreeMap<i32, Partition>,
    until_caught_up: bool,
    /// When the queue was last asked for a chunk.
    asked_at: Option<Instant>,
    /// For how long it has been asked. While the commit stalls, what waits there is a backlog and no silence.
    watched: Duration,
}

impl Partitions {
    pub fn new(assigned: &[Assigned], until_caught_up: bool) -> Partitions {
        let by_number = assigned.iter().map(|one| (one.partition, Partition::at_start(one))).collect();
        Partitions { by_number, until_caught_up, asked_at: None, watched: Duration::ZERO }
    }

    /// A chunk without records for every partition, so that all workers hear of it: what has not spoken holds the
    /// watermark back.
    pub fn introduce(&self, assigned: &[Assigned]) -> impl Iterator<Item = Chunk> {
        assigned.iter().map(|one| {
            let partition = &self.by_number[&one.partition];
            let reach = Reach { at_end: partition.done, ..partition.reach(self.watched) };
            Chunk { partition: one.partition, reach, ..Chunk::default() }
        })
    }

    /// A chunk without records for every partition, that tells the other processes to drain too.
    pub fn drain(&self) -> impl Iterator<Item = Chunk> {
        self.by_number.iter().map(|(&number, partition)| {
            let reach = Reach { leaving: true, ..partition.reach(self.watched) };
            Chunk { partition: number, reach, ..Chunk::default() }
        })
    }

    /// Stops partitions that are ahead of one with a backlog, and lets them go on when it has caught up.
    pub fn set_ahead(&mut self, those_ahead: &[i32]) {
        for (number, partition) in &mut self.by_number {
            partition.ahead = those_ahead.contains(number);
        }
    }

    /// Stops partitions whose readings wait, and asks the source to pause those of which enough is here: a pause throws
    /// away what the client has fetched.
    pub fn balance(&mut self, intake: &Intake, held: &Held) {
        for (&number, partition) in &mut self.by_number {
            let was_held = std::mem::replace(&mut partition.held, held.holds(number));
            if was_held && !partition.held {
                // What waited comes only now: it must count before the partition may be idle.
                partition.brought_at = self.watched;
                partition.tick_at = partition.tick_at.map(|_| self.watched + TICK_AFTER_WAIT);
            }
            let chunks = partition.waiting.len();
            partition.is_much = chunks >= WAITING_MAX || (partition.is_much && chunks > 0);
            let paused = partition.ahead || partition.is_much;
            if paused != partition.paused {
                partition.paused = paused;
                intake.control.pause(number, paused);
            }
        }
    }

    /// The next chunk that may be read: of a partition that is no longer ahead, else from the queue.
    pub fn next(&mut self, intake: &Intake, now: Instant) -> Option<Chunk> {
        let before = self.asked_at.replace(now).unwrap_or(now);
        self.watched += now.duration_since(before).min(WATCHED_AT_ONCE_MAX);
        let waiting = self.by_number.values_mut().find(|one| one.flows() && !one.waiting.is_empty());
        if let Some(chunk) = waiting.and_then(|one| one.waiting.pop_front()) {
            return Some(self.take(chunk));
        }
        loop {
            let chunk = intake.chunks.try_recv().ok()?;
            if let Some(next_offset) = chunk.begins_at {
                let end_offset = chunk.reach.end_offset;
                let one = Assigned {
                    partition: chunk.partition,
                    next_offset,
                    low_offset: next_offset,
                    end_offset,
                    is_end_known: true,
                };
                let new = || Partition { brought_at: self.watched, ..Partition::at_start(&one) };
                self.by_number.entry(chunk.partition).or_insert_with(new);
            }
            let partition = self.by_number.get_mut(&chunk.partition).expect("an assigned partition");
            if !partition.flows() || !partition.waiting.is_empty() {
                partition.waiting.push_back(chunk);
                continue;
            }
            return Some(self.take(chunk));
        }
    }

    fn take(&mut self, mut chunk: Chunk) -> Chunk {
        let partition = self.by_number.get_mut(&chunk.partition).expect("an assigned partition");
        if self.until_caught_up {
            chunk.cut_at(partition.target);
        }
        let passed = chunk.read_up_to.max(chunk.lost_below);
        partition.next_offset = partition.next_offset.max(passed.unwrap_or_default());
        if let Some(last) = chunk.offsets.last() {
            partition.next_offset = partition.next_offset.max(last + 1);
            partition.activity = Activity::Active;
            partition.at_end = false;
            partition.brought_at = self.watched;
            partition.tick_at = Some(self.watched);
        }
        partition.at_end |= chunk.reach.at_end;
        if chunk.ended {
            partition.activity = Activity::Ended;
        }
        partition.done |= chunk.reach.at_end || partition.next_offset >= partition.target;
        partition.end_offset = chunk.reach.end_offset.max(partition.next_offset);
        let at_end = chunk.reach.at_end || (self.until_caught_up && partition.done);
        chunk.reach = Reach { at_end, ..partition.reach(self.watched) };
        chunk
    }

    /// A chunk without records for every partition at its end that should hear how much time has passed: a few until
    /// `idle_after` has passed since its last record, and then none before the next one.
    pub fn tick(&mut self, idle_after: Duration) -> Vec<Chunk> {
        let mut ticks = Vec::new();
        for (&number, partition) in &mut self.by_number {
            let Some(tick_at) = partition.tick_at else { continue };
            let is_looked_at = partition.flows() && partition.waiting.is_empty();
            if partition.activity != Activity::Active || !partition.at_end || !is_looked_at {
                continue;
            }
            let has_rested = self.watched.saturating_sub(partition.brought_at) >= idle_after;
            if self.watched >= tick_at || has_rested {
                partition.tick_at = (!has_rested).then_some(self.watched + idle_after / TICKS);
                let reach = Reach { at_end: true, ..partition.reach(self.watched) };
                ticks.push(Chunk { partition: number, reach, ..Chunk::default() });
            }
        }
        ticks
    }

    /// Whether all have been read up to where they end under `until_caught_up`.
    pub fn are_done(&self) -> bool {
        self.by_number.values().all(|one| one.done)
    }
}

#[cfg(test)]
mod tests;

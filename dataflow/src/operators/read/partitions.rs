//! The partitions of one worker as its source knows them: whose chunks come, in which order, and what is said of each.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use citytide_core::batch::Chunk;
use citytide_core::position::{Activity, Reach};

use crate::sources::{Assigned, Intake};

struct Partition {
    activity: Activity,
    at_end_since: Option<Instant>,
    next_offset: i64,
    /// Where to end under `until_caught_up`.
    target: i64,
    done: bool,
    ahead: bool,
    /// Chunks that had been read when the partition was paused.
    waiting: VecDeque<Chunk>,
    end_offset: i64,
}

impl Partition {
    fn at_start(one: &Assigned) -> Partition {
        Partition {
            // Where nobody knows the end, only a record tells that there is something to wait for.
            activity: match one.end_offset == 0 || !one.is_end_known {
                true => Activity::Empty,
                false => Activity::Active,
            },
            at_end_since: None,
            next_offset: one.next_offset,
            target: if one.is_end_known { one.end_offset } else { i64::MAX },
            done: one.is_end_known && one.next_offset >= one.end_offset,
            ahead: false,
            waiting: VecDeque::new(),
            end_offset: one.end_offset,
        }
    }

    fn reach(&self) -> Reach {
        Reach { activity: self.activity, end_offset: self.end_offset, ..Reach::default() }
    }
}

pub struct Partitions {
    by_number: BTreeMap<i32, Partition>,
    until_caught_up: bool,
    /// When the queue was last asked for a chunk. While the commit stalls, what waits there is a backlog.
    asked_at: Option<Instant>,
}

impl Partitions {
    pub fn new(assigned: &[Assigned], until_caught_up: bool) -> Partitions {
        let by_number = assigned.iter().map(|one| (one.partition, Partition::at_start(one))).collect();
        Partitions { by_number, until_caught_up, asked_at: None }
    }

    /// A chunk without records for every partition, so that all workers hear of it: what has not spoken holds the
    /// watermark back.
    pub fn introduce(&self, assigned: &[Assigned]) -> impl Iterator<Item = Chunk> {
        assigned.iter().map(|one| {
            let partition = &self.by_number[&one.partition];
            let reach = Reach { at_end: partition.done, ..partition.reach() };
            Chunk { partition: one.partition, reach, ..Chunk::default() }
        })
    }

    /// A chunk without records for every partition, that tells the other processes to drain too.
    pub fn drain(&self) -> impl Iterator<Item = Chunk> {
        self.by_number.iter().map(|(&number, partition)| {
            let reach = Reach { leaving: true, ..partition.reach() };
            Chunk { partition: number, reach, ..Chunk::default() }
        })
    }

    /// Pauses partitions that are ahead of one with a backlog, and lets them go on when it has caught up.
    pub fn pause_ahead(&mut self, intake: &Intake, those_ahead: &[i32]) {
        for (&number, partition) in &mut self.by_number {
            let ahead = those_ahead.contains(&number);
            if ahead != partition.ahead {
                partition.ahead = ahead;
                intake.control.pause(number, ahead);
            }
        }
    }

    /// The next chunk that may be read: of a partition that is no longer ahead, else from the queue.
    pub fn next(&mut self, intake: &Intake, now: Instant) -> Option<Chunk> {
        self.asked_at = Some(now);
        let waiting = self.by_number.values_mut().find(|one| !one.ahead && !one.waiting.is_empty());
        if let Some(chunk) = waiting.and_then(|one| one.waiting.pop_front()) {
            return Some(self.take(chunk, now));
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
                self.by_number.entry(chunk.partition).or_insert_with(|| Partition::at_start(&one));
            }
            let partition = self.by_number.get_mut(&chunk.partition).expect("an assigned partition");
            if partition.ahead {
                partition.waiting.push_back(chunk);
                continue;
            }
            return Some(self.take(chunk, now));
        }
    }

    fn take(&mut self, mut chunk: Chunk, now: Instant) -> Chunk {
        let partition = self.by_number.get_mut(&chunk.partition).expect("an assigned partition");
        if self.until_caught_up {
            chunk.cut_at(partition.target);
        }
        let passed = chunk.read_up_to.max(chunk.lost_below);
        partition.next_offset = partition.next_offset.max(passed.unwrap_or_default());
        if let Some(last) = chunk.offsets.last() {
            partition.next_offset = partition.next_offset.max(last + 1);
            partition.activity = Activity::Active;
            partition.at_end_since = None;
        }
        if chunk.reach.at_end {
            partition.at_end_since.get_or_insert(now);
        }
        if chunk.ended {
            partition.activity = Activity::Ended;
        }
        partition.done |= chunk.reach.at_end || partition.next_offset >= partition.target;
        partition.end_offset = chunk.reach.end_offset.max(partition.next_offset);
        let at_end = chunk.reach.at_end || (self.until_caught_up && partition.done);
        chunk.reach = Reach { at_end, ..partition.reach() };
        chunk
    }

    /// A chunk without records for every partition that has just become idle.
    pub fn fall_idle(&mut self, idle_after: Duration) -> Vec<Chunk> {
        let mut idle = Vec::new();
        let Some(asked_at) = self.asked_at else { return idle };
        for (&number, partition) in &mut self.by_number {
            let rested =
                partition.at_end_since.is_some_and(|since| asked_at.duration_since(since) >= idle_after);
            if partition.activity == Activity::Active
                && rested
                && !partition.ahead
                && partition.waiting.is_empty()
            {
                partition.activity = Activity::Idle;
                let reach = Reach { at_end: true, ..partition.reach() };
                idle.push(Chunk { partition: number, reach, ..Chunk::default() });
            }
        }
        idle
    }

    /// Whether all have been read up to where they end under `until_caught_up`.
    pub fn are_done(&self) -> bool {
        self.by_number.values().all(|one| one.done)
    }
}

#[cfg(test)]
mod tests;

//! Late or accepted, how far each partition is, and which ones are idle.
//!
//! Invariants:
//! 1. a reading is late iff `pane_end + allowed_lateness <= wm(p)`, where wm(p) is the highest event time of the
//!    partition's *earlier accepted* readings less `out_of_orderness`: a function of the partition's log alone;
//! 2. an accepted reading more than `jump_max` ahead of wm(p) counts for it only once it is confirmed (`witness`);
//! 3. late readings and dead letters do not move a watermark, and a partition without other records is idle;
//! 4. per partition, `next_offset − first_offset = accepted + late + dead + lost + gaps` ([`crate::position::Counts`]).

mod rest;
mod rule;
mod witness;

use std::collections::HashMap;

use citytide_domain::Domain;

use crate::batch::Batch;
use crate::position::{Mark, Reach};
use rest::Rest;
pub use rule::LatenessRule;
use witness::Witness;

/// Decides which readings are late, and keeps the marks of the partitions that one worker reads. Before readings are
/// scored: what is late teaches the detector nothing.
pub struct Lateness {
    rule: LatenessRule,
    /// `None` where no partition becomes idle.
    idle_after_ms: Option<u64>,
    partitions: HashMap<i32, Partition>,
}

struct Partition {
    mark: Mark,
    rest: Rest,
}

impl Partition {
    fn at(mark: Mark) -> Partition {
        Partition { mark: Mark { new_zones: Vec::new(), ..mark }, rest: Rest::default() }
    }
}

impl Lateness {
    /// Goes on from the given marks, those of the last commit.
    pub fn new(domain: &Domain, marks: impl IntoIterator<Item = Mark>) -> Lateness {
        Lateness {
            rule: LatenessRule::new(domain),
            idle_after_ms: Some(domain.time.idle_after_us.cast_unsigned() / 1_000),
            partitions: marks.into_iter().map(|mark| (mark.partition, Partition::at(mark))).collect(),
        }
    }

    /// No partition becomes idle: all are waited for.
    pub fn without_idleness(self) -> Lateness {
        Lateness { idle_after_ms: None, ..self }
    }

    /// Fills in `batch.late` and `batch.watermark_us`. Returns the partition's mark behind the batch, whose new zones
    /// are those of this batch alone.
    pub fn judge(&mut self, batch: &mut Batch) -> Mark {
        let progress = &batch.progress;
        if let Some(offset) = progress.begins_at {
            let begun = || Partition::at(Mark::at_start(batch.partition, offset));
            self.partitions.entry(batch.partition).or_insert_with(begun);
        }
        let Partition { mark, rest } =
            self.partitions.get_mut(&batch.partition).expect("a batch of an assigned partition");
        let position = &mut mark.position;
        let accepted_before = position.counts.accepted;
        batch.late.clear();
        for row in 0..batch.rows() {
            let is_late = self.rule.see(position, batch.sensor(row), batch.event_times_us[row]);
            batch.late.push(is_late);
            position.counts.late += i64::from(is_late);
            position.counts.accepted += i64::from(!is_late);
        }
        batch.watermark_us = position.watermark_us;
        position.counts.dead += batch.dead.len() as i64;
        position.counts.lost += progress.lost;
        position.counts.gaps += progress.gaps;
        let has_moved = progress.next_offset > position.next_offset;
        position.next_offset = progress.next_offset;
        if progress.cursor.is_some() {
            position.cursor.clone_from(&progress.cursor);
        }
        let has_accepted = position.counts.accepted > accepted_before;
        let activity = match self.idle_after_ms {
            Some(idle_after_ms) => rest.activity(progress.reach, has_moved, has_accepted, idle_after_ms),
            None => progress.reach.activity,
        };
        mark.reach = Reach { activity, ..progress.reach };
        Mark { new_zones: batch.new_zones.iter().map(|zone| zone.to_string()).collect(), ..mark.clone() }
    }
}

#[cfg(test)]
mod tests;

//! Learns the lessons of closed ticks, and forgets what no reading needs any more.

use super::{Judged, ScoringState};
use crate::detect::Lesson;
use crate::detect::event_time::known_at;
use crate::detect::snapshot::{Blob, BlobKind};

impl ScoringState {
    pub(super) fn learn(&mut self, lesson: Lesson, is_mine: impl Fn(&str) -> bool, judged: &mut Judged) {
        let by = lesson.by;
        self.early.insert((by, lesson.after), lesson);
        while let Some(lesson) = self.early.remove(&(by, self.closed_before[by])) {
            self.learn_next(lesson, &is_mine, judged);
        }
    }

    fn learn_next(&mut self, lesson: Lesson, is_mine: &impl Fn(&str) -> bool, judged: &mut Judged) {
        let Lesson { by, before, stats, model, awaited, snapshot, .. } = lesson;
        self.lessons.merge(&stats);
        self.closed_before[by] = before;
        // What was decided before a restart is known.
        self.awaited.extend(awaited.into_iter().filter(|tick| !self.models.contains_key(tick)));
        if model.is_some() {
            self.put_in_force(before, model);
        }
        if snapshot {
            (self.snapshot, self.are_zones_due) = (before + 1, true);
        }
        let complete = self.closed_before.iter().copied().min().expect("there is a worker");
        if complete <= self.complete {
            return;
        }
        self.complete = complete;
        self.forget();
        let closed: Vec<_> = self.lessons.take_before(complete).by_tick.into_iter().collect();
        for of_tick in closed.chunk_by(|((a, _), _), ((b, _), _)| a == b) {
            let tick = of_tick[0].0.0;
            self.write_zones(tick, is_mine, judged);
            let mut zones = self.newest().clone();
            for ((tick, zone), stats) in of_tick {
                zones.close_minute(&self.layout, zone, *tick, stats);
                self.changed.insert(zone.clone());
            }
            self.zones.insert(tick + 1, zones);
        }
        self.write_zones(complete, is_mine, judged);
    }

    /// Writes the zones' models down when they know just what the snapshot is of: before anything of `tick` is learnt.
    fn write_zones(&mut self, tick: i64, is_mine: &impl Fn(&str) -> bool, judged: &mut Judged) {
        if !self.are_zones_due || tick < self.snapshot {
            return;
        }
        self.are_zones_due = false;
        let changed = std::mem::take(&mut self.changed);
        let mine = self.newest().iter().filter(|(zone, _)| is_mine(zone) && changed.contains(*zone));
        judged.blobs.extend(mine.map(|(zone, model)| Blob {
            kind: BlobKind::Zone,
            key: zone.to_string(),
            as_of_us: self.snapshot * self.layout.tick_us,
            state: model.to_bytes(),
        }));
    }

    /// Forgets by what no reading will be judged any more, and what no snapshot needs.
    fn forget(&mut self) {
        let members = self.partitions.values();
        let needed = members.map(|partition| known_at(&self.layout, partition.passed)).min();
        let needed = needed.unwrap_or(self.complete).min(self.complete);
        if let Some((&oldest, _)) = self.zones.range(..=needed).next_back() {
            self.zones = self.zones.split_off(&oldest);
        }
        if let Some((&oldest, _)) = self.models.range(..=needed).next_back() {
            self.models = self.models.split_off(&oldest);
        }
        for partition in self.partitions.values_mut() {
            partition.forget(&self.layout, self.complete, self.snapshot);
        }
    }
}

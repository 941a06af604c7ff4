//! What one worker judges by: the sensors of its partitions, the models of all zones as of some ticks, and the readings
//! that wait for what they are judged by.
//!
//! Invariants:
//! 1. a reading is judged by what was taught in the ticks that ended two minutes or more before its partition's
//!    watermark, and by the model that was trained on them: both are functions of the log;
//! 2. a reading teaches iff its tick has not ended for its partition's watermark; what a partition teaches of a tick is
//!    complete, and handed out, once its watermark has passed the end of the tick;
//! 3. a partition that the others cannot wait for is *lifted*: its readings are judged, and teach, as if its watermark
//!    were in a later minute. Where that makes a difference to a reading, a note says from which offset on it holds.

mod judging;
mod learning;
mod models;
mod partition;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use citytide_detector::{Layout, Model, Sample, Scorer, SufficientStats, Verdicts, ZoneModels};

use super::agreement::Agreement;
use super::event_time::{BEGINNING_US, NO_MINUTE, TimeRules, known_at};
use super::snapshot::{Blob, SnapshotRate};
use super::{Directive, Lesson, Note, Taught};
use crate::batch::{Batch, RULES_ONLY};
use models::InForce;
pub use partition::Noted;
pub(super) use partition::Partition;
use partition::Promotion;

/// How far the detector is, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DetectorStatus {
    /// Version of the model in force; 0 when there is none.
    pub version: i32,
    /// Zones that are judged by rules alone, by what other zones taught, and by what they taught themselves.
    pub zones: [usize; 3],
    /// Sensors that this worker keeps state of.
    pub sensors: usize,
    /// Partitions whose further sensors are judged without state of their own.
    pub partitions_full: usize,
}

/// What comes of judging.
#[derive(Debug, Default)]
pub struct Judged {
    /// Batches with their verdicts, in log order by partition.
    pub batches: Vec<Batch>,
    /// What they teach.
    pub taught: Vec<Taught>,
    /// What the commit of these batches must say too.
    pub notes: Vec<Note>,
    /// What must be written down.
    pub blobs: Vec<Blob>,
}

/// Judges batches; one per worker.
#[derive(Debug)]
pub struct ScoringState {
    layout: Arc<Layout>,
    time: TimeRules,
    scorer: Scorer,
    verdicts: Verdicts,
    /// Says which rows are offered to the training's sample.
    sample: Sample,
    pub(super) partitions: BTreeMap<i32, Partition>,
    /// Whether a partition that was not there at the start teaches at once. In a run it begins some minutes later: the
    /// others may be further than anybody here knows.
    admits: bool,
    /// By tick: the zones' models that know all ticks before it. The newest is always there.
    pub(super) zones: BTreeMap<i64, ZoneModels>,
    /// Lessons of ticks that not all workers have closed.
    lessons: SufficientStats,
    /// By worker and the tick that they go on from: lessons that came before an earlier one.
    early: BTreeMap<(usize, i64), Lesson>,
    /// The tick before which each worker has closed all.
    closed_before: Vec<i64>,
    /// The same of all of them.
    complete: i64,
    /// By tick: the model from it on.
    models: BTreeMap<i64, InForce>,
    /// The last model asked for by hand, and the tick before which all were closed then.
    promoted: Option<(i64, Arc<Model>)>,
    /// Ticks from which on a model is to judge that is still being trained.
    awaited: BTreeSet<i64>,
    /// The tick as of which all that is known is to be written down: the last one that was named.
    snapshot: i64,
    /// How often all partitions together are written down anew.
    pub(super) snapshot_rate: SnapshotRate,
    /// Whether the zones' models still have to be.
    are_zones_due: bool,
    /// Zones that were taught something since they were last written down.
    changed: BTreeSet<Arc<str>>,
    /// A model that is asked too and decides nothing.
    shadow: Option<Arc<Model>>,
    /// How far it agrees with the one in force, by zone.
    agreements: BTreeMap<Arc<str>, Agreement>,
}

impl ScoringState {
    /// A judge that knows nothing yet; `sample` is empty and says how many rows a training takes.
    pub fn new(layout: Arc<Layout>, time: TimeRules, sample: &Sample) -> ScoringState {
        ScoringState {
            scorer: Scorer::new(layout.clone()),
            verdicts: Verdicts::default(),
            sample: sample.clone(),
            partitions: BTreeMap::new(),
            admits: true,
            zones: BTreeMap::from([(NO_MINUTE, ZoneModels::default())]),
            lessons: SufficientStats::default(),
            early: BTreeMap::new(),
            closed_before: vec![NO_MINUTE],
            complete: NO_MINUTE,
            models: BTreeMap::new(),
            promoted: None,
            awaited: BTreeSet::new(),
            snapshot: layout.tick(BEGINNING_US),
            snapshot_rate: SnapshotRate::default(),
            are_zones_due: false,
            changed: BTreeSet::new(),
            shadow: None,
            agreements: BTreeMap::new(),
            layout,
            time,
        }
    }

    /// Begins with models of zones that know all ticks before `tick`.
    pub(super) fn begin_at(&mut self, tick: i64, zones: ZoneModels) {
        self.zones = BTreeMap::from([(tick, zones)]);
        self.closed_before.fill(tick);
        (self.complete, self.snapshot) = (tick, tick);
    }

    /// Takes note of what was decided before: models by the tick from which they judge, `None` where the one before
    /// stayed, and lifts and models asked for by hand by partition, each with its first offset, in order.
    pub(super) fn recall(
        &mut self,
        models: BTreeMap<i64, Option<Arc<Model>>>,
        lifts: &[(i32, i64, Noted)],
        promotions: Vec<(i32, i64, i64, Arc<Model>)>,
    ) {
        let known = |(tick, model)| (tick, InForce { model, is_noted: true });
        self.models.extend(models.into_iter().map(known));
        for &(number, offset, noted) in lifts {
            let partition = self.partitions.entry(number);
            partition.or_insert_with(|| Partition::new(&self.layout, &self.sample)).recall(offset, noted);
        }
        for (number, offset, from_us, model) in promotions {
            let from = self.layout.tick(from_us);
            if self.promoted.as_ref().is_none_or(|(known, _)| *known <= from) {
                self.promoted = Some((from, model.clone()));
            }
            let partition = self.partitions.entry(number);
            let partition = partition.or_insert_with(|| Partition::new(&self.layout, &self.sample));
            partition.recall_promotion(Promotion { offset, from, model });
        }
    }

    /// The judge of one of `workers` workers: it knows the same, and takes those of the partitions with it that are
    /// `mine`. Partitions that come later teach from some minutes later on.
    pub fn split_off(
        &mut self,
        workers: usize,
        partitions: impl IntoIterator<Item = i32>,
        mine: impl Fn(i32) -> bool,
    ) -> ScoringState {
        let mut split = ScoringState::new(self.layout.clone(), self.time.clone(), &self.sample);
        split.admits = false;
        split.zones = self.zones.clone();
        split.complete = self.complete;
        split.closed_before = vec![self.complete; workers];
        split.models = self.models.clone();
        split.promoted = self.promoted.clone();
        split.awaited = self.awaited.clone();
        split.snapshot = self.snapshot;
        split.snapshot_rate = self.snapshot_rate;
        for number in partitions.into_iter().filter(|number| mine(*number)) {
            let known = self.partitions.remove(&number);
            let mut partition = known.unwrap_or_else(|| Partition::new(&self.layout, &self.sample));
            partition.join(&self.layout, self.complete);
            split.partitions.insert(number, partition);
        }
        split.changed = self.newest().iter().map(|(zone, _)| zone.clone()).collect();
        split
    }

    /// Says how far the partitions are that nobody has heard of yet. One whose readings wait has said so: they teach
    /// of the minutes behind which it stands.
    pub fn begin(&mut self, judged: &mut Judged) {
        for (number, partition) in self.partitions.iter_mut().filter(|(_, one)| !one.is_waiting()) {
            partition.pass(*number, partition.minute(&self.time), &self.layout, judged);
        }
    }

    /// The models of the zones that know the most.
    pub fn newest(&self) -> &ZoneModels {
        self.zones.last_key_value().expect("the newest is there").1
    }

    /// Takes a batch in, which waits until [`ScoringState::advance`] judges it.
    pub fn push(&mut self, batch: Batch) {
        self.take_in(batch, false);
    }

    /// Takes a batch in that was passed on by a former run: it is not passed on again.
    pub fn push_again(&mut self, batch: Batch) {
        self.take_in(batch, true);
    }

    fn take_in(&mut self, batch: Batch, is_again: bool) {
        let partition = self.partitions.entry(batch.partition).or_insert_with(|| {
            if self.admits {
                return Partition::new(&self.layout, &self.sample);
            }
            let mut partition = Partition::joining(&self.layout, &self.sample, self.complete);
            partition.promoted = self.promoted.as_ref().map(|(_, model)| model.clone());
            partition
        });
        partition.push(batch, is_again, &self.time);
    }

    /// Partitions with readings that wait for what they are judged by.
    pub fn waiting(&self) -> impl Iterator<Item = i32> {
        self.partitions.iter().filter(|(_, partition)| partition.is_waiting()).map(|(number, _)| *number)
    }

    /// Forgets what waits: the run ends, and the next one reads it again.
    pub fn abandon(&mut self) {
        self.partitions.values_mut().for_each(Partition::abandon);
    }

    /// Does what it is told. Zones that `is_mine` names are written down here.
    pub fn direct(&mut self, directive: Directive, is_mine: impl Fn(&str) -> bool, judged: &mut Judged) {
        match directive {
            Directive::Lesson(lesson) => self.learn(lesson, is_mine, judged),
            Directive::Model { from, model } => {
                self.awaited.remove(&from);
                self.put_in_force(from, model);
            }
            Directive::Promote(model) => self.promote(model),
            Directive::Lift { partition, minute } => self.lift(partition, minute, judged),
        }
    }

    fn lift(&mut self, number: i32, minute: i64, judged: &mut Judged) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        if minute <= partition.lifted {
            return;
        }
        judged.notes.extend(partition.lift(number, minute));
        if !partition.is_waiting() {
            let minute = partition.minute(&self.time);
            partition.pass(number, minute, &self.layout, judged);
            let known = known_at(&self.layout, minute);
            if let Some(tick) = partition.due(self.snapshot, known, self.complete, None) {
                let behind = partition.behind();
                partition.write(number, behind, &self.layout, tick);
                partition.pass_blob(number, judged);
            }
        }
    }

    /// How far it is.
    pub fn status(&self) -> DetectorStatus {
        let mut status = DetectorStatus {
            version: self.newest_model().map_or(RULES_ONLY, |model| model.version()),
            zones: [0; 3],
            sensors: self.partitions.values().map(|partition| partition.sensors.len()).sum(),
            partitions_full: self.partitions.values().filter(|one| one.sensors.is_full()).count(),
        };
        self.newest().iter().for_each(|(_, zone)| status.zones[zone.level as usize] += 1);
        status
    }
}

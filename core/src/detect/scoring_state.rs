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

mod partition;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use citytide_detector::{
    Beside, Layout, Member, Model, Rows, Sample, Scorer, SensorStates, SufficientStats, TrainingData,
    Verdicts, ZoneModels,
};

use super::agreement::Agreement;
use super::event_time::{BEGINNING_US, NO_MINUTE, TimeRules, known_at, tick_of};
use super::snapshot::{Blob, BlobKind, SnapshotRate};
use super::{Directive, Lesson, Note, StoredModel, Taught};
use crate::batch::{Anomaly, Batch, RULES_ONLY};
pub use partition::Noted;
pub(super) use partition::Partition;
use partition::{Promotion, Run, Waiting};

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

/// A model that judges from some tick on; `None`: rules alone do.
#[derive(Debug, Clone)]
struct InForce {
    model: Option<Arc<Model>>,
    /// Whether a commit knows of it.
    is_noted: bool,
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

    /// `None`: the model before stays.
    fn put_in_force(&mut self, from: i64, model: Option<StoredModel>) {
        let read = |stored: StoredModel| Model::from_bytes(stored.version, &self.layout, &stored.bytes);
        let model = match model.map(read) {
            None => None,
            Some(Ok(model)) => Some(Arc::new(model)),
            Some(Err(error)) => {
                tracing::error!("{error}");
                None
            }
        };
        let model = model.or_else(|| self.model_at(from).cloned());
        self.models.insert(from, InForce { model, is_noted: false });
    }

    fn promote(&mut self, model: StoredModel) {
        match Model::from_bytes(model.version, &self.layout, &model.bytes) {
            Ok(model) => {
                let model = Arc::new(model);
                self.partitions.values_mut().for_each(|one| one.promoted = Some(model.clone()));
                self.promoted = Some((self.complete, model));
            }
            Err(error) => tracing::error!("{error}"),
        }
    }

    /// The model of readings that know the ticks before `known`.
    fn model_at(&self, known: i64) -> Option<&Arc<Model>> {
        self.models.range(..=known).next_back().and_then(|(_, one)| one.model.as_ref())
    }

    /// The model that judges the newest readings.
    fn newest_model(&self) -> Option<&Arc<Model>> {
        let trained = self.models.last_key_value();
        match &self.promoted {
            Some((at, model)) if trained.is_none_or(|(from, _)| from <= at) => Some(model),
            _ => trained.and_then(|(_, one)| one.model.as_ref()),
        }
    }

    /// Whether a model from a tick on is known, or that the one before stayed.
    pub(super) fn knows_model(&self, from: i64) -> bool {
        self.models.contains_key(&from)
    }

    fn learn(&mut self, lesson: Lesson, is_mine: impl Fn(&str) -> bool, judged: &mut Judged) {
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

    fn lift(&mut self, number: i32, minute: i64, judged: &mut Judged) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        if minute <= partition.lifted {
            return;
        }
        judged.notes.extend(partition.lift(number, minute));
        if !partition.is_waiting() {
            let minute = partition.minute(&self.time);
            partition.pass(number, minute, &self.layout, judged);
            if known_at(&self.layout, minute) >= self.snapshot && partition.is_due(self.snapshot) {
                let behind = partition.behind();
                partition.write(number, behind, &self.layout, self.snapshot);
                partition.pass_blob(number, judged);
            }
        }
    }

    /// Judges whatever can be judged.
    pub fn advance(&mut self, judged: &mut Judged) {
        for (number, partition) in &mut self.partitions {
            if partition.lift_at_rest() {
                partition.pass(*number, partition.minute(&self.time), &self.layout, judged);
            }
        }
        let numbers: Vec<i32> = self.waiting().collect();
        for number in numbers {
            let mut partition = self.partitions.remove(&number).expect("it waits");
            self.advance_partition(number, &mut partition, judged);
            self.partitions.insert(number, partition);
        }
    }

    fn advance_partition(&mut self, number: i32, partition: &mut Partition, judged: &mut Judged) {
        while let Some(mut waiting) = partition.queue.pop_front() {
            while let Some(run) = partition.next_run(&waiting) {
                partition.pass(number, run.minute, &self.layout, judged);
                let known = known_at(&self.layout, run.minute);
                if known > self.complete || self.awaited.first().is_some_and(|tick| known >= *tick) {
                    partition.queue.push_front(waiting);
                    return;
                }
                // What a restart sees again is written once more with the next new readings.
                let rate = (!waiting.is_again).then(|| self.rate_of_each());
                if let Some(tick) = partition.due(self.snapshot, known, self.complete, rate) {
                    let before = Partition::before(&waiting, &run, &self.time);
                    partition.write(number, before, &self.layout, tick);
                }
                judged.notes.extend(partition.notes(number, &waiting, &run));
                self.note_models(known, judged);
                let offset = waiting.batch.offsets[run.from];
                let (promotion, note) = partition.promotion(number, offset, known, &self.layout);
                judged.notes.extend(note);
                self.judge(partition, &mut waiting, &run, known, promotion);
            }
            if !waiting.is_again {
                for (zone, agreement) in waiting.agreements {
                    self.agreements.entry(zone).or_default().merge(agreement);
                }
                judged.batches.push(waiting.batch);
            }
            partition.pass_blob(number, judged);
        }
    }

    /// How often each partition is written down. One of them is out while it is judged.
    fn rate_of_each(&self) -> SnapshotRate {
        let partitions = (self.partitions.len() + 1) * self.closed_before.len();
        SnapshotRate { readings: self.snapshot_rate.readings / partitions as i64, ..self.snapshot_rate }
    }

    /// Notes the models that come into force with a reading which knows the ticks before `known`.
    fn note_models(&mut self, known: i64, judged: &mut Judged) {
        for (from, one) in self.models.range_mut(..=known).filter(|(_, one)| !one.is_noted) {
            one.is_noted = true;
            let version = one.model.as_ref().map_or(RULES_ONLY, |model| model.version());
            judged.notes.push(Note::Model { from_us: from * self.layout.tick_us, version });
        }
    }

    /// Fills in the verdicts of a run of rows.
    fn judge(
        &mut self,
        partition: &mut Partition,
        waiting: &mut Waiting,
        run: &Run,
        known: i64,
        promotion: Option<Promotion>,
    ) {
        let zones = zones_at(&self.zones, known);
        let trained = self.models.range(..=known).next_back();
        let model = match promotion {
            Some(one) if trained.is_none_or(|(from, _)| *from <= one.from) => Some(one.model),
            _ => trained.and_then(|(_, one)| one.model.clone()),
        };
        let passed = tick_of(&self.layout, run.minute.max(partition.teaches_from));
        let rows = rows_of(&waiting.batch, passed, (run.from, run.to));
        let (states, training_data) = (&mut partition.sensors, &mut partition.training_data);
        let version = model.as_ref().map_or(RULES_ONLY, |model| model.version());
        let other = self.shadow.clone().filter(|other| version != other.version());
        self.scorer.ask_beside(other);
        self.scorer.score(rows, zones, model.as_deref(), states, &mut self.verdicts, training_data);
        count(&mut waiting.agreements, &waiting.batch, run.from, &self.verdicts);
        say(&mut waiting.batch, version, &mut self.verdicts);
        waiting.judged = run.to;
        partition.judged(run.to - run.from);
    }

    /// Judges a whole batch by what is known now, at once; it teaches nothing.
    pub fn judge_now(&mut self, batch: &mut Batch) {
        let (zones, model) = (self.newest().clone(), self.newest_model().cloned());
        let mut partition = self.partitions.remove(&batch.partition);
        let stranger = &mut SensorStates::new(&self.layout);
        let states = partition.as_mut().map_or(stranger, |partition| &mut partition.sensors);
        let version = model.as_ref().map_or(RULES_ONLY, |model| model.version());
        let other = self.shadow.clone().filter(|other| version != other.version());
        self.scorer.ask_beside(other);
        let rows = rows_of(batch, i64::MAX, (0, batch.rows()));
        let nothing = &mut TrainingData::default();
        self.scorer.score(rows, &zones, model.as_deref(), states, &mut self.verdicts, nothing);
        count(&mut self.agreements, batch, 0, &self.verdicts);
        batch.anomalies.clear();
        batch.opinion = None;
        say(batch, version, &mut self.verdicts);
        self.partitions.extend(partition.map(|partition| (batch.partition, partition)));
    }

    /// Asks another model too from here on; while it is the one in force, there is nothing to ask.
    pub fn ask_beside(&mut self, model: Option<Arc<Model>>) {
        self.shadow = model;
    }

    /// Takes a member out, to find out what it is good for.
    pub fn mute(&mut self, member: Member) {
        self.scorer.mute(member);
    }

    /// What the other model said of each row that was judged last; empty where none was asked.
    pub fn beside(&self) -> &[Beside] {
        &self.verdicts.beside
    }

    /// How far the other model has agreed since this was last called, by zone.
    pub fn take_agreements(&mut self) -> Vec<Note> {
        let version = self.shadow.as_ref().map_or(RULES_ONLY, |model| model.version());
        let agreements = std::mem::take(&mut self.agreements).into_iter();
        agreements.map(|(zone, agreement)| Note::Agreed { version, zone, agreement }).collect()
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

/// The models that know all ticks before `known`.
fn zones_at(zones: &BTreeMap<i64, ZoneModels>, known: i64) -> &ZoneModels {
    let found = zones.range(..=known).next_back().or_else(|| zones.first_key_value());
    found.expect("the newest is there").1
}

fn rows_of(batch: &Batch, passed: i64, range: (usize, usize)) -> Rows<'_> {
    Rows {
        event_times_us: &batch.event_times_us,
        zones: &batch.zones,
        zone_names: &batch.zone_names,
        sensors: &batch.sensors,
        sensor_ends: &batch.sensor_ends,
        metrics: &batch.metrics,
        late: &batch.late,
        passed,
        range,
    }
}

/// Counts how far the other model agrees, on rows from `from` on.
fn count(agreements: &mut BTreeMap<Arc<str>, Agreement>, batch: &Batch, from: usize, verdicts: &Verdicts) {
    let mut flags = verdicts.flagged.iter().map(|verdict| verdict.row as usize).peekable();
    for (row, beside) in (from..).zip(&verdicts.beside) {
        let is_flagged = flags.next_if_eq(&row).is_some();
        match agreements.get_mut(batch.zone(row)) {
            Some(agreement) => agreement.count(is_flagged, beside.is_flagged),
            None => {
                let agreement = agreements.entry(batch.zone(row).clone()).or_default();
                agreement.count(is_flagged, beside.is_flagged);
            }
        }
    }
}

/// Puts the verdicts on further rows into their batch.
fn say(batch: &mut Batch, version: i32, verdicts: &mut Verdicts) {
    let opinion = batch.opinion.get_or_insert_default();
    let from = opinion.scores.len();
    opinion.scores.append(&mut verdicts.scores);
    opinion.confidences.append(&mut verdicts.confidences);
    let versions = verdicts.by_rules.iter().map(|by_rules| if *by_rules { RULES_ONLY } else { version });
    opinion.versions.extend(versions);
    debug_assert!(verdicts.flagged.first().is_none_or(|first| first.row as usize >= from));
    batch.anomalies.extend(verdicts.flagged.drain(..).map(|verdict| Anomaly {
        row: verdict.row,
        score: opinion.scores[verdict.row as usize],
        severity: verdict.severity,
        flagged_by: verdict.flagged_by,
        found_by: verdict.found_by(),
        reasons: verdict.reasons,
    }));
}

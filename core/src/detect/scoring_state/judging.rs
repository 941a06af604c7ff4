//! Judges the batches that wait, run of rows by run of rows, and another model beside the one in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_detector::{Beside, Member, Model, Rows, SensorStates, TrainingData, Verdicts, ZoneModels};

use super::partition::{Partition, Promotion, Run, Waiting};
use super::{Judged, ScoringState};
use crate::batch::{Anomaly, Batch, RULES_ONLY};
use crate::detect::event_time::{known_at, tick_of};
use crate::detect::snapshot::SnapshotRate;
use crate::detect::{Agreement, Note};

impl ScoringState {
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

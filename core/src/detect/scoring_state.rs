//! Judging one worker's batches, and what their rows teach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use citytide_detector::{
    Beside, Layout, Model, Rows, Sample, SampleRow, Scorer, SensorStates, SufficientStats, TrainingData,
    Verdicts, ZoneModels,
};

use super::agreement::Agreement;
use super::memory::{Blob, BlobKind};
use crate::batch::{Anomaly, Batch, Opinion, RULES_ONLY};

/// Something that changes how readings are judged, from an epoch on, on all workers.
#[derive(Debug, Clone)]
pub enum Change {
    /// Minutes are closed: their zones learn this.
    Closed(Arc<SufficientStats>),
    /// A trained model comes into force.
    Model(Arc<Model>),
}

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

/// Judges batches; one per worker.
#[derive(Debug)]
pub struct ScoringState {
    layout: Arc<Layout>,
    scorer: Scorer,
    verdicts: Verdicts,
    pub(super) zones: ZoneModels,
    pub(super) model: Option<Arc<Model>>,
    pub(super) partitions: BTreeMap<i32, SensorStates>,
    /// What will change, by the epoch from which it holds.
    pub(super) coming: BTreeMap<u64, Vec<Change>>,
    pub(super) training_data: TrainingData,
    /// Zones whose model changed since it was last written down.
    changed: BTreeSet<Arc<str>>,
    /// A model that is asked too and decides nothing.
    shadow: Option<Arc<Model>>,
    /// How far it agrees with the one in force, by zone.
    agreements: BTreeMap<Arc<str>, Agreement>,
}

impl ScoringState {
    /// A judge that knows nothing yet; `sample` is empty and says how many rows a training takes.
    pub fn new(layout: Arc<Layout>, sample: Sample) -> ScoringState {
        ScoringState {
            scorer: Scorer::new(layout.clone()),
            verdicts: Verdicts::default(),
            zones: ZoneModels::default(),
            model: None,
            partitions: BTreeMap::new(),
            coming: BTreeMap::new(),
            training_data: TrainingData { sample, ..TrainingData::default() },
            changed: BTreeSet::new(),
            shadow: None,
            agreements: BTreeMap::new(),
            layout,
        }
    }

    /// A judge that knows the same, with the sensors of those partitions, which leave this one.
    pub fn split_off(&mut self, is_wanted: impl Fn(i32) -> bool) -> ScoringState {
        let mut split = ScoringState::new(self.layout.clone(), self.training_data.sample.clone());
        split.zones = self.zones.clone();
        split.model = self.model.clone();
        split.coming = self.coming.clone();
        split.partitions = self.partitions.extract_if(.., |partition, _| is_wanted(*partition)).collect();
        split.changed = self.zones.iter().map(|(zone, _)| zone.clone()).collect();
        split
    }

    /// Notes what will hold from `epoch` on.
    pub fn expect(&mut self, epoch: u64, change: Change) {
        self.coming.entry(epoch).or_default().push(change);
    }

    /// Applies what holds by `epoch`. Rows of earlier epochs must have been judged.
    pub fn advance_to(&mut self, epoch: u64) {
        while let Some(first) = self.coming.first_entry().filter(|first| *first.key() <= epoch) {
            // Each zone's statistics come from one worker; together they are closed in the order of minute and zone.
            let mut closed = SufficientStats::default();
            for change in first.remove() {
                match change {
                    Change::Closed(stats) => closed.merge(&stats),
                    Change::Model(model) => self.model = Some(model),
                }
            }
            self.changed.extend(closed.by_tick.keys().map(|(_, zone)| zone.clone()));
            self.zones.close(&self.layout, &closed);
        }
    }

    /// Asks another model too from here on; while it is the one in force, there is nothing to ask.
    pub fn ask_beside(&mut self, model: Option<Arc<Model>>) {
        self.shadow = model;
    }

    /// Fills in `anomalies` and `opinion` of a batch whose lateness is known.
    pub fn score(&mut self, batch: &mut Batch) {
        let layout = &self.layout;
        let states = self.partitions.entry(batch.partition).or_insert_with(|| SensorStates::new(layout));
        let rows = Rows {
            partition: batch.partition,
            offsets: &batch.offsets,
            event_times_us: &batch.event_times_us,
            zones: &batch.zones,
            zone_names: &batch.zone_names,
            sensors: &batch.sensors,
            sensors_from: 0,
            sensor_ends: &batch.sensor_ends,
            metrics: &batch.metrics,
            late: &batch.late,
        };
        let (zones, model) = (&self.zones, self.model.as_deref());
        let other = self.shadow.clone().filter(|other| model.map(Model::version) != Some(other.version()));
        self.scorer.ask_beside(other);
        self.scorer.score(rows, zones, model, states, &mut self.verdicts, &mut self.training_data);
        let Verdicts { scores, confidences, by_rules, flagged, beside, .. } = &mut self.verdicts;
        let mut flags = flagged.iter().map(|verdict| verdict.row as usize).peekable();
        for (row, beside) in beside.iter().enumerate() {
            let zone = &batch.zone_names[batch.zones[row] as usize];
            let is_flagged = flags.next_if_eq(&row).is_some();
            match self.agreements.get_mut(zone) {
                Some(agreement) => agreement.count(is_flagged, beside.is_flagged),
                None => {
                    self.agreements.entry(zone.clone()).or_default().count(is_flagged, beside.is_flagged);
                }
            }
        }
        batch.anomalies.clear();
        batch.anomalies.extend(flagged.drain(..).map(|verdict| Anomaly {
            row: verdict.row,
            score: scores[verdict.row as usize],
            severity: verdict.severity,
            flagged_by: verdict.flagged_by,
            reasons: verdict.reasons,
        }));
        batch.opinion = Some(Opinion {
            scores: std::mem::take(scores),
            confidences: std::mem::take(confidences),
            by_rules: std::mem::take(by_rules),
            version: model.map_or(RULES_ONLY, Model::version),
        });
    }

    /// What the other model said of each row of the last batch; empty where none was asked.
    pub fn beside(&self) -> &[Beside] {
        &self.verdicts.beside
    }

    /// How far the other model, by its version, has agreed since this was last called, by zone.
    pub fn take_agreements(&mut self) -> Vec<(i32, Arc<str>, Agreement)> {
        let version = self.shadow.as_ref().map_or(RULES_ONLY, |model| model.version());
        let agreements = std::mem::take(&mut self.agreements);
        agreements.into_iter().map(|(zone, agreement)| (version, zone, agreement)).collect()
    }

    /// What rows have taught since this was last called: statistics, and rows for the training's sample.
    pub fn take_training_data(&mut self) -> (SufficientStats, Vec<(u64, SampleRow)>) {
        (std::mem::take(&mut self.training_data.stats), self.training_data.sample.take_new())
    }

    /// What must be written down of this worker's partitions, and of those zones that are its own and have changed.
    pub fn blobs(&mut self, is_mine: impl Fn(&str) -> bool) -> Vec<Blob> {
        let partitions = self.partitions.iter().map(|(partition, states)| Blob {
            kind: BlobKind::Partition,
            key: partition.to_string(),
            state: states.to_bytes(),
        });
        let changed = std::mem::take(&mut self.changed);
        let mine = self.zones.iter().filter(|(zone, _)| is_mine(zone) && changed.contains(*zone));
        let zones = mine.map(|(zone, model)| Blob {
            kind: BlobKind::Zone,
            key: zone.to_string(),
            state: model.to_bytes(),
        });
        partitions.chain(zones).collect()
    }

    /// How far it is.
    pub fn status(&self) -> DetectorStatus {
        let mut status = DetectorStatus {
            version: self.model.as_ref().map_or(RULES_ONLY, |model| model.version()),
            zones: [0; 3],
            sensors: self.partitions.values().map(SensorStates::len).sum(),
            partitions_full: self.partitions.values().filter(|states| states.is_full()).count(),
        };
        self.zones.iter().for_each(|(_, zone)| status.zones[zone.level as usize] += 1);
        status
    }
}

//! Scores a table as a stream: tick by tick in event time, by the code that a run scores with, starting from nothing.
//!
//! A tick closes when a row of a later one comes. A first model is trained as soon as there are enough rows, further
//! ones at boundaries of event time.

use std::sync::Arc;

use citytide_detector::{
    Layout, Level, Member, Model, Rows, Sample, Scorer, SensorStates, TrainingData, Verdicts, ZoneModels,
    score_of,
};

use crate::{Scored, Table};

/// As in a domain file without settings of its own: rows of a training, how far back they reach, time between two.
const TRAIN_ROWS_MAX: usize = 10_000;
const TRAIN_WINDOW_US: i64 = 7 * 86_400_000_000;
const TRAIN_EVERY_US: i64 = 6 * 3_600_000_000;
/// Sampled rows with which the first model is trained.
const FIRST_ROWS: usize = 500;

/// Scores all rows, without the members that are `muted`.
pub fn score_stream(table: &Table, layout: &Arc<Layout>, muted: &[Member]) -> Scored {
    let rows = table.rows();
    let mut detector = Detector::new(layout.clone());
    muted.iter().for_each(|member| detector.scorer.mute(*member));
    let mut scored = Scored { flags: vec![false; rows], found_by: vec![None; rows], ..Scored::default() };
    let mut metrics = Vec::new();
    let mut is_known: Vec<Option<bool>> = Vec::new();
    let mut from = 0;
    while from < rows {
        let tick = layout.tick(table.event_times_us[from]);
        let length = table.event_times_us[from..].partition_point(|at_us| layout.tick(*at_us) == tick);
        let verdicts = detector.score(table.batch(from, from + length, &mut metrics));
        scored.scores.extend(verdicts.surprises.iter().map(|surprise| score_of(*surprise)));
        for verdict in &verdicts.flagged {
            let row = from + verdict.row as usize;
            scored.flags[row] = true;
            scored.found_by[row] = Member::ALL
                .into_iter()
                .max_by(|a, b| verdict.surprises[*a as usize].total_cmp(&verdict.surprises[*b as usize]));
        }
        is_known.clear();
        is_known.resize(table.zone_names.len(), None);
        for zone in &table.zones[from..from + length] {
            let zone = *zone as usize;
            let is_known = is_known[zone].get_or_insert_with(|| detector.knows(&table.zone_names[zone]));
            scored.is_known.push(*is_known);
        }
        from += length;
    }
    scored
}

struct Detector {
    layout: Arc<Layout>,
    scorer: Scorer,
    zones: ZoneModels,
    states: SensorStates,
    training_data: TrainingData,
    model: Option<Model>,
    verdicts: Verdicts,
    tick: i64,
    train_next_us: i64,
}

impl Detector {
    fn new(layout: Arc<Layout>) -> Detector {
        let sample = Sample::new(TRAIN_ROWS_MAX, TRAIN_WINDOW_US);
        Detector {
            scorer: Scorer::new(layout.clone()),
            zones: ZoneModels::default(),
            states: SensorStates::new(&layout),
            training_data: TrainingData { sample, ..TrainingData::default() },
            model: None,
            verdicts: Verdicts::default(),
            tick: i64::MIN,
            train_next_us: i64::MIN,
            layout,
        }
    }

    /// Scores the rows of a tick, after it has closed the earlier ones.
    fn score(&mut self, rows: Rows<'_>) -> &Verdicts {
        let first_us = rows.event_times_us[0];
        let tick = self.layout.tick(first_us);
        if tick > self.tick {
            self.tick = tick;
            let closed = self.training_data.stats.take_before(tick);
            self.zones.close(&self.layout, &closed);
            self.train(first_us);
        }
        let model = self.model.as_ref();
        self.scorer.score(
            rows,
            &self.zones,
            model,
            &mut self.states,
            &mut self.verdicts,
            &mut self.training_data,
        );
        &self.verdicts
    }

    /// Trains if it is due; a training that fails leaves the model in force.
    fn train(&mut self, now_us: i64) {
        let is_due = match &self.model {
            None => self.training_data.sample.len() >= FIRST_ROWS,
            Some(_) => now_us >= self.train_next_us,
        };
        if !is_due {
            return;
        }
        let version = self.model.as_ref().map_or(1, |model| model.version() + 1);
        if let Ok(model) = Model::train(version, &self.layout, &self.training_data.sample, now_us) {
            self.model = Some(model);
        }
        self.train_next_us = now_us - now_us.rem_euclid(TRAIN_EVERY_US) + TRAIN_EVERY_US;
    }

    /// Whether more than the rules judge the readings of a zone.
    fn knows(&self, zone: &str) -> bool {
        self.model.is_some() && self.zones.get(zone).is_some_and(|zone| zone.level > Level::Rules)
    }
}

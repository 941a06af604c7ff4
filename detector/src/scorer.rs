//! Scoring a batch: rows in offset order through rules, sensor state, members and forest to verdicts and statistics.
//!
//! ```text
//!  a group of rows ─ observe (row by row) ─ features ─▶ forest, all rows at once
//!                       │                                  │
//!                       └─ statistics ─ tails ─▶ surprises ◀┘ ─▶ decide: the largest ─▶ verdict
//!                       └─ training data                                                 │
//!                                              attribute: asks again without each metric ◀┘ of a flagged row
//! ```
//!
//! Invariant: between two calls of [`Scorer::score`] a scorer keeps buffers only. What a partition's rows change is in
//! [`SensorStates`] and [`TrainingData`].

mod attribute;
mod decide;
mod observe_row;
mod rows;
mod zone_views;

use std::sync::Arc;

use self::decide::forest_statistic;
use self::observe_row::RUNS_FIRST;
pub use self::rows::{Rows, TrainingData};
use crate::forest::{Block, LANES};
use crate::layout::{BLOCK, Layout};
use crate::member::{MEMBERS, Member, Surprises};
use crate::model::Model;
use crate::models::ZoneModels;
use crate::observe::{BlockRules, Observation, RowStats};
use crate::sensors::SensorStates;
use crate::tails::chi_quantile;
use crate::teach::{MOMENT_CHANCE, ZoneView};
use crate::verdict::Verdicts;
use crate::zone::ZoneModel;

/// Scores batches of one domain.
#[derive(Debug)]
pub struct Scorer {
    layout: Arc<Layout>,
    /// By block.
    rules: Vec<BlockRules>,
    /// Squared distance up to which a reading teaches second moments.
    near: f32,
    /// Taken off the surprise of all runs together.
    runs_first: f32,
    /// Stands in for zones without a model.
    nothing: ZoneModel,
    views: Vec<ZoneView>,
    /// By zone: tick and index of its views in this batch, the last used one first.
    views_by_zone: Vec<Vec<(i64, usize)>>,
    /// The forest's features of the rows under way.
    block: Block,
    /// Those of its rows that the forest asks all trees of.
    odd: Block,
    observations: Vec<Observation>,
    /// What the blocks of the row under way teach.
    taught: Vec<RowStats>,
    /// Index of the sensors' state of the rows under way.
    found: [Option<usize>; LANES],
    lanes: [Lane; LANES],
    muted: [bool; MEMBERS],
    /// A model that is asked too and decides nothing.
    beside: Option<Arc<Model>>,
}

/// One of the rows under way.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    view: usize,
    surprises: Surprises,
    teaches: bool,
    /// The sensor's.
    hash: u64,
    /// Where the row stands among the sensor's.
    order: Order,
}

/// Where a row stands among those of its sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Order {
    /// Behind the one before.
    #[default]
    Next,
    /// The first, or the first after a long silence.
    Anew,
    /// Before one that came earlier: it changes no state.
    Old,
}

impl Scorer {
    /// A scorer for the metrics of a layout. Layout and rows must agree on the number and order of metrics.
    pub fn new(layout: Arc<Layout>) -> Scorer {
        let freedom = layout.metrics.len().min(BLOCK);
        Scorer {
            near: chi_quantile(freedom, MOMENT_CHANCE).powi(2) as f32,
            runs_first: RUNS_FIRST * layout.metrics.len() as f32,
            nothing: ZoneModel::new(&layout),
            views: Vec::new(),
            views_by_zone: Vec::new(),
            block: Block::default(),
            odd: Block::default(),
            observations: vec![Observation::EMPTY; LANES * layout.blocks()],
            taught: Vec::with_capacity(layout.blocks()),
            rules: (0..layout.blocks()).map(|block| BlockRules::new(layout.block(block))).collect(),
            found: [None; LANES],
            lanes: [Lane::default(); LANES],
            muted: [false; MEMBERS],
            beside: None,
            layout,
        }
    }

    /// Leaves a member out from here on: for ablation, which measures what each member contributes.
    pub fn mute(&mut self, member: Member) {
        self.muted[member as usize] = true;
    }

    /// Also asks a shadow model from here on: [`Verdicts::beside`] says what it would decide if it were in force. It
    /// changes no verdict and teaches nothing.
    pub fn ask_beside(&mut self, model: Option<Arc<Model>>) {
        self.beside = model;
    }

    /// Scores rows of one partition, in offset order. Overwrites `verdicts`, one entry per row of `rows.range`; adds
    /// what the rows teach to `training_data`. Without a model only rules decide; the rows teach all the same.
    pub fn score(
        &mut self,
        rows: Rows<'_>,
        zones: &ZoneModels,
        model: Option<&Model>,
        states: &mut SensorStates,
        verdicts: &mut Verdicts,
        training_data: &mut TrainingData,
    ) {
        verdicts.clear();
        let nothing = std::mem::replace(&mut self.nothing, ZoneModel::none());
        self.views_by_zone.iter_mut().for_each(Vec::clear);
        self.views_by_zone.resize_with(rows.zone_names.len(), Vec::new);
        let known: Vec<&ZoneModel> =
            rows.zone_names.iter().map(|zone| zones.get(zone).map_or(&nothing, |zone| &**zone)).collect();
        let mut numbers: Vec<Option<u32>> = vec![None; rows.zone_names.len()];
        let (from, to) = rows.range;
        for first in (from..to).step_by(LANES) {
            let count = LANES.min(to - first);
            // All sensors are looked up before the first row is observed, so that the cache misses overlap.
            for lane in 0..count {
                let row = first + lane;
                let zone = rows.zones[row] as usize;
                let number = *numbers[zone].get_or_insert_with(|| states.zone(&rows.zone_names[zone]));
                self.found[lane] = states.find(number, rows.sensor(row));
            }
            for lane in 0..count {
                let row = first + lane;
                let known = known[rows.zones[row] as usize];
                let view = self.view_of(&rows, row, known, training_data);
                self.observe(&rows, row, lane, view, known, states);
            }
            let forest = model.map(|model| model.forest().score_odd(&self.block, count, &mut self.odd));
            let beside = self.beside.as_ref();
            let beside = beside.map(|model| model.forest().score_odd(&self.block, count, &mut self.odd));
            for lane in 0..count {
                let zone = known[self.views[self.lanes[lane].view].zone as usize];
                if let Some(scores) = &beside {
                    verdicts.beside.push(self.verdict_beside(lane, scores[lane], zone));
                }
                if let Some(scores) = &forest {
                    self.add_forest(lane, forest_statistic(scores[lane]), zone);
                }
                let sensor = self.found[lane].map(|number| &mut states.sensors[number]);
                self.decide(&rows, first + lane, lane, zone, model, sensor, verdicts, training_data);
            }
        }
        for mut view in self.views.drain(..).filter(|view| !view.stats.is_empty()) {
            view.teach_scales();
            training_data.stats.add(view.tick, &rows.zone_names[view.zone as usize], view.stats);
        }
        self.nothing = nothing;
    }
}

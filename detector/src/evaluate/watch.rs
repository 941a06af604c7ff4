//! Readings judged one tick after the other by the same code as the dataflow's, on one thread: `citytide evaluate`.
//!
//! Rows come in the order of their event times. A tick is closed when a row of a later one comes, models are trained as
//! soon as there are rows enough and at the boundaries of event time that the settings name.

use std::sync::Arc;

use crate::layout::Layout;
use crate::member::Member;
use crate::model::Model;
use crate::models::ZoneModels;
use crate::sample::Sample;
use crate::scorer::{Learnt, Rows, Scorer};
use crate::sensors::SensorStates;
use crate::verdict::Verdicts;
use crate::zone::Level;

/// Rows of the sample with which the first model is trained.
const FIRST_ROWS: usize = 500;

/// A detector that watches readings as they come.
#[derive(Debug)]
pub struct Watch {
    layout: Arc<Layout>,
    scorer: Scorer,
    zones: ZoneModels,
    states: SensorStates,
    learnt: Learnt,
    model: Option<Model>,
    verdicts: Verdicts,
    tick: i64,
    train_every_us: i64,
    train_next_us: i64,
}

impl Watch {
    /// A detector that knows nothing yet. `sample` is empty and says how many rows a training takes.
    pub fn new(layout: Arc<Layout>, sample: Sample, train_every_us: i64) -> Watch {
        Watch {
            scorer: Scorer::new(layout.clone()),
            zones: ZoneModels::default(),
            states: SensorStates::new(&layout),
            learnt: Learnt { sample, ..Learnt::default() },
            model: None,
            verdicts: Verdicts::default(),
            tick: i64::MIN,
            train_every_us,
            train_next_us: i64::MIN,
            layout,
        }
    }

    /// Takes a member out.
    pub fn mute(&mut self, member: Member) {
        self.scorer.mute(member);
    }

    /// Judges rows of one tick or of several, in the order of their times.
    pub fn judge(&mut self, rows: Rows<'_>) -> &Verdicts {
        if let Some(&first_us) = rows.event_times_us.first() {
            let tick = self.layout.tick(first_us);
            if tick > self.tick {
                self.tick = tick;
                let closed = self.learnt.lessons.take_before(tick);
                self.zones.close(&self.layout, &closed);
                self.train(first_us);
            }
        }
        let model = self.model.as_ref();
        self.scorer.score(rows, &self.zones, model, &mut self.states, &mut self.verdicts, &mut self.learnt);
        &self.verdicts
    }

    /// A training that fails leaves the model in force as it is.
    fn train(&mut self, now_us: i64) {
        let is_due = match &self.model {
            None => self.learnt.sample.len() >= FIRST_ROWS,
            Some(_) => now_us >= self.train_next_us,
        };
        if !is_due {
            return;
        }
        let version = self.model.as_ref().map_or(1, |model| model.version() + 1);
        if let Ok(model) = Model::train(version, &self.layout, &self.learnt.sample, now_us) {
            self.model = Some(model);
        }
        self.train_next_us = now_us - now_us.rem_euclid(self.train_every_us) + self.train_every_us;
    }

    /// The model in force.
    pub fn model(&self) -> Option<&Model> {
        self.model.as_ref()
    }

    /// The zones' models.
    pub fn zones(&self) -> &ZoneModels {
        &self.zones
    }

    /// The level of a zone.
    pub fn level(&self, zone: &str) -> Level {
        self.zones.get(zone).map_or(Level::Rules, |zone| zone.level)
    }
}

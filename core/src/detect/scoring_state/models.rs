//! Which model judges: those that were trained, by the tick from which they do, and the last one asked for by hand.

use std::sync::Arc;

use citytide_detector::Model;

use super::{Judged, ScoringState};
use crate::batch::RULES_ONLY;
use crate::detect::{Note, StoredModel};

/// A model that judges from some tick on; `None`: rules alone do.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    pub(super) model: Option<Arc<Model>>,
    /// Whether a commit knows of it.
    pub(super) is_noted: bool,
}

impl ScoringState {
    /// `None`: the model before stays.
    pub(super) fn put_in_force(&mut self, from: i64, model: Option<StoredModel>) {
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

    pub(super) fn promote(&mut self, model: StoredModel) {
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
    pub(super) fn newest_model(&self) -> Option<&Arc<Model>> {
        let trained = self.models.last_key_value();
        match &self.promoted {
            Some((at, model)) if trained.is_none_or(|(from, _)| from <= at) => Some(model),
            _ => trained.and_then(|(_, one)| one.model.as_ref()),
        }
    }

    /// Whether a model from a tick on is known, or that the one before stayed.
    pub(in crate::detect) fn knows_model(&self, from: i64) -> bool {
        self.models.contains_key(&from)
    }

    /// Notes the models that come into force with a reading which knows the ticks before `known`.
    pub(super) fn note_models(&mut self, known: i64, judged: &mut Judged) {
        for (from, one) in self.models.range_mut(..=known).filter(|(_, one)| !one.is_noted) {
            one.is_noted = true;
            let version = one.model.as_ref().map_or(RULES_ONLY, |model| model.version());
            judged.notes.push(Note::Model { from_us: from * self.layout.tick_us, version });
        }
    }
}

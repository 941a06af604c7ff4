//! The trained part of the detector: a forest, with the data it was fitted on, as it is stored and put in force.
//!
//! Invariants:
//! 1. a model is immutable: the same version gives the same scores on any machine, to the bit;
//! 2. a model that is read back is complete (a checksum over its text) and of this domain (its metrics, their order and
//!    scales), or it is refused with the reason, and the model in force stays.

use std::hash::Hasher;

use fnv::FnvHasher;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::forest::{FitError, Forest, StoredForest, fit};
use crate::layout::Layout;
use crate::sample::Sample;

/// Number of the storage format.
const FORM: u32 = 2;

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    version: i32,
    about: About,
    forest: Forest,
}

/// The data and settings that a model was fitted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Event time of the oldest reading it was fitted on, microseconds.
    pub fitted_from_us: i64,
    /// Event time of the newest.
    pub fitted_until_us: i64,
    /// Readings it was fitted on.
    pub rows: usize,
    /// Trees of the forest.
    pub trees: usize,
    /// Rows that each tree was grown on.
    pub rows_per_tree: usize,
    /// Extension level of the forest.
    pub extension: usize,
}

/// Why a training failed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TrainError {
    /// The forest could not be fitted.
    #[error("training a model: {0}; the model in force stays")]
    Fit(#[from] FitError),
}

/// Why a stored model is refused.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ModelError {
    /// Not one of ours, or damaged beyond reading.
    #[error("reading model {version}: {why}; the model in force stays, train a new one")]
    Unreadable {
        /// The version asked for.
        version: i32,
        /// What is wrong.
        why: String,
    },
    /// Changed after it was stored.
    #[error(
        "reading model {version}: its checksum is {found}, stored was {stored}; it was changed or damaged, train a new one"
    )]
    Checksum {
        /// The version asked for.
        version: i32,
        /// Of what was read.
        found: String,
        /// As it was stored.
        stored: String,
    },
    /// Another version than its row says.
    #[error("reading model {version}: it is model {found}; its row was changed, train a new one")]
    OtherVersion {
        /// The version asked for.
        version: i32,
        /// What it says itself.
        found: i32,
    },
    /// Of another domain.
    #[error(
        "reading model {version}: it judges {found}, and the domain has {expected}; train one for this domain"
    )]
    OtherDomain {
        /// The version asked for.
        version: i32,
        /// The metrics it was made for.
        found: String,
        /// The metrics of the domain.
        expected: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    form: u32,
    version: i32,
    metrics: String,
    about: About,
    forest: StoredForest,
}

impl Model {
    /// Fits a model on the sample's rows of the training window that ends with `until_us`. The forest is grown from
    /// that time as its seed: the same rows and the same end give the same model, whoever trains it and when.
    ///
    /// # Errors
    ///
    /// When there are fewer than 100 rows, or the domain's settings fit no forest.
    pub fn train(version: i32, layout: &Layout, sample: &Sample, until_us: i64) -> Result<Model, TrainError> {
        let chosen = sample.rows(until_us);
        let rows: Vec<f32> = chosen.iter().flat_map(|row| row.features.iter().copied()).collect();
        let forest = fit(&rows, layout.forest_features(), &layout.forest, until_us as u64)?;
        let times = || chosen.iter().map(|row| row.event_time_us);
        let about = About {
            fitted_from_us: times().min().unwrap_or(until_us),
            fitted_until_us: times().max().unwrap_or(until_us),
            rows: chosen.len(),
            trees: layout.forest.trees,
            rows_per_tree: layout.forest.rows_per_tree.min(chosen.len()),
            extension: layout.forest.extension,
        };
        Ok(Model { version, about, forest })
    }

    /// The version, from 1; 0 stands for no model.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The data and settings that it was fitted with.
    pub fn about(&self) -> &About {
        &self.about
    }

    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// The model as bytes: a checksum on the first line, then JSON.
    pub fn to_bytes(&self, layout: &Layout) -> Vec<u8> {
        let stored = Stored {
            form: FORM,
            version: self.version,
            metrics: layout.fingerprint(),
            about: self.about.clone(),
            forest: self.forest.stored(),
        };
        let text = serde_json::to_string(&stored).expect("numbers of a model are finite");
        format!("{}\n{text}", checksum(text.as_bytes())).into_bytes()
    }

    /// Reads a stored model.
    ///
    /// # Errors
    ///
    /// When it is damaged or changed, has another version, or is of another domain.
    pub fn from_bytes(version: i32, layout: &Layout, bytes: &[u8]) -> Result<Model, ModelError> {
        let unreadable = |why: String| ModelError::Unreadable { version, why };
        let text = std::str::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
        let Some((expected, text)) = text.split_once('\n') else {
            return Err(unreadable("it has no checksum".to_owned()));
        };
        let found = checksum(text.as_bytes());
        if found != expected {
            return Err(ModelError::Checksum { version, found, stored: expected.chars().take(32).collect() });
        }
        let stored: Stored = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        if stored.form != FORM {
            return Err(unreadable(format!(
                "it is stored in form {}, this program reads {FORM}",
                stored.form
            )));
        }
        if stored.version != version {
            return Err(ModelError::OtherVersion { version, found: stored.version });
        }
        if stored.metrics != layout.fingerprint() || stored.forest.features != layout.forest_features() {
            let expected = layout.fingerprint();
            return Err(ModelError::OtherDomain { version, found: stored.metrics, expected });
        }
        let forest = Forest::from_stored(stored.forest).map_err(unreadable)?;
        Ok(Model { version, about: stored.about, forest })
    }
}

/// FNV-1a, 64 bits: detects damage and careless edits, not deliberate ones.
fn checksum(bytes: &[u8]) -> String {
    let mut sum = FnvHasher::default();
    sum.write(bytes);
    format!("{:016x}", sum.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::MetricLayout;
    use crate::sample::tests::filled;

    fn model() -> (Layout, Model) {
        let layout = Layout::of_metrics(vec![
            MetricLayout::new("heat", 1, (0.0, 50.0), false),
            MetricLayout::new("count", 0, (0.0, 500.0), true),
        ]);
        let model = Model::train(3, &layout, &filled(&layout, 400), 1_000_000).expect("rows enough");
        (layout, model)
    }

    #[test]
    fn a_stored_model_reads_back_to_the_same_scores() {
        let (layout, model) = model();
        let back = Model::from_bytes(3, &layout, &model.to_bytes(&layout)).expect("just written");
        assert_eq!(back, model);
        assert_eq!((back.version(), back.about().rows), (3, 400));
    }

    #[test]
    fn a_training_is_a_function_of_its_rows_and_of_the_end_of_its_window() {
        let (layout, model) = model();
        let again = |version, until_us| {
            Model::train(version, &layout, &filled(&layout, 400), until_us).expect("rows enough")
        };
        assert_eq!(again(3, 1_000_000).to_bytes(&layout), model.to_bytes(&layout));
        assert_eq!(again(4, 1_000_000).forest(), model.forest(), "its number is no part of it");
        assert_ne!(again(3, 1_000_001).forest(), model.forest(), "another end, another seed");
    }

    #[test]
    fn a_model_that_was_tampered_with_is_refused() {
        let (layout, model) = model();
        let mut bytes = model.to_bytes(&layout);
        let digit = bytes.iter().rposition(u8::is_ascii_digit).expect("it has numbers");
        bytes[digit] = if bytes[digit] == b'1' { b'2' } else { b'1' };
        assert!(matches!(
            Model::from_bytes(3, &layout, &bytes),
            Err(ModelError::Checksum { version: 3, .. })
        ));
        assert!(matches!(
            Model::from_bytes(3, &layout, b"nothing of the kind"),
            Err(ModelError::Unreadable { .. })
        ));
    }

    #[test]
    fn a_model_of_another_version_or_domain_is_refused_with_the_reason() {
        let (layout, model) = model();
        let bytes = model.to_bytes(&layout);
        assert_eq!(
            Model::from_bytes(4, &layout, &bytes),
            Err(ModelError::OtherVersion { version: 4, found: 3 })
        );
        let other = Layout::of_metrics(vec![MetricLayout::new("heat", 1, (0.0, 50.0), false)]);
        let refusal = Model::from_bytes(3, &other, &bytes).unwrap_err().to_string();
        assert!(
            refusal.contains("heat, count (log)") && refusal.contains("the domain has heat"),
            "{refusal}"
        );
    }

    #[test]
    fn too_few_rows_train_no_model() {
        let (layout, _) = model();
        let refusal = Model::train(1, &layout, &filled(&layout, 99), 1_000_000).unwrap_err().to_string();
        assert!(refusal.contains("at least 100 rows") && refusal.contains("stays"), "{refusal}");
    }
}

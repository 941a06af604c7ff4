//! Verdicts: which readings are anomalous, how much, and why.
//!
//! [`Detector`] is the one interface: it sees batches in log order and fills in their anomalies and the version of
//! the model that judged. Today it holds the domain's rules; a learned model is a further member of it.

mod rules;

use citytide_domain::Domain;

use crate::batch::Batch;
use rules::Rules;

/// Version stamped on rows that no learned model has judged.
pub const RULES_ONLY: i32 = 0;

/// Judges readings.
pub struct Detector {
    rules: Rules,
}

impl Detector {
    /// The detector of a domain.
    pub fn new(domain: &Domain) -> Detector {
        Detector { rules: Rules::new(domain) }
    }

    /// Fills in `anomalies` and `model_version`.
    pub fn score(&mut self, batch: &mut Batch) {
        batch.model_version = RULES_ONLY;
        self.rules.score(batch);
    }
}

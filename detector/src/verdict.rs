//! The verdict on a reading: whether it is anomalous, its score, severity and confidence, and what flagged it.

use serde::{Deserialize, Serialize};

use crate::member::{Member, Surprises};
use crate::transcendental::exp2;
use crate::zone::{MEMBERS_IN_EFFECT, THRESHOLD_FIRST};

/// Severity of an anomaly, by the chance of one as surprising among normal readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Below 1 in 100.
    Low,
    /// Below 1 in 500.
    Medium,
    /// Below 1 in 5,000, or a broken rule.
    High,
}

impl Severity {
    /// All of them, from low to high.
    pub const ALL: [Severity; 3] = [Severity::Low, Severity::Medium, Severity::High];

    /// The severity of a word in `sensor_data.severity`.
    pub fn named(word: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == word)
    }

    /// The word in `sensor_data.severity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// What flagged a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlaggedBy {
    /// A rule of the domain.
    Rules,
    /// The model.
    Model,
    /// A rule and the model.
    Both,
}

impl FlaggedBy {
    /// The word in `sensor_data.detector`.
    pub fn as_str(self) -> &'static str {
        match self {
            FlaggedBy::Rules => "rules",
            FlaggedBy::Model => "model",
            FlaggedBy::Both => "both",
        }
    }
}

/// The verdict on a flagged row.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The row of the batch.
    pub row: u32,
    pub severity: Severity,
    /// What flagged it.
    pub flagged_by: FlaggedBy,
    /// Surprise by member.
    pub surprises: Surprises,
    /// JSON array, as in `sensor_data.reasons`.
    pub reasons: String,
}

impl Verdict {
    /// The member with the greatest surprise.
    pub fn found_by(&self) -> Member {
        let surprise = |member: &Member| self.surprises[*member as usize];
        let oddest = Member::ALL.into_iter().max_by(|a, b| surprise(a).total_cmp(&surprise(b)));
        oddest.expect("there are members")
    }
}

/// The verdicts on a batch, by column: one entry per row in all fields but `flagged`, and `beside` unless it is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdicts {
    /// Combined surprise, the greatest of all members: −log₁₀ of a chance.
    pub surprises: Vec<f32>,
    /// The surprise as a score, 0 … 1 (see [`score_of`]); 1 for a broken rule.
    pub scores: Vec<f32>,
    /// Chance that the verdict is right, 0 … 1.
    pub confidences: Vec<f32>,
    /// Whether rules alone decided: no model, or too little or too old knowledge of the zone.
    pub by_rules: Vec<bool>,
    /// The flagged rows, ascending.
    pub flagged: Vec<Verdict>,
    /// Verdicts of the shadow model; empty if there is none.
    pub beside: Vec<Beside>,
}

/// What a shadow model would decide on a row if it were in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    /// The score, 0 … 1.
    pub score: f32,
    /// Whether it would flag the row.
    pub is_flagged: bool,
}

impl Verdicts {
    pub(crate) fn clear(&mut self) {
        self.surprises.clear();
        self.scores.clear();
        self.confidences.clear();
        self.by_rules.clear();
        self.flagged.clear();
        self.beside.clear();
    }
}

/// The score of a surprise: 1 − 2^(−surprise / 3.3), 0 … 1. It is ½ at the threshold that holds until one is learnt,
/// and depends on the surprise alone, not on zone or time.
pub fn score_of(surprise: f32) -> f32 {
    1.0 - exp2(-surprise / THRESHOLD_FIRST)
}

/// The severity of a flagged reading.
pub(crate) fn severity_of(surprise: f32, breaks_rule: bool) -> Severity {
    let chance = MEMBERS_IN_EFFECT * 10f32.powf(-surprise);
    match chance {
        _ if breaks_rule => Severity::High,
        chance if chance < 0.0002 => Severity::High,
        chance if chance < 0.002 => Severity::Medium,
        _ => Severity::Low,
    }
}

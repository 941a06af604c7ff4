//! The verdict on a reading: whether it is odd, how odd, how sure, and who says so.

use serde::{Deserialize, Serialize};

use crate::member::{Member, Surprises};
use crate::transcendental::exp2;
use crate::zone::THRESHOLD_FIRST;

/// How bad an anomaly is, by the chance of one as odd among normal readings.
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
    /// The word in `sensor_data.severity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// Who flagged a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlaggedBy {
    /// A rule of the domain.
    Rules,
    /// The model.
    Model,
    /// Each of them.
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
    /// How bad it is.
    pub severity: Severity,
    /// Who says so.
    pub flagged_by: FlaggedBy,
    /// What each member found.
    pub surprises: Surprises,
    /// JSON array, as `sensor_data.reasons` holds it.
    pub reasons: String,
}

impl Verdict {
    /// Who finds the row oddest.
    pub fn found_by(&self) -> Member {
        let surprise = |member: &Member| self.surprises[*member as usize];
        let oddest = Member::ALL.into_iter().max_by(|a, b| surprise(a).total_cmp(&surprise(b)));
        oddest.expect("there are members")
    }
}

/// The verdicts on a batch: a score for every row, more for the flagged ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdicts {
    /// Combined surprise of each row: −log₁₀ of the chance of one as odd. What figures are computed from.
    pub surprises: Vec<f32>,
    /// The same as a score, 0 … 1.
    pub scores: Vec<f32>,
    /// Chance that the verdict is right, 0 … 1.
    pub confidences: Vec<f32>,
    /// Whether only rules had a say in a row's verdict: too little is known of its zone, or of too long ago.
    pub by_rules: Vec<bool>,
    /// The flagged rows, ascending.
    pub flagged: Vec<Verdict>,
    /// What another model would say of each row, where one is asked beside.
    pub beside: Vec<Beside>,
}

/// What another model than the one in force would say of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    /// The score, 0 … 1.
    pub score: f32,
    /// Whether it would be flagged.
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

/// The score of a surprise: 1 − 2^(−surprise / 3.3), so that ½ is where the model flags until it has learnt its own
/// threshold. It grows with the surprise and does not depend on the zone or the day.
pub fn score_of(surprise: f32) -> f32 {
    1.0 - exp2(-surprise / THRESHOLD_FIRST)
}

/// How bad a flagged reading of this surprise is.
pub(crate) fn severity_of(surprise: f32, breaks_rule: bool) -> Severity {
    let chance = crate::close::MEMBERS_IN_EFFECT * 10f32.powf(-surprise);
    match chance {
        _ if breaks_rule => Severity::High,
        chance if chance < 0.0002 => Severity::High,
        chance if chance < 0.002 => Severity::Medium,
        _ => Severity::Low,
    }
}

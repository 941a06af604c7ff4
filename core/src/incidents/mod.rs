//! Incidents: what is wrong now, since when, and whether it is over. Plain structs over event time.
//!
//! ```text
//!  accepted anomalies ─ findings ─▶ a subject: kind, zone, metric or sensor
//!                                        │ by steps of ten seconds of event time
//!                                        ▼
//!                                   occurrences: no gap longer than `clear_for`
//!                                        │ those that are long and large enough, none `reopen_within` apart
//!                                        ▼
//!                                   incidents: pending, open, cleared, …  ─▶ rows, and what changed
//! ```
//!
//! What the data say of incidents is a function of the accepted readings and of *now*, the watermark W at its last full
//! step: whatever the speed, the workers and the crashes. Only what was said before (the log of changes, and incidents
//! that later readings have joined) depends on when late readings came.

mod current;
mod derive;
mod finding;
mod occurrence;

use std::sync::Arc;

use citytide_domain::{Domain, IncidentRule};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batch::Severity;
use crate::{NEVER, floor_to};

pub use current::{Changes, Incidents, Neighbourhood};
pub use finding::{Finding, Lingering, findings, findings_of};
pub use occurrence::{Occurrence, Peak, SHORT_OF_A_BOUND, Steps};

/// The step in which event time passes for incidents, microseconds: W counts at its last full step.
pub const STEP_US: i64 = 10_000_000;

/// Of a sensor's last eight readings, how many must be flagged so that one counts for an incident: a single outlier is an
/// anomaly, and no incident.
pub const FLAGGED_OF_8_MIN: u32 = 4;

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A rule of the domain is broken in a zone.
    Rule,
    /// A whole zone, or a sensor, is not as it usually is.
    Model,
    /// A sensor repeats a value.
    Stuck,
    /// A sensor does not send a metric that it usually sends.
    Quality,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Rule, Kind::Model, Kind::Stuck, Kind::Quality];

    /// The word in `incidents.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Rule => "rule",
            Kind::Model => "model",
            Kind::Stuck => "stuck",
            Kind::Quality => "quality",
        }
    }

    /// The kind of that word.
    pub fn named(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What incidents are about: a zone and a metric, or a sensor in a zone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    pub zone: Arc<str>,
    pub kind: Kind,
    /// Empty where a sensor is the subject.
    pub metric: Arc<str>,
    /// Empty where a zone's metric is the subject.
    pub sensor: Arc<str>,
}

impl Subject {
    /// What a broken rule is about.
    pub fn of_rule(zone: Arc<str>, metric: Arc<str>) -> Subject {
        Subject { zone, kind: Kind::Rule, metric, sensor: "".into() }
    }

    /// The identity of its incident that began at this time: the same in every run.
    pub fn incident_id(&self, opened_us: i64) -> Arc<str> {
        let step = floor_to(opened_us, STEP_US).to_string();
        let parts = [self.kind.as_str(), &self.zone, &self.metric, &self.sensor, &step];
        let hash = Sha256::digest(parts.join("\u{1f}"));
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }
}

/// What the data say of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Condition {
    /// It has begun, and is not yet long or large enough.
    Pending,
    Open,
    /// Nothing more was found for `clear_for`.
    Cleared,
    /// Late readings say that it never was.
    Withdrawn,
    /// Late readings joined it with another one.
    Superseded,
}

impl Condition {
    /// All of them.
    pub const ALL: [Condition; 5] = [
        Condition::Pending,
        Condition::Open,
        Condition::Cleared,
        Condition::Withdrawn,
        Condition::Superseded,
    ];

    /// The word in `incidents.condition`.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Pending => "pending",
            Condition::Open => "open",
            Condition::Cleared => "cleared",
            Condition::Withdrawn => "withdrawn",
            Condition::Superseded => "superseded",
        }
    }

    /// The condition of that word.
    pub fn named(word: &str) -> Option<Condition> {
        Condition::ALL.into_iter().find(|condition| condition.as_str() == word)
    }

    /// Whether it follows from the readings as they are; else from what they were before.
    pub fn is_current(self) -> bool {
        matches!(self, Condition::Pending | Condition::Open | Condition::Cleared)
    }
}

/// Why an incident's state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Time has passed, or further readings came.
    Condition,
    /// Its severity has risen.
    Escalation,
    /// Readings came for a time that had passed.
    LateData,
    /// Such readings joined it with another one.
    Merge,
}

impl Cause {
    /// The word in `incident_changes.cause`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Condition => "condition",
            Cause::Escalation => "escalation",
            Cause::LateData => "late_data",
            Cause::Merge => "merge",
        }
    }
}

/// An incident as of now.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    pub subject: Subject,
    pub id: Arc<str>,
    pub condition: Condition,
    /// The incident that it was joined with.
    pub superseded_by: Option<Arc<str>>,
    /// The worst of the last `step_down_for` before `last_us`.
    pub severity: Severity,
    pub severity_peak: Severity,
    /// Event time of its first anomaly, microseconds.
    pub opened_us: i64,
    /// Event time of its last one, or of the last reading beyond the rule's clear limit.
    pub last_us: i64,
    /// `clear_for` after the last one, once now has reached it.
    pub cleared_us: Option<i64>,
    /// How often it has changed.
    pub revision: i64,
    /// Anomalous readings.
    pub readings: u64,
    /// Distinct sensors.
    pub sensors: u64,
    /// Occurrences: how often it was open.
    pub occurrences: u64,
    /// The reading that stands out most.
    pub peak: Peak,
}

/// A change of an incident, for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The incident behind the change; before it where it is gone.
    pub incident: Incident,
    /// `None`: it was not there.
    pub from: Option<Condition>,
    /// `None`: it is gone, since it never opened.
    pub to: Option<Condition>,
    pub cause: Cause,
    /// Now, microseconds of event time.
    pub at_us: i64,
}

/// The rules of a domain, by subject.
#[derive(Debug, Clone)]
pub struct IncidentRules {
    rule: IncidentRule,
    of_metrics: Vec<(String, IncidentRule)>,
}

impl IncidentRules {
    /// Those of a domain.
    pub fn new(domain: &Domain) -> IncidentRules {
        let of_metrics =
            domain.metrics.iter().map(|metric| (metric.name.clone(), metric.incidents)).collect();
        IncidentRules { rule: domain.incidents.rule, of_metrics }
    }

    /// The rule of a subject: its metric's, or the domain's for a sensor.
    pub fn of(&self, subject: &Subject) -> IncidentRule {
        let of_metric = self.of_metrics.iter().find(|(metric, _)| **metric == *subject.metric);
        of_metric.map_or(self.rule, |(_, rule)| *rule)
    }

    /// The longest time between two occurrences that a rule can join.
    pub fn reach_us(&self) -> i64 {
        let rules = self.of_metrics.iter().map(|(_, rule)| rule).chain([&self.rule]);
        rules.map(|rule| rule.clear_for_us + rule.reopen_within_us).max().expect("the domain has a rule")
    }
}

/// Now, as incidents take it, from the watermark.
pub fn now_of(low_us: i64) -> i64 {
    if low_us == NEVER { NEVER } else { floor_to(low_us, STEP_US) }
}

#[cfg(test)]
mod tests;

//! An occurrence: anomalies of a subject without a gap longer than `clear_for`. Merging is commutative and associative, so
//! that any order of arrival gives the same.
//!
//! Where a rule has a clear limit, readings that lie beyond it *linger*: they are in the run as anomalies are, but neither
//! begin an incident nor count for it. A run of them alone is kept, since a late anomaly may still come before them.

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{STEP_US, Subject};
use crate::batch::Severity;
use crate::{NEVER, floor_to};

/// The magnitude of what merely lingers: any anomaly stands out more.
pub const SHORT_OF_A_BOUND: f64 = -1.0;

/// The reading that stands out most, and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// How far it is off: beyond its bound in the metric's unit, or in standard deviations.
    pub magnitude: f64,
    /// Event time, microseconds.
    pub at_us: i64,
    pub sensor: Arc<str>,
    pub metric: Arc<str>,
    pub value: Option<f64>,
    pub typical: Option<f64>,
    pub spread: Option<f64>,
    pub unit: Arc<str>,
    /// The reason as a sentence.
    pub text: Arc<str>,
    pub model_version: i32,
}

impl Peak {
    /// Which of two stands out more: the greater magnitude, then the earlier one; sensor and text decide the rest.
    fn order(&self, other: &Peak) -> Ordering {
        let key = |peak: &Peak| (peak.at_us, peak.sensor.clone(), peak.metric.clone(), peak.text.clone());
        self.magnitude.total_cmp(&other.magnitude).then_with(|| key(other).cmp(&key(self)))
    }
}

/// Anomalies of a subject, together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Occurrence {
    /// Event time of the first, microseconds.
    pub first_us: i64,
    /// Event time of the last.
    pub last_us: i64,
    /// Event time of the first that is an anomaly and does not merely linger; [`i64::MAX`] without one.
    pub begins_us: i64,
    /// Anomalous readings.
    pub readings: u64,
    /// By severity, from low to high: event time of the last such anomaly, [`NEVER`] without one.
    pub seen_us: [i64; 3],
    /// The sensors that they come from.
    pub sensors: BTreeSet<Arc<str>>,
    pub peak: Peak,
}

impl Occurrence {
    /// A single anomaly.
    pub fn of(severity: Severity, peak: Peak) -> Occurrence {
        let at_us = peak.at_us;
        let mut seen_us = [NEVER; 3];
        seen_us[severity as usize] = at_us;
        let sensors = BTreeSet::from([peak.sensor.clone()]);
        Occurrence { first_us: at_us, last_us: at_us, begins_us: at_us, readings: 1, seen_us, sensors, peak }
    }

    /// Readings that linger beyond the clear limit of a metric's rule, within a step.
    pub fn lingering(metric: &Arc<str>, first_us: i64, last_us: i64) -> Occurrence {
        let peak = Peak {
            magnitude: SHORT_OF_A_BOUND,
            at_us: first_us,
            sensor: "".into(),
            metric: metric.clone(),
            value: None,
            typical: None,
            spread: None,
            unit: "".into(),
            text: "".into(),
            model_version: 0,
        };
        let (begins_us, sensors) = (i64::MAX, BTreeSet::new());
        Occurrence { first_us, last_us, begins_us, readings: 0, seen_us: [NEVER; 3], sensors, peak }
    }

    /// Whether it has an anomaly.
    pub fn has_begun(&self) -> bool {
        self.readings > 0
    }

    /// Event time of its last anomaly.
    pub fn last_anomaly_us(&self) -> i64 {
        self.seen_us.into_iter().max().expect("there are three severities")
    }

    /// Adds another one.
    pub fn merge(&mut self, mut other: Occurrence) {
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
        self.begins_us = self.begins_us.min(other.begins_us);
        self.readings += other.readings;
        for (seen_us, other_us) in self.seen_us.iter_mut().zip(other.seen_us) {
            *seen_us = (*seen_us).max(other_us);
        }
        if self.sensors.len() < other.sensors.len() {
            std::mem::swap(&mut self.sensors, &mut other.sensors);
        }
        // Not `append`: it rebuilds the greater set for each element of the smaller one.
        self.sensors.extend(other.sensors);
        if other.peak.order(&self.peak) == Ordering::Greater {
            self.peak = other.peak;
        }
    }

    /// The worst severity that was seen at or after some time.
    pub fn severity_since(&self, since_us: i64) -> Option<Severity> {
        let seen = Severity::ALL.into_iter().rev().zip(self.seen_us.into_iter().rev());
        seen.filter(|(_, seen_us)| *seen_us != NEVER && *seen_us >= since_us)
            .map(|(severity, _)| severity)
            .next()
    }
}

/// Anomalies by step of event time and subject: each subject once for each step.
#[derive(Debug, Clone, Default)]
pub struct Steps(BTreeMap<(i64, Subject), Occurrence>);

impl Steps {
    /// Adds anomalies that lie within one step.
    pub fn add(&mut self, subject: Subject, one: Occurrence) {
        match self.0.entry((floor_to(one.first_us, STEP_US), subject)) {
            Entry::Vacant(first) => drop(first.insert(one)),
            Entry::Occupied(mut others) => others.get_mut().merge(one),
        }
    }

    /// The start of the first step, microseconds.
    pub(super) fn first_us(&self) -> Option<i64> {
        self.0.keys().next().map(|(step_us, _)| *step_us)
    }

    /// Takes out the first subject of a step that begins before some time.
    pub(super) fn pop_before(&mut self, until_us: i64) -> Option<(Subject, Occurrence)> {
        let first = self.0.first_entry().filter(|first| first.key().0 < until_us)?;
        let ((_, subject), one) = first.remove_entry();
        Some((subject, one))
    }

    /// Subjects, each counted for each of its steps.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl IntoIterator for Steps {
    type Item = (Subject, Occurrence);
    type IntoIter = std::vec::IntoIter<(Subject, Occurrence)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|((_, subject), one)| (subject, one)).collect::<Vec<_>>().into_iter()
    }
}

//! What an anomalous reading says of incidents: read from its reasons, as `sensor_data` holds them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_domain::Domain;

use serde::Deserialize;

use super::{FLAGGED_OF_8_MIN, Kind, Occurrence, Peak, STEP_US, Subject};
use crate::batch::{Batch, RULES_ONLY, Severity};
use crate::floor_to;

/// An anomalous reading as its row says it.
#[derive(Debug, Clone)]
pub struct Finding<'a> {
    pub zone: &'a Arc<str>,
    pub sensor: Arc<str>,
    /// Event time, microseconds.
    pub recorded_us: i64,
    pub severity: Severity,
    /// JSON, as in `sensor_data.reasons`.
    pub reasons: &'a str,
    pub model_version: i32,
}

#[derive(Deserialize)]
struct Reason<'a> {
    #[serde(borrow)]
    metric: Cow<'a, str>,
    actual: Option<f64>,
    typical: Option<f64>,
    spread: Option<f64>,
    #[serde(borrow, default)]
    unit: Cow<'a, str>,
    #[serde(borrow)]
    rule: Option<Cow<'a, str>>,
    #[serde(borrow)]
    member: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    flagged_of_8: Option<u32>,
}

impl Reason<'_> {
    /// Whether the sensor was flagged often enough of late. Where that is not known, since rules alone judge or there are
    /// too many sensors, each broken rule counts.
    fn persists(&self) -> bool {
        self.flagged_of_8.map_or(self.rule.is_some(), |flagged| flagged >= FLAGGED_OF_8_MIN)
    }

    /// How far it is off: beyond its bound, or in standard deviations.
    fn magnitude(&self) -> f64 {
        let Some(actual) = self.actual else { return 0.0 };
        if let Some(rule) = &self.rule {
            let bound = rule.split(' ').nth(1).and_then(|bound| bound.parse::<f64>().ok());
            return bound.map_or(0.0, |bound| (actual - bound).abs());
        }
        match (self.typical, self.spread) {
            (Some(typical), Some(spread)) if spread > 0.0 => (actual - typical).abs() / spread,
            _ => 0.0,
        }
    }
}

/// What a reading adds to which subjects: each broken rule to its metric in the zone; what the model found
/// first to the sensor, or to the metric in the zone where the whole zone has moved.
pub fn findings_of(finding: &Finding<'_>, add: &mut impl FnMut(Subject, Occurrence)) {
    let Ok(reasons) = serde_json::from_str::<Vec<Reason<'_>>>(finding.reasons) else { return };
    let mut has_finding = false;
    for reason in &reasons {
        let (kind, is_of_zone) = match reason.member.as_deref() {
            None => (Kind::Rule, true),
            Some(_) if has_finding => continue,
            Some("zone") => (Kind::Model, true),
            Some("stuck") => (Kind::Stuck, false),
            Some("dropout") => (Kind::Quality, false),
            Some(_) => (Kind::Model, false),
        };
        let is_whole_zone = kind == Kind::Model && is_of_zone;
        has_finding |= kind != Kind::Rule;
        if !is_whole_zone && !reason.persists() {
            continue;
        }
        let metric: Arc<str> = reason.metric.as_ref().into();
        let subject = Subject {
            zone: finding.zone.clone(),
            kind,
            metric: if is_of_zone { metric.clone() } else { "".into() },
            sensor: if is_of_zone { "".into() } else { finding.sensor.clone() },
        };
        let peak = Peak {
            magnitude: reason.magnitude(),
            at_us: finding.recorded_us,
            sensor: finding.sensor.clone(),
            metric,
            value: reason.actual,
            typical: reason.typical,
            spread: reason.spread,
            unit: reason.unit.as_ref().into(),
            text: reason.text.as_ref().into(),
            model_version: finding.model_version,
        };
        add(subject, Occurrence::of(finding.severity, peak));
    }
}

/// What the accepted anomalies of a judged batch add to subjects.
pub fn findings(batch: &Batch, mut add: impl FnMut(Subject, Occurrence)) {
    for anomaly in &batch.anomalies {
        let row = anomaly.row as usize;
        if batch.late[row] {
            continue;
        }
        let finding = Finding {
            zone: batch.zone(row),
            sensor: String::from_utf8_lossy(batch.sensor(row)).into(),
            recorded_us: batch.event_times_us[row],
            severity: anomaly.severity,
            reasons: &anomaly.reasons,
            model_version: batch.opinion.as_ref().map_or(RULES_ONLY, |opinion| opinion.versions[row]),
        };
        findings_of(&finding, &mut add);
    }
}

/// The rules that have a clear limit, and what lies beyond it.
#[derive(Debug, Clone)]
pub struct Lingering {
    limits: Vec<Limits>,
}

#[derive(Debug, Clone)]
struct Limits {
    /// The metric's index.
    column: usize,
    metric: Arc<str>,
    below: f64,
    above: f64,
}

impl Lingering {
    /// Those of a domain.
    pub fn new(domain: &Domain) -> Lingering {
        let of = |(column, metric): (usize, &citytide_domain::Metric)| {
            let (below, above) = (metric.clear.below, metric.clear.above);
            (below.is_some() || above.is_some()).then(|| Limits {
                column,
                metric: metric.name.as_str().into(),
                below: below.unwrap_or(f64::NEG_INFINITY),
                above: above.unwrap_or(f64::INFINITY),
            })
        };
        Lingering { limits: domain.metrics.iter().enumerate().filter_map(of).collect() }
    }

    /// What accepted readings add to subjects by lying beyond a clear limit: once for each subject and step.
    pub fn find(&self, batch: &Batch, mut add: impl FnMut(Subject, Occurrence)) {
        for limits in &self.limits {
            let mut steps: BTreeMap<(u32, i64), (i64, i64)> = BTreeMap::new();
            for (row, value) in batch.metrics[limits.column].iter().enumerate() {
                if (*value < limits.below || *value > limits.above) && !batch.late[row] {
                    let at_us = batch.event_times_us[row];
                    let step =
                        steps.entry((batch.zones[row], floor_to(at_us, STEP_US))).or_insert((at_us, at_us));
                    *step = (step.0.min(at_us), step.1.max(at_us));
                }
            }
            for ((zone, _), (first_us, last_us)) in steps {
                let zone = batch.zone_names[zone as usize].clone();
                let subject = Subject::of_rule(zone, limits.metric.clone());
                add(subject, Occurrence::lingering(&limits.metric, first_us, last_us));
            }
        }
    }
}

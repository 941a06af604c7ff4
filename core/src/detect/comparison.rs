//! Two models on the same readings: who flags what, and where they are furthest apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_detector::Model;

use super::agreement::Agreement;
use super::{Note, ScoringState};
use crate::batch::Batch;

/// Differences that are kept, the largest ones.
const DIFFERENCES_MAX: usize = 5;

/// A reading on which the verdicts differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its zone.
    pub zone: Arc<str>,
    /// Its sensor.
    pub sensor: String,
    /// Its event time, microseconds.
    pub event_time_us: i64,
    /// Its place in the log.
    pub partition: i32,
    /// Likewise.
    pub offset: i64,
    /// The score by the model in force, 0 … 1.
    pub in_force: f32,
    /// The score by the other one.
    pub other: f32,
}

/// What the model in force and another one say of the same readings.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Version of the model in force; 0 where rules alone judge.
    pub in_force: i32,
    /// Version of the other one.
    pub other: i32,
    /// Who flags what, by zone.
    pub zones: BTreeMap<Arc<str>, Agreement>,
    /// Readings with another score.
    pub rescored: u64,
    /// The largest difference of two scores.
    pub furthest: f32,
    /// Readings that one of them flags, the largest differences of their scores first.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Makes the judge ask `other` beside its own model.
    pub fn new(scoring: &mut ScoringState, other: Arc<Model>) -> Comparison {
        let comparison = Comparison {
            in_force: scoring.status().version,
            other: other.version(),
            zones: BTreeMap::new(),
            rescored: 0,
            furthest: 0.0,
            differences: Vec::new(),
        };
        scoring.ask_beside(Some(other));
        comparison
    }

    /// Judges a batch by both.
    pub fn score(&mut self, scoring: &mut ScoringState, batch: &mut Batch) {
        scoring.judge_now(batch);
        for note in scoring.take_agreements() {
            if let Note::Agreed { zone, agreement, .. } = note {
                self.zones.entry(zone).or_default().merge(agreement);
            }
        }
        let scores = &batch.opinion.as_ref().expect("it was just judged").scores;
        let mut flagged = batch.anomalies.iter().map(|anomaly| anomaly.row as usize).peekable();
        for (row, (in_force, beside)) in scores.iter().zip(scoring.beside()).enumerate() {
            let apart = (in_force - beside.score).abs();
            self.rescored += u64::from(apart > 0.0);
            self.furthest = self.furthest.max(apart);
            let is_flagged = flagged.next_if_eq(&row).is_some();
            if is_flagged != beside.is_flagged {
                self.differences.push(Difference {
                    zone: batch.zone(row).clone(),
                    sensor: String::from_utf8_lossy(batch.sensor(row)).into_owned(),
                    event_time_us: batch.event_times_us[row],
                    partition: batch.partition,
                    offset: batch.offsets[row],
                    in_force: *in_force,
                    other: beside.score,
                });
            }
        }
        let apart = |one: &Difference| (one.in_force - one.other).abs();
        self.differences.sort_by(|a, b| apart(b).total_cmp(&apart(a)));
        self.differences.truncate(DIFFERENCES_MAX);
    }

    /// Who flags what, of all zones.
    pub fn all(&self) -> Agreement {
        let mut all = Agreement::default();
        self.zones.values().for_each(|zone| all.merge(*zone));
        all
    }
}

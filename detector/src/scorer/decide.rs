//! From the surprises of all members to the verdict: the largest decides.

use super::{Lane, Order, Rows, Scorer, TrainingData};
use crate::member::{Member, TAILED};
use crate::model::Model;
use crate::sample::{Sample, SampleRow};
use crate::sensors::Sensor;
use crate::verdict::{Beside, FlaggedBy, Severity, Verdict, Verdicts, score_of, severity_of};
use crate::zone::{Level, ZoneModel, surprise_bin};

/// A score of the forest becomes the statistic `(score − offset) · factor`, whose tail is learnt.
const FOREST_OFFSET: f32 = 0.3;
const FOREST_FACTOR: f32 = 40.0;
/// Weight of the forest's surprise: its tail is known least of all.
const FOREST_WEIGHT: f32 = 0.6;

impl Scorer {
    /// Adds the forest's surprise to a row's, and counts its statistic for the tail if the row teaches.
    #[inline]
    pub(super) fn add_forest(&mut self, lane: usize, statistic: f32, zone: &ZoneModel) {
        let Lane { view, surprises, teaches, .. } = &mut self.lanes[lane];
        if zone.level > Level::Rules {
            let surprise = zone.tails[TAILED - 1].surprise(statistic);
            surprises[Member::Forest as usize] = FOREST_WEIGHT * surprise;
        }
        if *teaches {
            self.views[*view].stats.count(TAILED - 1, statistic);
        }
    }

    /// The verdict if the forest that gave this score were in force; all else, the forest's tail too, is as it is.
    pub(super) fn verdict_beside(&self, lane: usize, score: f32, zone: &ZoneModel) -> Beside {
        let Lane { view, mut surprises, .. } = self.lanes[lane];
        if zone.level > Level::Rules && !self.views[view].is_stale {
            let surprise = zone.tails[TAILED - 1].surprise(forest_statistic(score));
            surprises[Member::Forest as usize] = FOREST_WEIGHT * surprise;
        } else {
            surprises[Member::Rule as usize + 1..].fill(0.0);
        }
        for (surprise, is_muted) in surprises.iter_mut().zip(self.muted) {
            *surprise = if is_muted { 0.0 } else { *surprise };
        }
        let breaks_rule = surprises[Member::Rule as usize] > 0.0;
        Beside {
            score: if breaks_rule { 1.0 } else { score_of(most(&surprises)) },
            is_flagged: breaks_rule || most(&surprises[1..]) >= zone.threshold,
        }
    }

    /// Decides on a row, and notes its surprise and its features if it teaches.
    #[expect(clippy::too_many_arguments, reason = "everything that a verdict needs")]
    #[inline]
    pub(super) fn decide(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        lane: usize,
        zone: &ZoneModel,
        model: Option<&Model>,
        sensor: Option<&mut Sensor>,
        verdicts: &mut Verdicts,
        training_data: &mut TrainingData,
    ) {
        let Lane { view, mut surprises, teaches, hash, order } = self.lanes[lane];
        for (surprise, is_muted) in surprises.iter_mut().zip(self.muted) {
            *surprise = if is_muted { 0.0 } else { *surprise };
        }
        if teaches {
            let surprise = most(&surprises);
            let view = &mut self.views[view];
            view.stats.surprises.0[surprise_bin(surprise)] += 1;
            if zone.level > Level::Rules
                && let hash = Sample::hash(hash, rows.event_times_us[row])
                && hash <= view.sample_until
            {
                self.sample(hash, rows.event_times_us[row], lane, surprise, training_data);
            }
        }
        let by_rules = model.is_none() || zone.level == Level::Rules || self.views[view].is_stale;
        verdicts.by_rules.push(by_rules);
        if by_rules {
            // Nothing is known of the zone, or only of long ago: rules alone decide.
            surprises[Member::Rule as usize + 1..].fill(0.0);
        }
        let surprise = most(&surprises);
        let breaks_rule = surprises[Member::Rule as usize] > 0.0;
        let is_anomalous = most(&surprises[1..]) >= zone.threshold;
        verdicts.surprises.push(surprise);
        verdicts.scores.push(if breaks_rule { 1.0 } else { score_of(surprise) });
        let doubt = zone.doubt(surprise);
        verdicts.confidences.push(match (breaks_rule, is_anomalous) {
            (true, _) => 1.0,
            (false, true) => 1.0 - doubt,
            (false, false) => doubt,
        });
        let flagged = sensor.map(|sensor| sensor.count_flagged(order, breaks_rule || is_anomalous));
        let flagged_by = match (breaks_rule, is_anomalous) {
            (true, true) => FlaggedBy::Both,
            (true, false) => FlaggedBy::Rules,
            (false, true) => FlaggedBy::Model,
            (false, false) => return,
        };
        verdicts.flagged.push(Verdict {
            row: row as u32,
            severity: severity_of(surprise, breaks_rule),
            flagged_by,
            surprises,
            reasons: self.explain(rows, row, lane, zone, model, &surprises, is_anomalous, flagged),
        });
    }

    /// Adds a row's features to the training sample, if the row is chosen.
    #[cold]
    fn sample(
        &self,
        hash: u64,
        event_time_us: i64,
        lane: usize,
        surprise: f32,
        training_data: &mut TrainingData,
    ) {
        if training_data.chosen.choose(hash, event_time_us) {
            let features = 0..self.layout.forest_features();
            let is_severe = severity_of(surprise, false) == Severity::High;
            let features = features.map(|feature| self.block.get(lane, feature)).collect();
            training_data.sampled.push((hash, SampleRow { event_time_us, is_severe, features }));
        }
    }
}

impl Sensor {
    /// How many of its last eight readings were flagged, this one included: the first one after a long silence counts
    /// alone, and one that is older than the last counts beside those.
    #[inline]
    fn count_flagged(&mut self, order: Order, is_flagged: bool) -> u32 {
        let bit = u8::from(is_flagged);
        match order {
            Order::Old => return (self.flagged << 1 | bit).count_ones(),
            Order::Anew => self.flagged = bit,
            Order::Next => self.flagged = self.flagged << 1 | bit,
        }
        self.flagged.count_ones()
    }
}

/// The statistic of a forest's score, at least 0.
#[inline]
pub(super) fn forest_statistic(score: f32) -> f32 {
    ((score - FOREST_OFFSET) * FOREST_FACTOR).max(0.0)
}

#[inline]
fn most(surprises: &[f32]) -> f32 {
    surprises.iter().fold(0.0, |most, one| if *one > most { *one } else { most })
}

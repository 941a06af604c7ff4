//! Metrics of scores and flags against labels: by reading, by kind, by event.
//!
//! Nothing is point-adjusted: flagging one reading of an event counts as one reading. How many events were detected at
//! all is a figure of its own ([`by_event`]).

use std::collections::BTreeMap;

/// Readings by label and flag.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Confusion {
    pub true_positives: u64,
    pub false_positives: u64,
    pub false_negatives: u64,
    pub true_negatives: u64,
}

impl Confusion {
    pub fn add(&mut self, is_anomalous: bool, is_flagged: bool) {
        match (is_anomalous, is_flagged) {
            (true, true) => self.true_positives += 1,
            (false, true) => self.false_positives += 1,
            (true, false) => self.false_negatives += 1,
            (false, false) => self.true_negatives += 1,
        }
    }

    /// Share of the flagged that are anomalous; 0 when nothing is flagged.
    pub fn precision(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of the anomalous that are flagged; 0 when nothing is anomalous.
    pub fn recall(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Harmonic mean of precision and recall; 0 when both are.
    pub fn f1(&self) -> f64 {
        share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Labelled scores in descending order: the figures of every threshold.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// From the highest score to the lowest: the score, anomalous readings and normal readings with it.
    groups: Vec<(f32, u64, u64)>,
    anomalous: u64,
    normal: u64,
}

impl Ranking {
    /// Orders scores; one that is NaN ranks lowest.
    pub fn new(scores: &[f32], is_anomalous: &[bool]) -> Ranking {
        let mut order: Vec<(f32, bool)> = scores
            .iter()
            .zip(is_anomalous)
            .map(|(score, label)| (if score.is_nan() { f32::NEG_INFINITY } else { *score }, *label))
            .collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let groups: Vec<(f32, u64, u64)> = order
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| {
                let anomalous = group.iter().filter(|(_, label)| *label).count() as u64;
                (group[0].0, anomalous, group.len() as u64 - anomalous)
            })
            .collect();
        let anomalous = groups.iter().map(|group| group.1).sum();
        let normal = groups.iter().map(|group| group.2).sum();
        Ranking { groups, anomalous, normal }
    }

    /// Area under the receiver operating characteristic: the chance that an anomalous reading scores above a
    /// normal one, ties counting half. `None` unless there are both.
    pub fn auroc(&self) -> Option<f64> {
        if self.anomalous == 0 || self.normal == 0 {
            return None;
        }
        let mut above = 0u64;
        let mut area = 0.0;
        for &(_, anomalous, normal) in &self.groups {
            area += normal as f64 * (above as f64 + anomalous as f64 / 2.0);
            above += anomalous;
        }
        Some(area / (self.anomalous as f64 * self.normal as f64))
    }

    /// Average precision: the mean of the precision at each threshold, weighted by the recall it adds, as
    /// scikit-learn's `average_precision_score` defines it. `None` when nothing is anomalous.
    pub fn average_precision(&self) -> Option<f64> {
        if self.anomalous == 0 {
            return None;
        }
        let (mut hits, mut flagged, mut sum) = (0u64, 0u64, 0.0);
        for &(_, anomalous, normal) in &self.groups {
            hits += anomalous;
            flagged += anomalous + normal;
            sum += anomalous as f64 * hits as f64 / flagged as f64;
        }
        Some(sum / self.anomalous as f64)
    }

    /// Precision and recall at each distinct score, from the highest score on: (score, precision, recall).
    pub fn curve(&self) -> Vec<(f32, f64, f64)> {
        let (mut hits, mut flagged) = (0u64, 0u64);
        let points = self.groups.iter().map(|&(score, anomalous, normal)| {
            hits += anomalous;
            flagged += anomalous + normal;
            (score, share(hits, flagged), share(hits, self.anomalous))
        });
        points.collect()
    }

    /// The greatest F1 of any threshold, and that threshold: chosen by the labels.
    pub fn best_f1(&self) -> (f64, f32) {
        let f1 = |precision: f64, recall: f64| {
            if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
        };
        let points =
            self.curve().into_iter().map(|(score, precision, recall)| (f1(precision, recall), score));
        points.fold((0.0, f32::INFINITY), |best, point| if point.0 > best.0 { point } else { best })
    }

    /// The greatest recall of any threshold with at least this precision.
    pub fn recall_at_precision(&self, precision: f64) -> f64 {
        self.curve().iter().filter(|point| point.1 >= precision).map(|point| point.2).fold(0.0, f64::max)
    }
}

/// Anomalous readings or events, and how many of them were flagged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Detected {
    pub total: u64,
    pub flagged: u64,
}

impl Detected {
    /// Share that was flagged; 0 if there were none.
    pub fn recall(&self) -> f64 {
        share(self.flagged, self.total)
    }
}

/// Recall by kind, reading by reading; a normal reading's kind is `None`.
pub fn by_kind<'a>(kinds: impl Iterator<Item = (Option<&'a str>, bool)>) -> BTreeMap<String, Detected> {
    let mut found: BTreeMap<String, Detected> = BTreeMap::new();
    for (kind, is_flagged) in kinds {
        if let Some(kind) = kind {
            let detected = found.entry(kind.to_owned()).or_default();
            detected.total += 1;
            detected.flagged += u64::from(is_flagged);
        }
    }
    found
}

/// Recall by event: an event is detected if one of its readings is flagged. A normal reading has neither kind nor
/// event.
pub fn by_event<'a>(
    readings: impl Iterator<Item = (Option<&'a str>, Option<u32>, bool)>,
) -> BTreeMap<String, Detected> {
    let mut events: BTreeMap<(&str, u32), bool> = BTreeMap::new();
    for (kind, event, is_flagged) in readings {
        if let (Some(kind), Some(event)) = (kind, event) {
            *events.entry((kind, event)).or_default() |= is_flagged;
        }
    }
    by_kind(events.into_iter().map(|((kind, _), was_flagged)| (Some(kind), was_flagged)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scikit-learn 1.9: `roc_auc_score` and `average_precision_score` of these.
    const SCORES: [f32; 10] = [0.1, 0.4, 0.35, 0.8, 0.35, 0.9, 0.4, 0.2, 0.8, 0.05];
    const LABELS: [bool; 10] = [false, false, true, true, false, true, true, false, false, false];

    #[test]
    fn auroc_and_average_precision_are_scikit_learns_also_with_ties() {
        let ranking = Ranking::new(&SCORES, &LABELS);
        assert!((ranking.auroc().unwrap() - 0.8125).abs() < 1e-12);
        assert!((ranking.average_precision().unwrap() - 0.709_523_809_523_809_4).abs() < 1e-12);
    }

    #[test]
    fn without_both_kinds_of_label_there_is_no_auroc() {
        assert_eq!(Ranking::new(&[0.1, 0.2], &[false, false]).auroc(), None);
        assert_eq!(Ranking::new(&[0.1, 0.2], &[true, true]).auroc(), None);
        assert_eq!(Ranking::new(&[0.1, 0.2], &[false, false]).average_precision(), None);
    }

    #[test]
    fn a_score_that_is_nan_ranks_lowest() {
        let ranking = Ranking::new(&[f32::NAN, 0.1], &[true, false]);
        assert_eq!(ranking.auroc(), Some(0.0));
    }

    #[test]
    fn precision_recall_and_f1_of_flags() {
        let mut flagged = Confusion::default();
        for (score, label) in SCORES.iter().zip(LABELS) {
            flagged.add(label, *score >= 0.4);
        }
        assert_eq!(flagged.precision(), 0.6);
        assert_eq!(flagged.recall(), 0.75);
        assert!((flagged.f1() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(Confusion::default().precision(), 0.0);
    }

    #[test]
    fn the_best_f1_and_the_recall_at_a_precision_are_those_of_some_threshold() {
        let ranking = Ranking::new(&SCORES, &LABELS);
        let (f1, at) = ranking.best_f1();
        assert!((f1 - 8.0 / 11.0).abs() < 1e-12 && at == 0.35, "{f1} at {at}");
        assert_eq!(ranking.recall_at_precision(1.0), 0.25);
        assert_eq!(ranking.recall_at_precision(0.6), 0.75);
    }

    #[test]
    fn an_event_is_detected_by_one_flag() {
        let readings = [
            (None, None, true),
            (Some("spike"), Some(0), true),
            (Some("drift"), Some(1), false),
            (Some("drift"), Some(1), true),
            (Some("drift"), Some(2), false),
        ];
        let found = by_event(readings.into_iter());
        assert_eq!(found["spike"], Detected { total: 1, flagged: 1 });
        assert_eq!(found["drift"], Detected { total: 2, flagged: 1 });
        let kinds = by_kind(readings.into_iter().map(|(kind, _, is_flagged)| (kind, is_flagged)));
        assert_eq!(kinds["drift"], Detected { total: 3, flagged: 1 });
    }
}

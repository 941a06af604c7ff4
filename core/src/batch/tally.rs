//! Counts of verdicts: by what flagged them, and against the labels where the stream has them. For display only:
//! nothing that is written depends on it.
//!
//! All accepted readings count, whatever judged them: those of a zone that rules alone judge too, because
//! the figures are about the verdicts in the tables.

use std::ops::{AddAssign, Sub};

use serde::{Deserialize, Serialize};

use super::{Batch, FlaggedBy};

/// Accepted readings by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Flagged by rules alone.
    pub by_rules: i64,
    /// Flagged by the model alone.
    pub by_model: i64,
    /// Flagged by each of them.
    pub by_both: i64,
    /// Those whose truth is known.
    pub labelled: Labelled,
}

/// Readings whose truth is known, by truth and verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// Anomalous and flagged.
    pub true_positives: i64,
    /// Normal and flagged.
    pub false_positives: i64,
    /// Anomalous and not flagged.
    pub false_negatives: i64,
    /// Normal and not flagged.
    pub true_negatives: i64,
}

impl Tally {
    /// The accepted readings of a batch that was scored.
    pub fn of(batch: &Batch) -> Tally {
        let mut tally = Tally { labelled: Labelled::of(batch), ..Tally::default() };
        for anomaly in batch.anomalies.iter().filter(|anomaly| !batch.late[anomaly.row as usize]) {
            *match anomaly.flagged_by {
                FlaggedBy::Rules => &mut tally.by_rules,
                FlaggedBy::Model => &mut tally.by_model,
                FlaggedBy::Both => &mut tally.by_both,
            } += 1;
        }
        tally
    }

    /// Flagged readings.
    pub fn anomalies(&self) -> i64 {
        self.by_rules + self.by_model + self.by_both
    }
}

impl Labelled {
    fn of(batch: &Batch) -> Labelled {
        let mut counts = Labelled::default();
        for &(offset, is_anomalous) in &batch.truth {
            // What is dead has no row.
            let Ok(row) = batch.offsets.binary_search(&offset) else { continue };
            if batch.late[row] {
                continue;
            }
            let flagged = batch.anomalies.binary_search_by_key(&(row as u32), |anomaly| anomaly.row).is_ok();
            *match (is_anomalous, flagged) {
                (true, true) => &mut counts.true_positives,
                (false, true) => &mut counts.false_positives,
                (true, false) => &mut counts.false_negatives,
                (false, false) => &mut counts.true_negatives,
            } += 1;
        }
        counts
    }

    /// All of them.
    pub fn readings(&self) -> i64 {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }

    /// Share of the flagged ones that are anomalous, 0 … 1; `None` while none is flagged.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.false_positives)
    }

    /// Share of the anomalous ones that are flagged, 0 … 1; `None` while none is anomalous.
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positives, self.false_negatives)
    }
}

fn share(part: i64, rest: i64) -> Option<f64> {
    (part + rest > 0).then(|| part as f64 / (part + rest) as f64)
}

impl AddAssign for Labelled {
    fn add_assign(&mut self, other: Labelled) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_negatives += other.true_negatives;
    }
}

impl Sub for Labelled {
    type Output = Labelled;

    fn sub(self, other: Labelled) -> Labelled {
        Labelled {
            true_positives: self.true_positives - other.true_positives,
            false_positives: self.false_positives - other.false_positives,
            false_negatives: self.false_negatives - other.false_negatives,
            true_negatives: self.true_negatives - other.true_negatives,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.by_rules += other.by_rules;
        self.by_model += other.by_model;
        self.by_both += other.by_both;
        self.labelled += other.labelled;
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::example::{Row, batch};
    use crate::batch::{Anomaly, Member, Severity};

    fn anomaly(row: u32, flagged_by: FlaggedBy) -> Anomaly {
        Anomaly {
            row,
            score: 0.9,
            severity: Severity::Low,
            flagged_by,
            found_by: Member::Rule,
            reasons: "[]".to_owned(),
        }
    }

    /// Offsets 10, 12, 14, …; rows 1 to 4 are flagged, and row 4 is late.
    fn judged() -> Batch {
        let rows: Vec<Row> = (0..6).map(|row| Row::new(10 + 2 * row, 0, &[1.0])).collect();
        let mut batch = batch(0, &rows);
        batch.late[4] = true;
        batch.anomalies = vec![
            anomaly(1, FlaggedBy::Rules),
            anomaly(2, FlaggedBy::Model),
            anomaly(3, FlaggedBy::Both),
            anomaly(4, FlaggedBy::Both),
        ];
        batch
    }

    #[test]
    fn flagged_readings_are_counted_by_who_flagged_them_and_late_ones_are_not() {
        let tally = Tally::of(&judged());
        assert_eq!((tally.by_rules, tally.by_model, tally.by_both, tally.anomalies()), (1, 1, 1, 3));
        assert_eq!(tally.labelled, Labelled::default(), "nobody told the truth");
        assert_eq!((tally.labelled.precision(), tally.labelled.recall()), (None, None));
    }

    #[test]
    fn readings_whose_truth_is_known_are_counted_by_truth_and_verdict() {
        let mut batch = judged();
        // Offset 11 is no reading; of offset 16, row 3, nothing is known.
        batch.truth = vec![(10, true), (11, true), (12, true), (14, false), (18, true), (20, false)];
        let labelled = Tally::of(&batch).labelled;
        let expected =
            Labelled { true_positives: 1, false_positives: 1, false_negatives: 1, true_negatives: 1 };
        assert_eq!(labelled, expected);
        assert_eq!((labelled.precision(), labelled.recall()), (Some(0.5), Some(0.5)));
    }

    #[test]
    fn tallies_add_up() {
        let mut batch = judged();
        batch.truth = vec![(10, true), (12, true)];
        let twice: Tally = [Tally::of(&batch), Tally::of(&batch)].into_iter().sum();
        assert_eq!((twice.anomalies(), twice.labelled.readings()), (6, 4));
        assert_eq!(twice.labelled - Tally::of(&batch).labelled, Tally::of(&batch).labelled);
    }
}

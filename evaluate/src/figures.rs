//! Figures of a detector's scores and flags on labelled rows.

use serde::Serialize;

use crate::metrics::{Confusion, Ranking};

/// What scores and flags are worth; `None` where the labels or the flags do not allow a figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Area under the receiver operating characteristic; needs no threshold.
    pub auroc: Option<f64>,
    /// Average precision; needs no threshold.
    pub ap: Option<f64>,
    /// Precision of the flags.
    pub precision: Option<f64>,
    /// Recall of the flags.
    pub recall: Option<f64>,
    /// F1 of the flags.
    pub f1: Option<f64>,
    /// Share of the normal rows that are flagged.
    pub false_alarm_rate: Option<f64>,
    /// Share of the anomalous rows that are not.
    pub missed_alarm_rate: Option<f64>,
    /// The best F1 of any threshold, chosen by the labels: no detector can know it.
    pub best_f1: Option<f64>,
    /// The greatest recall at a precision of 0.9 or more, at a threshold chosen by the labels.
    pub recall_at_precision_90: Option<f64>,
}

impl Figures {
    /// Figures of scores and, if the detector sets a threshold itself, of its flags.
    pub fn new(scores: &[f32], flags: Option<&[bool]>, labels: &[bool]) -> Figures {
        let ranking = Ranking::new(scores, labels);
        let ap = ranking.average_precision();
        let with_anomalies = |figure: f64| ap.map(|_| figure);
        let mut figures = Figures {
            auroc: ranking.auroc(),
            ap,
            best_f1: with_anomalies(ranking.best_f1().0),
            recall_at_precision_90: with_anomalies(ranking.recall_at_precision(0.9)),
            ..Figures::default()
        };
        if let Some(flags) = flags {
            let mut confusion = Confusion::default();
            labels.iter().zip(flags).for_each(|(label, flag)| confusion.add(*label, *flag));
            let flagged = confusion.true_positives + confusion.false_positives;
            figures.precision = (flagged > 0).then(|| confusion.precision());
            figures.recall = with_anomalies(confusion.recall());
            figures.f1 = with_anomalies(confusion.f1());
            let normal = confusion.false_positives + confusion.true_negatives;
            figures.false_alarm_rate = (normal > 0).then(|| confusion.false_positives as f64 / normal as f64);
            figures.missed_alarm_rate = with_anomalies(1.0 - confusion.recall());
        }
        figures
    }
}

/// Recall of one kind of anomaly, by reading and by event.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KindFigures {
    pub readings: u64,
    /// Share of the readings that was flagged.
    pub recall: f64,
    pub events: u64,
    /// Share of the events with at least one flagged reading.
    pub event_recall: f64,
}

/// Figures of the rows of one zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ZoneFigures {
    pub rows: u64,
    pub anomalous: u64,
    #[serde(flatten)]
    pub figures: Figures,
}

/// The detector without one of its members.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AblationFigures {
    /// Figures without the member.
    #[serde(flatten)]
    pub figures: Figures,
    /// Anomalous rows that the whole detector flags and on which this member has the largest surprise.
    pub decided_rightly: u64,
    /// Normal rows of the same kind.
    pub decided_wrongly: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_that_labels_do_not_allow_are_none() {
        let none = Figures::new(&[0.1, 0.9], Some(&[false, true]), &[false, false]);
        assert_eq!((none.auroc, none.ap, none.recall, none.f1), (None, None, None, None));
        assert_eq!(none.precision, Some(0.0));
        let silent = Figures::new(&[0.1, 0.9], Some(&[false, false]), &[false, true]);
        assert_eq!((silent.precision, silent.recall, silent.auroc), (None, Some(0.0), Some(1.0)));
        assert_eq!(Figures::new(&[0.1, 0.9], None, &[false, true]).f1, None);
        assert_eq!((none.false_alarm_rate, none.missed_alarm_rate), (Some(0.5), None));
        assert_eq!((silent.false_alarm_rate, silent.missed_alarm_rate), (Some(0.0), Some(1.0)));
    }
}

//! The figures of the detector and of those that it is held against, on one table: what `citytide evaluate` reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::comparison::{Scales, forest_on_raw, largest, windowed_pca};
use super::judge::{Judged, broken, judge};
use super::metrics::{Flagged, Noticed, Ranking, by_event, by_kind};
use super::oracle::oracle;
use super::table::Table;
use crate::layout::Layout;
use crate::member::Member;

/// What a detector's scores and flags are worth on some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Area under the receiver operating characteristic; needs no threshold.
    pub auroc: Option<f64>,
    /// Average precision; needs no threshold.
    pub ap: Option<f64>,
    /// Precision at the threshold that the detector set without labels; `None` where it sets none, or flagged nothing.
    pub precision: Option<f64>,
    /// Recall there.
    pub recall: Option<f64>,
    /// F1 there.
    pub f1: Option<f64>,
    /// The best F1 of any threshold: chosen by the labels, what no detector can know.
    pub best_f1: Option<f64>,
    /// The greatest recall at a precision of 0.9 or more, chosen by the labels.
    pub recall_at_precision_90: Option<f64>,
}

impl Figures {
    /// Figures of scores and, where the detector sets a threshold itself, flags.
    pub fn new(scores: &[f32], flags: Option<&[bool]>, labels: &[bool]) -> Figures {
        let ranking = Ranking::new(scores, labels);
        let average_precision = ranking.average_precision();
        let of_any = |figure: f64| average_precision.map(|_| figure);
        let mut figures = Figures {
            auroc: ranking.auroc(),
            ap: average_precision,
            best_f1: of_any(ranking.best_f1().0),
            recall_at_precision_90: of_any(ranking.recall_at_precision(0.9)),
            ..Figures::default()
        };
        if let Some(flags) = flags {
            let mut counted = Flagged::default();
            labels.iter().zip(flags).for_each(|(label, flag)| counted.add(*label, *flag));
            figures.precision =
                (counted.true_positives + counted.false_positives > 0).then(|| counted.precision());
            figures.recall = of_any(counted.recall());
            figures.f1 = of_any(counted.f1());
        }
        figures
    }
}

/// One that the detector is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// The rules of the domain alone.
    RulesOnly,
    /// The largest deviation from the zone's middle.
    LargestZ,
    /// The error of principal components over a sensor's last readings.
    WindowedPca,
    /// An isolation forest on the values as they are.
    ForestRaw,
    /// The hybrid's isolation forest, without the other members.
    ForestResiduals,
    /// Someone who was told which rows are normal, reading by reading.
    Oracle,
}

impl Rival {
    /// All of them, in the order of the report.
    pub const ALL: [Rival; 6] = [
        Rival::RulesOnly,
        Rival::LargestZ,
        Rival::WindowedPca,
        Rival::ForestRaw,
        Rival::ForestResiduals,
        Rival::Oracle,
    ];

    /// Its key in the report.
    pub fn key(self) -> &'static str {
        match self {
            Rival::RulesOnly => "rules_only",
            Rival::LargestZ => "max_abs_z",
            Rival::WindowedPca => "windowed_pca",
            Rival::ForestRaw => "forest_raw",
            Rival::ForestResiduals => "forest_residuals",
            Rival::Oracle => "oracle",
        }
    }

    /// Its name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Rival::RulesOnly => "rules only",
            Rival::LargestZ => "max|z|",
            Rival::WindowedPca => "windowed PCA",
            Rival::ForestRaw => "forest, raw values",
            Rival::ForestResiduals => "forest, residuals",
            Rival::Oracle => "oracle (sees labels)",
        }
    }

    /// Its scores of all rows, and its flags where it sets a threshold itself; nothing when the table is too small for it.
    pub fn judge(
        self,
        table: &Table,
        layout: &Arc<Layout>,
        from: usize,
    ) -> Option<(Vec<f32>, Option<Vec<bool>>)> {
        let scores = match self {
            Rival::RulesOnly => {
                let broken = broken(table, layout);
                let scores = broken.iter().map(|is| f32::from(*is)).collect();
                return Some((scores, Some(broken)));
            }
            Rival::LargestZ => largest(table, &Scales::learn(table, from)),
            Rival::WindowedPca => windowed_pca(table, &Scales::learn(table, from), from),
            Rival::ForestRaw => forest_on_raw(table, &Scales::learn(table, from), from, &layout.forest)?,
            Rival::ForestResiduals => {
                let others = Member::ALL.into_iter().filter(|member| *member != Member::Forest);
                judge(table, layout, &others.collect::<Vec<_>>()).scores
            }
            Rival::Oracle => oracle(table),
        };
        Some((scores, None))
    }
}

/// Recall of one kind of anomaly, by reading and by event.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OfKind {
    /// Anomalous readings of this kind.
    pub readings: u64,
    /// Share of them that was flagged.
    pub recall: f64,
    /// Events of this kind.
    pub events: u64,
    /// Share of them of which at least one reading was flagged.
    pub event_recall: f64,
}

/// Figures of the rows of one zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct OfZone {
    /// Rows.
    pub rows: u64,
    /// Of them anomalous.
    pub anomalous: u64,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The verdicts on the rows from `from` on, held against their labels.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The table.
    pub table: &'a Table,
    /// Whether each row is anomalous.
    pub labels: Vec<bool>,
    /// The first row that counts.
    pub from: usize,
    /// The verdicts.
    pub judged: Judged,
}

impl Evaluation<'_> {
    /// The figures of the rows from one row on.
    pub fn figures_from(&self, from: usize) -> Figures {
        let Judged { scores, flags, .. } = &self.judged;
        Figures::new(&scores[from..], Some(&flags[from..]), &self.labels[from..])
    }

    /// The figures of a rival on the rows that count.
    pub fn of_rival(&self, scores: &[f32], flags: Option<&[bool]>) -> Figures {
        let flags = flags.map(|flags| &flags[self.from..]);
        Figures::new(&scores[self.from..], flags, &self.labels[self.from..])
    }

    /// Recall by kind.
    pub fn by_kind(&self) -> BTreeMap<String, OfKind> {
        let rows = || self.from..self.table.rows();
        let flag = |row: usize| self.judged.flags[row];
        let readings = by_kind(rows().map(|row| (self.table.kind(row), flag(row))));
        let events: BTreeMap<String, Noticed> =
            by_event(rows().map(|row| (self.table.kind(row), self.table.events[row], flag(row))));
        let of_kind = |(kind, noticed): (String, Noticed)| {
            let of_events = events.get(&kind).copied().unwrap_or_default();
            let of_kind = OfKind {
                readings: noticed.of,
                recall: noticed.recall(),
                events: of_events.of,
                event_recall: of_events.recall(),
            };
            (kind, of_kind)
        };
        readings.into_iter().map(of_kind).collect()
    }

    /// Figures by zone.
    pub fn by_zone(&self) -> BTreeMap<String, OfZone> {
        let mut rows_of = vec![Vec::new(); self.table.zone_names.len()];
        for row in self.from..self.table.rows() {
            rows_of[self.table.zones[row] as usize].push(row);
        }
        let zones = self.table.zone_names.iter().zip(rows_of).filter(|(_, rows)| !rows.is_empty());
        let of_zone = |(name, rows): (&Arc<str>, Vec<usize>)| {
            let scores: Vec<f32> = rows.iter().map(|row| self.judged.scores[*row]).collect();
            let flags: Vec<bool> = rows.iter().map(|row| self.judged.flags[*row]).collect();
            let labels: Vec<bool> = rows.iter().map(|row| self.labels[*row]).collect();
            let anomalous = labels.iter().filter(|label| **label).count() as u64;
            let figures = Figures::new(&scores, Some(&flags), &labels);
            (name.to_string(), OfZone { rows: rows.len() as u64, anomalous, figures })
        };
        zones.map(of_zone).collect()
    }

    /// Flagged rows by the member that was most surprised: anomalous and normal ones.
    pub fn by_member(&self) -> Vec<(Member, u64, u64)> {
        let count = |member: Member, label: bool| {
            let rows = self.from..self.table.rows();
            rows.filter(|row| self.labels[*row] == label && self.judged.found_by[*row] == Some(member))
                .count() as u64
        };
        Member::ALL.into_iter().map(|member| (member, count(member, true), count(member, false))).collect()
    }
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
    }
}

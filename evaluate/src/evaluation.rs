//! Scores a table by the detector and by the reference detectors, and compares both with the labels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use citytide_detector::{Layout, Member};

use crate::metrics::{Detected, by_event, by_kind};
use crate::reference::ReferenceScores;
use crate::{
    AblationFigures, Figures, KindFigures, Reference, Scored, Table, ZoneFigures, score_stream, score_table,
};

/// The verdicts on the rows from `from` on, against their labels.
#[derive(Debug)]
pub struct Evaluation<'a> {
    pub table: &'a Table,
    /// For each row, whether it is labelled anomalous.
    pub labels: Vec<bool>,
    /// The first row that counts.
    pub from: usize,
    pub scored: Scored,
    /// By [`Reference::key`]; `None` if the table is too small for one.
    pub comparison: BTreeMap<&'static str, Option<Figures>>,
}

impl Evaluation<'_> {
    /// Scores all rows on two threads.
    pub fn new<'a>(table: &'a Table, layout: &Arc<Layout>, from: usize) -> Evaluation<'a> {
        let (scored, references) = score_by_all(table, layout, from);
        let comparison = BTreeMap::new();
        let mut evaluation = Evaluation { table, labels: table.labels(), from, scored, comparison };
        let compared = references.into_iter().map(|(reference, scores)| {
            let figures = scores.map(|(scores, flags)| evaluation.figures_of(&scores, flags.as_deref()));
            (reference.key(), figures)
        });
        evaluation.comparison = compared.collect();
        evaluation
    }

    /// Figures of the detector on the rows from `from` on.
    pub fn figures_from(&self, from: usize) -> Figures {
        let Scored { scores, flags, .. } = &self.scored;
        Figures::new(&scores[from..], Some(&flags[from..]), &self.labels[from..])
    }

    /// Figures of other scores and flags of all rows, on the rows that count.
    fn figures_of(&self, scores: &[f32], flags: Option<&[bool]>) -> Figures {
        let flags = flags.map(|flags| &flags[self.from..]);
        Figures::new(&scores[self.from..], flags, &self.labels[self.from..])
    }

    /// Recall by kind of anomaly.
    pub fn by_kind(&self) -> BTreeMap<String, KindFigures> {
        let rows = || self.from..self.table.rows();
        let flag = |row: usize| self.scored.flags[row];
        let readings = by_kind(rows().map(|row| (self.table.kind(row), flag(row))));
        let events: BTreeMap<String, Detected> =
            by_event(rows().map(|row| (self.table.kind(row), self.table.events[row], flag(row))));
        let figures = |(kind, of_readings): (String, Detected)| {
            let of_events = events.get(&kind).copied().unwrap_or_default();
            let figures = KindFigures {
                readings: of_readings.total,
                recall: of_readings.recall(),
                events: of_events.total,
                event_recall: of_events.recall(),
            };
            (kind, figures)
        };
        readings.into_iter().map(figures).collect()
    }

    /// Flagged rows by the member that found them.
    pub fn found_by(&self) -> BTreeMap<&'static str, usize> {
        let mut found: BTreeMap<&'static str, usize> = BTreeMap::new();
        for member in self.scored.found_by[self.from..].iter().flatten() {
            *found.entry(member.as_str()).or_default() += 1;
        }
        found
    }

    pub fn by_zone(&self) -> BTreeMap<String, ZoneFigures> {
        let mut rows_by_zone = vec![Vec::new(); self.table.zone_names.len()];
        for row in self.from..self.table.rows() {
            rows_by_zone[self.table.zones[row] as usize].push(row);
        }
        let zones = self.table.zone_names.iter().zip(rows_by_zone).filter(|(_, rows)| !rows.is_empty());
        let figures = |(name, rows): (&Arc<str>, Vec<usize>)| {
            let scores: Vec<f32> = rows.iter().map(|row| self.scored.scores[*row]).collect();
            let flags: Vec<bool> = rows.iter().map(|row| self.scored.flags[*row]).collect();
            let labels: Vec<bool> = rows.iter().map(|row| self.labels[*row]).collect();
            let anomalous = labels.iter().filter(|label| **label).count() as u64;
            let figures = Figures::new(&scores, Some(&flags), &labels);
            (name.to_string(), ZoneFigures { rows: rows.len() as u64, anomalous, figures })
        };
        zones.map(figures).collect()
    }

    /// Scores the table again without each member in turn: what each is worth, by its name.
    pub fn ablation(&self, layout: &Arc<Layout>) -> BTreeMap<&'static str, AblationFigures> {
        let without = |member: Member| {
            let scored = score_stream(self.table, layout, &[member]);
            let decided = |label: bool| {
                let rows = self.from..self.table.rows();
                let found = |row: &usize| self.scored.found_by[*row] == Some(member);
                rows.filter(found).filter(|row| self.labels[*row] == label).count() as u64
            };
            let ablation = AblationFigures {
                figures: self.figures_of(&scored.scores, Some(&scored.flags)),
                decided_rightly: decided(true),
                decided_wrongly: decided(false),
            };
            (member.as_str(), ablation)
        };
        Member::ALL.into_iter().map(without).collect()
    }
}

/// The detector on this thread, the reference detectors on another one. A table that is not a stream needs the scores
/// of the reference forest.
fn score_by_all(
    table: &Table,
    layout: &Arc<Layout>,
    from: usize,
) -> (Scored, Vec<(Reference, Option<ReferenceScores>)>) {
    let (sender, receiver) = sync_channel::<Option<Vec<f32>>>(1);
    std::thread::scope(|scope| {
        let references = scope.spawn(move || {
            let score = |reference: Reference| {
                let scores = reference.score(table, layout, from);
                if reference == Reference::ForestRaw {
                    // Nobody receives it while a stream is scored.
                    let _ = sender.send(scores.as_ref().map(|(scores, _)| scores.clone()));
                }
                (reference, scores)
            };
            Reference::ALL.into_iter().map(score).collect()
        });
        let scored = score_table(table, layout, from, || receiver.recv().ok().flatten());
        (scored, references.join().expect("a reference detector does not panic"))
    })
}

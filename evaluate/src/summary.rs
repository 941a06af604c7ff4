//! Several tables in one call: a line for each, and the mean of their figures.

use serde::Serialize;

use crate::text::{figure3, shortened, thousands};
use crate::{Evaluation, Figures, NabFigures, NabSeries, Report};

/// Characters of a table's name.
const NAME: usize = 30;

/// Figures of several tables: the last line of standard output where there are several.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub inputs: usize,
    /// Means over the tables that have the figure.
    pub mean: Figures,
    pub mean_vus_pr: Option<f64>,
    pub mean_event_precision: Option<f64>,
    pub mean_event_recall: Option<f64>,
    /// Of all series together, as the benchmark scores them.
    pub nab: Option<NabFigures>,
    pub reports: Vec<Report>,
    #[serde(skip)]
    series: Vec<NabSeries>,
}

impl Summary {
    pub fn add(&mut self, report: Report, evaluation: &Evaluation<'_>) {
        self.series.push(NabSeries::of(evaluation));
        self.reports.push(report);
    }

    /// Computes the means, once all tables are added.
    pub fn finish(&mut self) {
        self.inputs = self.reports.len();
        let mean = |figure: &dyn Fn(&Report) -> Option<f64>| {
            let known: Vec<f64> = self.reports.iter().filter_map(figure).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        self.mean = Figures {
            auroc: mean(&|report| report.figures.auroc),
            ap: mean(&|report| report.figures.ap),
            precision: mean(&|report| report.figures.precision),
            recall: mean(&|report| report.figures.recall),
            f1: mean(&|report| report.figures.f1),
            false_alarm_rate: mean(&|report| report.figures.false_alarm_rate),
            missed_alarm_rate: mean(&|report| report.figures.missed_alarm_rate),
            best_f1: mean(&|report| report.figures.best_f1),
            recall_at_precision_90: mean(&|report| report.figures.recall_at_precision_90),
        };
        self.mean_vus_pr = mean(&|report| report.by_event.vus_pr);
        self.mean_event_precision = mean(&|report| report.by_event.event_precision);
        self.mean_event_recall = mean(&|report| report.by_event.event_recall);
        let has_events = self.reports.iter().any(|report| report.by_event.events > 0);
        self.nab = has_events.then(|| NabFigures::of(self.series.iter()));
    }

    /// The tables as a table for people.
    pub fn text(&self) -> String {
        let mut lines = vec![format!(
            "{:NAME$} {:>9}  AUROC     AP      P      R     F1  false  missed    VUS",
            "", "rows"
        )];
        for report in &self.reports {
            lines.push(row(&report.input, report.scored, &report.figures, report.by_event.vus_pr));
            if report.as_table.is_some() {
                lines.push(format!("  judged {}", report.judged));
            }
        }
        let rows = self.reports.iter().map(|report| report.scored).sum();
        lines.push(row(&format!("mean of {}", self.inputs), rows, &self.mean, self.mean_vus_pr));
        let [precision, recall] = [self.mean_event_precision, self.mean_event_recall].map(figure3);
        lines.push(format!("by event: precision {precision}, recall {recall}"));
        lines.push(
            "false: share of the normal rows that is flagged; missed: of the anomalous ones that is not"
                .to_owned(),
        );
        lines.extend(self.nab.as_ref().map(NabFigures::text));
        lines.join("\n") + "\n"
    }
}

fn row(name: &str, rows: usize, figures: &Figures, vus_pr: Option<f64>) -> String {
    let Figures { auroc, ap, precision, recall, f1, false_alarm_rate, missed_alarm_rate, .. } = *figures;
    let [auroc, ap, precision, recall, f1, false_alarms, missed, vus] =
        [auroc, ap, precision, recall, f1, false_alarm_rate, missed_alarm_rate, vus_pr].map(figure3);
    let (name, rows) = (shortened(name, NAME), thousands(rows));
    format!(
        "{name:NAME$} {rows:>9}  {auroc:>5}  {ap:>5}  {precision:>5}  {recall:>5}  {f1:>5}  {false_alarms:>5}  {missed:>6}  {vus:>5}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::testing::{Numbers, build};

    #[test]
    fn means_are_over_the_tables_that_have_a_figure() {
        let mut summary = Summary::default();
        for has_odd in [true, false] {
            let mut numbers = Numbers(4);
            let rows = (0..400).map(|step| {
                let is_odd = has_odd && step % 40 == 7;
                let heat = numbers.normal() + if is_odd { 12.0 } else { 0.0 };
                (step * 60_000_000, "all", is_odd.then_some("spike"), [heat])
            });
            let table = build(&["heat"], rows);
            let layout = Arc::new(table.layout(None));
            let evaluation = Evaluation::new(&table, &layout, 0);
            let report = Report::new("some", None, &layout, &evaluation, Default::default());
            summary.add(report, &evaluation);
        }
        summary.finish();
        assert_eq!((summary.inputs, summary.mean.auroc), (2, summary.reports[0].figures.auroc));
        assert!(summary.mean.auroc.is_some() && summary.reports[1].figures.auroc.is_none());
        let [first, second] =
            [0, 1].map(|at| summary.reports[at].figures.false_alarm_rate.expect("normal rows"));
        assert_eq!(summary.mean.false_alarm_rate, Some((first + second) / 2.0));
        assert!(summary.text().contains("mean of 2") && summary.nab.is_some());
    }
}

//! The figures as tables for people, in lines of at most 80 characters.

use std::fmt::Write;

use citytide_detector::evaluate::figures::{Figures, Rival};
use citytide_detector::evaluate::table::Table;

use super::figures::Report;
use crate::cli::status::thousands;

/// Kinds and zones that are printed; the JSON line holds all.
const SHOWN_MAX: usize = 20;
/// Characters of a name before the figures.
const NAME: usize = 26;

/// What is told of an evaluation.
pub fn told(report: &Report, table: &Table) -> String {
    let mut text = String::new();
    head(report, table, &mut text);
    figures(report, &mut text);
    kinds(report, &mut text);
    zones(report, &mut text);
    ablation(report, &mut text);
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("memory takes text");
    text.push('\n');
}

fn head(report: &Report, table: &Table, text: &mut String) {
    let count = |count: usize| thousands(count as i64);
    let share = 100.0 * report.anomalous as f64 / report.scored.max(1) as f64;
    line(
        text,
        format_args!(
            "{}: {} rows, {} count, {share:.2} % of them anomalous",
            short(&report.input, 20),
            count(report.rows),
            count(report.scored)
        ),
    );
    line(
        text,
        format_args!(
            "zones {}, sensors {}, metrics {}, a reading every {} s, domain {}",
            count(report.zones),
            count(report.sensors),
            report.metrics.len(),
            report.cadence_seconds,
            report.domain.as_deref().unwrap_or("none")
        ),
    );
    line(text, format_args!("judged {}", report.judged));
    if report.rules_alone > 0 {
        let rows = count(report.rules_alone);
        line(text, format_args!("{rows} rows were judged by rules alone: nothing else was known yet"));
    }
    if report.anomalous == 0 || report.anomalous == report.scored {
        let none = if report.anomalous == 0 { "anomalous" } else { "normal" };
        line(
            text,
            format_args!("none of the labels is {none}: there are scores, but few figures (--normal)"),
        );
    } else if report.anomalous * 2 > report.scored {
        line(
            text,
            format_args!("more than half is labelled anomalous: is it the other way round? (--normal)"),
        );
    }
    for name in &table.ignored {
        line(text, format_args!("column {} is not numeric and no metric", short(name, 40)));
    }
    if table.clipped > 0 {
        line(text, format_args!("{} values beyond 10^12 were taken as 10^12", count(table.clipped)));
    }
}

fn figures(report: &Report, text: &mut String) {
    let title = "precision  recall     F1  best F1*";
    line(text, format_args!("\n{:NAME$}  AUROC     AP  {title}", ""));
    row(text, "citytide", &report.figures);
    if let Some(later) = &report.last_third {
        row(text, "  in the last third", later);
    }
    for rival in Rival::ALL {
        match report.comparison.get(rival.key()) {
            Some(Some(figures)) => row(text, rival.as_str(), figures),
            _ => line(text, format_args!("{:NAME$}  too few rows", rival.as_str())),
        }
    }
    line(text, format_args!("* of a threshold chosen by the labels, which no detector can know"));
}

fn row(text: &mut String, name: &str, of: &Figures) {
    let Figures { auroc, ap, precision, recall, f1, best_f1, .. } = of;
    let [auroc, ap, precision, recall, f1, best] =
        [auroc, ap, precision, recall, f1, best_f1].map(|of| share(*of));
    line(
        text,
        format_args!("{name:NAME$}  {auroc:>5}  {ap:>5}  {precision:>9}  {recall:>6}  {f1:>5}  {best:>7}"),
    );
}

fn kinds(report: &Report, text: &mut String) {
    if report.by_kind.is_empty() {
        return;
    }
    line(text, format_args!("\n{:NAME$}  readings  recall    events  of them seen", "kind"));
    for (kind, of) in report.by_kind.iter().take(SHOWN_MAX) {
        let (readings, events) = (thousands(of.readings as i64), thousands(of.events as i64));
        let (recall, seen) = (share(Some(of.recall)), share(Some(of.event_recall)));
        let kind = short(kind, NAME);
        line(text, format_args!("{kind:NAME$}  {readings:>8}  {recall:>6}  {events:>8}  {seen:>12}"));
    }
    more(text, report.by_kind.len());
}

fn zones(report: &Report, text: &mut String) {
    if report.by_zone.len() < 2 {
        return;
    }
    line(text, format_args!("\n{:NAME$}      rows  anomalous  AUROC     AP  precision  recall", "zone"));
    for (zone, of) in report.by_zone.iter().take(SHOWN_MAX) {
        let (rows, anomalous) = (thousands(of.rows as i64), thousands(of.anomalous as i64));
        let Figures { auroc, ap, precision, recall, .. } = of.figures;
        let [auroc, ap, precision, recall] = [auroc, ap, precision, recall].map(share);
        let zone = short(zone, NAME);
        line(
            text,
            format_args!(
                "{zone:NAME$}{rows:>10}  {anomalous:>9}  {auroc:>5}  {ap:>5}  {precision:>9}  {recall:>6}"
            ),
        );
    }
    more(text, report.by_zone.len());
}

fn ablation(report: &Report, text: &mut String) {
    if report.ablation.is_empty() {
        return;
    }
    line(text, format_args!("\n{:14}  AUROC     AP  precision  recall  decides rightly  wrongly", "without"));
    for member in citytide_detector::Member::ALL {
        let Some(without) = report.ablation.get(member.as_str()) else { continue };
        let Figures { auroc, ap, precision, recall, .. } = without.figures;
        let [auroc, ap, precision, recall] = [auroc, ap, precision, recall].map(share);
        let (right, wrong) =
            (thousands(without.decided_rightly as i64), thousands(without.decided_wrongly as i64));
        line(
            text,
            format_args!(
                "{:14}  {auroc:>5}  {ap:>5}  {precision:>9}  {recall:>6}  {right:>15}  {wrong:>7}",
                member.as_str()
            ),
        );
    }
}

fn more(text: &mut String, all: usize) {
    if all > SHOWN_MAX {
        line(text, format_args!("… and {} more", all - SHOWN_MAX));
    }
}

/// A figure with three decimals; `–` where there is none.
pub fn share(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.3}"))
}

/// The end of a name that is too long.
fn short(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    format!("…{}", name.chars().skip(length - most + 1).collect::<String>())
}

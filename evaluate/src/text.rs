//! The figures as tables for people, in lines of at most 80 characters.

use std::fmt::{Display, Write};

use citytide_detector::Member;

use crate::{EventFigures, Figures, NabFigures, Reference, Report, Sentinel, Table};

/// Most kinds and zones that are printed; the line of JSON has all.
const ROWS_MAX: usize = 20;
/// Characters of a name before the figures.
const NAME: usize = 26;

macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        writeln!($text, $($format)*).expect("writing to memory")
    };
}

/// The tables of a report.
pub fn text(report: &Report, table: &Table) -> String {
    let mut text = String::new();
    head(report, table, &mut text);
    figures(report, &mut text);
    kinds(report, &mut text);
    zones(report, &mut text);
    ablation(report, &mut text);
    text
}

fn head(report: &Report, table: &Table, text: &mut String) {
    let (rows, scored) = (thousands(report.rows), thousands(report.scored));
    let share = 100.0 * report.anomalous as f64 / report.scored.max(1) as f64;
    let input = shortened(&report.input, 20);
    line!(text, "{input}: {rows} rows, {scored} count, {share:.2} % of them anomalous");
    line!(
        text,
        "zones {}, sensors {}, metrics {}, a reading every {} s, domain {}",
        thousands(report.zones),
        thousands(report.sensors),
        report.metrics.len(),
        report.cadence_seconds,
        report.domain.as_deref().unwrap_or("none")
    );
    let format = table.time_format.as_str().map(|format| format!(", {format}")).unwrap_or_default();
    line!(text, "times {} to {}{format}", report.first, report.last);
    line!(text, "judged {}", report.judged);
    if report.rules_alone > 0 {
        let rows = thousands(report.rules_alone);
        line!(text, "{rows} rows were judged by rules alone: nothing else was known yet");
    }
    if report.anomalous == 0 || report.anomalous == report.scored {
        let none = if report.anomalous == 0 { "anomalous" } else { "normal" };
        line!(text, "none of the labels is {none}: there are scores, but few figures (--normal)");
    } else if report.anomalous * 2 > report.scored {
        line!(text, "more than half is labelled anomalous: is it the other way round? (--normal)");
    }
    for name in &table.ignored {
        line!(text, "column {} is not numeric and is ignored", shortened(name, 40));
    }
    for name in &table.decimal_commas {
        line!(text, "commas in column {} are read as decimal points", shortened(name, 35));
    }
    for Sentinel { column, value, count } in &table.sentinels {
        let (column, count) = (shortened(column, 20), thousands(count));
        line!(text, "column {column} is {value} in {count} rows: no value? (--missing {value})");
    }
    if table.clipped > 0 {
        line!(text, "{} values beyond 10^12 were taken as 10^12", thousands(table.clipped));
    }
}

fn figures(report: &Report, text: &mut String) {
    line!(text, "\n{:NAME$}  AUROC     AP  precision  recall     F1  best F1*", "");
    figures_row(text, "citytide", &report.figures);
    if let Some(later) = &report.last_third {
        figures_row(text, "  in the last third", later);
    }
    for reference in Reference::ALL {
        match report.comparison.get(reference.key()) {
            Some(Some(figures)) => figures_row(text, reference.as_str(), figures),
            _ => line!(text, "{:NAME$}  too few rows", reference.as_str()),
        }
    }
    line!(text, "* of a threshold chosen by the labels, which no detector can know");
    events(report, text);
}

fn events(report: &Report, text: &mut String) {
    let EventFigures { events, event_recall, alarms, event_precision, vus_pr, nab } = &report.by_event;
    let Figures { false_alarm_rate, missed_alarm_rate, .. } = &report.figures;
    let [recall, precision, vus, false_alarms, missed] =
        [event_recall, event_precision, vus_pr, false_alarm_rate, missed_alarm_rate]
            .map(|figure| figure3(*figure));
    line!(
        text,
        "\nby reading: {false_alarms} of the normal ones flagged, {missed} of the anomalous ones missed"
    );
    let (events, alarms) = (thousands(events), thousands(alarms));
    line!(
        text,
        "by event: {recall} of {events} events seen, {precision} of {alarms} alarms right; VUS-PR {vus}"
    );
    if let Some(nab) = nab {
        line!(text, "{}", nab.text());
    }
    if !report.found_by.is_empty() {
        let mut found: Vec<_> = report.found_by.iter().collect();
        found.sort_by_key(|(name, count)| (usize::MAX - **count, **name));
        let found: Vec<String> =
            found.into_iter().map(|(name, count)| format!("{name} {}", thousands(count))).collect();
        line!(text, "flagged by: {}", found.join(", "));
    }
}

impl NabFigures {
    /// As a line.
    pub(crate) fn text(&self) -> String {
        let NabFigures { standard, reward_low_fp, reward_low_fn, windows, hits, false_alarms } = self;
        let [windows, hits, false_alarms] = [windows, hits, false_alarms].map(thousands);
        format!(
            "NAB: standard {standard:.1}, low FP {reward_low_fp:.1}, low FN {reward_low_fn:.1}; {hits} of {windows} \
             windows, {false_alarms} false"
        )
    }
}

fn figures_row(text: &mut String, name: &str, of: &Figures) {
    let Figures { auroc, ap, precision, recall, f1, best_f1, .. } = of;
    let [auroc, ap, precision, recall, f1, best] =
        [auroc, ap, precision, recall, f1, best_f1].map(|figure| figure3(*figure));
    line!(text, "{name:NAME$}  {auroc:>5}  {ap:>5}  {precision:>9}  {recall:>6}  {f1:>5}  {best:>7}");
}

fn kinds(report: &Report, text: &mut String) {
    if report.by_kind.is_empty() {
        return;
    }
    line!(text, "\n{:NAME$}  readings  recall    events  of them seen", "kind");
    for (kind, of) in report.by_kind.iter().take(ROWS_MAX) {
        let (readings, events) = (thousands(of.readings), thousands(of.events));
        let (recall, seen) = (figure3(Some(of.recall)), figure3(Some(of.event_recall)));
        let kind = shortened(kind, NAME);
        line!(text, "{kind:NAME$}  {readings:>8}  {recall:>6}  {events:>8}  {seen:>12}");
    }
    more(text, report.by_kind.len());
}

fn zones(report: &Report, text: &mut String) {
    if report.by_zone.len() < 2 {
        return;
    }
    line!(text, "\n{:NAME$}      rows  anomalous  AUROC     AP  precision  recall", "zone");
    for (zone, of) in report.by_zone.iter().take(ROWS_MAX) {
        let (rows, anomalous) = (thousands(of.rows), thousands(of.anomalous));
        let Figures { auroc, ap, precision, recall, .. } = of.figures;
        let [auroc, ap, precision, recall] = [auroc, ap, precision, recall].map(figure3);
        let zone = shortened(zone, NAME);
        line!(
            text,
            "{zone:NAME$}{rows:>10}  {anomalous:>9}  {auroc:>5}  {ap:>5}  {precision:>9}  {recall:>6}"
        );
    }
    more(text, report.by_zone.len());
}

fn ablation(report: &Report, text: &mut String) {
    if report.ablation.is_empty() {
        return;
    }
    line!(text, "\n{:14}  AUROC     AP  precision  recall  decides rightly  wrongly", "without");
    for member in Member::ALL.map(Member::as_str) {
        let Some(without) = report.ablation.get(member) else { continue };
        let Figures { auroc, ap, precision, recall, .. } = without.figures;
        let [auroc, ap, precision, recall] = [auroc, ap, precision, recall].map(figure3);
        let (right, wrong) = (thousands(without.decided_rightly), thousands(without.decided_wrongly));
        line!(text, "{member:14}  {auroc:>5}  {ap:>5}  {precision:>9}  {recall:>6}  {right:>15}  {wrong:>7}");
    }
}

fn more(text: &mut String, rows: usize) {
    if rows > ROWS_MAX {
        line!(text, "… and {} more", rows - ROWS_MAX);
    }
}

/// A figure with three decimals; `–` if there is none.
pub(crate) fn figure3(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.3}"))
}

/// 1234567 → 1,234,567.
pub(crate) fn thousands(count: impl Display) -> String {
    let digits = count.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| std::str::from_utf8(group).expect("digits")).collect::<Vec<_>>().join(",")
}

/// A name that is too long loses its beginning.
pub(crate) fn shortened(name: &str, length_max: usize) -> String {
    let length = name.chars().count();
    if length <= length_max {
        return name.to_owned();
    }
    format!("…{}", name.chars().skip(length - length_max + 1).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}

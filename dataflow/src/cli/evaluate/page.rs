//! The page of `--report`: the figures with pictures, in one file that needs nothing else.

use std::fmt::Write;

use citytide_detector::evaluate::figures::{Evaluation, Figures, Rival};
use citytide_detector::evaluate::metrics::Ranking;

use super::figures::Report;
use super::print::share;
use crate::cli::status::thousands;

/// Width and height of a picture's field, and the room around it for what is written there.
const FIELD: (f64, f64) = (520.0, 260.0);
const MARGIN: f64 = 76.0;
/// Bars of the histogram.
const BINS: usize = 50;
/// Most points of the curve.
const POINTS_MAX: usize = 400;
/// Most zones and kinds on the page.
const ROWS_MAX: usize = 200;

const STYLE: &str = "
:root { --ground: #fdfdfc; --ink: #22262b; --faint: #6b7280; --line: #d8dbe0; --normal: #3d74b5; --odd: #c8501e; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16191d; --ink: #e3e6ea; --faint: #9aa3ae; --line: #363c44; --normal: #6ea8e8; --odd: #f08a55; }
}
body { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p, figcaption, .faint { color: var(--faint); } figure { margin: 0; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); } svg .axis { stroke: var(--faint); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; } th { font-weight: 600; } tr.own td { font-weight: 600; }
.bar { display: inline-block; height: .7rem; background: var(--odd); vertical-align: middle; }
";

/// The page.
pub fn page(report: &Report, evaluation: &Evaluation<'_>) -> String {
    let title = escaped(&report.input);
    let counts = format!(
        "{} rows, {} of them count, {} are labelled anomalous, {} were flagged. Zones {}, sensors {}, metrics {}. \
         Nothing is point-adjusted.",
        thousands(report.rows as i64),
        thousands(report.scored as i64),
        thousands(report.anomalous as i64),
        thousands(report.flagged as i64),
        report.zones,
        report.sensors,
        escaped(&report.metrics.join(", ")),
    );
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>citytide evaluate: {title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{counts}</p>\n\
         <h2>Figures</h2>\n{}\n<h2>Scores</h2>\n{}\n<h2>Precision and recall</h2>\n{}\n\
         <h2>By kind</h2>\n{}\n<h2>By zone</h2>\n{}\n</body>\n</html>\n",
        figures(report),
        histogram(evaluation),
        curve(report, evaluation),
        kinds(report),
        zones(report),
    )
}

fn figures(report: &Report) -> String {
    let mut rows = String::new();
    let mut row = |name: &str, of: &Figures, class: &str| {
        let figures = [of.auroc, of.ap, of.precision, of.recall, of.f1, of.best_f1];
        let cells: String = figures.iter().map(|figure| format!("<td>{}</td>", share(*figure))).collect();
        rows += &format!("<tr{class}><td>{}</td>{cells}</tr>\n", escaped(name));
    };
    row("citytide", &report.figures, " class=\"own\"");
    if let Some(later) = &report.last_third {
        row("citytide, last third", later, "");
    }
    for rival in Rival::ALL {
        if let Some(Some(figures)) = report.comparison.get(rival.key()) {
            row(rival.as_str(), figures, "");
        }
    }
    format!(
        "<div class=\"wide\"><table>\n<tr><th>detector</th><th>AUROC</th><th>AP</th><th>precision</th><th>recall</th>\
         <th>F1</th><th>best F1</th></tr>\n{rows}</table></div>\n<p>Precision, recall and F1 at the threshold that the \
         detector set without labels; best F1 at one chosen by the labels. The oracle knows which rows are normal, and \
         looks at one at a time.</p>"
    )
}

/// A place in a picture, from shares of its field.
fn place(across: f64, up: f64) -> (f64, f64) {
    (MARGIN + across * FIELD.0, 16.0 + (1.0 - up) * FIELD.1)
}

/// A picture: what is drawn in its field, with a scale at the left and at the bottom.
fn picture(drawn: &str, across: &str, up: &[(f64, String)], label: &str, caption: &str) -> String {
    let mut scales = String::new();
    for (share, text) in up {
        let ((left, y), (right, _)) = (place(0.0, *share), place(1.0, *share));
        let at = left - 8.0;
        writeln!(
            scales,
            "<line class=\"grid\" x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
             <text x=\"{at}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            y + 4.0
        )
        .expect("memory takes text");
    }
    for tenth in 0..=5 {
        let (x, y) = place(f64::from(tenth) / 5.0, 0.0);
        writeln!(
            scales,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1}</text>",
            y + 18.0,
            f64::from(tenth) / 5.0
        )
        .expect("memory takes text");
    }
    let ((left, bottom), (right, _)) = (place(0.0, 0.0), place(1.0, 0.0));
    let (width, height) = (FIELD.0 + MARGIN + 20.0, FIELD.1 + 16.0 + 44.0);
    format!(
        "<figure><svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{label}\">\n{scales}{drawn}<line class=\"axis\" x1=\"{left}\" y1=\"{bottom}\" x2=\"{right}\" \
         y2=\"{bottom}\"/>\n<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{across}</text>\n</svg>\n\
         <figcaption>{caption}</figcaption></figure>",
        (left + right) / 2.0,
        bottom + 38.0
    )
}

/// How many normal and anomalous rows have which score, on a logarithmic scale.
fn histogram(evaluation: &Evaluation<'_>) -> String {
    let mut counts = [[0u64; 2]; BINS];
    for row in evaluation.from..evaluation.table.rows() {
        let bin = (evaluation.judged.scores[row] * BINS as f32) as usize;
        counts[bin.min(BINS - 1)][usize::from(evaluation.labels[row])] += 1;
    }
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(10);
    let decades = (most as f64).log10().ceil();
    // One row is still seen: the scale begins at a half.
    let up = |count: f64| (count / 0.5).log10() / (decades + 2f64.log10());
    let mut drawn = String::new();
    let wide = FIELD.0 / BINS as f64 / 2.0;
    for (bin, of_bin) in counts.iter().enumerate() {
        for (at, (count, colour)) in of_bin.iter().zip(["normal", "odd"]).enumerate() {
            if *count > 0 {
                let (x, y) = place(bin as f64 / BINS as f64, up(*count as f64));
                let (x, height) = (x + wide * at as f64, place(0.0, 0.0).1 - y);
                writeln!(
                    drawn,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"var(--{colour})\"/>",
                    wide - 0.5
                )
                .expect("memory takes text");
            }
        }
    }
    let marks: Vec<(f64, String)> = (0..=decades as i32)
        .map(|decade| (up(10f64.powi(decade)), thousands(10i64.pow(decade as u32))))
        .collect();
    picture(
        &drawn,
        "score",
        &marks,
        "Histogram of scores",
        "Rows by score, <span style=\"color:var(--normal)\">normal</span> and \
         <span style=\"color:var(--odd)\">anomalous</span> by their labels; each step up is ten times as many.",
    )
}

/// Precision over recall for every threshold, and the one that the detector set.
fn curve(report: &Report, evaluation: &Evaluation<'_>) -> String {
    let from = evaluation.from;
    let all = Ranking::new(&evaluation.judged.scores[from..], &evaluation.labels[from..]).curve();
    // A point for each small step of recall.
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (_, precision, recall) in all {
        match points.last_mut() {
            Some(last) if (recall - last.0) * (POINTS_MAX as f64) < 1.0 => {}
            _ => points.push((recall, precision)),
        }
    }
    if report.figures.ap.is_none() {
        return "<p>No row is labelled anomalous: there is no curve.</p>".to_owned();
    }
    let places = points.iter().map(|(recall, precision)| place(*recall, *precision));
    let line: String = places.map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
    let mut drawn = format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"var(--normal)\" stroke-width=\"2\"/>\n",
        line.trim_end()
    );
    let mut caption = "Precision over recall at every threshold.".to_owned();
    if let (Some(precision), Some(recall)) = (report.figures.precision, report.figures.recall) {
        let (x, y) = place(recall, precision);
        writeln!(drawn, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"var(--odd)\"/>")
            .expect("memory takes text");
        write!(
            caption,
            " <span style=\"color:var(--odd)\">The point</span> is the threshold that the detector set without \
             labels: precision {precision:.3}, recall {recall:.3}."
        )
        .expect("memory takes text");
    }
    let marks: Vec<(f64, String)> =
        (0..=5u8).map(|fifth| (f64::from(fifth) / 5.0, format!("{:.1}", f64::from(fifth) / 5.0))).collect();
    picture(&drawn, "recall", &marks, "Precision over recall", &caption)
}

fn kinds(report: &Report) -> String {
    let mut rows = String::new();
    for (kind, of) in report.by_kind.iter().take(ROWS_MAX) {
        writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{:.3}</td><td style=\"text-align:left\"><span class=\"bar\" \
             style=\"width:{:.2}rem\"></span></td><td>{}</td><td>{:.3}</td></tr>",
            escaped(kind),
            thousands(of.readings as i64),
            of.recall,
            10.0 * of.recall,
            thousands(of.events as i64),
            of.event_recall
        )
        .expect("memory takes text");
    }
    format!(
        "<div class=\"wide\"><table>\n<tr><th>kind</th><th>readings</th><th>recall</th><th style=\"min-width:10rem\">\
         </th><th>events</th><th>of them seen</th></tr>\n{rows}</table></div>{}",
        left_out(report.by_kind.len())
    )
}

fn zones(report: &Report) -> String {
    let mut rows = String::new();
    for (zone, of) in report.by_zone.iter().take(ROWS_MAX) {
        let figures = of.figures;
        let figures = [figures.auroc, figures.ap, figures.precision, figures.recall, figures.f1];
        let cells: String = figures.iter().map(|figure| format!("<td>{}</td>", share(*figure))).collect();
        let (all, anomalous) = (thousands(of.rows as i64), thousands(of.anomalous as i64));
        writeln!(rows, "<tr><td>{}</td><td>{all}</td><td>{anomalous}</td>{cells}</tr>", escaped(zone))
            .expect("memory takes text");
    }
    format!(
        "<div class=\"wide\"><table>\n<tr><th>zone</th><th>rows</th><th>anomalous</th><th>AUROC</th><th>AP</th>\
         <th>precision</th><th>recall</th><th>F1</th></tr>\n{rows}</table></div>{}",
        left_out(report.by_zone.len())
    )
}

fn left_out(all: usize) -> String {
    match all.saturating_sub(ROWS_MAX) {
        0 => String::new(),
        more => format!("<p>and {more} more, all in the line of JSON</p>"),
    }
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

//! Pictures as SVG: the histogram of the scores, and the precision-recall curve.

use maud::{Markup, html};

use crate::metrics::Ranking;
use crate::text::thousands;
use crate::{Evaluation, Report};

/// Width and height of a plot, and the room left of it, above, below and to the right for labels.
const PLOT: (f64, f64) = (520.0, 260.0);
const LEFT: f64 = 76.0;
const TOP: f64 = 16.0;
const BELOW: f64 = 44.0;
const RIGHT: f64 = 20.0;
/// Bars of the histogram.
const BINS: usize = 50;
/// Most points of the curve.
const POINTS_MAX: usize = 400;

/// Coordinates of a point of the plot, from shares of its width and height.
fn point(across: f64, up: f64) -> (f64, f64) {
    (LEFT + across * PLOT.0, TOP + (1.0 - up) * PLOT.1)
}

/// Coordinates as they are written.
fn one(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}

/// A plot with a horizontal scale from 0 to 1 and the vertical `marks`.
fn picture(label: &str, across: &str, marks: &[(f64, String)], plot: &Markup, caption: &Markup) -> Markup {
    let ((left, bottom), (right, _)) = (point(0.0, 0.0), point(1.0, 0.0));
    let (width, height) = (LEFT + PLOT.0 + RIGHT, TOP + PLOT.1 + BELOW);
    html! {
        figure {
            svg viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="img" aria-label=(label) {
                @for (up, text) in marks {
                    @let y = point(0.0, *up).1;
                    line.grid x1=(left) y1=(one(y)) x2=(right) y2=(one(y)) {}
                    text x=(left - 8.0) y=(one(y + 4.0)) text-anchor="end" { (text) }
                }
                @for (share, text) in fifths() {
                    text x=(one(point(share, 0.0).0)) y=(one(bottom + 18.0)) text-anchor="middle" { (text) }
                }
                (plot)
                line.axis x1=(left) y1=(bottom) x2=(right) y2=(bottom) {}
                text x=(one((left + right) / 2.0)) y=(one(bottom + 38.0)) text-anchor="middle" { (across) }
            }
            figcaption { (caption) }
        }
    }
}

/// 0.0, 0.2, … 1.0 with their labels.
fn fifths() -> Vec<(f64, String)> {
    (0..=5).map(|fifth| f64::from(fifth) / 5.0).map(|share| (share, format!("{share:.1}"))).collect()
}

/// Normal and anomalous rows by score, on a logarithmic scale.
pub fn histogram(evaluation: &Evaluation<'_>) -> Markup {
    let mut counts = [[0u64; 2]; BINS];
    for row in evaluation.from..evaluation.table.rows() {
        let bin = (evaluation.scored.scores[row] * BINS as f32) as usize;
        counts[bin.min(BINS - 1)][usize::from(evaluation.labels[row])] += 1;
    }
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(10);
    let decades = (most as f64).log10().ceil();
    // The scale begins at one half, so that a single row is visible.
    let up = |count: f64| (count / 0.5).log10() / (decades + 2f64.log10());
    let bottom = point(0.0, 0.0).1;
    let width = PLOT.0 / BINS as f64 / 2.0;
    let plot = html! {
        @for (bin, of_bin) in counts.iter().enumerate() {
            @for (at, (count, colour)) in of_bin.iter().zip(["normal", "odd"]).enumerate() {
                @if *count > 0 {
                    @let (x, y) = point(bin as f64 / BINS as f64, up(*count as f64));
                    rect x=(one(x + width * at as f64)) y=(one(y)) width=(one(width - 0.5)) height=(one(bottom - y))
                        fill={ "var(--" (colour) ")" } {}
                }
            }
        }
    };
    let mark = |decade| (up(10f64.powi(decade)), thousands(10i64.pow(decade as u32)));
    let marks: Vec<(f64, String)> = (0..=decades as i32).map(mark).collect();
    let caption = html! {
        "Rows by score, " span.normal { "normal" } " and " span.odd { "anomalous" }
        " by their labels; each step up is ten times as many."
    };
    picture("Histogram of scores", "score", &marks, &plot, &caption)
}

/// Precision over recall at every threshold, and at the one that the detector set.
pub fn curve(report: &Report, evaluation: &Evaluation<'_>) -> Markup {
    if report.figures.ap.is_none() {
        return html! { p { "No row is labelled anomalous: there is no curve." } };
    }
    let from = evaluation.from;
    let all = Ranking::new(&evaluation.scored.scores[from..], &evaluation.labels[from..]).curve();
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (_, precision, recall) in all {
        match points.last() {
            Some(last) if (recall - last.0) * (POINTS_MAX as f64) < 1.0 => {}
            _ => points.push((recall, precision)),
        }
    }
    let points: Vec<String> = points
        .into_iter()
        .map(|(recall, precision)| point(recall, precision))
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let own = report.figures.recall.zip(report.figures.precision);
    let plot = html! {
        polyline points=(points.join(" ")) fill="none" stroke="var(--normal)" stroke-width="2" {}
        @if let Some((x, y)) = own.map(|(recall, precision)| point(recall, precision)) {
            circle cx=(one(x)) cy=(one(y)) r="6" fill="var(--odd)" {}
        }
    };
    let caption = html! {
        "Precision over recall at every threshold."
        @if let Some((recall, precision)) = own {
            " " span.odd { "The point" } " is the threshold that the detector set without labels: precision "
            (format!("{precision:.3}")) ", recall " (format!("{recall:.3}")) "."
        }
    };
    picture("Precision over recall", "recall", &fifths(), &plot, &caption)
}

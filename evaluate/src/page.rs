//! The page of `--report`: the figures with pictures, in one HTML file that needs nothing else.

mod picture;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::text::{figure3, thousands};
use crate::{Evaluation, Figures, Reference, Report};

/// Most zones and kinds on the page.
const ROWS_MAX: usize = 200;

const STYLE: &str = include_str!("page/style.css");

/// The page of an evaluation and its report.
pub fn page(report: &Report, evaluation: &Evaluation<'_>) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "citytide evaluate: " (report.input) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (report.input) }
                p {
                    (thousands(report.rows)) " rows, " (thousands(report.scored)) " of them count, "
                    (thousands(report.anomalous)) " are labelled anomalous, "
                    (thousands(report.flagged)) " were flagged. Zones " (report.zones)
                    ", sensors " (report.sensors) ", metrics " (report.metrics.join(", "))
                    ". Nothing is point-adjusted."
                }
                h2 { "Figures" }
                (figures(report))
                h2 { "Scores" }
                (picture::histogram(evaluation))
                h2 { "Precision and recall" }
                (picture::curve(report, evaluation))
                h2 { "By kind" }
                (kinds(report))
                h2 { "By zone" }
                (zones(report))
            }
        }
    };
    markup.into_string()
}

fn figures(report: &Report) -> Markup {
    let last_third = report.last_third.iter().map(|figures| ("citytide, last third", figures));
    let references = Reference::ALL.into_iter().filter_map(|reference| {
        Some((reference.as_str(), report.comparison.get(reference.key())?.as_ref()?))
    });
    html! {
        (wide(&["detector", "AUROC", "AP", "precision", "recall", "F1", "best F1"], html! {
            tr.own { td { "citytide" } (cells(all(&report.figures))) }
            @for (name, figures) in last_third.chain(references) {
                tr { td { (name) } (cells(all(figures))) }
            }
        }))
        p {
            "Precision, recall and F1 are at the threshold that the detector set without labels; best F1 is at one chosen \
             by the labels. The oracle knows which rows are normal, and looks at one at a time."
        }
    }
}

fn all(figures: &Figures) -> [Option<f64>; 6] {
    let Figures { auroc, ap, precision, recall, f1, best_f1, .. } = *figures;
    [auroc, ap, precision, recall, f1, best_f1]
}

fn kinds(report: &Report) -> Markup {
    html! {
        (wide(&["kind", "readings", "recall", "", "events", "of them seen"], html! {
            @for (kind, of) in report.by_kind.iter().take(ROWS_MAX) {
                tr {
                    td { (kind) }
                    td { (thousands(of.readings)) }
                    (cells([Some(of.recall)]))
                    td.bars { span.bar style={ "width:" (format!("{:.2}", 10.0 * of.recall)) "rem" } {} }
                    td { (thousands(of.events)) }
                    (cells([Some(of.event_recall)]))
                }
            }
        }))
        (left_out(report.by_kind.len()))
    }
}

fn zones(report: &Report) -> Markup {
    let names = ["zone", "rows", "anomalous", "AUROC", "AP", "precision", "recall", "F1"];
    html! {
        (wide(&names, html! {
            @for (zone, of) in report.by_zone.iter().take(ROWS_MAX) {
                tr {
                    td { (zone) }
                    td { (thousands(of.rows)) }
                    td { (thousands(of.anomalous)) }
                    (cells(all(&of.figures).into_iter().take(5)))
                }
            }
        }))
        (left_out(report.by_zone.len()))
    }
}

/// A table that scrolls by itself where the screen is narrow.
fn wide(names: &[&str], rows: Markup) -> Markup {
    html! { div.wide { table { tr { @for name in names { th { (name) } } } (rows) } } }
}

fn cells(figures: impl IntoIterator<Item = Option<f64>>) -> Markup {
    html! { @for figure in figures { td { (figure3(figure)) } } }
}

fn left_out(rows: usize) -> Markup {
    html! {
        @if rows > ROWS_MAX { p { "and " (rows - ROWS_MAX) " more, all in the line of JSON" } }
    }
}

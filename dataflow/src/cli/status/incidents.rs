//! How many incidents are open, by severity, and how those who are told of them are reached.

use citytide_store::incidents::shown::Counts;
use citytide_store::notifications::Summary;

use super::{Line, thousands};
use crate::telemetry::Snapshot;

/// The severities in the order of [`Counts::by_severity`].
const SEVERITIES: [&str; 3] = ["high", "medium", "low"];

/// The line of the block; none before they were counted.
pub fn line(counts: Option<&Counts>, columns: usize) -> Option<Line> {
    counts.map(|counts| Line::new("incidents", &open(counts), columns))
}

/// The line about those who are told; none where nobody is.
pub fn notifying(summary: Option<&Summary>, columns: usize) -> Option<Line> {
    let summary = summary?;
    let alarm = summary.given_up > 0;
    Some(Line { alarm, ..Line::new("notifying", &delivery(summary), columns) })
}

/// What the line of a log says.
pub fn parts(now: &Snapshot) -> Vec<String> {
    let some = now.incidents.as_ref().filter(|counts| counts.open > 0);
    let incidents = some.map(|counts| format!("incidents {}", open(counts)));
    let troubled = now.notifying.as_ref().filter(|summary| summary.given_up > 0);
    incidents.into_iter().chain(troubled.map(|summary| format!("notifying {}", delivery(summary)))).collect()
}

/// `3 open: 1 high, 2 low · 2 need attention`.
fn open(counts: &Counts) -> String {
    let by_severity: Vec<String> = counts
        .by_severity
        .iter()
        .zip(SEVERITIES)
        .filter(|(count, _)| **count > 0)
        .map(|(count, severity)| format!("{} {severity}", thousands(*count)))
        .collect();
    if by_severity.is_empty() {
        return "none open".to_owned();
    }
    let need = if counts.need_attention == 1 { "needs" } else { "need" };
    format!(
        "{} open: {} · {} {need} attention",
        thousands(counts.open),
        by_severity.join(", "),
        thousands(counts.need_attention)
    )
}

fn delivery(summary: &Summary) -> String {
    let waiting = format!("{} waiting", thousands(summary.waiting));
    match &summary.last_failure {
        Some((route, why)) => {
            format!("{waiting} · {} given up in 24 h: {route}: {why}", thousands(summary.given_up))
        }
        None => waiting,
    }
}

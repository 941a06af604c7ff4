//! All figures of an evaluation: the last line of standard output of `citytide evaluate`.

use std::collections::BTreeMap;

use citytide_detector::Layout;
use serde::Serialize;

use crate::time::shown;
use crate::{AblationFigures, AsTable, Evaluation, EventFigures, Figures, KindFigures, ZoneFigures};

/// Share of the time after which a detector that started from nothing has learnt something.
const LATER: f64 = 2.0 / 3.0;

/// Serialised as one JSON object. All counts are of the rows that count, unless they say otherwise.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name of the input.
    pub input: String,
    /// The domain whose rules and scales apply.
    pub domain: Option<String>,
    pub metrics: Vec<String>,
    pub zones: usize,
    /// Sensors, each counted once per zone.
    pub sensors: usize,
    /// Median time between two readings of a sensor.
    pub cadence_seconds: f64,
    /// Rows of the input.
    pub rows: usize,
    /// First and last event time.
    pub first: String,
    pub last: String,
    /// Rows that count: from `scored_from` on.
    pub scored: usize,
    pub scored_from: String,
    pub anomalous: usize,
    pub flagged: usize,
    /// Why the rows were scored as a table and not as a stream.
    pub as_table: Option<AsTable>,
    /// How the rows were scored, in words.
    pub judged: String,
    /// Rows that only the rules could judge.
    pub rules_alone: usize,
    /// The detector's figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// The detector's figures on the last third of the time, if all rows count.
    pub last_third: Option<Figures>,
    /// Of events and alarms instead of readings.
    pub by_event: EventFigures,
    /// Flagged rows by the member with the largest surprise.
    pub found_by: BTreeMap<&'static str, usize>,
    pub by_kind: BTreeMap<String, KindFigures>,
    pub by_zone: BTreeMap<String, ZoneFigures>,
    /// The reference detectors' figures; `None` if there were too few rows.
    pub comparison: BTreeMap<&'static str, Option<Figures>>,
    /// The detector without each of its members.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ablation: BTreeMap<&'static str, AblationFigures>,
    pub notes: Notes,
}

/// Which figures need a threshold or labels.
#[derive(Debug, Serialize)]
pub struct Notes {
    without_threshold: [&'static str; 2],
    threshold_without_labels: [&'static str; 3],
    threshold_by_labels: [&'static str; 2],
    point_adjusted: bool,
}

impl Report {
    pub fn new(
        input: &str,
        domain: Option<&str>,
        layout: &Layout,
        evaluation: &Evaluation<'_>,
        ablation: BTreeMap<&'static str, AblationFigures>,
    ) -> Report {
        let (table, from) = (evaluation.table, evaluation.from);
        let count = |of: &[bool]| of[from..].iter().filter(|is| **is).count();
        let scored = table.rows() - from;
        let later = table.row_at(table.time_at_share_us(LATER));
        let is_learning = from == 0 && later < table.rows() && evaluation.scored.as_table.is_none();
        Report {
            input: input.to_owned(),
            domain: domain.map(str::to_owned),
            metrics: table.names.clone(),
            zones: table.zone_names.len(),
            sensors: table.series_count(),
            cadence_seconds: layout.tick_us as f64 / 1e6,
            rows: table.rows(),
            first: shown(table.span_us().0),
            last: shown(table.span_us().1),
            scored,
            scored_from: shown(table.event_times_us[from]),
            anomalous: count(&evaluation.labels),
            flagged: count(&evaluation.scored.flags),
            as_table: evaluation.scored.as_table,
            judged: how_judged(evaluation),
            rules_alone: scored - count(&evaluation.scored.is_known),
            figures: evaluation.figures_from(from),
            last_third: is_learning.then(|| evaluation.figures_from(later)),
            by_event: EventFigures::new(evaluation),
            found_by: evaluation.found_by(),
            by_kind: evaluation.by_kind(),
            by_zone: evaluation.by_zone(),
            comparison: evaluation.comparison.clone(),
            ablation,
            notes: Notes {
                without_threshold: ["auroc", "ap"],
                threshold_without_labels: ["precision", "recall", "f1"],
                threshold_by_labels: ["best_f1", "recall_at_precision_90"],
                point_adjusted: false,
            },
        }
    }
}

/// How the rows were scored, and on what grounds: `as a stream: 21 days, 160 series`.
fn how_judged(evaluation: &Evaluation<'_>) -> String {
    let table = evaluation.table;
    let (first_us, last_us) = table.span_us();
    let hours = (last_us - first_us) as f64 / 3.6e9;
    let span = if hours < 48.0 { format!("{hours:.1} hours") } else { format!("{:.1} days", hours / 24.0) };
    let series = table.series_count();
    match evaluation.scored.as_table {
        None => format!("as a stream: {span}, {series} series"),
        Some(AsTable::Recording) => format!("as a table, each series whole: {span} of {series} series"),
        Some(AsTable::NoPast) => {
            "as a table, by a forest on raw values: no row says anything about the next one".to_owned()
        }
        Some(AsTable::TooShort) => {
            format!("as a table, by a forest on raw values: only {span}, {series} series")
        }
    }
}

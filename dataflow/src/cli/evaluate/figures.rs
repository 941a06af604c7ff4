//! All figures of an evaluation: what the last line of standard output holds.

use std::collections::BTreeMap;

use citytide_detector::evaluate::AsTable;
use citytide_detector::evaluate::figures::{Evaluation, Figures, OfKind, OfZone, Rival};
use citytide_detector::{Layout, Member};
use serde::Serialize;

/// Share of the time after which a detector that began with nothing has learnt something.
const LATER: f64 = 2.0 / 3.0;

/// The figures.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The input.
    pub input: String,
    /// The domain whose rules and scales were used.
    pub domain: Option<String>,
    /// The metrics.
    pub metrics: Vec<String>,
    /// Zones.
    pub zones: usize,
    /// Sensors, each counted in each of its zones.
    pub sensors: usize,
    /// Time between two readings of a sensor.
    pub cadence_seconds: f64,
    /// Rows of the input.
    pub rows: usize,
    /// Rows that count: from `scored_from` on.
    pub scored: usize,
    /// Event time of the first of them.
    pub scored_from: String,
    /// Of them labelled anomalous.
    pub anomalous: usize,
    /// Of them flagged.
    pub flagged: usize,
    /// Why they were judged as a table, and not as a stream.
    pub as_table: Option<AsTable>,
    /// How they were judged, and what spoke for it.
    pub judged: String,
    /// Of them judged by the rules alone, because nothing else was known of the zone.
    pub rules_alone: usize,
    /// The detector's figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// The same of the last third of the time, where all rows count.
    pub last_third: Option<Figures>,
    /// Recall by kind of anomaly.
    pub by_kind: BTreeMap<String, OfKind>,
    /// Figures by zone.
    pub by_zone: BTreeMap<String, OfZone>,
    /// What others reach on the same rows; null where there were too few rows for one.
    pub comparison: BTreeMap<&'static str, Option<Figures>>,
    /// What the hybrid is worth without each of its members.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ablation: BTreeMap<&'static str, Without>,
    /// How the figures came about.
    pub notes: Notes,
}

/// The hybrid without a member.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Without {
    /// Figures without it.
    #[serde(flatten)]
    pub figures: Figures,
    /// Anomalous rows that the whole hybrid flagged and this member was most surprised by.
    pub decided_rightly: u64,
    /// Normal ones.
    pub decided_wrongly: u64,
}

/// Which figures need what.
#[derive(Debug, Serialize)]
pub struct Notes {
    without_threshold: [&'static str; 2],
    threshold_without_labels: [&'static str; 3],
    threshold_by_labels: [&'static str; 2],
    point_adjusted: bool,
}

impl Report {
    /// All figures of an evaluation.
    pub fn new(
        input: &str,
        domain: Option<&str>,
        layout: &Layout,
        evaluation: &Evaluation<'_>,
        compared: &[(Rival, Option<Figures>)],
        ablation: &[(Member, Figures, u64, u64)],
    ) -> Report {
        let (table, from) = (evaluation.table, evaluation.from);
        let count = |of: &[bool]| of[from..].iter().filter(|is| **is).count();
        let scored = table.rows() - from;
        let without = |(member, figures, decided_rightly, decided_wrongly): &(Member, Figures, u64, u64)| {
            let (decided_rightly, decided_wrongly) = (*decided_rightly, *decided_wrongly);
            (member.as_str(), Without { figures: *figures, decided_rightly, decided_wrongly })
        };
        let later = table.row_at(super::at_share(table, LATER));
        let is_learning = from == 0 && later < table.rows() && evaluation.judged.as_table.is_none();
        Report {
            input: input.to_owned(),
            domain: domain.map(str::to_owned),
            metrics: table.names.clone(),
            zones: table.zone_names.len(),
            sensors: table.sensors(),
            cadence_seconds: layout.tick_us as f64 / 1e6,
            rows: table.rows(),
            scored,
            scored_from: shown(table.event_times_us[from]),
            anomalous: count(&evaluation.labels),
            flagged: count(&evaluation.judged.flags),
            as_table: evaluation.judged.as_table,
            judged: how_judged(evaluation),
            rules_alone: scored - count(&evaluation.judged.is_known),
            figures: evaluation.figures_from(from),
            last_third: is_learning.then(|| evaluation.figures_from(later)),
            by_kind: evaluation.by_kind(),
            by_zone: evaluation.by_zone(),
            comparison: compared.iter().map(|(rival, figures)| (rival.key(), *figures)).collect(),
            ablation: ablation.iter().map(without).collect(),
            notes: Notes {
                without_threshold: ["auroc", "ap"],
                threshold_without_labels: ["precision", "recall", "f1"],
                threshold_by_labels: ["best_f1", "recall_at_precision_90"],
                point_adjusted: false,
            },
        }
    }
}

/// An instant for people and programs.
fn shown(at_us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(at_us).map_or_else(
        || format!("{at_us} µs of the Unix epoch"),
        |at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
    )
}

/// How the rows were judged, and what spoke for it: `as a stream: 21 days, 160 series`.
fn how_judged(evaluation: &Evaluation<'_>) -> String {
    let table = evaluation.table;
    let hours = (table.event_times_us[table.rows() - 1] - table.event_times_us[0]) as f64 / 3.6e9;
    let span = if hours < 48.0 { format!("{hours:.1} hours") } else { format!("{:.1} days", hours / 24.0) };
    let series = table.sensors();
    match evaluation.judged.as_table {
        None => format!("as a stream: {span}, {series} series"),
        Some(AsTable::Recording) => format!("as a table, each series whole: {span} of {series} series"),
        Some(AsTable::NoPast) => "as a table, by a forest on raw values: no row tells of the next".to_owned(),
        Some(AsTable::TooShort) => {
            format!("as a table, by a forest on raw values: only {span}, {series} series")
        }
    }
}

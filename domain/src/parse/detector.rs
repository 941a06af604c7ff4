//! The detector's settings: what was typed, and what is used.

use super::nearest::nearest;
use super::reader::{At, Findings, Section};
use super::used::{SECOND_US, add_duplicates};
use crate::{DetectorSettings, Metric};

pub(super) const DETECTOR_KEYS: &[&str] = &[
    "trees",
    "rows_per_tree",
    "extension",
    "contamination",
    "false_discoveries",
    "logarithmic",
    "train_every",
    "train_window",
    "train_rows",
];

/// Shortest time between two trainings.
const TRAIN_EVERY_MIN_US: i64 = 60 * SECOND_US;

#[derive(Default)]
pub(super) struct TypedDetector {
    trees: Option<At<i64>>,
    rows_per_tree: Option<At<i64>>,
    extension: Option<At<i64>>,
    contamination: Option<At<f64>>,
    false_discoveries: Option<At<f64>>,
    logarithmic: Vec<At<String>>,
    train_every_us: Option<At<i64>>,
    train_window_us: Option<At<i64>>,
    train_rows: Option<At<i64>>,
}

pub(super) fn read_detector(section: &Section<'_>, findings: &mut Findings) -> TypedDetector {
    TypedDetector {
        trees: section.integer("trees", 1..1_001, findings),
        rows_per_tree: section.integer("rows_per_tree", 16..4_097, findings),
        extension: section.integer("extension", 0..2, findings),
        contamination: section.number("contamination", findings),
        false_discoveries: section.number("false_discoveries", findings),
        logarithmic: section.texts("logarithmic", findings),
        train_every_us: section.duration_us("train_every", false, findings),
        train_window_us: section.duration_us("train_window", false, findings),
        train_rows: section.integer("train_rows", 100..10_001, findings),
    }
}

impl TypedDetector {
    /// Fills in and checks against the metrics.
    pub(super) fn used(self, metrics: &[Metric], findings: &mut Findings) -> DetectorSettings {
        let default = DetectorSettings::default();
        for (at, key) in
            [(&self.contamination, "contamination"), (&self.false_discoveries, "false_discoveries")]
        {
            if let Some(at) = at.as_ref().filter(|at| !(0.0001..=0.5).contains(&at.value)) {
                findings.add(
                    &at.span,
                    format!("`{key}` in [detector] is a share and must lie between 0.0001 and 0.5"),
                );
            }
        }
        let train_every_us = self.train_every_us.as_ref().map_or(default.train_every_us, |at| at.value);
        let train_window_us = self.train_window_us.as_ref().map_or(default.train_window_us, |at| at.value);
        if let Some(at) = self.train_every_us.as_ref().filter(|at| at.value < TRAIN_EVERY_MIN_US) {
            findings.add(&at.span, "`train_every` in [detector] must be 60s or longer");
        }
        if let Some(at) = self.train_window_us.as_ref().filter(|_| train_window_us < train_every_us) {
            findings.add(&at.span, "`train_window` in [detector] must not be shorter than `train_every`");
        }
        add_duplicates(self.logarithmic.iter(), "logarithmic metric", findings);
        let mut logarithmic = Vec::new();
        for name in &self.logarithmic {
            match metrics.iter().position(|metric| metric.name == name.value) {
                Some(metric) => logarithmic.push(metric),
                None => {
                    let advice = match nearest(&name.value, metrics.iter().map(|metric| metric.name.as_str()))
                    {
                        Some(known) => format!("did you mean \"{known}\"?"),
                        None => "name one of [[metrics]]".to_owned(),
                    };
                    let typed = name.value.escape_debug();
                    findings.add(&name.span, format!("no metric is called \"{typed}\"; {advice}"));
                }
            }
        }
        let count =
            |at: &Option<At<i64>>, default: usize| at.as_ref().map_or(default, |at| at.value as usize);
        DetectorSettings {
            trees: count(&self.trees, default.trees),
            rows_per_tree: count(&self.rows_per_tree, default.rows_per_tree),
            extension: count(&self.extension, default.extension),
            contamination: self.contamination.map_or(default.contamination, |at| at.value),
            false_discoveries: self.false_discoveries.map_or(default.false_discoveries, |at| at.value),
            logarithmic,
            train_every_us,
            train_window_us,
            train_rows_max: count(&self.train_rows, default.train_rows_max),
        }
    }
}

//! Parses `[detector]`.

use super::section::Section;
use crate::{DetectorSettings, MINUTE_US, Metric};

/// Shortest time between two trainings.
const TRAIN_EVERY_MIN_US: i64 = MINUTE_US;

pub(super) fn read_detector(detector: &Section<'_>, metrics: &[Metric]) -> DetectorSettings {
    let default = DetectorSettings::default();
    let count = |key, allowed, default: usize| detector.integer(key, allowed).or(default as i64) as usize;
    let share = |key, default| {
        detector
            .number(key)
            .check(|share| (0.0001..=0.5).contains(share), "is a share and must lie between 0.0001 and 0.5")
            .or(default)
    };
    let train_every_us = detector
        .duration_us("train_every")
        .check(|us| *us >= TRAIN_EVERY_MIN_US, "must be 60s or longer")
        .or(default.train_every_us);
    let train_window_us = detector
        .duration_us("train_window")
        .check(|us| *us >= train_every_us, "must not be shorter than `train_every`")
        .or(default.train_window_us);
    DetectorSettings {
        trees: count("trees", 1..=1_000, default.trees),
        rows_per_tree: count("rows_per_tree", 16..=4_096, default.rows_per_tree),
        extension: count("extension", 0..=1, default.extension),
        contamination: share("contamination", default.contamination),
        false_discoveries: share("false_discoveries", default.false_discoveries),
        logarithmic: read_logarithmic(detector, metrics),
        train_every_us,
        train_window_us,
        train_rows_max: count("train_rows", 100..=10_000, default.train_rows_max),
    }
}

fn read_logarithmic(detector: &Section<'_>, metrics: &[Metric]) -> Vec<usize> {
    let mut indices = Vec::new();
    for name in detector.texts("logarithmic").or_default() {
        let known = metrics.iter().map(|metric| metric.name.as_str());
        let otherwise = Some("name one of [[metrics]]");
        let index = detector.findings.index_of(&name, known, "no metric is called", '"', otherwise);
        if index.is_some_and(|index| indices.contains(&index)) {
            let sentence = format!("a second logarithmic metric is called `{}`", name.get_ref());
            detector.findings.add(name.span(), sentence);
        }
        indices.extend(index);
    }
    indices
}

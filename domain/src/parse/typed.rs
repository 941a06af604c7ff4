//! What was typed: the file's tables as structs of optional values, each with its place. No default, no relation.

use std::ops::Range;

use toml::de::DeTable;

use super::detector::{DETECTOR_KEYS, TypedDetector, read_detector};
use super::generator::{TypedGenerator, read_generator};
use super::pattern::{TypedPattern, read_pattern};
use super::reader::{At, Findings, Section};

/// Most rows a limit may ask for.
const LIMIT_MAX: i64 = 10_000_000;
/// Most decimals that are shown.
const DECIMALS_MAX: i64 = 9;

const FILE_KEYS: &[&str] = &[
    "name",
    "topic",
    "fields",
    "time",
    "limits",
    "retention",
    "detector",
    "metrics",
    "windows",
    "zones",
    "generator",
];
const FIELD_KEYS: &[&str] = &["sensor", "time", "zone", "time_zone"];
const TIME_KEYS: &[&str] = &["out_of_orderness", "allowed_lateness", "idle_after", "future_max", "max_age"];
const LIMIT_KEYS: &[&str] = &["zones_max", "sensors_max"];
const RETENTION_KEYS: &[&str] = &["raw", "windows"];
const METRIC_KEYS: &[&str] = &["name", "unit", "decimals", "usual", "anomalous", "show", "pattern"];
const RULE_KEYS: &[&str] = &["below", "above"];
const WINDOW_KEYS: &[&str] = &["name", "size", "slide"];
const ZONE_KEYS: &[&str] = &["name", "map", "character", "patterns"];

#[derive(Default)]
pub(super) struct TypedDomain {
    pub(super) name: Option<At<String>>,
    pub(super) topic: Option<At<String>>,
    pub(super) fields: TypedFields,
    pub(super) time: TypedTime,
    pub(super) zones_max: Option<At<i64>>,
    pub(super) sensors_max: Option<At<i64>>,
    pub(super) retention_raw_us: Option<At<i64>>,
    pub(super) retention_windows_us: Option<At<i64>>,
    pub(super) detector: TypedDetector,
    pub(super) metrics: Vec<TypedMetric>,
    /// `None` where the file lists no windows at all.
    pub(super) windows: Option<At<Vec<TypedWindow>>>,
    pub(super) zones: Vec<TypedZone>,
    pub(super) generator: TypedGenerator,
}

#[derive(Default)]
pub(super) struct TypedFields {
    pub(super) sensor: Option<At<String>>,
    pub(super) time: Option<At<String>>,
    pub(super) zone: Option<At<String>>,
    pub(super) time_zone: Option<At<String>>,
}

#[derive(Default)]
pub(super) struct TypedTime {
    pub(super) out_of_orderness_us: Option<At<i64>>,
    pub(super) allowed_lateness_us: Option<At<i64>>,
    pub(super) idle_after_us: Option<At<i64>>,
    pub(super) future_max_us: Option<At<i64>>,
    pub(super) max_age_us: Option<At<i64>>,
}

pub(super) struct TypedMetric {
    pub(super) name: Option<At<String>>,
    pub(super) unit: Option<At<String>>,
    pub(super) decimals: Option<At<i64>>,
    pub(super) usual: Option<At<(f64, f64)>>,
    pub(super) below: Option<At<f64>>,
    pub(super) above: Option<At<f64>>,
    pub(super) show: Option<At<String>>,
    pub(super) pattern: TypedPattern,
}

pub(super) struct TypedWindow {
    pub(super) name: Option<At<String>>,
    pub(super) size_us: Option<At<i64>>,
    pub(super) slide_us: Option<At<i64>>,
}

pub(super) struct TypedZone {
    pub(super) name: Option<At<String>>,
    pub(super) map: Option<At<(i64, i64)>>,
    /// Metric name and factor.
    pub(super) character: Vec<(At<String>, At<f64>)>,
    /// Metric name and what its pattern has differently.
    pub(super) patterns: Vec<(At<String>, TypedPattern)>,
}

/// Reads the whole file. `start` is what a key missing from the file itself is pointed at.
pub(super) fn read(table: &DeTable<'_>, start: Range<usize>, findings: &mut Findings) -> TypedDomain {
    let file = Section::new(table, start, "", FILE_KEYS, findings);
    let mut typed = TypedDomain {
        name: file.required_text("name", findings),
        topic: file.required_text("topic", findings),
        ..TypedDomain::default()
    };
    if let Some(fields) = file.table("fields", "[fields]", FIELD_KEYS, findings) {
        typed.fields = TypedFields {
            sensor: fields.text("sensor", findings),
            time: fields.text("time", findings),
            zone: fields.text("zone", findings),
            time_zone: fields.text("time_zone", findings),
        };
    }
    if let Some(time) = file.table("time", "[time]", TIME_KEYS, findings) {
        typed.time = TypedTime {
            out_of_orderness_us: time.duration_us("out_of_orderness", false, findings),
            allowed_lateness_us: time.duration_us("allowed_lateness", false, findings),
            idle_after_us: time.duration_us("idle_after", false, findings),
            future_max_us: time.duration_us("future_max", false, findings),
            max_age_us: time.duration_us("max_age", false, findings),
        };
    }
    if let Some(limits) = file.table("limits", "[limits]", LIMIT_KEYS, findings) {
        typed.zones_max = limits.integer("zones_max", 1..LIMIT_MAX + 1, findings);
        typed.sensors_max = limits.integer("sensors_max", 1..LIMIT_MAX + 1, findings);
    }
    if let Some(retention) = file.table("retention", "[retention]", RETENTION_KEYS, findings) {
        typed.retention_raw_us = retention.duration_us("raw", true, findings);
        typed.retention_windows_us = retention.duration_us("windows", true, findings);
    }
    if let Some(detector) = file.table("detector", "[detector]", DETECTOR_KEYS, findings) {
        typed.detector = read_detector(&detector, findings);
    }
    match file.tables("metrics", "[[metrics]]", METRIC_KEYS, findings) {
        Some(metrics) if metrics.value.is_empty() => {
            findings.add_missing(&metrics.span, "at least one metric is needed")
        }
        Some(metrics) => {
            typed.metrics = metrics.value.iter().map(|metric| read_metric(metric, findings)).collect()
        }
        None if !file.has("metrics") => {
            findings.add_missing(&file.span, "at least one metric is needed, begun with [[metrics]]");
        }
        None => {}
    }
    typed.windows = file.tables("windows", "[[windows]]", WINDOW_KEYS, findings).map(|windows| At {
        span: windows.span,
        value: windows.value.iter().map(|window| read_window(window, findings)).collect(),
    });
    if let Some(zones) = file.tables("zones", "[[zones]]", ZONE_KEYS, findings) {
        typed.zones = zones.value.iter().map(|zone| read_zone(zone, findings)).collect();
    }
    typed.generator = read_generator(&file, findings);
    typed
}

fn read_metric(metric: &Section<'_>, findings: &mut Findings) -> TypedMetric {
    let rule = metric.table("anomalous", "anomalous", RULE_KEYS, findings);
    TypedMetric {
        name: metric.required_text("name", findings),
        unit: metric.text("unit", findings),
        decimals: metric.integer("decimals", 0..DECIMALS_MAX + 1, findings),
        usual: metric.number_pair("usual", findings),
        below: rule.as_ref().and_then(|rule| rule.number("below", findings)),
        above: rule.as_ref().and_then(|rule| rule.number("above", findings)),
        show: metric.text("show", findings),
        pattern: read_pattern(metric, "pattern", findings),
    }
}

fn read_window(window: &Section<'_>, findings: &mut Findings) -> TypedWindow {
    if !window.has("size") {
        findings.add_missing(&window.span, "`size` is missing in [[windows]]");
    }
    TypedWindow {
        name: window.required_text("name", findings),
        size_us: window.duration_us("size", false, findings),
        slide_us: window.duration_us("slide", false, findings),
    }
}

fn read_zone(zone: &Section<'_>, findings: &mut Findings) -> TypedZone {
    let mut factors = Vec::new();
    if let Some(character) = zone.open_table("character", "character", findings) {
        for (metric, value) in character.entries() {
            if let Some(factor) = character.number_of(&metric.value, value, findings) {
                factors.push((metric, factor));
            }
        }
    }
    let patterns = zone.open_table("patterns", "patterns", findings).map_or(Vec::new(), |patterns| {
        patterns
            .entries()
            .map(|(metric, _)| {
                let pattern = read_pattern(&patterns, &metric.value, findings);
                (metric, pattern)
            })
            .collect()
    });
    TypedZone {
        name: zone.required_text("name", findings),
        map: zone.place_on_map("map", findings),
        character: factors,
        patterns,
    }
}

//! The file as a whole: each section with its defaults, held against the others where they depend on each other.

use std::collections::HashSet;

use chrono_tz::{TZ_VARIANTS, Tz};
use toml::Spanned;

use super::detector::read_detector;
use super::generator::{read_factors, read_generator};
use super::incidents::{read_incidents, read_rule};
use super::names::{clashing_metric_name, taken, wrong_free_name, wrong_metric_name, wrong_topic};
use super::pattern::{default_pattern, read_pattern};
use super::section::Section;
use super::windows::read_windows;
use crate::{
    ClearLimits, DAY_US, Domain, Factor, Fields, IncidentRule, Limits, Metric, Retention, SECOND_US,
    TimeSettings, Zone,
};

/// Most rows a limit may ask for.
const LIMIT_MAX: i64 = 10_000_000;
/// Most metrics: four columns of each must fit PostgreSQL's 1,600 in a table.
const METRICS_MAX: usize = 250;
/// Most decimals that are shown.
const DECIMALS_MAX: i64 = 9;
/// Greatest factor of a zone on a metric's pattern.
const CHARACTER_MAX: f64 = 1_000.0;

pub(super) fn read_domain(file: &Section<'_>) -> Domain {
    let name = file.required_text("name").refuse_if(|name| wrong_free_name(name)).or_default();
    let topic = file.required_text("topic").refuse_if(|topic| wrong_topic(topic)).or_default();
    let fields = read_fields(&file.table("fields", "[fields]"));
    let time = read_time(&file.table("time", "[time]"));
    let limits = file.table("limits", "[limits]");
    let retention = read_retention(&file.table("retention", "[retention]"), time.max_age_us);
    let detector = file.table("detector", "[detector]");
    let generator = file.table("generator", "[generator]");
    let factors = read_factors(&generator);
    let incidents = read_incidents(&file.table("incidents", "[incidents]"));
    let metrics = read_metrics(file, &fields, &factors, incidents.rule);
    let (windows, sessions) = read_windows(file);
    Domain {
        name,
        topic,
        time,
        limits: Limits {
            zones_max: limits.integer("zones_max", 1..=LIMIT_MAX).or(1_000) as usize,
            sensors_max: limits.integer("sensors_max", 1..=LIMIT_MAX).or(20_000) as usize,
        },
        retention,
        detector: read_detector(&detector, &metrics),
        incidents,
        windows,
        sessions,
        zones: read_zones(file, &metrics, &factors),
        generator: read_generator(&generator, factors, &metrics),
        fields,
        metrics,
    }
}

fn read_fields(fields: &Section<'_>) -> Fields {
    let mut names: Vec<String> = Vec::new();
    let mut field = |key, default: &str| {
        let another = |name: &String| {
            names
                .contains(name)
                .then(|| format!("`{}` is already the name of another field", name.escape_debug()))
        };
        let name = fields.text(key).refuse_if(|name| wrong_free_name(name).or_else(|| another(name)));
        names.push(name.or(default.to_owned()));
        names[names.len() - 1].clone()
    };
    let (sensor, time, zone) =
        (field("sensor", "sensor_id"), field("time", "timestamp"), field("zone", "zone"));
    let time_zone = fields.text("time_zone").at.and_then(|name| {
        let known = TZ_VARIANTS.iter().map(|zone| zone.name());
        let otherwise = Some("use a name of the IANA database, as \"Europe/Berlin\"");
        Some(TZ_VARIANTS[fields.findings.index_of(&name, known, "unknown time zone", '"', otherwise)?])
    });
    Fields { sensor, time, zone, time_zone: time_zone.unwrap_or(Tz::UTC) }
}

fn read_time(time: &Section<'_>) -> TimeSettings {
    let out_of_orderness_us = time.duration_us("out_of_orderness").or(5 * SECOND_US);
    let allowed_lateness_us = time.duration_us("allowed_lateness").or(DAY_US);
    let trust_us = out_of_orderness_us + allowed_lateness_us;
    let more_than_0 = |key| time.duration_us(key).check(|us| *us > 0, "must be longer than 0");
    let future_max = time.duration_us("future_max").refuse_if(|future_max_us| {
        (*future_max_us > trust_us).then(|| {
            format!(
                "`future_max` ({}) must not be above `out_of_orderness` + `allowed_lateness` ({}), or one wrong clock \
                 could make honest readings late",
                shown_us(*future_max_us),
                shown_us(trust_us),
            )
        })
    });
    let jump_max = time.duration_us("jump_max").refuse_if(|jump_max_us| {
        (*jump_max_us <= out_of_orderness_us).then(|| {
            format!(
                "`jump_max` ({}) must be above `out_of_orderness` ({}), or every reading would be a jump",
                shown_us(*jump_max_us),
                shown_us(out_of_orderness_us),
            )
        })
    });
    TimeSettings {
        out_of_orderness_us,
        allowed_lateness_us,
        jump_max_us: jump_max.or((2 * out_of_orderness_us).max(10 * 60 * SECOND_US)),
        idle_after_us: more_than_0("idle_after").or(10 * SECOND_US),
        // The default follows smaller limits; a typed value is checked against them.
        future_max_us: future_max.or(trust_us.min(60 * SECOND_US)),
        max_age_us: more_than_0("max_age").or(366 * DAY_US),
    }
}

fn read_retention(retention: &Section<'_>, max_age_us: i64) -> Retention {
    let raw = retention.retention_us("raw");
    let windows = retention.retention_us("windows").check(
        |windows_us| *windows_us == 0 || *windows_us > max_age_us,
        "must be longer than `max_age` in [time]; otherwise readings could arrive for panes that were deleted",
    );
    let kept = |duration_us: &i64| *duration_us > 0;
    Retention { raw_us: Some(raw.or(7 * DAY_US)).filter(kept), windows_us: windows.option().filter(kept) }
}

pub(super) fn shown_us(duration_us: i64) -> String {
    match duration_us {
        whole if whole % SECOND_US == 0 => format!("{}s", whole / SECOND_US),
        part => format!("{}ms", part / 1_000),
    }
}

fn read_metrics(file: &Section<'_>, fields: &Fields, factors: &[Factor], rule: IncidentRule) -> Vec<Metric> {
    let tables = file.tables("metrics", "[[metrics]]");
    let span = tables.at.as_ref().map_or(file.span.clone(), Spanned::span);
    let has_none = tables.as_ref().map_or(!file.has("metrics"), Vec::is_empty);
    if has_none {
        file.findings.add_missing(span, "at least one metric is needed, begun with [[metrics]]");
    }
    let tables = tables.or_default();
    if let Some(metric) = tables.get(METRICS_MAX) {
        file.findings.add(metric.span.clone(), format!("there can be at most {METRICS_MAX} metrics"));
    }
    let mut names = HashSet::new();
    tables.iter().map(|metric| read_metric(metric, &mut names, fields, factors, rule)).collect()
}

fn read_metric(
    metric: &Section<'_>,
    names: &mut HashSet<String>,
    fields: &Fields,
    factors: &[Factor],
    incidents: IncidentRule,
) -> Metric {
    let field = |name: &str| {
        [&fields.sensor, &fields.time, &fields.zone]
            .contains(&&name.to_owned())
            .then(|| format!("`{name}` is already the JSON name of another field, see [fields]"))
    };
    let name = metric
        .required_text("name")
        .refuse_if(|name| wrong_metric_name(name).or_else(|| field(name)))
        .refuse_if(|name| clashing_metric_name(names, name))
        .refuse_if(|name| taken(names, "metric", name))
        .or_default();
    let unit = metric.text("unit").or_default();
    let decimals = metric.integer("decimals", 0..=DECIMALS_MAX).or(1) as u8;
    let usual = metric
        .number_pair("usual")
        .check(|(low, high)| low < high, "must go from the lower to the higher value")
        .or((0.0, 100.0));
    let rule = metric.table("anomalous", "anomalous");
    let below = rule.number("below").option();
    let above = rule.number("above").check(
        |above| below.is_none_or(|below| below < *above),
        "must be greater than `below`, or every value would be anomalous",
    );
    let above = above.option();
    let clear = read_clear(&rule, below, above);
    let base = default_pattern(normal_band(usual, below, above));
    Metric {
        name,
        unit,
        decimals,
        usual,
        below,
        above,
        clear,
        show: metric
            .text("show")
            .check(
                |show| show.matches("{}").count() == 1,
                "must hold `{}` once, where the value goes, as \"AQI {}\"",
            )
            .option(),
        incidents: read_rule(&metric.table("incidents", "incidents"), incidents),
        pattern: read_pattern(&metric.table("pattern", "pattern"), &base, factors),
    }
}

/// `clear` of a rule: a number where it has one bound, two where it has both.
fn read_clear(rule: &Section<'_>, below: Option<f64>, above: Option<f64>) -> ClearLimits {
    let less = |clear: f64, above: f64| {
        (clear >= above).then(|| format!("`clear` ({clear}) must be less than `above` ({above})"))
    };
    let greater = |clear: f64, below: f64| {
        (clear <= below).then(|| format!("`clear` ({clear}) must be greater than `below` ({below})"))
    };
    match (below, above) {
        (Some(below), Some(above)) => {
            let clear = rule.number_pair("clear").refuse_if(|(low, high)| {
                let is_empty =
                    || (low > high).then(|| "`clear` must go from the lower to the higher value".to_owned());
                greater(*low, below).or_else(|| less(*high, above)).or_else(is_empty)
            });
            let clear = clear.option();
            ClearLimits { below: clear.map(|(low, _)| low), above: clear.map(|(_, high)| high) }
        }
        (None, Some(above)) => {
            let clear = rule.number("clear").refuse_if(|clear| less(*clear, above)).option();
            ClearLimits { below: None, above: clear }
        }
        (Some(below), None) => {
            let clear = rule.number("clear").refuse_if(|clear| greater(*clear, below)).option();
            ClearLimits { below: clear, above: None }
        }
        (None, None) => {
            let complaint = "needs a bound, `below` or `above`, whose incident it clears";
            rule.number("clear").check(|_| false, complaint);
            ClearLimits::default()
        }
    }
}

/// The part of the usual range that violates no rule; all of it if the rules leave nothing.
fn normal_band(usual: (f64, f64), below: Option<f64>, above: Option<f64>) -> (f64, f64) {
    let low = below.map_or(usual.0, |below| below.max(usual.0));
    let high = above.map_or(usual.1, |above| above.min(usual.1));
    if low < high { (low, high) } else { usual }
}

fn read_zones(file: &Section<'_>, metrics: &[Metric], factors: &[Factor]) -> Vec<Zone> {
    let mut names = HashSet::new();
    let tables = file.tables("zones", "[[zones]]").or_default();
    tables.iter().map(|zone| read_zone(zone, &mut names, metrics, factors)).collect()
}

fn read_zone(
    zone: &Section<'_>,
    names: &mut HashSet<String>,
    metrics: &[Metric],
    factors: &[Factor],
) -> Zone {
    let name = zone
        .required_text("name")
        .refuse_if(|name| wrong_free_name(name))
        .refuse_if(|name| taken(names, "zone", name));
    let map = zone.integer_pair("map", "two whole numbers, column and row, as [2, 3]").option();
    // A zone may name metrics that the domain does not have; only a name close to a known one is a mistake.
    let index_of = |name: &_, complaint| {
        let known = metrics.iter().map(|metric| metric.name.as_str());
        zone.findings.index_of(name, known, complaint, '`', None)
    };
    let mut character = vec![1.0; metrics.len()];
    let factors_typed = zone.table("character", "character");
    for name in factors_typed.keys() {
        let factor = factors_typed.number(name.get_ref()).check(
            |factor| *factor > 0.0 && *factor <= CHARACTER_MAX,
            format!("must be above 0 and at most {CHARACTER_MAX}"),
        );
        if let Some(index) = index_of(name, "`character` names the unknown metric") {
            character[index] = factor.or(1.0);
        }
    }
    let patterns_typed = zone.table("patterns", "patterns");
    let mut patterns = Vec::new();
    for name in patterns_typed.keys() {
        let index = index_of(name, "`patterns` names the unknown metric");
        let base = index.map_or(default_pattern((0.0, 100.0)), |index| metrics[index].pattern.clone());
        let pattern = read_pattern(&patterns_typed.table(name.get_ref(), "pattern"), &base, factors);
        patterns.extend(index.map(|index| (index, pattern)));
    }
    Zone { name: name.or_default(), map, character, patterns }
}

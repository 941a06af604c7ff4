//! What is used: defaults filled in, relations checked. The one place that knows what fits together.
//!
//! A value that has left a finding is replaced by its default so that the rest can still be judged; the domain
//! that results is thrown away when there is any finding.

use chrono_tz::{TZ_VARIANTS, Tz};

use super::names::{wrong_free_name, wrong_metric_name, wrong_topic};
use super::nearest::nearest;
use super::pattern::{default_pattern, used_pattern};
use super::reader::{At, Findings};
use super::typed::{TypedDomain, TypedFields, TypedMetric, TypedTime, TypedZone};
use super::windows::used_windows;
use crate::{Domain, Factor, Fields, Limits, Metric, Retention, TimeSettings, Zone};

pub(super) const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// Most metrics: four columns of each must fit PostgreSQL's 1,600 in a table.
const METRICS_MAX: usize = 250;
/// Greatest factor of a zone on a metric's pattern.
const CHARACTER_MAX: f64 = 1_000.0;

impl TypedDomain {
    /// Fills in, checks and derives.
    pub(super) fn used(self, findings: &mut Findings) -> Domain {
        if let Some(name) = &self.name {
            add_wrong(name, wrong_free_name(&name.value), findings);
        }
        if let Some(topic) = &self.topic {
            add_wrong(topic, wrong_topic(&topic.value), findings);
        }
        let fields = used_fields(self.fields, findings);
        let time = used_time(&self.time, findings);
        if let Some(windows) = &self.retention_windows_us
            && windows.value > 0
            && windows.value <= time.max_age_us
        {
            findings.add(
                &windows.span,
                "`windows` in [retention] must be longer than `max_age` in [time], or readings could come for panes \
                 that are gone",
            );
        }
        let factors = self.generator.used_factors(findings);
        let metrics = used_metrics(&self.metrics, &fields, &factors, findings);
        let zones = used_zones(self.zones, &metrics, &factors, findings);
        let generator = self.generator.used(factors, &metrics, findings);
        let detector = self.detector.used(&metrics, findings);
        Domain {
            name: self.name.map(|name| name.value).unwrap_or_default(),
            topic: self.topic.map(|topic| topic.value).unwrap_or_default(),
            fields,
            time,
            limits: Limits {
                zones_max: self.zones_max.map_or(1_000, |limit| limit.value as usize),
                sensors_max: self.sensors_max.map_or(20_000, |limit| limit.value as usize),
            },
            retention: Retention {
                raw_us: Some(self.retention_raw_us.map_or(7 * DAY_US, |raw| raw.value))
                    .filter(|raw_us| *raw_us > 0),
                windows_us: self
                    .retention_windows_us
                    .map(|windows| windows.value)
                    .filter(|windows_us| *windows_us > 0),
            },
            detector,
            metrics,
            windows: used_windows(self.windows, findings),
            zones,
            generator,
        }
    }
}

pub(super) fn add_wrong(at: &At<String>, wrong: Option<String>, findings: &mut Findings) -> bool {
    if let Some(sentence) = wrong {
        findings.add(&at.span, sentence);
        return true;
    }
    false
}

/// A name that two of a kind have is a finding at the second.
pub(super) fn add_duplicates<'a>(
    names: impl Iterator<Item = &'a At<String>>,
    kind: &str,
    findings: &mut Findings,
) {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name.value.as_str()) {
            findings.add(&name.span, format!("a second {kind} is called `{}`", name.value.escape_debug()));
        }
    }
}

fn used_fields(typed: TypedFields, findings: &mut Findings) -> Fields {
    let time_zone = match &typed.time_zone {
        None => Tz::UTC,
        Some(name) => name.value.parse().unwrap_or_else(|_| {
            let advice = match nearest(&name.value, TZ_VARIANTS.iter().map(|zone| zone.name())) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => "use a name of the IANA database, as \"Europe/Berlin\"".to_owned(),
            };
            findings
                .add(&name.span, format!("unknown time zone \"{}\"; {advice}", name.value.escape_debug()));
            Tz::UTC
        }),
    };
    let mut taken: Vec<String> = Vec::new();
    let mut field = |typed: Option<At<String>>, default: &str| {
        let Some(name) = typed else {
            taken.push(default.to_owned());
            return default.to_owned();
        };
        if !add_wrong(&name, wrong_free_name(&name.value), findings) && taken.contains(&name.value) {
            findings.add(
                &name.span,
                format!("`{}` is already the name of another field", name.value.escape_debug()),
            );
        }
        taken.push(name.value.clone());
        name.value
    };
    Fields {
        sensor: field(typed.sensor, "sensor_id"),
        time: field(typed.time, "timestamp"),
        zone: field(typed.zone, "zone"),
        time_zone,
    }
}

fn used_time(typed: &TypedTime, findings: &mut Findings) -> TimeSettings {
    let or = |at: &Option<At<i64>>, default_us: i64| at.as_ref().map_or(default_us, |at| at.value);
    let out_of_orderness_us = or(&typed.out_of_orderness_us, 5 * SECOND_US);
    let allowed_lateness_us = or(&typed.allowed_lateness_us, 60 * SECOND_US);
    let trust_us = out_of_orderness_us + allowed_lateness_us;
    let time = TimeSettings {
        out_of_orderness_us,
        allowed_lateness_us,
        idle_after_us: or(&typed.idle_after_us, 10 * SECOND_US),
        // The default gives way to smaller limits; a value that was typed is held against them.
        future_max_us: or(&typed.future_max_us, trust_us.min(60 * SECOND_US)),
        max_age_us: or(&typed.max_age_us, 366 * DAY_US),
    };
    for (at, key) in [(&typed.idle_after_us, "idle_after"), (&typed.max_age_us, "max_age")] {
        if let Some(at) = at.as_ref().filter(|at| at.value == 0) {
            findings.add(&at.span, format!("`{key}` in [time] must be longer than 0"));
        }
    }
    if let Some(future_max) = typed.future_max_us.as_ref().filter(|future_max| future_max.value > trust_us) {
        findings.add(
            &future_max.span,
            format!(
                "`future_max` ({}) must not be above `out_of_orderness` + `allowed_lateness` ({}), or one wrong clock \
                 could make honest readings late",
                shown_us(future_max.value),
                shown_us(trust_us),
            ),
        );
    }
    time
}

pub(super) fn shown_us(duration_us: i64) -> String {
    match duration_us {
        whole if whole % SECOND_US == 0 => format!("{}s", whole / SECOND_US),
        part => format!("{}ms", part / 1_000),
    }
}

fn used_metrics(
    typed: &[TypedMetric],
    fields: &Fields,
    factors: &[Factor],
    findings: &mut Findings,
) -> Vec<Metric> {
    add_duplicates(typed.iter().filter_map(|metric| metric.name.as_ref()), "metric", findings);
    if let Some(name) = typed.get(METRICS_MAX).and_then(|metric| metric.name.as_ref()) {
        findings.add(&name.span, format!("there can be at most {METRICS_MAX} metrics"));
    }
    typed.iter().map(|metric| used_metric(metric, fields, factors, findings)).collect()
}

fn used_metric(typed: &TypedMetric, fields: &Fields, factors: &[Factor], findings: &mut Findings) -> Metric {
    if let Some(name) = &typed.name
        && !add_wrong(name, wrong_metric_name(&name.value), findings)
        && [&fields.sensor, &fields.time, &fields.zone].contains(&&name.value)
    {
        findings.add(
            &name.span,
            format!("`{}` is already the JSON name of another field, see [fields]", name.value),
        );
    }
    let usual = typed.usual.as_ref().map_or((0.0, 100.0), |usual| usual.value);
    if let Some(at) = typed.usual.as_ref().filter(|_| usual.0 >= usual.1) {
        findings.add(&at.span, "`usual` must go from the lower to the higher value");
    }
    if let (Some(below), Some(above)) = (&typed.below, &typed.above)
        && below.value >= above.value
    {
        findings.add(&above.span, "`above` must be greater than `below`, or every value would be anomalous");
    }
    let (below, above) = (typed.below.as_ref().map(|at| at.value), typed.above.as_ref().map(|at| at.value));
    if let Some(show) = typed.show.as_ref().filter(|show| show.value.matches("{}").count() != 1) {
        findings.add(&show.span, "`show` must hold `{}` once, where the value goes, as \"AQI {}\"");
    }
    Metric {
        name: typed.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        unit: typed.unit.as_ref().map(|unit| unit.value.clone()).unwrap_or_default(),
        decimals: typed.decimals.as_ref().map_or(1, |decimals| decimals.value as u8),
        usual,
        below,
        above,
        show: typed.show.as_ref().map(|show| show.value.clone()),
        pattern: used_pattern(
            &typed.pattern,
            &default_pattern(normal_band(usual, below, above)),
            factors,
            findings,
        ),
    }
}

/// The part of the usual range that trips no rule; all of it where the rules leave nothing.
fn normal_band(usual: (f64, f64), below: Option<f64>, above: Option<f64>) -> (f64, f64) {
    let band = (
        below.map_or(usual.0, |below| below.max(usual.0)),
        above.map_or(usual.1, |above| above.min(usual.1)),
    );
    if band.0 < band.1 { band } else { usual }
}

fn used_zones(
    typed: Vec<TypedZone>,
    metrics: &[Metric],
    factors: &[Factor],
    findings: &mut Findings,
) -> Vec<Zone> {
    add_duplicates(typed.iter().filter_map(|zone| zone.name.as_ref()), "zone", findings);
    let mut zones = Vec::new();
    for zone in typed {
        if let Some(name) = &zone.name {
            add_wrong(name, wrong_free_name(&name.value), findings);
        }
        let mut character = vec![1.0; metrics.len()];
        for (name, factor) in zone.character {
            if let Some(index) = known_metric(&name, "character", metrics, findings) {
                character[index] = factor.value;
            }
            if !(factor.value > 0.0 && factor.value <= CHARACTER_MAX) {
                findings.add(
                    &factor.span,
                    format!("a factor in `character` must be above 0 and at most {CHARACTER_MAX}"),
                );
            }
        }
        let mut patterns = Vec::new();
        for (name, typed) in zone.patterns {
            if let Some(index) = known_metric(&name, "patterns", metrics, findings) {
                let base = &metrics[index].pattern;
                patterns.push((index, used_pattern(&typed, base, factors, findings)));
            }
        }
        let name = zone.name.map(|name| name.value).unwrap_or_default();
        zones.push(Zone { name, map: zone.map.map(|map| map.value), character, patterns });
    }
    zones
}

/// A zone keeps its whole character in a domain with fewer metrics; only what looks like a slip of the pen is a
/// mistake.
fn known_metric(name: &At<String>, key: &str, metrics: &[Metric], findings: &mut Findings) -> Option<usize> {
    let index = metrics.iter().position(|metric| metric.name == name.value);
    if index.is_none()
        && let Some(known) = nearest(&name.value, metrics.iter().map(|metric| metric.name.as_str()))
    {
        let typed = name.value.escape_debug();
        findings
            .add(&name.span, format!("`{key}` names the unknown metric `{typed}`; did you mean `{known}`?"));
    }
    index
}

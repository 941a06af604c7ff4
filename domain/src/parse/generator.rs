//! Parses `[generator]`: factors, the weights of the kinds of anomalies, and the effect of a zone event.

use std::collections::HashSet;

use super::names::{taken, wrong_free_name};
use super::section::Section;
use crate::{Factor, GeneratorSettings, HOUR_US, Kind, Metric, Scope};

/// Maximum number of factors: each costs time per reading.
const FACTORS_MAX: usize = 64;

/// Parses the factors, to which patterns refer.
pub(super) fn read_factors(generator: &Section<'_>) -> Vec<Factor> {
    let tables = generator.tables("factors", "[[generator.factors]]").or_default();
    if let Some(factor) = tables.get(FACTORS_MAX) {
        generator.findings.add(factor.span.clone(), format!("there can be at most {FACTORS_MAX} factors"));
    }
    let mut names = HashSet::new();
    tables.iter().map(|factor| read_factor(factor, &mut names)).collect()
}

fn read_factor(factor: &Section<'_>, names: &mut HashSet<String>) -> Factor {
    let name = factor
        .required_text("name")
        .refuse_if(|name| wrong_free_name(name))
        .refuse_if(|name| taken(names, "factor", name));
    let scope = |shared_by: &str| match shared_by {
        "city" => Some(Scope::City),
        "zone" => Some(Scope::Zone),
        "sensor" => Some(Scope::Sensor),
        _ => None,
    };
    let shared_by = factor.required_text("shared_by").refuse_if(|by| {
        let by_whom = || {
            format!(
                "a factor is shared by \"city\", \"zone\" or \"sensor\", not by \"{}\"",
                by.escape_debug()
            )
        };
        scope(by).is_none().then(by_whom)
    });
    let memory = factor.duration_us("memory").check(|us| *us > 0, "must be longer than 0");
    Factor {
        name: name.or_default(),
        shared_by: shared_by.option().and_then(|by| scope(&by)).unwrap_or(Scope::Sensor),
        memory_us: memory.or(HOUR_US),
    }
}

/// Parses the section except its factors, which have been parsed already.
pub(super) fn read_generator(
    generator: &Section<'_>,
    factors: Vec<Factor>,
    metrics: &[Metric],
) -> GeneratorSettings {
    let anomalies = read_parts(&generator.table("anomalies", "[generator.anomalies]"));
    let event = generator.table("zone_event", "[generator.zone_event]");
    let mut zone_event = Vec::new();
    for name in event.keys() {
        let known = metrics.iter().map(|metric| metric.name.as_str());
        let otherwise = Some("it must be one of [[metrics]]");
        let index =
            event.findings.index_of(name, known, "`zone_event` names the unknown metric", '`', otherwise);
        zone_event.extend(index.zip(event.number(name.get_ref()).option()));
    }
    GeneratorSettings { factors, anomalies, zone_event }
}

/// Parses the weights of the kinds of anomalies; a kind that is not listed has weight 0.
fn read_parts(anomalies: &Section<'_>) -> [f64; 8] {
    if !anomalies.is_present() {
        return GeneratorSettings::default().anomalies;
    }
    let parts = Kind::ALL
        .map(|kind| anomalies.number(kind.name()).check(|part| *part >= 0.0, "cannot be negative").or(0.0));
    if !parts.iter().any(|part| *part > 0.0) {
        let sentence =
            "at least one kind of anomaly needs a part above 0; for no anomalies set their share to 0";
        anomalies.findings.add(anomalies.span.clone(), sentence);
    }
    parts
}

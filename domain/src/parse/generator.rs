//! `[generator]`: hidden causes, the parts of the kinds of anomalies, and what a zone's event does.

use super::names::wrong_free_name;
use super::nearest::nearest;
use super::reader::{At, Findings, Section};
use super::used::{add_duplicates, add_wrong};
use crate::{Factor, GeneratorSettings, Kind, Metric, Scope};

const GENERATOR_KEYS: &[&str] = &["factors", "anomalies", "zone_event"];
const FACTOR_KEYS: &[&str] = &["name", "shared_by", "memory"];
/// Most factors: each costs a reading time.
const FACTORS_MAX: usize = 64;
/// How long a factor remembers where the file says nothing.
const MEMORY_US: i64 = 3_600 * 1_000_000;

/// What was typed of `[generator]`.
#[derive(Default)]
pub(super) struct TypedGenerator {
    factors: Vec<TypedFactor>,
    anomalies: Option<TypedParts>,
    zone_event: Vec<(At<String>, At<f64>)>,
}

struct TypedFactor {
    name: Option<At<String>>,
    shared_by: Option<At<String>>,
    memory_us: Option<At<i64>>,
}

struct TypedParts {
    span: std::ops::Range<usize>,
    parts: [Option<At<f64>>; 8],
}

/// Reads the section, where there is one.
pub(super) fn read_generator(file: &Section<'_>, findings: &mut Findings) -> TypedGenerator {
    let Some(generator) = file.table("generator", "[generator]", GENERATOR_KEYS, findings) else {
        return TypedGenerator::default();
    };
    let factors = generator.tables("factors", "[[generator.factors]]", FACTOR_KEYS, findings);
    let names = Kind::ALL.map(Kind::name);
    let anomalies = generator.table("anomalies", "[generator.anomalies]", &names, findings);
    let mut zone_event = Vec::new();
    if let Some(event) = generator.open_table("zone_event", "[generator.zone_event]", findings) {
        for (metric, value) in event.entries() {
            if let Some(rise) = event.number_of(&metric.value, value, findings) {
                zone_event.push((metric, rise));
            }
        }
    }
    TypedGenerator {
        factors: factors
            .map_or(Vec::new(), |factors| factors.value)
            .iter()
            .map(|factor| TypedFactor {
                name: factor.required_text("name", findings),
                shared_by: factor.required_text("shared_by", findings),
                memory_us: factor.duration_us("memory", false, findings),
            })
            .collect(),
        anomalies: anomalies.map(|parts| TypedParts {
            span: parts.span.clone(),
            parts: names.map(|name| parts.number(name, findings)),
        }),
        zone_event,
    }
}

impl TypedGenerator {
    /// The factors: patterns name them.
    pub(super) fn used_factors(&self, findings: &mut Findings) -> Vec<Factor> {
        add_duplicates(self.factors.iter().filter_map(|factor| factor.name.as_ref()), "factor", findings);
        if let Some(name) = self.factors.get(FACTORS_MAX).and_then(|factor| factor.name.as_ref()) {
            findings.add(&name.span, format!("there can be at most {FACTORS_MAX} factors"));
        }
        let factor = |typed: &TypedFactor| {
            if let Some(name) = &typed.name {
                add_wrong(name, wrong_free_name(&name.value), findings);
            }
            if let Some(memory) = typed.memory_us.as_ref().filter(|memory| memory.value == 0) {
                findings.add(&memory.span, "`memory` of a factor must be longer than 0");
            }
            let shared_by = match typed.shared_by.as_ref().map(|shared_by| shared_by.value.as_str()) {
                Some("city") => Scope::City,
                Some("zone") => Scope::Zone,
                Some("sensor") | None => Scope::Sensor,
                Some(other) => {
                    let sentence = format!(
                        "a factor is shared by \"city\", \"zone\" or \"sensor\", not by \"{}\"",
                        other.escape_debug()
                    );
                    findings.add(&typed.shared_by.as_ref().map_or(0..0, |at| at.span.clone()), sentence);
                    Scope::Sensor
                }
            };
            Factor {
                name: typed.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
                shared_by,
                memory_us: typed.memory_us.as_ref().map_or(MEMORY_US, |memory| memory.value),
            }
        };
        self.factors.iter().map(factor).collect()
    }

    /// Everything, once the metrics are known.
    pub(super) fn used(
        &self,
        factors: Vec<Factor>,
        metrics: &[Metric],
        findings: &mut Findings,
    ) -> GeneratorSettings {
        let mut zone_event = Vec::new();
        for (name, rise) in &self.zone_event {
            match metrics.iter().position(|metric| metric.name == name.value) {
                Some(index) => zone_event.push((index, rise.value)),
                None => {
                    let advice = match nearest(&name.value, metrics.iter().map(|metric| metric.name.as_str()))
                    {
                        Some(known) => format!("did you mean `{known}`?"),
                        None => "it must be one of [[metrics]]".to_owned(),
                    };
                    let typed = name.value.escape_debug();
                    findings.add(
                        &name.span,
                        format!("`zone_event` names the unknown metric `{typed}`; {advice}"),
                    );
                }
            }
        }
        GeneratorSettings { factors, anomalies: self.used_parts(findings), zone_event }
    }

    /// What is listed counts; what is not listed does not happen.
    fn used_parts(&self, findings: &mut Findings) -> [f64; 8] {
        let Some(typed) = &self.anomalies else { return GeneratorSettings::default().anomalies };
        for at in typed.parts.iter().flatten().filter(|at| at.value < 0.0) {
            findings.add(&at.span, "a part of the anomalies cannot be negative");
        }
        let parts = typed.parts.each_ref().map(|at| at.as_ref().map_or(0.0, |at| at.value));
        if !parts.iter().any(|part| *part > 0.0) {
            findings.add(
                &typed.span,
                "at least one kind of anomaly needs a part above 0; ask for a share of 0 to have none",
            );
        }
        parts
    }
}

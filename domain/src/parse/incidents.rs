//! Parses `[incidents]`, and `incidents` of a metric: when anomalies become incidents.

use super::domain::shown_us;
use super::section::Section;
use crate::{DAY_US, IncidentRule, IncidentSettings, SECOND_US};

/// The upper limit of the numbers of readings and sensors that an incident requires.
const LEAST_MAX: i64 = 1_000_000;
/// Shortest time until an incident is cleared.
const CLEAR_FOR_MIN_US: i64 = 10 * SECOND_US;

pub(super) fn read_incidents(incidents: &Section<'_>) -> IncidentSettings {
    IncidentSettings {
        rule: read_rule(incidents, IncidentRule::default()),
        shelve_max_us: incidents
            .duration_us("shelve_max")
            .check(|us| *us > 0, "must be longer than 0")
            .or(DAY_US),
    }
}

/// Parses a rule; keys that the section does not have are taken from `default`.
pub(super) fn read_rule(section: &Section<'_>, default: IncidentRule) -> IncidentRule {
    let least = |key, default: u64| section.integer(key, 1..=LEAST_MAX).or(default as i64) as u64;
    let clear_for = section.duration_us("clear_for").refuse_if(|us| {
        let least = shown_us(CLEAR_FOR_MIN_US);
        (*us < CLEAR_FOR_MIN_US).then(|| format!("`clear_for` ({}) must be {least} or longer", shown_us(*us)))
    });
    IncidentRule {
        for_us: section.duration_us("for").or(default.for_us),
        min_readings: least("min_readings", default.min_readings),
        min_sensors: least("min_sensors", default.min_sensors),
        clear_for_us: clear_for.or(default.clear_for_us),
        reopen_within_us: section.duration_us("reopen_within").or(default.reopen_within_us),
        step_down_for_us: section.duration_us("step_down_for").or(default.step_down_for_us),
    }
}

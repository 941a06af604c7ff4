//! From the occurrences of a subject to its incidents, as of now.

use citytide_domain::IncidentRule;

use super::{Condition, Incident, Occurrence, Subject};

/// Whether an occurrence is long and large enough.
fn opens(occurrence: &Occurrence, rule: &IncidentRule) -> bool {
    occurrence.readings >= rule.min_readings
        && occurrence.sensors.len() as u64 >= rule.min_sensors
        && occurrence.last_anomaly_us() - occurrence.begins_us >= rule.for_us
}

/// Runs of occurrences, in the order of time, that make up one incident each; one that does not open stands alone.
pub(super) fn chains<'a>(
    occurrences: impl Iterator<Item = &'a Occurrence>,
    rule: &IncidentRule,
) -> Vec<(bool, Vec<&'a Occurrence>)> {
    let reach_us = rule.clear_for_us + rule.reopen_within_us;
    let mut chains: Vec<(bool, Vec<&Occurrence>)> = Vec::new();
    for occurrence in occurrences {
        if !opens(occurrence, rule) {
            chains.push((false, vec![occurrence]));
            continue;
        }
        let last = chains.iter_mut().rev().find(|(is_open, _)| *is_open);
        match last {
            Some((_, chain))
                if occurrence.begins_us - chain.last().expect("a chain has one").last_us <= reach_us =>
            {
                chain.push(occurrence);
            }
            _ => chains.push((true, vec![occurrence])),
        }
    }
    chains
}

/// The incidents of a subject as of `now_us`; `revision` is 0. `occurrences` are all that lie near each other.
pub(super) fn incidents<'a>(
    subject: &Subject,
    occurrences: impl Iterator<Item = &'a Occurrence>,
    rule: &IncidentRule,
    now_us: i64,
) -> Vec<Incident> {
    let reach_us = rule.clear_for_us + rule.reopen_within_us;
    let mut incidents: Vec<Incident> = Vec::new();
    for (is_open, chain) in chains(occurrences, rule) {
        let last = chain.last().expect("a chain has one");
        if !last.has_begun() {
            continue;
        }
        let cleared_us = last.last_us + rule.clear_for_us;
        let is_over = now_us >= cleared_us;
        let condition = match (is_open, is_over) {
            (true, true) => Condition::Cleared,
            (true, false) => Condition::Open,
            (false, false) => Condition::Pending,
            (false, true) => continue,
        };
        // What may open an incident again is shown once it does.
        let is_near = |before: &Incident| last.begins_us - before.last_us <= reach_us;
        if condition == Condition::Pending && incidents.iter().any(is_near) {
            continue;
        }
        incidents.push(incident(subject, &chain, rule, condition, is_over.then_some(cleared_us)));
    }
    incidents
}

fn incident(
    subject: &Subject,
    chain: &[&Occurrence],
    rule: &IncidentRule,
    condition: Condition,
    cleared_us: Option<i64>,
) -> Incident {
    let (first, last) = (chain[0], chain[chain.len() - 1]);
    let mut all = (*first).clone();
    chain[1..].iter().for_each(|occurrence| all.merge((*occurrence).clone()));
    let severity_peak = all.severity_since(i64::MIN).expect("an anomaly has a severity");
    Incident {
        id: subject.incident_id(first.begins_us),
        subject: subject.clone(),
        condition,
        superseded_by: None,
        severity: all
            .severity_since(last.last_anomaly_us() - rule.step_down_for_us)
            .expect("the last anomaly has a severity"),
        severity_peak,
        opened_us: first.begins_us,
        last_us: last.last_us,
        cleared_us,
        revision: 0,
        readings: all.readings,
        sensors: all.sensors.len() as u64,
        occurrences: chain.len() as u64,
        peak: all.peak,
    }
}

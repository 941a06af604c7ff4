//! Converts between the core's types and rows in the order of the tables' columns.

use std::sync::Arc;

use citytide_core::NEVER;
use citytide_core::batch::Severity;
use citytide_core::incidents::{Condition, Incident, Kind, Occurrence, Peak, Subject, Transition};
use serde_json::json;

use crate::row::{Row, Value};

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn float(value: Option<f64>) -> Value {
    value.map(|value| Value::Float(value.to_bits())).into()
}

fn time(at_us: Option<i64>) -> Value {
    at_us.filter(|at_us| *at_us != NEVER).map(Value::Time).into()
}

fn subject(subject: &Subject) -> [Value; 3] {
    [text(subject.kind.as_str()), Value::from(&subject.metric), Value::from(&subject.sensor)]
}

fn peak(peak: &Peak) -> [Value; 10] {
    [
        float(Some(peak.magnitude)),
        Value::Time(peak.at_us),
        Value::from(&peak.sensor),
        Value::from(&peak.metric),
        float(peak.value),
        float(peak.typical),
        float(peak.spread),
        Value::from(&peak.unit),
        Value::from(&peak.text),
        Value::Integer(peak.model_version.into()),
    ]
}

/// A row of `incident_occurrences`.
pub fn occurrence_row(of: &Subject, one: &Occurrence) -> Row {
    let mut row = vec![Value::from(&of.zone)];
    row.extend(subject(of));
    row.extend([Value::Time(one.first_us), Value::Time(one.last_us), Value::Integer(one.readings as i64)]);
    row.extend(one.seen_us.map(|seen_us| time(Some(seen_us))));
    row.push(text(&json!(one.sensors).to_string()));
    row.extend(peak(&one.peak));
    row.push(time(Some(one.begins_us).filter(|begins_us| one.has_begun() && *begins_us != one.first_us)));
    row
}

/// A row of `incident_states`.
pub fn state_row(one: &Incident) -> Row {
    let mut row = vec![Value::from(&one.subject.zone), Value::from(&one.id)];
    row.extend(subject(&one.subject));
    row.extend([
        text(one.condition.as_str()),
        one.superseded_by.as_ref().map(Value::from).into(),
        text(one.severity.as_str()),
        text(one.severity_peak.as_str()),
        Value::Time(one.opened_us),
        Value::Time(one.last_us),
        time(one.cleared_us),
    ]);
    let counts = [one.revision, one.readings as i64, one.sensors as i64, one.occurrences as i64];
    row.extend(counts.map(Value::Integer));
    row.extend(peak(&one.peak));
    row
}

/// A row of `incident_transitions`.
pub fn transition_row(one: &Transition) -> Row {
    let incident = &one.incident;
    let evidence = json!({
        "severity": incident.severity.as_str(),
        "readings": incident.readings,
        "sensors": incident.sensors,
        "metric": incident.peak.metric,
        "value": incident.peak.value,
        "reason": incident.peak.text,
        "superseded_by": incident.superseded_by,
    });
    let condition = |condition: Option<Condition>| Value::from(condition.map(|one| text(one.as_str())));
    vec![
        Value::from(&incident.subject.zone),
        Value::from(&incident.id),
        Value::Integer(incident.revision),
        Value::Time(one.at_us),
        condition(one.from),
        condition(one.to),
        text(one.cause.as_str()),
        text(&evidence.to_string()),
    ]
}

/// Reads the values of a row in order.
struct Values<'a>(std::slice::Iter<'a, Value>);

impl Values<'_> {
    fn text(&mut self) -> Option<Arc<str>> {
        match self.0.next() {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn integer(&mut self) -> Option<i64> {
        match self.0.next() {
            Some(Value::Integer(value)) => Some(*value),
            _ => None,
        }
    }

    fn float(&mut self) -> Option<f64> {
        match self.0.next() {
            Some(Value::Float(bits)) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }

    fn time(&mut self) -> Option<i64> {
        match self.0.next() {
            Some(Value::Time(at_us)) => Some(*at_us),
            _ => None,
        }
    }

    fn subject(&mut self, zone: Arc<str>) -> Option<Subject> {
        let kind = Kind::named(&self.text()?)?;
        Some(Subject { zone, kind, metric: self.text()?, sensor: self.text()? })
    }

    fn severity(&mut self) -> Option<Severity> {
        Severity::named(&self.text()?)
    }

    fn peak(&mut self) -> Option<Peak> {
        Some(Peak {
            magnitude: self.float()?,
            at_us: self.time()?,
            sensor: self.text()?,
            metric: self.text()?,
            value: self.float(),
            typical: self.float(),
            spread: self.float(),
            unit: self.text()?,
            text: self.text()?,
            model_version: self.integer()? as i32,
        })
    }
}

/// Decodes a row of `incident_occurrences`; `None` when this program cannot have written it.
pub(super) fn occurrence_of(row: &Row) -> Option<(Subject, Occurrence)> {
    let mut values = Values(row.iter());
    let zone = values.text()?;
    let subject = values.subject(zone)?;
    let mut occurrence = Occurrence {
        first_us: values.time()?,
        last_us: values.time()?,
        begins_us: i64::MAX,
        readings: values.integer()? as u64,
        seen_us: [(); 3].map(|()| values.time().unwrap_or(NEVER)),
        sensors: serde_json::from_str(&values.text()?).ok()?,
        peak: values.peak()?,
    };
    let begins_us = values.time();
    if occurrence.has_begun() {
        occurrence.begins_us = begins_us.unwrap_or(occurrence.first_us);
    }
    Some((subject, occurrence))
}

/// Decodes a row of `incident_states`; `None` when this program cannot have written it.
pub(super) fn incident_of(row: &Row) -> Option<Incident> {
    let mut values = Values(row.iter());
    let (zone, id) = (values.text()?, values.text()?);
    Some(Incident {
        subject: values.subject(zone)?,
        id,
        condition: Condition::named(&values.text()?)?,
        superseded_by: values.text(),
        severity: values.severity()?,
        severity_peak: values.severity()?,
        opened_us: values.time()?,
        last_us: values.time()?,
        cleared_us: values.time(),
        revision: values.integer()?,
        readings: values.integer()? as u64,
        sensors: values.integer()? as u64,
        occurrences: values.integer()? as u64,
        peak: values.peak()?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tables::{occurrences, states, transitions};
    use super::*;
    use citytide_core::incidents::Cause;
    use citytide_domain::Domain;

    #[test]
    fn rows_have_the_columns_of_their_tables_and_come_back() {
        let domain = Domain::smart_city();
        let subject =
            Subject { zone: "Downtown".into(), kind: Kind::Rule, metric: "aqi".into(), sensor: "".into() };
        let peak = Peak {
            magnitude: 18.0,
            at_us: 5,
            sensor: "42".into(),
            metric: "aqi".into(),
            value: Some(318.0),
            typical: None,
            spread: None,
            unit: "AQI".into(),
            text: "aqi 318 AQI, above the bound of 300".into(),
            model_version: 3,
        };
        let mut one = Occurrence::of(Severity::High, peak.clone());
        one.merge(Occurrence::of(Severity::Low, Peak { sensor: "7 \"x\"".into(), at_us: 9, ..peak.clone() }));
        assert_eq!(one.sensors.len(), 2);
        let row = occurrence_row(&subject, &one);
        assert_eq!(row.len(), occurrences(&domain).columns.len());
        assert_eq!(occurrence_of(&row), Some((subject.clone(), one.clone())));
        let mut lingers = Occurrence::lingering(&subject.metric, 2, 3);
        for _ in 0..2 {
            let row = occurrence_row(&subject, &lingers);
            assert_eq!(occurrence_of(&row), Some((subject.clone(), lingers.clone())));
            lingers.merge(one.clone());
        }
        let incident = Incident {
            id: subject.incident_id(5),
            subject,
            condition: Condition::Open,
            superseded_by: None,
            severity: Severity::Medium,
            severity_peak: Severity::High,
            opened_us: 5,
            last_us: 9,
            cleared_us: None,
            revision: 2,
            readings: 2,
            sensors: 2,
            occurrences: 1,
            peak,
        };
        let row = state_row(&incident);
        assert_eq!(row.len(), states(&domain).columns.len());
        assert_eq!(incident_of(&row), Some(incident.clone()));
        let transition =
            Transition { incident, from: None, to: Some(Condition::Open), cause: Cause::LateData, at_us: 10 };
        let row = transition_row(&transition);
        assert_eq!(row.len(), transitions(&domain).columns.len());
        assert!(matches!(&row[7], Value::Text(json) if json.contains(r#""value":318.0"#)), "{row:?}");
        assert_eq!(occurrence_of(&row), None);
        let names: BTreeSet<String> = states(&domain).columns.into_iter().map(|column| column.name).collect();
        assert_eq!(names.len(), states(&domain).columns.len(), "no column twice");
    }
}

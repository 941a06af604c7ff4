//! Changes of incidents as lines of at most 80 columns, or as JSON objects.
//!
//! The log says what changed; which sensor it is about is in the state, whose rows come before those of the log in the same
//! step.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_store::follow::Followed;
use citytide_store::row::{Row, Value};
use serde_json::json;

use super::print::{TIME, clock, fitted};
use crate::cli::models::print::rfc3339;

const STATES: &str = "incident_states";
const TRANSITIONS: &str = "incident_transitions";
/// The tables that are followed.
pub const TABLES: [&str; 2] = [STATES, TRANSITIONS];
/// Characters of an identity.
const SHORT: usize = 8;

/// Prints pages of the log.
pub struct Changes {
    zones: Vec<String>,
    sensors: Vec<String>,
    json: bool,
    /// Of this step, the sensors that incidents are about; '' where a zone's metric is the subject.
    subjects: BTreeMap<Arc<str>, Arc<str>>,
}

/// A row by the names of its columns.
struct Named<'a> {
    table: &'a Followed,
    row: &'a Row,
}

impl Named<'_> {
    fn value(&self, name: &str) -> Option<&Value> {
        let place = self.table.columns.iter().position(|column| column == name)?;
        self.row.get(place)
    }

    fn text(&self, name: &str) -> Option<&Arc<str>> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn integer(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Integer(value)) => *value,
            _ => 0,
        }
    }

    fn time(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Time(at_us) => Some(*at_us),
            _ => None,
        }
    }
}

impl Changes {
    pub fn new(zones: &[String], sensors: &[String], json: bool) -> Changes {
        Changes { zones: zones.to_vec(), sensors: sensors.to_vec(), json, subjects: BTreeMap::new() }
    }

    /// The text for a page, and the number of its changes. A page of states has none.
    pub fn rows(&mut self, table: &Followed, rows: &[Row]) -> (String, u64) {
        let named = rows.iter().map(|row| Named { table, row });
        if table.name == STATES {
            let subject =
                |row: Named<'_>| Some((row.text("incident_id")?.clone(), row.text("sensor_id")?.clone()));
            self.subjects.extend(named.filter_map(subject));
            return (String::new(), 0);
        }
        let mut wanted: Vec<Named<'_>> = named.filter(|row| self.is_wanted(row)).collect();
        wanted.sort_by_key(|row| {
            (row.integer("epoch"), row.text("incident_id").cloned(), row.integer("revision"))
        });
        let text = wanted.iter().map(|row| if self.json { self.object(row) } else { self.lines(row) });
        (text.collect(), wanted.len() as u64)
    }

    /// The step is over: what comes next brings the states that it is about.
    pub fn end_step(&mut self) {
        self.subjects.clear();
    }

    fn sensor(&self, row: &Named<'_>) -> Option<&Arc<str>> {
        self.subjects.get(row.text("incident_id")?).filter(|sensor| !sensor.is_empty())
    }

    fn is_wanted(&self, row: &Named<'_>) -> bool {
        let named = |list: &[String], name: Option<&Arc<str>>| {
            list.is_empty() || name.is_some_and(|name| list.iter().any(|one| **one == **name))
        };
        named(&self.zones, row.text("zone")) && named(&self.sensors, self.sensor(row))
    }

    fn lines(&self, row: &Named<'_>) -> String {
        let at = row.time("event_at").map_or_else(|| clock(i64::MAX), clock);
        let id: String = row.text("incident_id").map_or("", |id| id).chars().take(SHORT).collect();
        let zone = row.text("zone").map_or("", |zone| zone);
        let place = match self.sensor(row) {
            Some(sensor) => format!("#{sensor} {zone}"),
            None => zone.to_owned(),
        };
        let (from, to) = (row.text("from_condition"), row.text("to_condition"));
        let to = to.map_or("gone", |to| to);
        let evidence = evidence(row);
        let of = |name: &str| evidence.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        let cause = match row.text("cause").map_or("", |cause| cause) {
            "condition" => String::new(),
            other => format!(" · {}", other.replace('_', " ")),
        };
        let is_end = matches!(to, "cleared" | "withdrawn" | "superseded" | "gone");
        let mark = match to {
            "open" => '▲',
            _ if is_end => '▼',
            _ => '·',
        };
        let again = if from.is_some_and(|from| &**from == "cleared") && to == "open" { " again" } else { "" };
        let mut text = fitted(&format!("{at} {mark} {id} {place} · {to}{again} · {}{cause}", of("severity")));
        if !is_end {
            let count = |name: &str| evidence.get(name).and_then(serde_json::Value::as_i64).unwrap_or(0);
            let counted =
                |count: i64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
            let (readings, sensors) =
                (counted(count("readings"), "reading"), counted(count("sensors"), "sensor"));
            text += &fitted(&format!("{:TIME$}{}; {readings}, {sensors}", "", of("reason")));
        }
        text
    }

    fn object(&self, row: &Named<'_>) -> String {
        let object = json!({
            "kind": "incident",
            "epoch": row.integer("epoch"),
            "incident_id": row.text("incident_id"),
            "revision": row.integer("revision"),
            "zone": row.text("zone"),
            "sensor": self.sensor(row),
            "event_at": row.time("event_at").and_then(rfc3339),
            "from_condition": row.text("from_condition"),
            "to_condition": row.text("to_condition"),
            "cause": row.text("cause"),
            "evidence": evidence(row),
        });
        format!("{object}\n")
    }
}

fn evidence(row: &Named<'_>) -> serde_json::Value {
    row.text("evidence").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, columns: &[&str]) -> Followed {
        Followed::of_columns(name, columns)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn transition(
        zone: &str,
        id: &str,
        revision: i64,
        from: Option<&str>,
        to: Option<&str>,
        cause: &str,
    ) -> Row {
        let evidence = r#"{"severity":"high","readings":32,"sensors":1,"reason":"aqi 318 AQI,\nabove the bound of 300"}"#;
        let condition = |condition: Option<&str>| Value::from(condition.map(text));
        vec![
            text(zone),
            text(id),
            Value::Integer(revision),
            Value::Time(1_795_262_470_000_000),
            condition(from),
            condition(to),
            text(cause),
            text(evidence),
            Value::Integer(1_795_262_470_050),
        ]
    }

    const LOG: [&str; 9] = [
        "zone",
        "incident_id",
        "revision",
        "event_at",
        "from_condition",
        "to_condition",
        "cause",
        "evidence",
        "epoch",
    ];

    #[test]
    fn a_change_is_told_in_eighty_columns_with_the_sensor_that_it_is_about() {
        let mut changes = Changes::new(&[], &[], false);
        let states = table(STATES, &["zone", "incident_id", "sensor_id"]);
        let about = [
            vec![text("Old Town"), text("aaaaaaaaaa"), text("35")],
            vec![text("Old Town"), text("b"), text("")],
        ];
        assert_eq!(changes.rows(&states, &about), (String::new(), 0));
        let log = [
            transition("Old Town", "b", 3, Some("cleared"), Some("open"), "condition"),
            transition("Old Town", "aaaaaaaaaa", 2, Some("open"), Some("cleared"), "late_data"),
            transition(&"long ".repeat(30), "c", 1, None, Some("pending"), "condition"),
        ];
        let (told, count) = changes.rows(&table(TRANSITIONS, &LOG), &log);
        assert_eq!(count, 3);
        assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], "12:01:10 ▼ aaaaaaaa #35 Old Town · cleared · high · late data");
        assert_eq!(lines[1], "12:01:10 ▲ b Old Town · open again · high");
        assert_eq!(lines[2], "         aqi 318 AQI,\\nabove the bound of 300; 32 readings, 1 sensor");
        assert!(lines[3].starts_with("12:01:10 · c long long") && lines[3].ends_with('…'), "{}", lines[3]);
    }

    #[test]
    fn zones_and_sensors_restrict_what_is_told() {
        let log = [
            transition("Old Town", "a", 1, None, Some("open"), "condition"),
            transition("Harbour", "b", 1, None, Some("open"), "condition"),
        ];
        let table = table(TRANSITIONS, &LOG);
        let mut of_zone = Changes::new(&["Harbour".to_owned()], &[], true);
        let (told, count) = of_zone.rows(&table, &log);
        assert_eq!(count, 1);
        let object: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((object["incident_id"].as_str(), object["kind"].as_str()), (Some("b"), Some("incident")));
        assert_eq!(object["sensor"], serde_json::Value::Null);
        let mut of_sensor = Changes::new(&[], &["7".to_owned()], false);
        assert_eq!(of_sensor.rows(&table, &log).1, 0, "these are about no sensor that is known");
    }
}

//! Incidents, recomputed from the anomalies that one snapshot shows: a list per subject in the order of event time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::city::{City, SECOND};
use crate::database::Session;

/// The defaults of the domain file.
const FOR_US: i64 = 30 * SECOND;
const READINGS_MIN: usize = 5;
const CLEAR_FOR_US: i64 = 120 * SECOND;
const REOPEN_WITHIN_US: i64 = 600 * SECOND;
const STEP_DOWN_FOR_US: i64 = 300 * SECOND;
/// Event time passes in steps of ten seconds.
const STEP_US: i64 = 10 * SECOND;
const SEVERITIES: [&str; 3] = ["low", "medium", "high"];

/// One statement is one snapshot: W, the accepted anomalies, the readings beyond clear limits, the occurrences, the current
/// incidents.
fn snapshot(city: &City) -> String {
    let lingering = city.metrics.iter().filter_map(|metric| {
        let (name, clear) = (&metric.name, metric.clear?);
        Some(format!(
            "select zone, '{name}' as metric, (extract(epoch from recorded_at) * 1000000)::bigint as at from sensor_data \
             where not is_late and {name} > {clear}"
        ))
    });
    let none = "select '' as zone, '' as metric, 0 as at where false".to_owned();
    let lingering = lingering.chain([none]).collect::<Vec<_>>().join(" union all ");
    SNAPSHOT.replace("LINGERING", &lingering)
}

const SNAPSHOT: &str = "with us as (select 1000000 as us) select json_build_object( \
     'w', (select (extract(epoch from watermark) * us)::bigint from commits, us order by epoch desc limit 1), \
     'anomalies', (select json_agg(json_build_array(zone, sensor_id, (extract(epoch from recorded_at) * us)::bigint, \
         severity, reasons)) from sensor_data, us where is_anomaly and not is_late), \
     'lingering', (select json_agg(json_build_array(zone, metric, at)) from (LINGERING) as lingering), \
     'occurrences', (select json_agg(json_build_array(zone, kind, metric, sensor_id, \
         (extract(epoch from first_at) * us)::bigint, (extract(epoch from last_at) * us)::bigint, readings, sensor_ids, \
         (extract(epoch from begins_at) * us)::bigint)) from incident_occurrences, us), \
     'incidents', (select json_agg(json_build_array(zone, kind, metric, sensor_id, \
         (extract(epoch from opened_at) * us)::bigint, (extract(epoch from last_seen_at) * us)::bigint, readings, sensors, \
         occurrences, condition, severity, severity_peak, (extract(epoch from cleared_at) * us)::bigint)) \
         from incident_states, us where condition not in ('superseded', 'withdrawn')))::text";

/// Kind, zone, metric or '', sensor or ''.
type Subject = (String, String, String, String);

/// An anomaly, or a reading beyond a clear limit.
struct Anomaly {
    at_us: i64,
    sensor: String,
    /// Of an anomaly.
    severity: Option<usize>,
}

/// What a reading counts for: its broken rules where its sensor was flagged often enough, and what the model found first.
fn subjects(zone: &str, sensor: &str, reasons: &Value) -> Vec<Subject> {
    let mut found = Vec::new();
    let mut model = false;
    for reason in reasons.as_array().into_iter().flatten() {
        let text = |key: &str| reason[key].as_str().unwrap_or_default().to_owned();
        let often = reason["flagged_of_8"].as_i64().map(|flagged| flagged >= 4);
        if reason.get("rule").is_some() {
            if often != Some(false) {
                found.push(("rule".to_owned(), zone.to_owned(), text("metric"), String::new()));
            }
            continue;
        }
        if std::mem::replace(&mut model, true) {
            continue;
        }
        let of_sensor = |kind: &str| (kind.to_owned(), zone.to_owned(), String::new(), sensor.to_owned());
        match text("member").as_str() {
            "zone" => found.push(("model".to_owned(), zone.to_owned(), text("metric"), String::new())),
            _ if often != Some(true) => {}
            "stuck" => found.push(of_sensor("stuck")),
            "dropout" => found.push(of_sensor("quality")),
            _ => found.push(of_sensor("model")),
        }
    }
    found
}

/// The occurrences and incidents of a snapshot's anomalies, as lines of text.
fn expected(now_us: i64, anomalies: &Value, lingering: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut by_subject: BTreeMap<Subject, Vec<Anomaly>> = BTreeMap::new();
    for row in anomalies.as_array().into_iter().flatten() {
        let text = |at: usize| row[at].as_str().unwrap_or_default();
        let at_us = row[2].as_i64().expect("a time");
        if at_us >= now_us {
            continue;
        }
        let severity = SEVERITIES.iter().position(|word| *word == text(3)).expect("a severity");
        for subject in subjects(text(0), text(1), &row[4]) {
            let anomaly = Anomaly { at_us, sensor: text(1).to_owned(), severity: Some(severity) };
            by_subject.entry(subject).or_default().push(anomaly);
        }
    }
    for row in lingering.as_array().into_iter().flatten() {
        let text = |at: usize| row[at].as_str().unwrap_or_default().to_owned();
        let at_us = row[2].as_i64().expect("a time");
        if at_us < now_us {
            let subject = ("rule".to_owned(), text(0), text(1), String::new());
            let one = Anomaly { at_us, sensor: String::new(), severity: None };
            by_subject.entry(subject).or_default().push(one);
        }
    }
    let (mut occurrences, mut incidents) = (BTreeSet::new(), BTreeSet::new());
    for ((kind, zone, metric, sensor), mut all) in by_subject {
        all.sort_by_key(|one| one.at_us);
        let mut runs: Vec<&[Anomaly]> = Vec::new();
        let mut begin = 0;
        for at in 1..=all.len() {
            if at == all.len() || all[at].at_us - all[at - 1].at_us > CLEAR_FOR_US {
                runs.push(&all[begin..at]);
                begin = at;
            }
        }
        let sensors = |run: &[&Anomaly]| run.iter().map(|one| one.sensor.clone()).collect::<BTreeSet<_>>();
        let ends = |run: &[Anomaly]| (run[0].at_us, run[run.len() - 1].at_us);
        let mut chains: Vec<(bool, Vec<&[Anomaly]>)> = Vec::new();
        for run in runs {
            let (first, last) = ends(run);
            let of_anomalies: Vec<&Anomaly> = run.iter().filter(|one| one.severity.is_some()).collect();
            let names = sensors(&of_anomalies);
            let begins = of_anomalies.first().map(|one| one.at_us);
            let shown =
                begins.filter(|begins| *begins != first).map_or("null".to_owned(), |us| us.to_string());
            let readings = of_anomalies.len();
            occurrences.insert(format!(
                "{zone}|{kind}|{metric}|{sensor}|{first}|{last}|{readings}|{names:?}|{shown}"
            ));
            // What lies beyond the clear limit before the first anomaly is no part of an incident.
            let Some(first) = begins else { continue };
            let run = &run[run.iter().position(|one| one.severity.is_some()).expect("it begins")..];
            let lasts = of_anomalies[readings - 1].at_us - first;
            let opens = readings >= READINGS_MIN && lasts >= FOR_US;
            let before = chains.iter_mut().rev().find(|(is_open, _)| *is_open);
            let near = before.filter(|(_, chain)| {
                first - ends(chain[chain.len() - 1]).1 <= CLEAR_FOR_US + REOPEN_WITHIN_US
            });
            match (near, opens) {
                (Some((_, chain)), true) => chain.push(run),
                (Some(_), false) => {}
                (None, _) => chains.push((opens, vec![run])),
            }
        }
        for (opens, chain) in chains {
            let all: Vec<&Anomaly> = chain.iter().flat_map(|run| run.iter()).collect();
            let (first, last) = (all[0].at_us, all[all.len() - 1].at_us);
            let all: Vec<&Anomaly> = all.into_iter().filter(|one| one.severity.is_some()).collect();
            let last_anomaly = all[all.len() - 1].at_us;
            let is_over = now_us >= last + CLEAR_FOR_US;
            if !opens && is_over {
                continue;
            }
            let condition = match (opens, is_over) {
                (false, _) => "pending",
                (true, false) => "open",
                (true, true) => "cleared",
            };
            let worst = |since: i64| {
                let of = all.iter().filter(|one| one.at_us >= since).filter_map(|one| one.severity);
                SEVERITIES[of.max().expect("an anomaly")]
            };
            incidents.insert(format!(
                "{zone}|{kind}|{metric}|{sensor}|{first}|{last}|{}|{}|{}|{condition}|{}|{}|{}",
                all.len(),
                sensors(&all).len(),
                chain.len(),
                worst(last_anomaly - STEP_DOWN_FOR_US),
                worst(i64::MIN),
                if is_over { (last + CLEAR_FOR_US).to_string() } else { "null".to_owned() },
            ));
        }
    }
    (occurrences, incidents)
}

fn lines(rows: &Value) -> BTreeSet<String> {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(names) => {
            format!(
                "{:?}",
                names.iter().map(|name| name.as_str().unwrap_or_default()).collect::<BTreeSet<_>>()
            )
        }
        other => other.to_string(),
    };
    let line = |row: &Value| row.as_array().expect("a row").iter().map(shown).collect::<Vec<_>>().join("|");
    rows.as_array().into_iter().flatten().map(line).collect()
}

/// What a snapshot holds and what its anomalies make of it: rows of occurrences and of incidents, `|` between columns.
type Rows = [(&'static str, BTreeSet<String>, BTreeSet<String>); 2];

fn rows(session: &Session, city: &City) -> Result<Option<Rows>, tokio_postgres::Error> {
    let answer = session.try_query(&snapshot(city))?;
    let found: Value = serde_json::from_str(answer[0].get(0)).expect("JSON");
    let Some(low_us) = found["w"].as_i64() else { return Ok(None) };
    let (occurrences, incidents) =
        expected(low_us.div_euclid(STEP_US) * STEP_US, &found["anomalies"], &found["lingering"]);
    Ok(Some([
        ("occurrences", lines(&found["occurrences"]), occurrences),
        ("incidents", lines(&found["incidents"]), incidents),
    ]))
}

/// Makes the tables with what the anomalies of `sensor_data` say, without the product.
pub fn write_tables(session: &Session, city: &City) {
    session.batch(
        "create table incident_occurrences (zone text, kind text, metric text, sensor_id text, first_at timestamptz, \
         last_at timestamptz, readings bigint, sensor_ids jsonb, begins_at timestamptz); \
         create table incident_states (zone text, kind text, metric text, sensor_id text, opened_at timestamptz, \
         last_seen_at timestamptz, readings bigint, sensors bigint, occurrences bigint, condition text, severity text, \
         severity_peak text, cleared_at timestamptz)",
    );
    let Some([(_, _, occurrences), (_, _, incidents)]) = rows(session, city).expect("a snapshot") else {
        return;
    };
    for (table, rows) in [("incident_occurrences", occurrences), ("incident_states", incidents)] {
        for row in rows {
            let column = |(at, text): (usize, &str)| match (at, text) {
                (_, "null") => "null".to_owned(),
                (4 | 5 | 12, us) => format!("timestamptz 'epoch' + {us} * interval '1 microsecond'"),
                // A set as Rust prints it.
                (7, set) if set.starts_with('{') => format!("'[{}]'", set.trim_matches(['{', '}'])),
                (_, text) => format!("'{}'", text.replace('\'', "''")),
            };
            let columns: Vec<String> = row.split('|').enumerate().map(column).collect();
            session.batch(&format!("insert into {table} values ({})", columns.join(", ")));
        }
    }
}

/// What disagrees in one snapshot, and how many incidents it has.
///
/// # Errors
///
/// When the server fails.
pub fn look(session: &Session, city: &City) -> Result<(Vec<String>, usize), tokio_postgres::Error> {
    let Some(tables) = rows(session, city)? else { return Ok((Vec::new(), 0)) };
    let mut wrong = Vec::new();
    for (table, actual, expected) in &tables {
        wrong.extend(actual.difference(expected).map(|line| format!("{table}: found {line}")));
        wrong.extend(expected.difference(actual).map(|line| format!("{table}: computed {line}")));
    }
    wrong.truncate(20);
    Ok((wrong, tables[1].2.len()))
}

//! Incidents against a second way of computing them, under any order of arrival, any eviction and any restart.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use citytide_domain::IncidentRule;

use super::*;
use crate::batch::example::{Row, batch};

const SECOND: i64 = 1_000_000;

/// In place of a severity: beyond the clear limit only.
const LINGERS: u8 = 3;

/// 2026-11-21T14:00:00Z.
const START: i64 = 1_795_269_600 * SECOND;

/// A minute, and three readings.
fn rules() -> IncidentRules {
    let mut domain = Domain::smart_city();
    let rule = IncidentRule { for_us: 60 * SECOND, min_readings: 3, ..domain.incidents.rule };
    domain.incidents.rule = rule;
    domain.metrics.iter_mut().for_each(|metric| metric.incidents = rule);
    IncidentRules::new(&domain)
}

fn subject(number: usize) -> Subject {
    let of_sensor = number % 2 == 1;
    Subject {
        zone: "Downtown".into(),
        kind: if of_sensor { Kind::Model } else { Kind::Rule },
        metric: if of_sensor { "".into() } else { "aqi".into() },
        sensor: if of_sensor { number.to_string().into() } else { "".into() },
    }
}

fn anomaly(at_us: i64, sensor: u8, severity: Severity, value: i32) -> Occurrence {
    let peak = Peak {
        magnitude: f64::from(value),
        at_us,
        sensor: sensor.to_string().into(),
        metric: "aqi".into(),
        value: Some(f64::from(value)),
        typical: None,
        spread: None,
        unit: "AQI".into(),
        text: format!("aqi {value} AQI").into(),
        model_version: 1,
    };
    Occurrence::of(severity, peak)
}

/// A reading of this severity, or one that lingers beyond a clear limit.
fn arrival(at_us: i64, sensor: u8, worst: u8, value: i32) -> Occurrence {
    match worst {
        LINGERS => Occurrence::lingering(&"aqi".into(), at_us, at_us),
        worst => anomaly(at_us, sensor, severity(worst), value),
    }
}

/// The incidents of a subject's anomalies, in the plain way.
fn oracle(subject: &Subject, mut anomalies: Vec<Occurrence>, now_us: i64) -> Vec<Incident> {
    let rule = rules().of(subject);
    anomalies.retain(|one| one.first_us < now_us);
    anomalies.sort_by_key(|one| one.first_us);
    let mut runs: Vec<Vec<Occurrence>> = Vec::new();
    for one in anomalies {
        match runs.last_mut() {
            Some(run) if one.first_us - run[run.len() - 1].first_us <= rule.clear_for_us => run.push(one),
            _ => runs.push(vec![one]),
        }
    }
    let mut found: Vec<(bool, Vec<Vec<Occurrence>>)> = Vec::new();
    for mut run in runs {
        // What lingers before the first anomaly is no part of it; what does behind it is.
        let Some(begins) = run.iter().position(Occurrence::has_begun) else { continue };
        run.drain(..begins);
        let anomalies: Vec<&Occurrence> = run.iter().filter(|one| one.has_begun()).collect();
        let sensors: BTreeSet<_> = anomalies.iter().map(|one| one.peak.sensor.clone()).collect();
        let long = anomalies[anomalies.len() - 1].first_us - anomalies[0].first_us >= rule.for_us;
        let enough = anomalies.len() as u64 >= rule.min_readings && sensors.len() as u64 >= rule.min_sensors;
        let opens = long && enough;
        let reach = rule.clear_for_us + rule.reopen_within_us;
        let near = found.iter().rposition(|(opens, runs)| {
            let last = runs.last().and_then(|run| run.last()).expect("one");
            *opens && run[0].first_us - last.first_us <= reach
        });
        match near {
            Some(at) if opens => found[at].1.push(run),
            Some(_) => {}
            None => found.push((opens, vec![run])),
        }
    }
    let incident = |(opens, runs): &(bool, Vec<Vec<Occurrence>>)| {
        let last = runs.iter().flatten().map(|one| one.first_us).max().expect("one");
        let all: Vec<&Occurrence> = runs.iter().flatten().filter(|one| one.has_begun()).collect();
        let last_anomaly = all[all.len() - 1].first_us;
        let over = now_us >= last + rule.clear_for_us;
        let condition = match (opens, over) {
            (false, true) => return None,
            (false, false) => Condition::Pending,
            (true, false) => Condition::Open,
            (true, true) => Condition::Cleared,
        };
        let severity = |one: &&Occurrence| one.severity_since(i64::MIN).expect("one");
        let recent = all.iter().filter(|one| one.first_us >= last_anomaly - rule.step_down_for_us);
        let sensors: BTreeSet<_> = all.iter().map(|one| one.peak.sensor.clone()).collect();
        let peak = all.iter().map(|one| &one.peak).max_by(|a, b| {
            let of = |peak: &Peak| (peak.at_us, peak.sensor.clone(), peak.metric.clone(), peak.text.clone());
            a.magnitude.total_cmp(&b.magnitude).then_with(|| of(b).cmp(&of(a)))
        });
        Some(Incident {
            subject: subject.clone(),
            id: subject.incident_id(all[0].first_us),
            condition,
            superseded_by: None,
            severity: recent.map(severity).max().expect("one"),
            severity_peak: all.iter().map(severity).max().expect("one"),
            opened_us: all[0].first_us,
            last_us: last,
            cleared_us: over.then_some(last + rule.clear_for_us),
            revision: 0,
            readings: all.len() as u64,
            sensors: sensors.len() as u64,
            occurrences: runs.len() as u64,
            peak: peak.expect("one").clone(),
        })
    };
    found.iter().filter_map(incident).collect()
}

/// The tables, as epochs write them: what is committed, and what is on its way.
#[derive(Default)]
struct Tables {
    occurrences: BTreeMap<(Subject, i64), Occurrence>,
    incidents: BTreeMap<Arc<str>, Incident>,
    log: Vec<Transition>,
    waiting: Vec<(u64, Changes)>,
}

impl Tables {
    fn write(&mut self, changes: Changes) {
        let Changes { mut occurrences, mut incidents, transitions } = changes;
        occurrences.sort_by_key(|(_, _, diff)| *diff);
        for (subject, one, diff) in occurrences {
            let key = (subject, one.first_us);
            if diff > 0 {
                self.occurrences.insert(key, one)
            } else {
                self.occurrences.remove(&key)
            };
        }
        incidents.sort_by_key(|(_, diff)| *diff);
        for (one, diff) in incidents {
            let id = one.id.clone();
            if diff > 0 {
                self.incidents.insert(id, one)
            } else {
                self.incidents.remove(&id)
            };
        }
        self.log.extend(transitions);
    }

    fn commit(&mut self, below: u64) {
        let (done, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(epoch, _)| *epoch < below);
        self.waiting = waiting;
        let done: Vec<(u64, Changes)> = done;
        done.into_iter().for_each(|(_, changes)| self.write(changes));
    }

    /// What a neighbourhood is answered with.
    fn near(&self, incidents: &mut Incidents, asked: &Neighbourhood) {
        let Neighbourhood { subject, from_us, until_us } = asked;
        let of = |(key, one): (&(Subject, i64), &Occurrence)| (key.0 == *subject).then(|| one.clone());
        let all: Vec<Occurrence> = self.occurrences.iter().filter_map(of).collect();
        let meets = |first: i64, last: i64, from: i64, until: i64| first <= until && last >= from;
        let reach = rules().reach_us();
        let near = all.iter().filter(|one| meets(one.first_us, one.last_us, *from_us, *until_us));
        let (from, until) = near.fold((*from_us, *until_us), |(from, until), one| {
            (from.min(one.first_us - reach), until.max(one.last_us + reach))
        });
        let known = self.incidents.values().filter(|one| one.subject == *subject);
        let belong: Vec<&Incident> =
            known.filter(|one| meets(one.opened_us, one.last_us, from, until)).collect();
        for one in all {
            // One that only lingers within reach begins an incident that is not.
            let begins_us = if one.has_begun() { one.begins_us } else { one.first_us };
            let is_in = belong.iter().any(|of| meets(begins_us, one.last_us, of.opened_us, of.last_us));
            if is_in || meets(begins_us, one.last_us, from, until) {
                incidents.load_occurrence(subject.clone(), one);
            }
        }
        belong.into_iter().for_each(|one| incidents.load_incident(one.clone()));
    }

    /// A run that begins with what is committed.
    fn restart(&self, low_us: i64, ahead: &[(Subject, Occurrence)]) -> Incidents {
        let mut incidents = Incidents::new(rules(), low_us);
        let kept_from_us = incidents.kept_from_us();
        let kept: Vec<&Incident> =
            self.incidents.values().filter(|one| one.last_us >= kept_from_us).collect();
        for ((subject, _), one) in &self.occurrences {
            let of = |of: &&Incident| of.subject == *subject && one.last_us >= of.opened_us;
            if one.last_us >= kept_from_us || kept.iter().any(of) {
                incidents.load_occurrence(subject.clone(), one.clone());
            }
        }
        kept.into_iter().for_each(|one| incidents.load_incident(one.clone()));
        let now_us = incidents.now_us();
        let ahead = ahead.iter().filter(|(_, one)| one.first_us >= now_us).cloned();
        let changes = incidents.advance(0, ahead, low_us);
        assert!(changes.occurrences.is_empty() && changes.incidents.is_empty());
        incidents
    }
}

/// An anomaly as it arrives: of which subject, how far after the epoch's W (negative: late), from whom, how bad.
type Arrival = (usize, i64, u8, u8, i32);

fn arrivals() -> impl Strategy<Value = Vec<(i64, Vec<Arrival>, bool)>> {
    let ahead = prop_oneof![8 => -5i64..40, 2 => -300i64..0, 1 => -7_200i64..0];
    let arrival = (0usize..3, ahead, 0u8..4, 0u8..=LINGERS, 0i32..9);
    let step = prop_oneof![6 => 0i64..30, 2 => 30i64..400, 1 => 400i64..2_000];
    prop::collection::vec((step, prop::collection::vec(arrival, 0..6), prop::bool::weighted(0.05)), 1..120)
}

fn severity(number: u8) -> Severity {
    [Severity::Low, Severity::Medium, Severity::High][usize::from(number)]
}

proptest! {
    #[test]
    fn tables_equal_a_recompute_whatever_is_late_evicted_or_restarted(
        epochs in arrivals(),
        lag in 0u64..4,
    ) {
        let mut tables = Tables::default();
        let mut incidents = Incidents::new(rules(), NEVER);
        let mut all: Vec<(Subject, Occurrence)> = Vec::new();
        let mut low_us = START;
        for (epoch, (step, arrived, restarts)) in (1u64..).zip(epochs) {
            if restarts {
                tables.commit(u64::MAX);
                incidents = tables.restart(low_us, &all);
            }
            let brought: Vec<(Subject, Occurrence)> = arrived
                .iter()
                .map(|&(of, ahead, sensor, worst, value)| {
                    let at_us = low_us + ahead * SECOND + i64::from(value);
                    (subject(of), arrival(at_us, sensor, worst, value))
                })
                .collect();
            all.extend(brought.iter().cloned());
            low_us += step * SECOND;
            let asked = incidents.missing(brought.iter().map(|(subject, one)| (subject, one)));
            asked.iter().for_each(|asked| tables.near(&mut incidents, asked));
            let changes = incidents.advance(epoch, brought, low_us);
            tables.waiting.push((epoch, changes));
            let committed_below = epoch.saturating_sub(lag);
            tables.commit(committed_below);
            incidents.evict(committed_below);
        }
        tables.commit(u64::MAX);
        let now_us = now_of(low_us);
        for of in 0..3 {
            let subject = subject(of);
            let of = all.iter().filter(|(of, _)| *of == subject).map(|(_, one)| one.clone()).collect();
            let expected = oracle(&subject, of, now_us);
            let current = tables.incidents.values().filter(|one| one.subject == subject && one.condition.is_current());
            let mut found: Vec<Incident> =
                current.map(|one| Incident { revision: 0, ..one.clone() }).collect();
            found.sort_by_key(|one| one.opened_us);
            prop_assert_eq!(found, expected);
        }
        // The log tells how each incident came to be what it is.
        for one in tables.incidents.values() {
            let of: Vec<&Transition> = tables.log.iter().filter(|at| at.incident.id == one.id).collect();
            let last = of.last().expect("its beginning is logged");
            prop_assert_eq!(last.to, Some(one.condition));
            prop_assert_eq!(last.incident.revision, one.revision);
            prop_assert!(of.windows(2).all(|two| two[0].to == two[1].from), "{:?}", of);
            if let Some(successor) = &one.superseded_by {
                prop_assert!(tables.incidents.contains_key(successor));
            }
        }
    }

    #[test]
    fn what_is_logged_does_not_depend_on_how_far_an_epoch_goes(
        times in prop::collection::vec((0i64..3_600, 0usize..3, 0u8..4, 0u8..=LINGERS, 0i32..9), 1..200),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let mut times = times;
        times.sort_unstable();
        let anomalies: Vec<(i64, Subject, Occurrence)> = times
            .iter()
            .map(|&(at, of, sensor, worst, value)| {
                let at_us = START + at * SECOND;
                (at_us, subject(of), arrival(at_us, sensor, worst, value))
            })
            .collect();
        let log = |cuts: &mut dyn Iterator<Item = usize>| {
            let (mut incidents, mut log, mut at) = (Incidents::new(rules(), NEVER), Vec::new(), 0);
            while at < anomalies.len() {
                let until = (at + cuts.next().expect("endless")).min(anomalies.len());
                let brought = anomalies[at..until].iter().map(|(_, subject, one)| (subject.clone(), one.clone()));
                let low_us = anomalies[until - 1].0;
                log.extend(incidents.advance(1, brought, low_us).transitions);
                at = until;
            }
            log.extend(incidents.advance(1, [], START + 2 * 3_600 * SECOND).transitions);
            log
        };
        prop_assert_eq!(log(&mut std::iter::repeat(1)), log(&mut cuts.iter().copied().cycle()));
    }
}

/// Runs anomalies of the rule on AQI, by minute, with W at the last of them or at `until`; what is logged.
fn run(
    incidents: &mut Incidents,
    seconds: &[i64],
    until: i64,
) -> Vec<(Option<Condition>, Option<Condition>, Cause)> {
    let brought = seconds.iter().map(|at| (subject(0), anomaly(START + at * SECOND, 1, Severity::High, 5)));
    let changes = incidents.advance(1, brought.collect::<Vec<_>>(), START + until * SECOND);
    changes.transitions.iter().map(|one| (one.from, one.to, one.cause)).collect()
}

#[test]
fn an_incident_is_pending_opens_clears_and_opens_again_within_ten_minutes() {
    use Condition::{Cleared, Open, Pending};
    let mut incidents = Incidents::new(rules(), START);
    let expected = |from, to| vec![(from, to, Cause::Condition)];
    assert_eq!(run(&mut incidents, &[0, 5], 10), expected(None, Some(Pending)));
    assert_eq!(run(&mut incidents, &[30, 61], 70), expected(Some(Pending), Some(Open)));
    assert_eq!(run(&mut incidents, &[], 180), vec![]);
    assert_eq!(run(&mut incidents, &[], 181 + 9), expected(Some(Open), Some(Cleared)));
    assert_eq!(run(&mut incidents, &[700, 730, 770], 780), expected(Some(Cleared), Some(Open)));
    assert_eq!(run(&mut incidents, &[], 900), expected(Some(Open), Some(Cleared)));
    let again: Vec<_> = (0..7).map(|number| 2_000 + 10 * number).collect();
    let log = run(&mut incidents, &again, 2_080);
    assert_eq!(log, [(None, Some(Pending), Cause::Condition), (Some(Pending), Some(Open), Cause::Condition)]);
}

#[test]
fn late_readings_join_two_incidents_and_the_later_one_says_which() {
    let mut incidents = Incidents::new(rules(), START);
    run(&mut incidents, &[0, 30, 65], 100);
    run(&mut incidents, &[1_000, 1_030, 1_065], 1_100);
    let between: Vec<i64> = (1..9).map(|number| 65 + 100 * number).collect();
    let changes = incidents.advance(
        2,
        between.iter().map(|at| (subject(0), anomaly(START + at * SECOND, 1, Severity::High, 5))),
        START + 1_100 * SECOND,
    );
    let gone: Vec<&Transition> =
        changes.transitions.iter().filter(|one| one.to == Some(Condition::Superseded)).collect();
    assert_eq!(gone.len(), 1);
    assert_eq!((gone[0].cause, gone[0].incident.opened_us), (Cause::Merge, START + 1_000 * SECOND));
    assert_eq!(gone[0].incident.superseded_by, Some(subject(0).incident_id(START)));
}

#[test]
fn severity_rises_at_once_and_falls_after_five_minutes() {
    let mut incidents = Incidents::new(rules(), START);
    let mut at = |seconds: std::ops::Range<i64>, severity| {
        let brought =
            seconds.clone().step_by(20).map(|at| (subject(1), anomaly(START + at * SECOND, 1, severity, 5)));
        let brought: Vec<_> = brought.collect();
        incidents.advance(1, brought, START + (seconds.end + 10) * SECOND).transitions
    };
    at(0..100, Severity::Low);
    let log = at(100..120, Severity::High);
    assert_eq!(log.iter().map(|one| one.cause).collect::<Vec<_>>(), [Cause::Escalation]);
    assert_eq!(log[0].incident.severity, Severity::High);
    let log = at(120..480, Severity::Low);
    let falls: Vec<_> = log.iter().map(|one| (one.incident.severity, one.incident.last_us - START)).collect();
    assert_eq!(falls, [(Severity::Low, 420 * SECOND)]);
    assert_eq!(log[0].incident.severity_peak, Severity::High);
}

#[test]
fn reasons_say_which_subjects_a_reading_counts_for() {
    let found = |reasons: &str| {
        let zone: Arc<str> = "Downtown".into();
        let finding = Finding {
            zone: &zone,
            sensor: "42".into(),
            recorded_us: START,
            severity: Severity::High,
            reasons,
            model_version: 3,
        };
        let mut found = Vec::new();
        findings_of(&finding, &mut |subject, one| {
            found.push((
                subject.kind,
                subject.metric.to_string(),
                subject.sensor.to_string(),
                one.peak.magnitude,
            ));
        });
        found
    };
    let rule = r#"{"metric":"aqi","actual":318,"unit":"AQI","rule":"> 300","text":"x"}"#;
    let once = r#"{"metric":"aqi","actual":318,"rule":"> 300","flagged_of_8":3,"text":"x"}"#;
    let often = r#"{"metric":"aqi","actual":318,"rule":"> 300","flagged_of_8":4,"text":"x"}"#;
    let whole = r#"{"metric":"noise_level","actual":96,"typical":58,"spread":4,"member":"zone","flagged_of_8":1,"text":"x"}"#;
    let largest = r#"{"metric":"noise_level","actual":96,"typical":58,"spread":0,"member":"largest","flagged_of_8":8,"text":"x"}"#;
    let stuck =
        r#"{"metric":"aqi","actual":5,"typical":4,"spread":2,"member":"stuck","flagged_of_8":8,"text":"x"}"#;
    let missing = r#"{"metric":"aqi","actual":null,"typical":null,"spread":null,"member":"dropout","flagged_of_8":5,"text":"x"}"#;
    let of =
        |kind, metric: &str, sensor: &str, magnitude| (kind, metric.to_owned(), sensor.to_owned(), magnitude);
    assert_eq!(found(&format!("[{rule}]")), [of(Kind::Rule, "aqi", "", 18.0)]);
    assert_eq!(found(&format!("[{once}]")), []);
    assert_eq!(
        found(&format!("[{often},{whole}]")),
        [of(Kind::Rule, "aqi", "", 18.0), of(Kind::Model, "noise_level", "", 9.5)]
    );
    assert_eq!(found(&format!("[{largest},{stuck}]")), [of(Kind::Model, "", "42", 0.0)]);
    assert_eq!(found(&format!("[{stuck},{largest}]")), [of(Kind::Stuck, "", "42", 0.5)]);
    assert_eq!(found(&format!("[{missing}]")), [of(Kind::Quality, "", "42", 0.0)]);
    assert_eq!(found("[]"), []);
    assert_eq!(found("nothing that this program wrote"), []);
}

#[test]
fn an_incident_is_known_by_its_subject_and_the_ten_seconds_in_which_it_began() {
    assert_eq!(&*subject(0).incident_id(START), &*subject(0).incident_id(START + 9 * SECOND));
    assert_ne!(subject(0).incident_id(START), subject(0).incident_id(START + 10 * SECOND));
    assert_ne!(subject(0).incident_id(START), subject(1).incident_id(START));
}

#[test]
fn an_incident_stays_open_while_readings_lie_beyond_the_clear_limit_and_opens_at_an_anomaly() {
    let lingers = |at: i64| {
        let at_us = START + at * SECOND;
        (subject(0), Occurrence::lingering(&"aqi".into(), at_us, at_us))
    };
    let mut incidents = Incidents::new(rules(), START);
    let only_beyond: Vec<_> = (0..30).map(|number| lingers(10 * number)).collect();
    let log = incidents.advance(1, only_beyond, START + 300 * SECOND).transitions;
    assert!(log.is_empty(), "what lingers alone is no incident: {log:?}");
    assert_eq!(run(&mut incidents, &[300, 330, 365], 370).len(), 2);
    let beyond: Vec<_> = (37..90).map(|number| lingers(10 * number)).collect();
    let log = incidents.advance(1, beyond, START + 1_000 * SECOND).transitions;
    assert!(log.is_empty(), "ten minutes without an anomaly: {log:?}");
    let cleared = incidents.advance(1, [], START + 1_010 * SECOND).transitions;
    let one = &cleared[0].incident;
    assert_eq!((one.opened_us, one.last_us), (START + 300 * SECOND, START + 890 * SECOND));
    assert_eq!((one.condition, one.cleared_us), (Condition::Cleared, Some(START + 1_010 * SECOND)));
    assert_eq!((one.readings, one.sensors, one.occurrences), (3, 1, 1), "what lingers does not count");
}

#[test]
fn a_reading_lingers_beyond_the_clear_limit_of_either_side_and_late_ones_do_not() {
    let mut domain = Domain::smart_city();
    domain.metrics[0].clear = citytide_domain::ClearLimits { below: Some(-3.0), above: Some(38.0) };
    let values = [38.0, 38.5, f64::NAN, -3.5, 50.0, 39.0, 20.0, 41.0];
    let row = |(offset, value): (i64, &f64)| Row::new(offset, START + 2 * offset * SECOND, &[*value; 5]);
    let mut batch = batch(0, &(0..).zip(&values).map(row).collect::<Vec<_>>());
    batch.late = vec![false, false, false, false, false, true, false, false];
    let mut found = Vec::new();
    Lingering::new(&domain).find(&batch, |subject, one| found.push((subject, one.first_us, one.last_us)));
    let of = Subject::of_rule(batch.zone(0).clone(), "temperature".into());
    assert_eq!(
        found,
        [
            (of.clone(), START + 2 * SECOND, START + 8 * SECOND),
            (of, START + 14 * SECOND, START + 14 * SECOND)
        ]
    );
    let none = Lingering::new(&Domain::smart_city());
    none.find(&batch, |subject, _| panic!("{subject:?}: nothing has a clear limit"));
}

//! The live views against a recompute, over random updates, stepped one by one and many epochs at a time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use citytide_core::window::RecentAnomaly;
use citytide_store::session::Session;
use differential_dataflow::input::InputSession;
use proptest::prelude::*;
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::probe::Handle;

use super::*;
use crate::commit::plan::Plan;

/// What happens in one epoch.
#[derive(Debug, Clone)]
struct Change {
    /// Anomalies that become recent: zone, sensor, time.
    enter: Vec<(u8, u8, i64)>,
    /// Recent ones that cease to be, as indices.
    leave: Vec<prop::sample::Index>,
    /// A zone and its new last final window.
    finals: Vec<(u8, i64, u64)>,
    /// A zone and its new last reading.
    recorded: Vec<(u8, i64)>,
}

fn change() -> impl Strategy<Value = Change> {
    (
        prop::collection::vec((0..2_u8, 0..14_u8, 0..40_i64), 0..12),
        prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        prop::collection::vec((0..3_u8, 0..5_i64, 0..5_u64), 0..2),
        prop::collection::vec((0..3_u8, 0..100_i64), 0..3),
    )
        .prop_map(|(enter, leave, finals, recorded)| Change { enter, leave, finals, recorded })
}

fn zone(number: u8) -> String {
    format!("zone {number}")
}

fn final_fact(start_us: i64, readings: u64) -> ZoneFact {
    ZoneFact::Final { start_us, readings, anomalies: readings / 2, averages: vec![None, Some(readings)] }
}

/// The rows of `hot_sensors` and `zone_status`.
type Tables = BTreeMap<(usize, Row), Row>;
type Update = (ViewRow, Epoch, isize);

const HOT: usize = 0;
const STATUS: usize = 1;

/// What is known after some epoch, and the rows that should be there then.
#[derive(Default, Clone)]
struct Known {
    recent: Vec<RecentAnomaly>,
    finals: BTreeMap<u8, (i64, u64)>,
    recorded: BTreeMap<u8, i64>,
}

impl Known {
    /// What two workers tell of sensors: one has the even times, the other the odd ones.
    fn of_sensors(&self) -> BTreeMap<(Arc<str>, Arc<str>, i64), SensorAnomalies> {
        let mut sensors = BTreeMap::new();
        for RecentAnomaly { zone, sensor, recorded_us } in self.recent.iter().cloned() {
            let key = (zone.clone(), sensor.clone(), recorded_us % 2);
            let none = SensorAnomalies { zone, sensor, count: 0, last_us: i64::MIN };
            let one: &mut SensorAnomalies = sensors.entry(key).or_insert(none);
            one.count += 1;
            one.last_us = one.last_us.max(recorded_us);
        }
        sensors
    }

    fn tables(&self) -> Tables {
        let mut tables = Tables::new();
        let zones: BTreeSet<&Arc<str>> = self.recent.iter().map(|anomaly| &anomaly.zone).collect();
        for name in zones {
            let mut sensors: BTreeMap<&Arc<str>, (i64, i64)> = BTreeMap::new();
            for anomaly in self.recent.iter().filter(|anomaly| anomaly.zone == *name) {
                let sensor = sensors.entry(&anomaly.sensor).or_insert((0, i64::MIN));
                *sensor = (sensor.0 + 1, sensor.1.max(anomaly.recorded_us));
            }
            let mut ranked: Vec<_> = sensors.into_iter().collect();
            ranked.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(b.0)));
            for (rank, (sensor, (anomalies, last_us))) in (1..=10).zip(ranked) {
                let rest = vec![sensor.into(), Value::Integer(anomalies), Value::Time(last_us)];
                tables.insert((HOT, vec![name.into(), Value::Integer(rank)]), rest);
            }
        }
        for (number, last_recorded_us) in &self.recorded {
            let mut rest = vec![Value::Null; 3 + domain().metrics.len()];
            if let Some(&(start_us, readings)) = self.finals.get(number) {
                let counts = [readings, readings / 2].map(|count| Value::Integer(count as i64));
                rest = vec![Value::Time(start_us)];
                rest.extend(counts);
                rest.extend([Value::Null, Value::Float(readings)]);
            }
            let recent = self.recent.iter().filter(|one| *one.zone == *zone(*number)).count();
            rest.extend([Value::Integer(recent as i64), Value::Time(*last_recorded_us)]);
            tables.insert((STATUS, vec![Value::Text(zone(*number).into())]), rest);
        }
        tables
    }
}

/// Puts the views' updates of an epoch into the tables as a commit would.
fn write(tables: &mut Tables, updates: Vec<(ViewRow, isize)>) {
    let mut plan = Plan::default();
    plan.views(updates);
    for (key, row) in plan.views {
        match row {
            Some(row) => tables.insert(key, row),
            None => tables.remove(&key),
        };
    }
}

/// Of a database in which nothing has happened, and from which nothing is read back.
fn no_incidents() -> IncidentParts {
    IncidentParts {
        incidents: restored_incidents(&domain(), citytide_core::NEVER, Default::default()),
        committed: Handle::new(),
        open_incidents: Box::new(|_, _| {
            let failed = Arc::new(|error| panic!("{error}"));
            Session::spawn("incidents".to_owned(), failed, async |_| Ok(()))
        }),
    }
}

/// The same without session windows.
fn no_sessions() -> SessionParts {
    SessionParts {
        sessions: restored_sessions(&domain(), citytide_core::NEVER, Default::default()),
        committed: Handle::new(),
        open_sessions: Box::new(|_, _| {
            let failed = Arc::new(|error| panic!("{error}"));
            Session::spawn("sessions".to_owned(), failed, async |_| Ok(()))
        }),
    }
}

/// As many metrics as facts of these tests have.
fn domain() -> Domain {
    let mut domain = Domain::smart_city();
    domain.metrics.truncate(2);
    domain
}

/// Runs the changes through the operator, stepping once per `stride` epochs; returns what should be known after each
/// epoch, and the updates that came out.
fn run(changes: Vec<Change>, stride: usize) -> (Vec<Known>, Vec<Update>) {
    timely::execute_directly(move |worker| {
        let mut recent = InputSession::<Epoch, SensorAnomalies, isize>::new();
        let mut facts = InputSession::<Epoch, (Arc<str>, ZoneFact), isize>::new();
        let mut batches = InputHandleVec::new();
        let mut progress = InputHandleVec::new();
        let probe = Handle::new();
        let out = Rc::new(RefCell::new(Vec::new()));
        worker.dataflow(|scope| {
            let out = out.clone();
            let inputs = Inputs {
                domain: Arc::new(domain()),
                recent: recent.to_collection(scope),
                facts: facts.to_collection(scope),
                batches: Batches::new(scope.input_from(&mut batches)),
                restored: BTreeMap::new(),
                committed_epoch: 0,
                progress: scope.input_from(&mut progress),
                incidents: RefCell::new(Some(no_incidents())),
                sessions: RefCell::new(Some(no_sessions())),
            };
            define(&inputs).inspect(move |update| out.borrow_mut().push(update.clone())).probe_with(&probe);
        });
        let mut known = Known::default();
        let mut history = Vec::new();
        for (index, change) in changes.into_iter().enumerate() {
            let before = known.of_sensors();
            for (number, sensor, recorded_us) in change.enter {
                let sensor = format!("s{sensor}").into();
                known.recent.push(RecentAnomaly { zone: zone(number).into(), sensor, recorded_us });
            }
            for index in change.leave {
                if !known.recent.is_empty() {
                    let index = index.index(known.recent.len());
                    known.recent.swap_remove(index);
                }
            }
            before.into_values().for_each(|one| recent.update(one, -1));
            known.of_sensors().into_values().for_each(|one| recent.update(one, 1));
            for (number, start_us, readings) in change.finals {
                if let Some((start_us, readings)) = known.finals.insert(number, (start_us, readings)) {
                    facts.update((zone(number).into(), final_fact(start_us, readings)), -1);
                }
                facts.update((zone(number).into(), final_fact(start_us, readings)), 1);
            }
            for (number, at_us) in change.recorded {
                if let Some(before_us) = known.recorded.insert(number, at_us) {
                    facts.update((zone(number).into(), ZoneFact::LastRecorded(before_us)), -1);
                }
                facts.update((zone(number).into(), ZoneFact::LastRecorded(at_us)), 1);
            }
            history.push(known.clone());
            let next = index as Epoch + 1;
            recent.advance_to(next);
            facts.advance_to(next);
            batches.advance_to(next);
            progress.advance_to(next);
            if history.len().is_multiple_of(stride) {
                recent.flush();
                facts.flush();
                worker.step_while(|| probe.less_than(&next));
            }
        }
        drop((recent, facts, batches, progress));
        while worker.step() {}
        let updates = out.borrow().clone();
        (history, updates)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn after_every_epoch_the_views_are_those_of_a_recompute(
        changes in prop::collection::vec(change(), 1..16),
        stride in 1..6_usize,
    ) {
        let (history, updates) = run(changes, stride);
        let mut tables = Tables::default();
        for (epoch, known) in history.iter().enumerate() {
            let of_epoch = updates.iter().filter(|(_, at, _)| *at == epoch as Epoch);
            write(&mut tables, of_epoch.map(|(row, _, diff)| (row.clone(), *diff)).collect());
            prop_assert_eq!(&tables, &known.tables());
        }
        prop_assert!(updates.iter().all(|(_, at, _)| (*at as usize) < history.len()));
    }
}

#[test]
fn sensors_with_as_many_anomalies_are_ranked_by_name_and_the_eleventh_is_not_shown() {
    let enter = (0..12).map(|sensor| (0, sensor, 5)).chain([(0, 11, 7)]).collect();
    let change = Change { enter, leave: vec![], finals: vec![], recorded: vec![] };
    let (_, updates) = run(vec![change], 1);
    let mut tables = Tables::default();
    write(&mut tables, updates.into_iter().map(|(row, _, diff)| (row, diff)).collect());
    let row = |sensor: &str, anomalies, last_us| {
        vec![Value::Text(sensor.into()), Value::Integer(anomalies), Value::Time(last_us)]
    };
    let ranked: Vec<&Row> = tables.values().collect();
    assert_eq!(ranked[..3], [&row("s11", 2, 7), &row("s0", 1, 5), &row("s1", 1, 5)]);
    assert_eq!(ranked.len(), 10);
}

#[test]
fn a_zone_without_a_reading_has_no_status() {
    let change = Change { enter: vec![(0, 1, 5)], leave: vec![], finals: vec![(0, 0, 3)], recorded: vec![] };
    let (_, updates) = run(vec![change], 1);
    assert!(updates.iter().all(|(row, ..)| row.view == HOT));
}

#[test]
fn the_script_for_people_is_the_rendering_of_smart_city() {
    let domain = Domain::smart_city();
    let rendered = schema(&domain).create(&domain.topic);
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/smart-city.sql");
    if std::fs::read_to_string(kept).unwrap_or_default() != rendered {
        let fresh = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/smart-city.sql");
        std::fs::write(fresh, rendered).expect("the target directory takes a file");
        panic!("sql/smart-city.sql is not what the schema renders; copy target/smart-city.sql over it");
    }
}

#[test]
fn what_a_zone_status_row_says_of_its_zone_is_what_it_was_made_from() {
    let zone: Arc<str> = Arc::from("Downtown");
    let mut row = vec![Value::from(&zone), Value::Time(60), Value::Integer(3), Value::Integer(1)];
    row.extend([Value::Null, Value::Float(7), Value::Integer(2), Value::Time(90)]);
    let last_final =
        ZoneFact::Final { start_us: 60, readings: 3, anomalies: 1, averages: vec![None, Some(7)] };
    assert_eq!(facts_of(&[row]), [(zone, vec![ZoneFact::LastRecorded(90), last_final])]);
}

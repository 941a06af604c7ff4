//! The live views against a recompute, over random updates, stepped one by one and many epochs at a time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::input::InputSession;
use proptest::prelude::*;
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

type Tables = (BTreeMap<(String, u32), HotSensor>, BTreeMap<String, ZoneStatus>);
type Update = (ViewRow, Epoch, isize);

/// What is known after some epoch, and the rows that should be there then.
#[derive(Default, Clone)]
struct Known {
    recent: Vec<RecentAnomaly>,
    finals: BTreeMap<u8, (i64, u64)>,
    recorded: BTreeMap<u8, i64>,
}

impl Known {
    fn tables(&self) -> Tables {
        let mut hot = BTreeMap::new();
        let zones: BTreeSet<&Arc<str>> = self.recent.iter().map(|anomaly| &anomaly.zone).collect();
        for name in zones {
            let mut sensors: BTreeMap<&Arc<str>, (u64, i64)> = BTreeMap::new();
            for anomaly in self.recent.iter().filter(|anomaly| anomaly.zone == *name) {
                let sensor = sensors.entry(&anomaly.sensor).or_insert((0, i64::MIN));
                *sensor = (sensor.0 + 1, sensor.1.max(anomaly.recorded_us));
            }
            let mut ranked: Vec<_> = sensors.into_iter().collect();
            ranked.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(b.0)));
            for (rank, (sensor, (anomalies, last_us))) in (1..=10).zip(ranked) {
                let row = HotSensor {
                    zone: name.to_string(),
                    rank,
                    sensor: sensor.to_string(),
                    anomalies,
                    last_us,
                };
                hot.insert((name.to_string(), rank), row);
            }
        }
        let status = self.recorded.iter().map(|(number, last_recorded_us)| {
            let row = ZoneStatus {
                zone: zone(*number),
                last_final: self.finals.get(number).map(|&(start_us, readings)| {
                    (start_us, readings, readings / 2, vec![None, Some(readings)])
                }),
                recent_anomalies: self.recent.iter().filter(|one| *one.zone == *zone(*number)).count() as u64,
                last_recorded_us: *last_recorded_us,
            };
            (zone(*number), row)
        });
        (hot, status.collect())
    }
}

/// Puts the views' updates of an epoch into the tables as a commit would.
fn write(tables: &mut Tables, updates: Vec<(ViewRow, isize)>) {
    let mut plan = Plan::default();
    plan.views(updates);
    for (key, row) in plan.hot {
        match row {
            Some(row) => tables.0.insert(key, row),
            None => tables.0.remove(&key),
        };
    }
    for (key, row) in plan.status {
        match row {
            Some(row) => tables.1.insert(key, row),
            None => tables.1.remove(&key),
        };
    }
}

/// Runs the changes through the operator, stepping once per `stride` epochs; returns what should be known after each
/// epoch, and the updates that came out.
fn run(changes: Vec<Change>, stride: usize) -> (Vec<Known>, Vec<Update>) {
    timely::execute_directly(move |worker| {
        let mut recent = InputSession::<Epoch, RecentAnomaly, isize>::new();
        let mut facts = InputSession::<Epoch, (Arc<str>, ZoneFact), isize>::new();
        let probe = Handle::new();
        let out = Rc::new(RefCell::new(Vec::new()));
        worker.dataflow(|scope| {
            let out = out.clone();
            views(recent.to_collection(scope), facts.to_collection(scope))
                .inspect(move |update| out.borrow_mut().push(update.clone()))
                .probe_with(&probe);
        });
        let mut known = Known::default();
        let mut history = Vec::new();
        for (index, change) in changes.into_iter().enumerate() {
            for (number, sensor, recorded_us) in change.enter {
                let anomaly = RecentAnomaly {
                    zone: zone(number).into(),
                    sensor: format!("s{sensor}").into(),
                    recorded_us,
                };
                recent.update(anomaly.clone(), 1);
                known.recent.push(anomaly);
            }
            for index in change.leave {
                if !known.recent.is_empty() {
                    let index = index.index(known.recent.len());
                    recent.update(known.recent.swap_remove(index), -1);
                }
            }
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
            if history.len().is_multiple_of(stride) {
                recent.flush();
                facts.flush();
                worker.step_while(|| probe.less_than(&next));
            }
        }
        drop((recent, facts));
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
    let ranked: Vec<_> =
        tables.0.values().map(|row| (row.rank, row.sensor.as_str(), row.anomalies, row.last_us)).collect();
    assert_eq!(ranked[0], (1, "s11", 2, 7));
    assert_eq!(ranked[1..3], [(2, "s0", 1, 5), (3, "s1", 1, 5)]);
    assert_eq!(ranked.len(), 10);
}

#[test]
fn a_zone_without_a_reading_has_no_status() {
    let change = Change { enter: vec![(0, 1, 5)], leave: vec![], finals: vec![(0, 0, 3)], recorded: vec![] };
    let (_, updates) = run(vec![change], 1);
    assert!(updates.iter().all(|(row, ..)| matches!(row, ViewRow::Hot(_))));
}

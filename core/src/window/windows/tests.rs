//! Windows against a recompute from every accepted reading, over random streams, watermarks, commits and restarts.

use std::collections::{BTreeMap, HashMap, HashSet};

use citytide_domain::Window;
use proptest::prelude::*;

use super::super::MetricSums;
use super::*;

mod read_back;
mod split;
mod work;

const SECOND: i64 = 1_000_000;
const ZONES: [&str; 3] = ["Downtown", "Tech Hub", "Medical Center"];

fn domain(shapes: &[(i64, i64)], allowed_lateness_s: i64) -> Domain {
    let mut domain = Domain::smart_city();
    domain.metrics.truncate(2);
    domain.time.allowed_lateness_us = allowed_lateness_s * SECOND;
    let window = |(index, &(size_s, slide_s)): (usize, &(i64, i64))| Window {
        name: format!("w{index}"),
        size_us: size_s * SECOND,
        slide_us: slide_s * SECOND,
    };
    domain.windows = shapes.iter().enumerate().map(window).collect();
    domain
}

/// An accepted reading.
#[derive(Debug, Clone)]
struct Accepted {
    zone: usize,
    at_us: i64,
    values: [f64; 2],
    is_anomaly: bool,
    /// Which of three workers reads it.
    worker: usize,
}

/// The partial sums that the workers make of an epoch's readings.
fn partials(readings: &[Accepted], workers: usize, pane_us: i64) -> Vec<Partial> {
    let mut sums: BTreeMap<(usize, usize, i64), PaneSums> = BTreeMap::new();
    for reading in readings {
        let key = (reading.worker % workers, reading.zone, floor_to(reading.at_us, pane_us));
        add(sums.entry(key).or_insert_with(|| PaneSums::empty(2)), reading);
    }
    let partial = |((_, zone, pane_us), sums)| Partial { zone: Arc::from(ZONES[zone]), pane_us, sums };
    sums.into_iter().map(partial).collect()
}

fn add(sums: &mut PaneSums, reading: &Accepted) {
    sums.readings += 1;
    sums.anomalies += u64::from(reading.is_anomaly);
    sums.last_event_us = sums.last_event_us.max(reading.at_us);
    for (metric, value) in sums.metrics.iter_mut().zip(reading.values) {
        metric.add(value);
    }
}

type Rows = BTreeMap<(usize, Arc<str>, i64), WindowRow>;

/// Every row that there should be, from the readings alone: no panes, no order.
fn recompute(domain: &Domain, readings: &[Accepted], low_us: i64) -> Rows {
    let mut sums: BTreeMap<(usize, usize, i64), PaneSums> = BTreeMap::new();
    for reading in readings {
        for (window, shape) in domain.windows.iter().enumerate() {
            let first = (reading.at_us - shape.size_us).div_euclid(shape.slide_us);
            for slide in first..=first + shape.size_us / shape.slide_us + 1 {
                let start_us = slide * shape.slide_us;
                if start_us <= reading.at_us && reading.at_us < start_us + shape.size_us {
                    let key = (window, reading.zone, start_us);
                    add(sums.entry(key).or_insert_with(|| PaneSums::empty(2)), reading);
                }
            }
        }
    }
    let row = |((window, zone, start_us), sums): ((usize, usize, i64), PaneSums)| {
        let zone: Arc<str> = Arc::from(ZONES[zone]);
        let end_us = start_us + domain.windows[window].size_us;
        let row = WindowRow {
            window,
            zone: zone.clone(),
            start_us,
            end_us,
            readings: sums.readings,
            anomalies: sums.anomalies,
            figures: sums.metrics.iter().map(MetricSums::figures).collect(),
            is_final: end_us <= low_us,
        };
        ((window, zone, start_us), row)
    };
    sums.into_iter().map(row).collect()
}

type Facts = HashMap<(Arc<str>, ZoneFact), isize>;

/// What the tables say as of an epoch.
#[derive(Clone)]
struct Tables {
    rows: Rows,
    panes: BTreeMap<(Arc<str>, i64), PaneState>,
    facts: Facts,
    low_us: i64,
    readings: usize,
}

#[derive(Debug, Clone)]
struct Step {
    readings: Vec<Accepted>,
    low: Low,
    /// How many of the epochs in flight are committed while panes are read back, and after this one.
    commits: [usize; 2],
    restart: bool,
}

#[derive(Debug, Clone)]
enum Low {
    Stays,
    Unknown,
    By(i64),
    /// As `By`, down to ten seconds: to the very end of a window now and then.
    Aligned(i64),
}

fn accepted() -> impl Strategy<Value = Accepted> {
    let value = || prop_oneof![9 => -1e3..1e3_f64, 1 => Just(f64::NAN)];
    // Two readings in three near the newest event times, one anywhere, as a partition that returns brings it.
    let at_us = prop_oneof![2 => 0..300 * SECOND, 1 => -1800 * SECOND..1800 * SECOND];
    (0..ZONES.len(), at_us, [value(), value()], prop::bool::weighted(0.2), 0..3_usize).prop_map(
        |(zone, at_us, values, is_anomaly, worker)| Accepted { zone, at_us, values, is_anomaly, worker },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let low = prop_oneof![
        2 => Just(Low::Stays),
        1 => Just(Low::Unknown),
        3 => (0..90 * SECOND).prop_map(Low::By),
        3 => (0..90 * SECOND).prop_map(Low::Aligned),
        1 => (0..7200 * SECOND).prop_map(Low::By),
    ];
    (prop::collection::vec(accepted(), 0..12), low, [0..2_usize, 0..4_usize], prop::bool::weighted(0.1))
        .prop_map(|(readings, low, commits, restart)| Step { readings, low, commits, restart })
}

fn shapes() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop_oneof![
        Just(vec![(60, 60), (300, 60)]),
        Just(vec![(60, 60)]),
        Just(vec![(90, 30), (60, 60)]),
        Just(vec![(300, 300), (120, 40)]),
        Just(vec![(600, 100), (10, 10), (45, 45)]),
        Just(vec![(1200, 10), (20, 20)]),
    ]
}

/// Applies facts in their order; none is retracted that does not hold.
fn hold(facts: &mut Facts, changes: Vec<(Arc<str>, ZoneFact, isize)>) -> Result<(), TestCaseError> {
    for (zone, fact, diff) in changes {
        let held = facts.entry((zone, fact.clone())).or_default();
        *held += diff;
        prop_assert!((0..=1).contains(held), "{fact:?} is held {held} times");
    }
    facts.retain(|_, held| *held != 0);
    Ok(())
}

/// What should hold of each zone, from the rows and the readings.
fn expected_facts(rows: &Rows, readings: &[Accepted]) -> Facts {
    let mut facts: BTreeMap<(Arc<str>, u8), ZoneFact> = BTreeMap::new();
    for row in rows.values().filter(|row| row.window == 0 && row.is_final) {
        let averages =
            row.figures.iter().map(|figures| figures.map(|(average, _, _)| average.to_bits())).collect();
        let fact = ZoneFact::Final {
            start_us: row.start_us,
            readings: row.readings,
            anomalies: row.anomalies,
            averages,
        };
        facts.insert((row.zone.clone(), 0), fact);
    }
    for zone in ZONES {
        let last_us = readings.iter().filter(|one| ZONES[one.zone] == zone).map(|one| one.at_us).max();
        if let Some(last_us) = last_us {
            facts.insert((Arc::from(zone), 1), ZoneFact::LastRecorded(last_us));
        }
    }
    facts.into_iter().map(|((zone, _), fact)| ((zone, fact), 1)).collect()
}

/// The row of a window as the merge of all of its panes, and in bits: what it was before windows kept sums.
fn merged(panes: &BTreeMap<(Arc<str>, i64), PaneState>, row: &WindowRow) -> String {
    let mut sums = PaneSums::empty(2);
    let of_window = (row.zone.clone(), row.start_us)..(row.zone.clone(), row.end_us);
    panes.range(of_window).for_each(|(_, pane)| sums.merge(&pane.sums));
    let (readings, anomalies) = (sums.readings, sums.anomalies);
    let figures = sums.metrics.iter().map(MetricSums::figures).collect();
    in_bits(&WindowRow { readings, anomalies, figures, ..row.clone() })
}

/// The text of a double reads back as the same double.
fn in_bits(row: &WindowRow) -> String {
    format!("{row:?}")
}

/// What a new process makes of the committed tables.
fn restarted(domain: &Domain, tables: &mut Tables) -> Windows {
    let mut windows = Windows::new(domain, tables.low_us);
    let from_us = windows.open_from_us();
    let open = tables.panes.values().filter(|pane| pane.start_us >= from_us);
    open.for_each(|pane| windows.load(pane.clone()));
    let held = std::mem::take(&mut tables.facts);
    for zone in ZONES {
        let of_zone = held.keys().filter(|(name, _)| **name == *zone).map(|(_, fact)| fact.clone());
        for (zone, fact, diff) in windows.load_facts(Arc::from(zone), of_zone) {
            tables.facts.insert((zone, fact), diff);
        }
    }
    assert_eq!(tables.facts, held);
    windows
}

/// Commits the first epochs in flight, at most `count`.
fn commit(
    count: usize,
    in_flight: &mut Vec<(u64, Tables)>,
    committed: &mut Tables,
    committed_below: &mut u64,
) {
    if let Some((epoch, tables)) = in_flight.drain(..count.min(in_flight.len())).next_back() {
        (*committed, *committed_below) = (tables, epoch + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn after_every_epoch_rows_panes_and_facts_are_those_of_a_recompute(
        shapes in shapes(),
        lateness_s in 0..120_i64,
        workers in 1..4_usize,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let domain = domain(&shapes, lateness_s);
        let mut readings: Vec<Accepted> = Vec::new();
        let mut committed = Tables {
            rows: Rows::new(), panes: BTreeMap::new(), facts: Facts::new(), low_us: NEVER, readings: 0,
        };
        let mut committed_below = 0;
        let mut now = committed.clone();
        let mut in_flight: Vec<(u64, Tables)> = Vec::new();
        let mut windows = Windows::new(&domain, NEVER);
        for (index, step) in steps.into_iter().enumerate() {
            if step.restart {
                in_flight.clear();
                now = committed.clone();
                readings.truncate(now.readings);
                windows = restarted(&domain, &mut now);
            }
            let epoch = 50 * (index as u64 + 1);
            let low_us = match step.low {
                Low::Stays => now.low_us,
                Low::Unknown => NEVER,
                Low::By(by_us) => now.low_us.max(0) + by_us,
                Low::Aligned(by_us) => floor_to(now.low_us.max(0) + by_us, 10 * SECOND),
            };
            now.low_us = now.low_us.max(low_us);
            let before = now.rows.clone();
            let brought = partials(&step.readings, workers, domain.pane_us());
            readings.extend(step.readings);
            now.readings = readings.len();

            let missing = windows.missing(&brought);
            if !missing.is_empty() {
                // The snapshot is as old as it may be: what is committed while the answer is under way is not in it.
                let snapshot = committed.panes.clone();
                commit(step.commits[0], &mut in_flight, &mut committed, &mut committed_below);
                windows.evict(committed_below);
                for PaneRange { zone, from_us, until_us } in missing.into_iter().flatten() {
                    let wanted = (zone.clone(), from_us)..(zone, until_us);
                    snapshot.range(wanted).for_each(|(_, pane)| windows.load(pane.clone()));
                }
            }
            let touched: HashSet<_> = brought.iter().map(|one| (one.zone.clone(), one.pane_us)).collect();
            let applied = windows.apply(epoch, brought, low_us);

            let written_rows = applied.windows.clone();
            for row in applied.windows {
                now.rows.insert((row.window, row.zone.clone(), row.start_us), row);
            }
            prop_assert_eq!(&now.rows, &recompute(&domain, &readings, now.low_us));
            for (key, row) in &before {
                prop_assert!(!row.is_final || now.rows[key].is_final, "finality was taken back of {row:?}");
            }
            let written: HashSet<_> =
                applied.panes.iter().map(|pane| (pane.zone.clone(), pane.start_us)).collect();
            prop_assert_eq!(written, touched);
            for pane in applied.panes {
                let key = (pane.zone.clone(), pane.start_us);
                prop_assert_eq!(pane.last_epoch, epoch);
                prop_assert_eq!(pane.first_epoch, now.panes.get(&key).map_or(epoch, |old| old.first_epoch));
                // The panes table does not keep the latest event time.
                let sums = PaneSums { last_event_us: NEVER, ..pane.sums.clone() };
                now.panes.insert(key, PaneState { sums, ..pane });
            }
            for row in &written_rows {
                prop_assert_eq!(in_bits(row), merged(&now.panes, row));
            }
            hold(&mut now.facts, applied.facts)?;
            prop_assert_eq!(&now.facts, &expected_facts(&now.rows, &readings));

            in_flight.push((epoch, now.clone()));
            commit(step.commits[1], &mut in_flight, &mut committed, &mut committed_below);
            windows.evict(committed_below);
            if in_flight.is_empty() {
                let open = now.panes.values().filter(|pane| pane.start_us >= windows.open_from_us());
                prop_assert_eq!(windows.panes(), open.count(), "memory holds open panes only");
                if now.low_us != NEVER {
                    let changeable_us = windows.open_from_us() + domain.longest_window_us();
                    let rows = now.rows.values().filter(|row| row.end_us >= changeable_us);
                    prop_assert!(windows.windows() <= rows.count(), "windows that need a read-back have left");
                }
            }
        }
    }
}

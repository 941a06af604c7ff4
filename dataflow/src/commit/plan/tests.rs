//! Several epochs in one plan against the same epochs committed one by one.

use citytide_core::window::PaneSums;
use citytide_store::row::Value;
use proptest::prelude::*;

use super::*;

/// What one epoch changes.
#[derive(Debug, Clone)]
struct Epoch {
    windows: Vec<WindowRow>,
    panes: Vec<PaneState>,
    marks: Vec<Mark>,
    views: Vec<(ViewRow, isize)>,
}

/// What the commits leave behind.
#[derive(Debug, Default, PartialEq)]
struct Tables {
    windows: HashMap<(usize, Arc<str>, i64), WindowRow>,
    panes: HashMap<(Arc<str>, i64), PaneState>,
    progress: BTreeMap<i32, Mark>,
    zones: Vec<(i32, String)>,
    views: BTreeMap<(usize, Row), Row>,
}

impl Tables {
    fn commit(&mut self, plan: Plan) {
        self.windows.extend(plan.windows);
        self.panes.extend(plan.panes);
        for (partition, mut mark) in plan.marks {
            let zones = std::mem::take(&mut mark.new_zones);
            self.zones.extend(zones.into_iter().map(|zone| (partition, zone)));
            self.progress.insert(partition, mark);
        }
        self.zones.sort();
        for (key, row) in plan.views {
            match row {
                Some(row) => self.views.insert(key, row),
                None => self.views.remove(&key),
            };
        }
    }
}

fn add(plan: &mut Plan, epoch: &Epoch) {
    let Epoch { windows, panes, marks, views } = epoch.clone();
    plan.apply(Applied { windows, panes, facts: vec![] });
    plan.views(views);
    marks.into_iter().for_each(|mark| plan.mark(mark));
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Downtown", "Harbour"])
}

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let window = (0..2_usize, zone(), 0..3_i64, 1..9_u64).prop_map(|(window, zone, start_us, readings)| {
        let zone = Arc::from(zone);
        let (end_us, figures, is_final) = (start_us + 60, vec![], readings % 2 == 0);
        WindowRow { window, zone, start_us, end_us, readings, anomalies: 0, figures, is_final }
    });
    let pane = (zone(), 0..3_i64, 1..9_u64).prop_map(|(zone, start_us, last_epoch)| PaneState {
        zone: Arc::from(zone),
        start_us,
        sums: PaneSums { readings: last_epoch, ..PaneSums::empty(1) },
        first_epoch: 0,
        last_epoch,
    });
    let mark = (0..3_i32, 0..100_i64, prop::collection::vec("[a-z]{3}", 0..3)).prop_map(
        |(partition, next_offset, new_zones)| {
            let mut mark = Mark { new_zones, ..Mark::at_start(partition, 0) };
            mark.position.next_offset = next_offset;
            mark.position.counts.accepted = next_offset;
            mark
        },
    );
    // What a view's rows become in an epoch; the changes follow from what was there.
    let view = (zone(), 1..3_u32, prop::option::of(0..9_u64));
    let rows = prop::collection::vec(view, 0..6);
    let epoch = (
        prop::collection::vec(window, 0..5),
        prop::collection::vec(pane, 0..5),
        prop::collection::vec(mark, 0..5),
        rows,
        any::<bool>(),
    );
    prop::collection::vec(epoch, 1..8).prop_map(|epochs| {
        let mut there: BTreeMap<(&str, u32), ViewRow> = BTreeMap::new();
        let changes = |there: &mut BTreeMap<(&'static str, u32), ViewRow>,
                       rows: Vec<(&'static str, u32, Option<u64>)>| {
            let before = there.clone();
            for (zone, rank, anomalies) in rows {
                match anomalies {
                    Some(anomalies) => drop(there.insert((zone, rank), hot(zone, rank, anomalies))),
                    None => drop(there.remove(&(zone, rank))),
                }
            }
            let gone = before.values().filter(|row| !there.values().any(|other| other == *row));
            let come = there.values().filter(|row| !before.values().any(|other| other == *row));
            let gone = gone.map(|row| (row.clone(), -1));
            gone.chain(come.map(|row| (row.clone(), 1))).flat_map(|(row, diff)| both(row, diff)).collect()
        };
        let make = |(windows, panes, marks, rows, backwards)| {
            let mut views: Vec<_> = changes(&mut there, rows);
            if backwards {
                views.reverse();
            }
            Epoch { windows, panes, marks, views }
        };
        epochs.into_iter().map(make).collect()
    })
}

/// A row with a key of two columns, in view 0.
fn hot(zone: &str, rank: u32, anomalies: u64) -> ViewRow {
    let key = vec![Value::Text(zone.into()), Value::Integer(rank.into())];
    ViewRow {
        view: 0,
        key,
        rest: vec![Value::Integer(anomalies as i64)],
        onto: Onto::Replaces,
        has_start: false,
    }
}

/// The same change in both views; in view 1 the key is one column.
fn both(row: ViewRow, diff: isize) -> [(ViewRow, isize); 2] {
    let [Value::Text(zone), Value::Integer(rank)] = &row.key[..] else { panic!("a key of two columns") };
    let key = vec![Value::Text(format!("{zone} {rank}").into())];
    let status = ViewRow { view: 1, key, rest: row.rest.clone(), onto: Onto::Replaces, has_start: false };
    [(row, diff), (status, diff)]
}

proptest! {
    #[test]
    fn epochs_in_one_plan_leave_behind_what_they_leave_one_by_one(epochs in epochs(), cut in 0..8_usize) {
        let mut one_by_one = Tables::default();
        for epoch in &epochs {
            let mut plan = Plan::default();
            add(&mut plan, epoch);
            one_by_one.commit(plan);
        }
        let mut in_two = Tables::default();
        let (first, second) = epochs.split_at(cut.min(epochs.len()));
        for part in [first, second] {
            let mut plan = Plan::default();
            part.iter().for_each(|epoch| add(&mut plan, epoch));
            in_two.commit(plan);
        }
        // Of the views stands what appeared and did not disappear.
        let mut held: BTreeMap<ViewRow, isize> = BTreeMap::new();
        for (row, diff) in epochs.iter().flat_map(|epoch| &epoch.views) {
            *held.entry(row.clone()).or_default() += diff;
        }
        held.retain(|_, times| *times != 0);
        let written = in_two.views.iter();
        let written = written.map(|((view, key), rest)| ViewRow { view: *view, key: key.clone(), rest: rest.clone(), onto: Onto::Replaces, has_start: false });
        let written: Vec<ViewRow> = written.collect();
        let mut expected: Vec<ViewRow> = held.into_keys().collect();
        expected.sort_by_key(|row| written.iter().position(|other| other == row));
        prop_assert_eq!(written, expected);
        prop_assert_eq!(in_two, one_by_one);
    }

    #[test]
    fn counts_of_several_epochs_are_one_sum_from_which_what_disappears_is_taken(
        counts in prop::collection::vec((0..3_i64, 0..9_i64, -3..4_isize), 0..20)
    ) {
        let row = |minute: i64, count: i64| ViewRow {
            view: 3,
            key: vec![Value::Time(minute)],
            rest: vec![Value::Integer(count), Value::Integer(1)],
            onto: Onto::Adds,
            has_start: true,
        };
        let mut plan = Plan::default();
        let mut expected: BTreeMap<(usize, Row), Option<Row>> = BTreeMap::new();
        for (minute, count, times) in &counts {
            plan.views(vec![(row(*minute, *count), *times)]);
            let all = counts.iter().filter(|one| one.0 == *minute);
            let (sum, rows) = all.fold((0, 0), |(sum, rows), one| {
                (sum + one.1 * one.2 as i64, rows + one.2 as i64)
            });
            let sums = vec![Value::Integer(sum), Value::Integer(rows)];
            expected.insert((3, vec![Value::Time(*minute)]), Some(sums));
        }
        prop_assert_eq!(plan.views, expected);
        prop_assert_eq!(plan.starts_from_us, counts.iter().map(|one| one.0).min());
    }
}

#[test]
fn rows_of_views_alone_are_no_reason_for_a_transaction() {
    let mut plan = Plan::default();
    assert!(plan.is_empty());
    plan.views(vec![(hot("Downtown", 1, 1), 1)]);
    assert!(plan.is_empty());
    assert_eq!(plan.views.len(), 1, "they wait for a mark");
}

#[test]
fn parts_of_a_row_are_written_one_after_the_other_and_wait_for_another_commit_until_they_are_due() {
    let part = |id: &str, at_us: i64| {
        let (key, rest) = (vec![Value::Text(id.into()), Value::Time(at_us)], vec![Value::Integer(1)]);
        ViewRow { view: 4, key, rest, onto: Onto::Merges, has_start: false }
    };
    let mut plan = Plan::default();
    plan.views(vec![(part("a", 7), 1), (part("b", 7), 1)]);
    plan.views(vec![(part("a", 7), 1), (part("a", 8), 1)]);
    let rows = |part: &ViewRow| (part.key.clone(), part.rest.clone());
    let of_view: Vec<Vec<Part>> = plan.parts.of_view(4).map(<[Part]>::to_vec).collect();
    let first = vec![rows(&part("a", 7)), rows(&part("b", 7)), rows(&part("a", 8))];
    assert_eq!(of_view, [first, vec![rows(&part("a", 7))]]);
    assert_eq!(plan.parts.of_view(3).count(), 0);
    // Which hour a row is of says nothing of windows.
    assert_eq!(plan.windows_from_us(), None);
    assert!(plan.is_empty());
    plan.views(vec![(
        ViewRow { view: 4, key: Row::new(), rest: Row::new(), onto: Onto::Merges, has_start: false },
        1,
    )]);
    assert!(!plan.is_empty());
    assert_eq!(plan.parts.of_view(4).map(<[Part]>::len).sum::<usize>(), 4, "what says so is no row");
}

//! Panes that have left memory and come back.

use super::*;

/// One reading of Downtown at this time.
fn reading(at_us: i64) -> Vec<Partial> {
    let reading = Accepted { zone: 0, at_us, values: [1.0; 2], is_anomaly: false, worker: 0 };
    partials(&[reading], 1, 60 * SECOND)
}

/// Windows of a minute whose W is an hour past the pane at zero, which only the panes table holds.
fn an_hour_later() -> (Windows, PaneState) {
    let mut windows = Windows::new(&domain(&[(60, 60)], 60), NEVER);
    let pane = windows.apply(50, reading(0), NEVER).panes.remove(0);
    windows.apply(100, vec![], 3600 * SECOND);
    windows.evict(101);
    assert_eq!(windows.panes(), 0);
    (windows, pane)
}

#[test]
fn a_reading_for_a_pane_that_left_memory_adds_to_what_the_table_holds() {
    let (mut windows, pane) = an_hour_later();
    assert_eq!(
        windows.missing(&reading(1)),
        [[PaneRange { zone: Arc::from("Downtown"), from_us: 0, until_us: 60 * SECOND }]]
    );
    windows.load(pane);
    let applied = windows.apply(150, reading(1), 3600 * SECOND);
    assert_eq!((applied.windows[0].readings, applied.windows[0].is_final), (2, true));
    assert_eq!((applied.panes[0].first_epoch, applied.panes[0].last_epoch), (50, 150));
}

/// A snapshot taken before an epoch's commit does not show what the epoch changed; memory must hold it until the answer
/// is in, though the epoch is committed meanwhile.
#[test]
fn a_commit_between_the_question_and_the_answer_loses_no_reading() {
    let (mut windows, pane) = an_hour_later();
    windows.missing(&reading(1));
    windows.load(pane.clone());
    windows.apply(150, reading(1), 3600 * SECOND);
    windows.evict(101);
    // The next epoch asks before epoch 150 is committed, and is answered after it.
    assert!(!windows.missing(&reading(2)).is_empty());
    windows.evict(151);
    windows.load(pane);
    let applied = windows.apply(200, reading(2), 3600 * SECOND);
    assert_eq!(applied.windows[0].readings, 3);
    windows.evict(201);
    assert_eq!(windows.panes(), 0, "and then it is let go");
}

/// The ranges that two readings of Downtown, at these minutes, have read back from an hour ago on.
fn ranges(windows: &mut Windows, minutes: &[i64]) -> Vec<Vec<(i64, i64)>> {
    let partials: Vec<Partial> = minutes.iter().flat_map(|minute| reading(minute * 60 * SECOND)).collect();
    let minute = |us: i64| us / (60 * SECOND);
    let of = |range: PaneRange| (minute(range.from_us), minute(range.until_us));
    windows.missing(&partials).into_iter().map(|batch| batch.into_iter().map(of).collect()).collect()
}

#[test]
fn stragglers_have_their_own_panes_read_back_and_not_what_lies_between_them() {
    let mut windows = Windows::new(&domain(&[(60, 60), (300, 60)], 86_400), 600_000 * 60 * SECOND);
    assert_eq!(ranges(&mut windows, &[500_000, 10]), [[(6, 15), (499_996, 500_005)]]);
    assert_eq!(ranges(&mut windows, &[19, 10, 30]), [[(6, 24), (26, 35)]], "those that touch are one");
}

#[test]
fn panes_are_read_back_in_bounded_batches() {
    let mut windows = Windows::new(&domain(&[(60, 60)], 86_400), 600_000 * 60 * SECOND);
    let minutes: Vec<i64> = (0..5_000).chain(10_000..10_100).collect();
    assert_eq!(ranges(&mut windows, &minutes), [vec![(0, 4_096)], vec![(4_096, 5_000), (10_000, 10_100)]]);
}

#[test]
fn memory_does_not_grow_with_the_allowed_lateness() {
    let mut windows = Windows::new(&domain(&[(60, 60), (300, 60)], 30 * 86_400), NEVER);
    let mut most = 0;
    for minute in 0..3 * 1_440 {
        let at_us = minute * 60 * SECOND;
        windows.apply(minute as u64 + 1, reading(at_us), at_us);
        windows.evict(minute as u64 + 2);
        most = most.max(windows.panes());
    }
    assert_eq!(most, 17, "ten minutes, a window, and what is open");
}

/// A week by the default domain, with a reading of the day before every seven minutes, as of a device that was offline.
#[test]
fn panes_held_stay_few_while_a_week_passes_with_readings_up_to_a_day_late() {
    let lateness_s = Domain::smart_city().time.allowed_lateness_us / SECOND;
    assert_eq!(lateness_s, 86_400);
    let mut windows = Windows::new(&domain(&[(60, 60), (300, 60)], lateness_s), NEVER);
    let mut table: BTreeMap<i64, PaneState> = BTreeMap::new();
    let (mut panes, mut rows, mut late) = (0, 0, 0);
    for minute in 0..7 * 1_440_i64 {
        let at_us = minute * 60 * SECOND;
        let mut brought = reading(at_us);
        if minute > 1_440 && minute % 7 == 0 {
            late += 1;
            brought.extend(reading(at_us - (1 + minute * 37 % 1_440) * 60 * SECOND));
        }
        let missing = windows.missing(&brought);
        for range in missing.into_iter().flatten() {
            table.range(range.from_us..range.until_us).for_each(|(_, pane)| windows.load(pane.clone()));
        }
        let epoch = minute as u64 + 1;
        for pane in windows.apply(epoch, brought, at_us).panes {
            table.insert(pane.start_us, pane);
        }
        (panes, rows) = (panes.max(windows.panes()), rows.max(windows.windows()));
        // The last three epochs are in flight.
        windows.evict(epoch.saturating_sub(2));
    }
    assert_eq!(table.values().map(|pane| pane.sums.readings).sum::<u64>(), 7 * 1_440 + late);
    assert!(panes <= 40 && rows <= 60, "{panes} panes and {rows} windows were held");
    let read_at_restart = table.range(windows.open_from_us()..).count();
    assert!(read_at_restart <= 17, "{read_at_restart} panes");
}

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
        [PaneRange { zone: Arc::from("Downtown"), from_us: 0, until_us: 60 * SECOND }]
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

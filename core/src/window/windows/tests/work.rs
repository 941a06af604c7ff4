//! What an epoch costs, counted in merges of sums.

use super::*;

/// The merges of an epoch that brings a reading to the newest pane, once a day of panes is there.
fn merges(size_s: i64, slide_s: i64) -> usize {
    let mut windows = Windows::new(&domain(&[(size_s, slide_s)], 60), NEVER);
    let mut epoch = |minute: i64| {
        let at_us = 60 * SECOND * minute;
        let reading = Accepted { zone: 0, at_us, values: [1.0; 2], is_anomaly: false, worker: 0 };
        let before = counted(&windows);
        windows.apply(50 * (1 + minute as u64), partials(&[reading], 1, 60 * SECOND), at_us);
        windows.evict(u64::MAX);
        counted(&windows) - before
    };
    (0..1440).map(&mut epoch).last().expect("an epoch")
}

fn counted(windows: &Windows) -> usize {
    windows.zones.values().map(|zone| zone.merges).sum()
}

#[test]
fn a_pane_is_merged_once_into_each_window_over_it_however_many_panes_they_have() {
    // The window that begins with the pane takes it without a merge.
    assert_eq!(merges(16 * 3600, 60), 959);
    assert_eq!(merges(16 * 3600, 3600), 16);
    assert_eq!(merges(3600, 3600), 1);
    assert_eq!(merges(60, 60), 0);
}

#[test]
fn windows_leave_memory_with_the_panes_that_could_change_them() {
    let mut windows = Windows::new(&domain(&[(600, 60)], 120), NEVER);
    let mut in_memory = Vec::new();
    for minute in 0..240 {
        let at_us = 60 * SECOND * minute;
        let reading = Accepted { zone: 0, at_us, values: [1.0; 2], is_anomaly: false, worker: 0 };
        windows.apply(50 * (1 + minute as u64), partials(&[reading], 1, 60 * SECOND), at_us);
        windows.evict(u64::MAX);
        in_memory.push((windows.panes(), windows.windows()));
    }
    // Ten minutes of windows, two of lateness and the pane; windows that end later than a pane that may still come.
    assert_eq!(in_memory[30..].iter().max(), in_memory[30..].iter().min(), "memory is flat: {in_memory:?}");
    assert!(in_memory[239].1 <= 14, "{:?}", in_memory[239]);
}

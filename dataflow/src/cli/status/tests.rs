//! The line to the letter.

use super::*;
use crate::commit::plan::Plan;
use crate::launch::clock;

/// 2026-11-21T05:26:00Z.
const NOON_MS: u64 = 1_795_238_760_000;

fn mark(partition: i32, next_offset: i64, end_offset: i64, anomalies: i64) -> Mark {
    Mark { next_offset, accepted: next_offset, end_offset, anomalies, ..Mark::at_start(partition, 0) }
}

fn committed(epoch: u64, readings: i64, low_us: i64) -> Committed {
    Committed { epoch, plan: Plan { epoch, readings, low_us, ..Plan::default() } }
}

/// A status whose clock has begun.
fn begun(now: Instant) -> Status {
    let mut status = Status::default();
    assert_eq!(status.line(now, NOON_MS), None);
    status
}

#[test]
fn the_line_sums_up_all_partitions_and_the_commits_since_the_last_line() {
    let start = clock::instant();
    let mut status = begun(start);
    status.mark(&mark(0, 10, 20, 1));
    status.mark(&mark(0, 1_000, 2_000, 1_000));
    status.mark(&mark(1, 500, 834, 234));
    let low_us = (NOON_MS as i64 - 6_500) * 1000;
    status.committed(&committed(50, 700_000, NEVER), start + Duration::from_secs(1));
    status.committed(&committed(100, 13_000, low_us), start + Duration::from_millis(4_900));
    assert_eq!(status.line(start + Duration::from_millis(4_999), NOON_MS), None);
    assert_eq!(
        status.line(start + INTERVAL, NOON_MS).as_deref(),
        Some("142,600/s · lag 1,334 · watermark 6 s behind · 1,234 anomalies · commit 0.1 s ago")
    );
    assert_eq!(
        status.line(start + 2 * INTERVAL, NOON_MS).as_deref(),
        Some("0/s · lag 1,334 · watermark 6 s behind · 1,234 anomalies · commit 5.1 s ago")
    );
}

#[test]
fn before_the_first_commit_there_is_no_watermark_and_no_age() {
    let start = clock::instant();
    let mut status = begun(start);
    assert_eq!(
        status.line(start + INTERVAL, NOON_MS).as_deref(),
        Some("0/s · lag 0 · watermark none yet · 0 anomalies · commit none yet")
    );
}

#[test]
fn a_watermark_of_long_ago_is_shown_as_a_time() {
    let start = clock::instant();
    let line_of = |behind_s: i64| {
        let mut status = begun(start);
        let low_us = NOON_MS as i64 * 1000 - behind_s * 1_000_000;
        status.committed(&committed(50, 0, low_us), start);
        status.line(start + INTERVAL, NOON_MS).expect("due")
    };
    assert!(line_of(3_599).contains(" · watermark 3599 s behind · "), "{}", line_of(3_599));
    assert!(line_of(3_600).contains(" · watermark 2026-11-21 04:26 · "), "{}", line_of(3_600));
}

#[test]
fn an_end_that_lags_behind_what_was_read_is_no_negative_lag() {
    let start = clock::instant();
    let mut status = begun(start);
    status.mark(&mark(0, 20, 10, 0));
    assert!(status.line(start + INTERVAL, NOON_MS).expect("due").contains(" · lag 0 · "));
}

#[test]
fn thousands_are_set_apart() {
    assert_eq!(thousands(0), "0");
    assert_eq!(thousands(999), "999");
    assert_eq!(thousands(1_000), "1,000");
    assert_eq!(thousands(-1_234_567), "-1,234,567");
}

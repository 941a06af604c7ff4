//! What enters and leaves, at the very microsecond, and against the definition.

use proptest::prelude::*;

use super::*;

fn at(recorded_us: i64) -> RecentAnomaly {
    RecentAnomaly { zone: "Downtown".into(), sensor: "42".into(), recorded_us }
}

#[test]
fn an_anomaly_enters_when_the_watermark_passes_it_and_leaves_after_five_minutes() {
    let mut recent = Recent::default();
    assert_eq!(recent.advance([at(1000)], NEVER), []);
    assert_eq!(recent.advance([], 1000), []);
    assert_eq!(recent.advance([], 1001), [(at(1000), 1)]);
    assert_eq!(recent.advance([], 1000 + RECENT_US), []);
    assert_eq!(recent.advance([], 1001 + RECENT_US), [(at(1000), -1)]);
}

#[test]
fn an_old_anomaly_never_enters_and_a_leap_passes_over_it() {
    let mut recent = Recent::default();
    assert_eq!(recent.advance([at(1000)], 1001 + RECENT_US), []);
    assert_eq!(recent.advance([at(2 * RECENT_US)], 4 * RECENT_US), []);
    assert!(recent.ahead.is_empty() && recent.inside.is_empty());
}

#[test]
fn equal_anomalies_count_each() {
    let mut recent = Recent::default();
    assert_eq!(recent.advance([at(1), at(1)], 2), [(at(1), 1), (at(1), 1)]);
    assert_eq!(recent.advance([], 2 + RECENT_US), [(at(1), -1), (at(1), -1)]);
}

proptest! {
    #[test]
    fn what_entered_and_did_not_leave_are_the_anomalies_of_the_five_minutes_before_w(
        steps in prop::collection::vec((prop::collection::vec(0..20 * RECENT_US / 5, 0..6), 0..RECENT_US, prop::bool::weighted(0.8)), 1..40),
    ) {
        let mut recent = Recent::default();
        let mut held: BTreeMap<RecentAnomaly, isize> = BTreeMap::new();
        let mut all: Vec<i64> = Vec::new();
        let mut low_us = NEVER;
        for (recorded, by_us, known) in steps {
            if known || low_us != NEVER {
                low_us = low_us.max(0) + by_us;
            }
            all.extend(&recorded);
            for (anomaly, diff) in recent.advance(recorded.into_iter().map(at), low_us) {
                *held.entry(anomaly).or_default() += diff;
            }
            held.retain(|_, times| *times != 0);
            let mut expected: BTreeMap<RecentAnomaly, isize> = BTreeMap::new();
            for &recorded_us in &all {
                if low_us != NEVER && recorded_us < low_us && low_us - RECENT_US <= recorded_us {
                    *expected.entry(at(recorded_us)).or_default() += 1;
                }
            }
            prop_assert_eq!(&held, &expected);
            let kept = recent.ahead.len() + recent.inside.len();
            let open = all.iter().filter(|&&at_us| low_us == NEVER || at_us >= low_us - RECENT_US).count();
            prop_assert_eq!(kept, open, "memory holds what is or will be recent");
        }
    }
}

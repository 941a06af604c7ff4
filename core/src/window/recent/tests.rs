//! What enters and leaves, at the very microsecond, and against the definition; what is kept, and what is read back.

use proptest::prelude::*;

use super::*;

fn at(recorded_us: i64) -> RecentAnomaly {
    RecentAnomaly { zone: "Downtown".into(), sensor: "42".into(), recorded_us }
}

/// There is room for everything.
fn roomy() -> Recent {
    Recent::new(AHEAD_MAX, i64::MAX, 0)
}

/// What commits have brought, as `sensor_data` holds it: anomalies with their epochs.
#[derive(Default)]
struct Database(Vec<(u64, RecentAnomaly)>);

impl Database {
    fn answer(&self, asked: ReadBack) -> Vec<RecentAnomaly> {
        let wanted = |(epoch, one): &&(u64, RecentAnomaly)| {
            *epoch < asked.epoch_below && one.recorded_us >= asked.from_us
        };
        let mut found: Vec<RecentAnomaly> =
            self.0.iter().filter(wanted).map(|(_, one)| one.clone()).collect();
        found.sort_by_key(|one| one.recorded_us);
        if let Some(last) = found.get(asked.rows_max - 1).map(|last| last.recorded_us) {
            found.retain(|one| one.recorded_us <= last);
        }
        found
    }

    /// As of a commit, after a restart.
    fn restored(&self, ahead_max: usize, low_us: i64, committed_below: u64) -> (Recent, Vec<RecentAnomaly>) {
        let asked = ReadBack { from_us: low_us, epoch_below: u64::MAX, rows_max: (ahead_max / 2).max(1) };
        let mut known = self.answer(asked);
        let whole_below_us = asked.whole_below_us(known.iter());
        let is_inside =
            |one: &RecentAnomaly| one.recorded_us < low_us && low_us - RECENT_US <= one.recorded_us;
        known.extend(self.0.iter().map(|(_, one)| one.clone()).filter(is_inside));
        (Recent::new(ahead_max, whole_below_us, committed_below), known)
    }
}

#[test]
fn an_anomaly_enters_when_the_watermark_passes_it_and_leaves_after_five_minutes() {
    let mut recent = roomy();
    assert_eq!(recent.pass(1, [at(1000)], NEVER), []);
    assert_eq!(recent.pass(2, [], 1000), []);
    assert_eq!(recent.pass(3, [], 1001), [(at(1000), 1)]);
    assert_eq!(recent.pass(4, [], 1000 + RECENT_US), []);
    assert_eq!(recent.pass(5, [], 1001 + RECENT_US), [(at(1000), -1)]);
}

#[test]
fn an_old_anomaly_never_enters_and_a_leap_passes_over_it() {
    let mut recent = roomy();
    assert_eq!(recent.pass(1, [at(1000)], 1001 + RECENT_US), []);
    assert_eq!(recent.pass(2, [at(2 * RECENT_US)], 4 * RECENT_US), []);
    assert!(recent.ahead.is_empty() && recent.inside.is_empty());
}

#[test]
fn equal_anomalies_count_each() {
    let mut recent = roomy();
    assert_eq!(recent.pass(1, [at(1), at(1)], 2), [(at(1), 1), (at(1), 1)]);
    assert_eq!(recent.pass(2, [], 2 + RECENT_US), [(at(1), -1), (at(1), -1)]);
}

#[test]
fn however_long_w_stands_still_memory_holds_a_bounded_number_and_the_rest_is_read_back() {
    let mut recent = Recent::new(100, i64::MAX, 1);
    let mut database = Database::default();
    recent.pass(1, [], 0);
    for epoch in 2..2_000 {
        let brought: Vec<RecentAnomaly> = (0..10).map(|number| at(epoch as i64 * 10 + number)).collect();
        database.0.extend(brought.iter().map(|one| (epoch, one.clone())));
        recent.pass(epoch, brought, 0);
        recent.evict(epoch - 1);
        assert!(recent.ahead() <= 100 + 2 * 10, "{} at {epoch}", recent.ahead());
    }
    // W gets there, at last.
    let (mut entered, mut asked) = (0, 0);
    for epoch in 2_000..4_100 {
        let low_us = (epoch as i64 - 2_000) * 10;
        while let Some(wanted) = recent.missing(low_us) {
            recent.read_back(wanted, database.answer(wanted));
            asked += 1;
        }
        entered += recent.pass(epoch, [], low_us).len();
        recent.evict(epoch);
        assert!(recent.ahead() <= 100, "{} at {epoch}", recent.ahead());
    }
    assert_eq!(entered, database.0.len());
    assert!(asked <= database.0.len() / 50 + 1, "{asked} times");
}

#[test]
fn what_is_not_committed_is_not_read_back_twice() {
    let mut recent = Recent::new(2, i64::MAX, 1);
    let mut database = Database::default();
    for epoch in 1..=3 {
        let brought = [at(10), at(20), at(30)];
        database.0.extend(brought.iter().map(|one| (epoch, one.clone())));
        recent.pass(epoch, brought, 0);
    }
    recent.evict(2);
    let wanted = recent.missing(40).expect("it let go of the first epoch's");
    // Meanwhile the second one is committed; that is heard before the answer.
    recent.evict(3);
    recent.read_back(wanted, database.answer(wanted));
    while let Some(wanted) = recent.missing(40) {
        recent.read_back(wanted, database.answer(wanted));
    }
    assert_eq!(recent.pass(4, [], 40).len(), 9);
}

proptest! {
    #[test]
    fn what_entered_and_did_not_leave_are_the_anomalies_of_the_five_minutes_before_w(
        steps in prop::collection::vec((
            prop::collection::vec(0..20 * RECENT_US / 5, 0..6),
            0..RECENT_US,
            prop::bool::weighted(0.8),
            0_u64..4,
            prop::bool::weighted(0.1),
        ), 1..60),
        // Few, so that most must be read back; or all of them.
        ahead_max in prop::sample::select(vec![0, 1, 2, 5, AHEAD_MAX]),
        is_coarse in any::<bool>(),
    ) {
        let mut recent = Recent::new(ahead_max, i64::MAX, 0);
        let mut database = Database::default();
        let mut held: BTreeMap<RecentAnomaly, isize> = BTreeMap::new();
        let mut low_us = NEVER;
        for (epoch, (recorded, by_us, known, behind, restarts)) in (1..).zip(steps) {
            if known || low_us != NEVER {
                low_us = low_us.max(0) + by_us;
            }
            // Many at the same time, or hardly any.
            let recorded = recorded.into_iter().map(|at_us| if is_coarse { at_us / RECENT_US * RECENT_US } else { at_us });
            let brought: Vec<RecentAnomaly> = recorded.map(at).collect();
            while let Some(wanted) = recent.missing(low_us) {
                recent.read_back(wanted, database.answer(wanted));
                recent.evict(epoch);
            }
            database.0.extend(brought.iter().map(|one| (epoch, one.clone())));
            for (anomaly, diff) in recent.pass(epoch, brought, low_us) {
                *held.entry(anomaly).or_default() += diff;
            }
            held.retain(|_, times| *times != 0);
            let mut expected: BTreeMap<RecentAnomaly, isize> = BTreeMap::new();
            for (_, anomaly) in &database.0 {
                if low_us != NEVER && anomaly.recorded_us < low_us && low_us - RECENT_US <= anomaly.recorded_us {
                    *expected.entry(anomaly.clone()).or_default() += 1;
                }
            }
            prop_assert_eq!(&held, &expected);
            recent.evict((epoch + 1).saturating_sub(behind));
            let uncommitted = database.0.iter().filter(|(of, _)| of + behind > epoch).count();
            prop_assert!(recent.ahead() <= ahead_max + uncommitted, "{} ahead", recent.ahead());
            if restarts {
                let (restored, known) = database.restored(ahead_max, low_us, epoch + 1);
                recent = restored;
                held.clear();
                for (anomaly, diff) in recent.pass(0, known, low_us) {
                    *held.entry(anomaly).or_default() += diff;
                }
                prop_assert_eq!(&held, &expected, "restored");
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_known_of_sensors_is_a_recompute_of_what_is_recent(
        epochs in prop::collection::vec(
            (prop::collection::vec((0..3_u8, -400..400_i64), 0..6), 0..200_i64), 1..30
        ),
    ) {
        let (mut recent, mut low_us) = (roomy(), 0);
        let mut all: Vec<RecentAnomaly> = Vec::new();
        let mut told: BTreeMap<SensorAnomalies, isize> = BTreeMap::new();
        for (epoch, (anomalies, step)) in (1..).zip(epochs) {
            let brought: Vec<RecentAnomaly> = anomalies
                .into_iter()
                .map(|(sensor, at_s)| RecentAnomaly {
                    sensor: sensor.to_string().into(),
                    ..at(low_us + at_s * 1_000_000)
                })
                .collect();
            all.extend(brought.iter().cloned());
            low_us += step * 1_000_000;
            for (one, diff) in recent.advance(epoch, brought, low_us) {
                *told.entry(one).or_default() += diff;
            }
            told.retain(|_, times| *times != 0);
            let mut expected: BTreeMap<Arc<str>, (u64, i64)> = BTreeMap::new();
            for one in all.iter().filter(|one| (low_us - RECENT_US..low_us).contains(&one.recorded_us)) {
                let known = expected.entry(one.sensor.clone()).or_insert((0, i64::MIN));
                *known = (known.0 + 1, known.1.max(one.recorded_us));
            }
            let expected: BTreeMap<SensorAnomalies, isize> = expected
                .into_iter()
                .map(|(sensor, (count, last_us))| {
                    (SensorAnomalies { zone: "Downtown".into(), sensor, count, last_us }, 1)
                })
                .collect();
            prop_assert_eq!(&told, &expected);
        }
    }
}

//! Counts against a naive recompute, however readings come in batches.

use std::collections::BTreeMap;

use citytide_core::batch::example::{self, Row as Reading};
use citytide_core::batch::{DeadLetter, ReadProgress};
use citytide_core::decode::Reason;
use proptest::prelude::*;

use super::*;

const METRICS: usize = 2;

/// Zone, time, values if it has them, whether it is late.
type One = (u8, i64, [Option<i8>; METRICS], bool);

const USUAL: [(f64, f64); METRICS] = [(0.0, 2.0), (-1.0, 1.0)];

fn readings() -> impl Strategy<Value = Vec<One>> {
    let time_us = -2 * MINUTE_US..3 * MINUTE_US;
    let values = [prop::option::of(-2..4_i8), prop::option::of(-2..4_i8)];
    prop::collection::vec((0..3_u8, time_us, values, any::<bool>()), 0..40)
}

fn batch_of(readings: &[One], received_at_ms: &[i64]) -> Batch {
    let value = |value: &Option<i8>| value.map_or(f64::NAN, f64::from);
    let row = |(zone, at_us, values, _): &One| Reading {
        zone: format!("zone {zone}"),
        ..Reading::new(0, *at_us, &values.iter().map(value).collect::<Vec<_>>())
    };
    let rows: Vec<Reading> = readings.iter().map(row).collect();
    let mut batch = match rows.is_empty() {
        true => Batch { metrics: vec![Vec::new(); METRICS], ..Batch::empty(0, ReadProgress::up_to(0)) },
        false => example::batch(0, &rows),
    };
    batch.late = readings.iter().map(|reading| reading.3).collect();
    let letter = |received_at_ms: &i64| DeadLetter {
        offset: 0,
        received_at_ms: *received_at_ms,
        reason: Reason::Empty,
        field: None,
        message: String::new(),
        payload: Vec::new(),
        payload_bytes: 0,
        sensor: None,
    };
    batch.dead = received_at_ms.iter().map(letter).collect();
    batch
}

/// The rows added up, by zone and minute.
fn added_up(rows: Vec<Row>) -> BTreeMap<(String, i64), Vec<i64>> {
    let mut sums: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
    for row in rows {
        let [Value::Text(zone), Value::Time(minute_us), counts @ ..] = &row[..] else { panic!("{row:?}") };
        let sum = sums.entry((zone.to_string(), *minute_us)).or_insert_with(|| vec![0; counts.len()]);
        for (sum, count) in sum.iter_mut().zip(counts) {
            let Value::Integer(count) = count else { panic!("{row:?}") };
            *sum += count;
        }
    }
    sums
}

proptest! {
    #[test]
    fn the_counts_are_those_of_all_readings_and_letters_in_any_batches(
        batches in prop::collection::vec((readings(), prop::collection::vec(0..200_000_i64, 0..5)), 0..4)
    ) {
        let mut rows = Vec::new();
        let mut expected: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
        for (readings, received_at_ms) in &batches {
            counts_of(&batch_of(readings, received_at_ms), &USUAL, &mut rows);
            for (zone, at_us, values, is_late) in readings {
                let minute_us = at_us.div_euclid(MINUTE_US) * MINUTE_US;
                let counts = expected.entry((format!("zone {zone}"), minute_us)).or_insert_with(|| vec![0; 7]);
                let accepted = i64::from(!is_late);
                counts[0] += accepted;
                counts[1] += 1 - accepted;
                for (metric, value) in values.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?))) {
                    let usual = USUAL[metric].0..=USUAL[metric].1;
                    counts[3 + 2 * metric] += accepted;
                    counts[4 + 2 * metric] += accepted * i64::from(!usual.contains(&f64::from(value)));
                }
            }
            for at_ms in received_at_ms {
                let minute_us = at_ms / 60_000 * MINUTE_US;
                expected.entry((String::new(), minute_us)).or_insert_with(|| vec![0; 7])[2] += 1;
            }
        }
        prop_assert_eq!(added_up(rows), expected);
    }
}

#[test]
fn a_letter_of_any_clock_has_a_minute() {
    let mut rows = Vec::new();
    counts_of(&batch_of(&[], &[i64::MIN, -1, 59_999, i64::MAX]), &USUAL, &mut rows);
    let minutes: Vec<(i64, i64)> =
        added_up(rows).into_iter().map(|((_, minute_us), counts)| (minute_us, counts[2])).collect();
    assert_eq!(minutes, [(0, 3), (LAST_US - MINUTE_US + 1, 1)]);
}

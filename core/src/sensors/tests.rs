//! What is gathered against a recompute, whatever the order of readings and however they come in batches.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::batch::example::{self, Row};

/// Sensor, zone, event time, value, whether it is late.
type One = (u8, u8, i64, Option<i8>, bool);

fn readings() -> impl Strategy<Value = Vec<One>> {
    let time_us = (0..4_i64, 0..90_i64).prop_map(|(hour, step)| (hour - 2) * HOUR_US + step * 41_000_001);
    prop::collection::vec((0..30_u8, 0..2_u8, time_us, prop::option::of(-2..4_i8), any::<bool>()), 0..40)
}

fn batch_of(readings: &[One]) -> Batch {
    let row = |(sensor, zone, at_us, value, _): &One| Row {
        zone: format!("zone {zone}"),
        sensor: format!("s{sensor}"),
        ..Row::new(0, *at_us, &[value.map_or(f64::NAN, f64::from)])
    };
    let rows: Vec<Row> = readings.iter().map(row).collect();
    let late = readings.iter().map(|reading| reading.4).collect();
    let received_at_ms = readings.iter().map(|reading| reading.2.div_euclid(1000) - 7).collect();
    Batch { late, received_at_ms, ..example::batch(0, &rows) }
}

fn gathered(batches: &[Vec<One>]) -> BTreeMap<String, (Sensor, Vec<Option<At>>)> {
    let mut turns = std::array::from_fn(|_| Turn::default());
    for readings in batches.iter().filter(|readings| !readings.is_empty()) {
        gather(&batch_of(readings), &mut turns);
    }
    let sensors = turns.iter().flat_map(Turn::sensors);
    sensors.map(|(id, sensor, latest)| (id.to_string(), (sensor.clone(), latest.collect()))).collect()
}

proptest! {
    #[test]
    fn what_is_gathered_is_what_the_accepted_readings_say(first in readings(), second in readings()) {
        let found = gathered(&[first.clone(), second.clone()]);
        let accepted = || first.iter().chain(&second).filter(|one| !one.4);
        let ids: std::collections::BTreeSet<String> = accepted().map(|one| format!("s{}", one.0)).collect();
        prop_assert!(found.keys().eq(&ids));
        for (id, (sensor, found_latest)) in &found {
            let mine = || accepted().filter(|one| format!("s{}", one.0) == *id);
            let (last_us, zone) = mine().map(|one| (one.2, one.1)).max().expect("it has one");
            prop_assert_eq!((sensor.last_us, &*sensor.zone), (last_us, &*format!("zone {zone}")));
            prop_assert_eq!(sensor.offset_ms, Some(7));
            let latest = mine().filter_map(|one| Some((one.2, one.3?))).max();
            prop_assert_eq!(found_latest, &[latest.map(|(at_us, value)| (at_us, f64::from(value)))]);
            let newest = last_us.div_euclid(HOUR_US);
            prop_assert_eq!(sensor.hour_us, newest * HOUR_US);
            for (hour, found) in [(newest, sensor.hour), (newest - 1, sensor.before)] {
                let minutes = || mine().filter(|one| one.2.div_euclid(HOUR_US) == hour);
                let bits = minutes().fold(0, |bits, one| bits | 1 << (one.2.rem_euclid(HOUR_US) / 60_000_000));
                prop_assert_eq!(found, Hour { minutes: bits, readings: minutes().count() as i64 });
            }
        }
    }

    #[test]
    fn each_turn_comes_once_in_a_round_that_begins_with_the_epoch(epoch in 0..10_000_000_u64) {
        let turns = turns_of(epoch);
        prop_assert!(turns.iter().all(|turn| (epoch..epoch + ROUND_MS).contains(turn) && turn % TURN_MS == 0));
        for (number, turn) in turns.iter().enumerate() {
            prop_assert_eq!((turn / TURN_MS) as usize % TURNS, number);
        }
    }
}

#[test]
fn sensors_whose_ids_have_one_hash_are_kept_apart() {
    let row = |sensor: &str, value: f64| Row { sensor: sensor.to_owned(), ..Row::new(0, 7, &[value]) };
    let batch = example::batch(0, &[row("a", 1.0), row("b", 2.0), row("c", 3.0), row("b", 4.0)]);
    let mut turn = Turn::default();
    (0..4).for_each(|row| turn.add(&batch, row, 9));
    let found =
        turn.sensors().map(|(id, sensor, mut latest)| (id.to_string(), sensor.hour.readings, latest.next()));
    let expected = [("a", 1, 1.0), ("b", 2, 4.0), ("c", 1, 3.0)];
    assert!(found.eq(expected.map(|(id, readings, value)| (
        id.to_owned(),
        readings,
        Some(Some((7, value)))
    ))));
}

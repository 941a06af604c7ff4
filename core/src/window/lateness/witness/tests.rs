//! Jumps by example.

use citytide_domain::Domain;
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// The watermark behind readings of these sensors, in seconds; `None` before there is one.
fn behind(readings: &[(&str, i64)]) -> Option<i64> {
    let mut position = Position::at_start(0);
    let witness = Witness::new(&Domain::smart_city().time);
    readings.iter().for_each(|(sensor, at_us)| witness.follow(&mut position, sensor.as_bytes(), *at_us));
    (position.watermark_us != NEVER).then(|| (position.watermark_us + 5 * SECOND) / SECOND)
}

/// Two sensors that say it is noon, which is 0.
fn at_noon(further: &[(&str, i64)]) -> Option<i64> {
    behind(&[&[("a", 0), ("b", 0)], further].concat())
}

#[test]
fn a_reading_up_to_ten_minutes_ahead_of_the_watermark_moves_it_alone_and_one_further_ahead_does_not() {
    let bound_us = 600 * SECOND - 5 * SECOND;
    assert_eq!(at_noon(&[("a", bound_us)]), Some(595));
    assert_eq!(at_noon(&[("a", bound_us + 1)]), Some(0));
}

#[test]
fn a_line_of_tomorrow_moves_nothing_wherever_it_stands() {
    let honest = [("a", 10), ("b", 20), ("a", 70), ("b", 80), ("a", 130), ("b", 140)];
    for line in 0..=honest.len() {
        let mut readings: Vec<(&str, i64)> = honest.map(|(sensor, at)| (sensor, at * SECOND)).to_vec();
        readings.insert(line, ("fast", DAY + 75 * SECOND));
        assert_eq!(behind(&readings), Some(140), "line {line}");
    }
}

#[test]
fn a_second_sensor_is_a_witness_and_the_watermark_follows_the_lower_of_the_two() {
    assert_eq!(
        at_noon(&[("a", HOUR), ("b", HOUR + 60 * SECOND)]),
        Some(3_660),
        "near each other, both count"
    );
    assert_eq!(at_noon(&[("a", 3 * HOUR), ("b", HOUR)]), Some(3_600));
    assert_eq!(
        at_noon(&[("a", 3 * HOUR), ("b", HOUR), ("b", 3 * HOUR)]),
        Some(10_800),
        "and then the higher"
    );
}

#[test]
fn the_third_reading_of_the_only_sensor_is_its_own_witness() {
    let hours = |hours: &[i64]| behind(&hours.iter().map(|hour| ("a", hour * HOUR)).collect::<Vec<_>>());
    assert_eq!(hours(&[0]), None);
    assert_eq!(hours(&[0, 0]), None);
    assert_eq!(hours(&[0, 0, 0]), Some(0));
    assert_eq!(hours(&[0, 0, 0, 5, 5]), Some(0));
    assert_eq!(hours(&[0, 0, 0, 5, 5, 5]), Some(5 * 3_600));
    assert_eq!(hours(&[0, 1, 2, 3, 4]), Some(2 * 3_600), "a reading an hour: the third last one is certain");
}

#[test]
fn a_sensor_that_is_not_the_only_one_never_convinces_alone() {
    let lies = [("fast", DAY), ("a", SECOND), ("fast", DAY), ("fast", DAY), ("b", SECOND), ("fast", DAY)];
    assert_eq!(at_noon(&lies), Some(1));
    assert_eq!(at_noon(&[&lies[..], &[("a", DAY)]].concat()), Some(86_400), "but its claim stands");
}

#[test]
fn a_claim_lapses_when_time_has_gone_on_without_it() {
    let after = |minutes: i64| {
        let honest = (1..=minutes).map(|minute| ("b", minute * 60 * SECOND));
        let claimed = std::iter::once(("fast", DAY)).chain(honest).chain([("a", 2 * HOUR)]);
        at_noon(&claimed.collect::<Vec<_>>())
    };
    assert_eq!((after(10), after(11)), (Some(7_200), Some(660)));
}

#[test]
fn a_sensor_whose_clock_goes_back_has_claimed_nothing() {
    assert_eq!(at_noon(&[("a", DAY), ("a", SECOND), ("b", DAY)]), Some(1));
}

proptest! {
    #[test]
    fn a_lying_clock_among_honest_ones_moves_nothing(
        readings in prop::collection::vec((prop::bool::weighted(0.4), 0..300_i64, HOUR..30 * DAY), 1..80),
    ) {
        let mut log: Vec<(&str, i64)> = Vec::new();
        let mut lies = 0;
        for (is_lie, at_s, ahead_us) in readings {
            // Two of its readings in a row at most.
            lies = if is_lie && lies < 2 { lies + 1 } else { 0 };
            log.push(if lies > 0 { ("fast", ahead_us) } else { (["a", "b"][at_s as usize % 2], at_s * SECOND) });
        }
        let honest: Vec<(&str, i64)> = log.iter().filter(|one| one.0 != "fast").copied().collect();
        let highest_s = honest.iter().map(|one| one.1 / SECOND).max();
        let seen = behind(&log);
        prop_assert!(seen.is_none() || seen <= highest_s, "{seen:?} {highest_s:?}");
        // Before the first watermark a lie may be the witness of an honest reading.
        prop_assert!(behind(&honest).is_none() || seen.is_some());
    }
}

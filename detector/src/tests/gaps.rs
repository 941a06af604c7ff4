//! Missing metrics: those of a sensor that has gaps now and then, and of one that has none.

use super::Street;
use crate::Member;

/// Minutes of a street whose sensors from 10 on lack the first metric in a twentieth of their readings. Returns how often
/// a gap was flagged as a dropout, and how many there were.
fn with_gaps(street: &mut Street, minutes: usize) -> (usize, usize) {
    let (mut flagged, mut gaps) = (0, 0);
    for _ in 0..minutes {
        let mut readings = street.readings();
        for reading in &mut readings[10..] {
            if street.numbers.uniform() < 0.05 {
                reading[0] = f64::NAN;
            }
        }
        gaps += readings.iter().filter(|reading| reading[0].is_nan()).count();
        street.minute_of(&readings);
        let dropouts = street.verdicts.flagged.iter().filter(|verdict| verdict.found_by() == Member::Dropout);
        flagged += dropouts.count();
    }
    (flagged, gaps)
}

#[test]
fn gaps_that_are_usual_for_a_sensor_are_no_dropouts_and_one_of_another_sensor_is() {
    let mut street = Street::watched();
    with_gaps(&mut street, 300);
    let (flagged, gaps) = with_gaps(&mut street, 600);
    // Two, three and four in a row are as rare as they would be by chance.
    assert!(gaps > 200 && flagged * 50 < gaps, "{flagged} of {gaps}");
    let mut readings = street.readings();
    (readings[3][0], readings[15][0]) = (f64::NAN, f64::NAN);
    street.minute_of(&readings);
    assert_eq!(street.flagged(3).map(|verdict| verdict.found_by()), Some(Member::Dropout));
    assert!(street.flagged(15).is_none());
}

#[test]
fn a_gap_that_does_not_end_is_a_dropout_also_where_gaps_are_usual() {
    let mut street = Street::new(20);
    with_gaps(&mut street, 1500);
    street.train();
    for minute in 1..=20 {
        let mut readings = street.readings();
        readings[15][0] = f64::NAN;
        street.minute_of(&readings);
        let is_flagged = street.flagged(15).is_some_and(|verdict| verdict.found_by() == Member::Dropout);
        assert!(is_flagged || minute < 12, "after {minute} minutes");
    }
}

#[test]
fn all_readings_of_a_rare_gap_are_dropouts_and_so_is_the_next_gap() {
    let mut street = Street::watched();
    for gap in 0..2 {
        for minute in 0..30 {
            let mut readings = street.readings();
            readings[4][1] = f64::NAN;
            street.minute_of(&readings);
            assert!(street.flagged(4).is_some(), "minute {minute} of gap {gap}");
        }
        street.pass(100);
    }
}

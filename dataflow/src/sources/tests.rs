//! What a worker asks of its reader.

use super::*;

#[test]
fn a_reader_hears_of_a_pause_once_and_only_of_what_changed() {
    let control = Control::default();
    let mut seen = 0;
    assert_eq!(control.paused_if_changed(&mut seen), None);
    control.pause(3, true);
    control.pause(1, true);
    control.pause(3, true);
    assert_eq!(control.paused_if_changed(&mut seen), Some(BTreeSet::from([1, 3])));
    assert_eq!(control.paused_if_changed(&mut seen), None);
    control.pause(3, true);
    control.pause(2, false);
    assert_eq!(control.paused_if_changed(&mut seen), None, "nothing changed");
    control.pause(1, false);
    assert_eq!(control.paused_if_changed(&mut seen), Some(BTreeSet::from([3])));
}

#[test]
fn a_pause_that_was_taken_back_before_anyone_looked_is_told_as_it_is_now() {
    let control = Control::default();
    let mut seen = 0;
    control.pause(1, true);
    control.pause(1, false);
    assert_eq!(control.paused_if_changed(&mut seen), Some(BTreeSet::new()));
}

#[test]
fn a_stopped_reader_stays_stopped() {
    let control = Control::default();
    assert!(!control.stopped());
    control.stop();
    control.stop();
    assert!(control.stopped());
}

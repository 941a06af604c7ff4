//! Event times that cannot be believed, and whose clock is wrong: the sensor's, which was never set or runs ahead, or
//! the one that stamped the record.

use super::{Decoder, Reason, timestamp};

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// A receiver of GPS that has lost count is so much behind: 1,024 weeks, or twice that.
const ROLL_OVER_US: i64 = 1024 * 7 * DAY_US;
/// How long a reading may be under way when a roll-over is recognised.
const UNDER_WAY_US: i64 = DAY_US;
/// 1971-01-01: earlier timestamps of records are counts in another unit, or none.
const RECORDS_FROM_US: i64 = 365 * DAY_US;

/// Where clocks begin to count that were never set, seconds since 1970: what begins there and ends a year later, and
/// who begins there.
const BEGINNINGS: [(i64, &str); 4] = [
    (-2_208_988_800, "1900, as NTP's clock does"),
    (0, "1970, as a clock does that starts at 0"),
    (315_532_800, "1980, as the clocks of GPS and of FAT do"),
    (946_684_800, "2000, as clocks without a battery do"),
];

/// What is wrong with an event time that is not plausible, and a sentence about it.
pub(super) fn what_is_wrong(decoder: &Decoder, event_us: i64, received_us: i64) -> (Reason, String) {
    let (event, received) = (timestamp::shown(event_us), timestamp::shown(received_us));
    if received_us < RECORDS_FROM_US {
        let unit = if decoder.is_plausible(event_us, received_us.saturating_mul(1_000)) {
            "; it looks like seconds, and should be milliseconds"
        } else {
            ""
        };
        let message = format!(
            "the record's own timestamp is {received}{unit}: the event time {event} cannot be held against it"
        );
        return (Reason::BadRecordTimestamp, message);
    }
    let bound = |us, name| format!("{} ({name})", shown_us(us));
    if event_us > received_us {
        let future_max = bound(decoder.future_max_us, "future_max");
        let message = format!(
            "the event time {event} is more than {future_max} ahead of the record's timestamp {received}"
        );
        return (Reason::InTheFuture, message);
    }
    if received_us / 1_000 > RECORDS_FROM_US && decoder.is_plausible(event_us, received_us / 1_000) {
        let message = format!(
            "the record's own timestamp is {received}; it looks like microseconds, and should be milliseconds"
        );
        return (Reason::BadRecordTimestamp, message);
    }
    if let Some(why) = not_set(event_us, received_us) {
        return (
            Reason::ClockNotSet,
            format!("the event time {event} is that of a clock that is not set: {why}"),
        );
    }
    let max_age = bound(decoder.max_age_us, "max_age");
    let message =
        format!("the event time {event} is more than {max_age} behind the record's timestamp {received}");
    (Reason::TooOld, message)
}

/// Why an event time of long ago is that of a clock that was never set.
fn not_set(event_us: i64, received_us: i64) -> Option<String> {
    for rolls in 1..=2 {
        let meant_us = event_us.checked_add(rolls * ROLL_OVER_US)?;
        if (meant_us - received_us).abs() <= UNDER_WAY_US {
            let weeks = 1024 * rolls;
            return Some(format!("{weeks} weeks behind, as receivers of GPS are that have lost count"));
        }
    }
    let begins = |(second, _): &&(i64, &str)| {
        // A day before: midnight in zones east of UTC.
        let from_us = second * SECOND_US - DAY_US;
        (from_us..from_us + 367 * DAY_US).contains(&event_us)
    };
    BEGINNINGS.iter().find(begins).map(|(_, who)| format!("it counts from {who}"))
}

/// A duration as a domain file has it: `366d`, `60s`.
pub(super) fn shown_us(us: i64) -> String {
    for (unit_us, unit) in [(DAY_US, "d"), (3_600 * SECOND_US, "h"), (60 * SECOND_US, "m"), (SECOND_US, "s")]
    {
        if us >= unit_us && us % unit_us == 0 {
            return format!("{}{unit}", us / unit_us);
        }
    }
    format!("{}ms", us as f64 / 1e3)
}

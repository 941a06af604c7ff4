//! Event times: RFC 3339 text, other spellings of it, and numbers that count since 1970.
//!
//! The usual shape is read digit by digit; chrono is asked only for local times of a zone with rules, and what is
//! spelled otherwise is left to [`super::spelled`].

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::spelled;

pub(super) const SECOND_US: i64 = 1_000_000;
/// Numbers of at least this magnitude are milliseconds: as seconds they would be of the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;
/// Numbers of at least this magnitude are microseconds.
const MICROSECONDS_FROM: u64 = 100_000_000_000_000;
/// Numbers of at least this magnitude are nanoseconds.
const NANOSECONDS_FROM: u64 = 100_000_000_000_000_000;

/// Microseconds of the Unix epoch of a time in text, however it is spelled.
#[inline]
pub(super) fn of_text(text: &str, time_zone: Tz) -> Option<i64> {
    match from_text(text, time_zone) {
        Some(at_us) => Some(at_us),
        None => spelled::read(text, time_zone).ok(),
    }
}

/// Microseconds of the Unix epoch of `YYYY-MM-DD(T|t| )HH:MM:SS[.fraction][Z|z|±HH:MM]`. A fraction is cut off
/// after six digits, second 60 is the second after 59, and a time without offset is a local one of `time_zone`: the
/// earlier of two, none when the clocks skip it.
pub(super) fn from_text(text: &str, time_zone: Tz) -> Option<i64> {
    let bytes = text.as_bytes();
    let (head, mut rest) = bytes.split_first_chunk::<19>()?;
    let separators = head[4] == b'-' && head[7] == b'-' && head[13] == b':' && head[16] == b':';
    if !separators || !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = two(head, 0)? * 100 + two(head, 2)?;
    let (month, day) = (two(head, 5)?, two(head, 8)?);
    let (hour, minute, second) = (two(head, 11)?, two(head, 14)?, two(head, 17)?);
    if month == 0 || month > 12 || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut fraction_us = 0;
    if let [b'.', digits @ ..] = rest {
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        for place in 0..6 {
            fraction_us =
                fraction_us * 10 + digits[..length].get(place).map_or(0, |digit| i64::from(digit - b'0'));
        }
        rest = &digits[length..];
    }
    let local_s = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let utc_s = match rest {
        b"Z" | b"z" => local_s,
        [sign @ (b'+' | b'-'), offset @ ..] if offset.len() == 5 && offset[2] == b':' => {
            let (hours, minutes) = (two(offset, 0)?, two(offset, 3)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset_s = hours * 3_600 + minutes * 60;
            if *sign == b'+' { local_s - offset_s } else { local_s + offset_s }
        }
        [] if time_zone == Tz::UTC => local_s,
        [] => {
            let leap = i64::from(second == 60);
            let naive = DateTime::from_timestamp(local_s - leap, 0)?.naive_utc();
            local_to_utc_s(naive, time_zone)? + leap
        }
        _ => return None,
    };
    Some(utc_s * SECOND_US + fraction_us)
}

/// The number at two ASCII digits.
#[inline]
fn two(bytes: &[u8], at: usize) -> Option<i64> {
    let (tens, ones) = (bytes[at].wrapping_sub(b'0'), bytes[at + 1].wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
#[inline]
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cold]
fn local_to_utc_s(naive: NaiveDateTime, time_zone: Tz) -> Option<i64> {
    match time_zone.from_local_datetime(&naive) {
        LocalResult::Single(instant) => Some(instant.timestamp()),
        LocalResult::Ambiguous(one, other) => Some(one.timestamp().min(other.timestamp())),
        LocalResult::None => None,
    }
}

/// Microseconds of the Unix epoch of an integer: seconds, and from 10¹¹ milliseconds, from 10¹⁴ microseconds, from 10¹⁷
/// nanoseconds, of which three digits are cut off. So every instant from 1973 to 5138 has one meaning.
pub(super) fn from_integer(number: i64) -> Option<i64> {
    match number.unsigned_abs() {
        0..MILLISECONDS_FROM => number.checked_mul(SECOND_US),
        MILLISECONDS_FROM..MICROSECONDS_FROM => number.checked_mul(1_000),
        MICROSECONDS_FROM..NANOSECONDS_FROM => Some(number),
        NANOSECONDS_FROM.. => Some(number.div_euclid(1_000)),
    }
}

/// The same of a number with a fraction, to the nearest microsecond, halves away from zero.
pub(super) fn from_float(number: f64) -> Option<i64> {
    if !number.is_finite() || number.abs() >= i64::MAX as f64 {
        return None;
    }
    let unit_us = match number.abs() {
        seconds if seconds < MILLISECONDS_FROM as f64 => SECOND_US,
        milliseconds if milliseconds < MICROSECONDS_FROM as f64 => 1_000,
        microseconds if microseconds < NANOSECONDS_FROM as f64 => 1,
        _ => return Some((number / 1_000.0).round() as i64),
    };
    let whole = number.trunc();
    // Both products are exact: what is left of 53 bits after the whole part times 10⁶ = 2⁶ · 5⁶ still fits.
    let fraction_us = ((number - whole) * unit_us as f64).round() as i64;
    (whole as i64).checked_mul(unit_us)?.checked_add(fraction_us)
}

/// An instant for people.
pub(super) fn shown(at_us: i64) -> String {
    match DateTime::from_timestamp_micros(at_us) {
        Some(at) => at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => format!("{at_us} µs of the Unix epoch"),
    }
}

//! Times as devices spell them beside RFC 3339: what ISO 8601 allows and what has one meaning only.
//!
//! ```text
//!  2026-11-26   T  13:18:10.25   +01:00     blanks around; a blank or several for the T
//!  20261126        131810        +0100      basic form, also without the T
//!  2026/11/26      13:18         +01        no seconds
//!  26.11.2026      1:18 pm       UTC        day first only with points
//!                  24:00                    the next day's midnight
//! ```
//!
//! Every refusal says which part it is about. Off the path of plain readings: it may take its time.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::timestamp::{SECOND_US, from_float, from_integer};

/// Years in which fourteen digits are a date and a time; as milliseconds they would be of the 27th century.
const COMPACT_YEARS: std::ops::RangeInclusive<i32> = 1970..=2099;

/// Microseconds of the Unix epoch of a time in text, or which part of it is wrong.
#[cold]
pub(super) fn read(text: &str, time_zone: Tz) -> Result<i64, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(number) = number(text) {
        return number;
    }
    let mut rest = text;
    let date = date(&mut rest)?;
    let after = rest.trim_start();
    let time = after.strip_prefix(['T', 't']).unwrap_or(after);
    if time.is_empty() {
        return Err(format!("{date} is a date without a time of day"));
    }
    rest = time;
    let day = time_of_day(&mut rest)?;
    let midnight = date.and_time(chrono::NaiveTime::MIN);
    let local = midnight + chrono::Duration::seconds(day.second);
    let at_s = match offset(rest.trim_start())? {
        Some(offset_s) => local.and_utc().timestamp() - offset_s,
        None => to_utc_s(local, time_zone)?,
    };
    // Second 60 is the second after 59, also where a zone's rules change in between.
    Ok((at_s + i64::from(day.is_leap)) * SECOND_US + day.fraction_us)
}

/// A count since 1970 in text, or fourteen digits that are a date and a time in UTC's or the domain's zone.
fn number(text: &str) -> Option<Result<i64, String>> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return None;
    }
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits && matches!(text.len(), 8 | 14) {
        let date = calendar(&text[..4], &text[4..6], &text[6..8]);
        if date.is_ok_and(|date| COMPACT_YEARS.contains(&chrono::Datelike::year(&date))) {
            return None;
        }
    }
    let at = match text.parse::<i64>() {
        Ok(number) => Some(from_integer(number)),
        Err(_) => text.parse::<f64>().ok().map(from_float),
    };
    let too_great =
        || "no count of seconds, milliseconds, microseconds or nanoseconds is that great".to_owned();
    at.map(|at| at.ok_or_else(too_great))
}

/// Takes a date from the beginning.
fn date(rest: &mut &str) -> Result<NaiveDate, String> {
    let text = *rest;
    let digits = |from: &str| from.bytes().take_while(u8::is_ascii_digit).count();
    let first = digits(text);
    if first >= 8 {
        *rest = &text[8..];
        return calendar(&text[..4], &text[4..6], &text[6..8]);
    }
    let separator = text[first..].bytes().next().filter(|byte| b"-/.".contains(byte));
    if let Some(separator) = separator {
        let middle = &text[first + 1..];
        let second = digits(middle);
        let last = middle[second..].strip_prefix(separator as char).unwrap_or_default();
        let third = digits(last);
        let (head, middle, tail) = (&text[..first], &middle[..second], &last[..third]);
        *rest = &last[third..];
        match (first, second, third, separator) {
            (4, 1..=2, 1..=2, b'-' | b'/') => return calendar(head, middle, tail),
            (1..=2, 1..=2, 4, b'.') => return calendar(tail, middle, head),
            (1..=2, 1..=2, 4, _) => {
                let date = &text[..text.len() - rest.len()];
                return Err(format!("in {date} day and month could be either; write the year first"));
            }
            _ => {}
        }
    }
    Err("it does not begin with a date such as 2026-11-26".to_owned())
}

fn calendar(year: &str, month: &str, day: &str) -> Result<NaiveDate, String> {
    let number = |text: &str| text.parse().ok();
    let date = || NaiveDate::from_ymd_opt(year.parse().ok()?, number(month)?, number(day)?);
    date().ok_or_else(|| format!("there is no day {year}-{month}-{day}"))
}

/// A time of day.
struct Day {
    /// Seconds since midnight, of a leap second those of the one before.
    second: i64,
    is_leap: bool,
    fraction_us: i64,
}

/// Takes a time of day from the beginning.
fn time_of_day(rest: &mut &str) -> Result<Day, String> {
    let text = *rest;
    let is_time = |byte: &u8| byte.is_ascii_digit() || b":.,".contains(byte);
    let length = text.bytes().take_while(is_time).count();
    let written = &text[..length];
    *rest = &text[length..];
    let wrong =
        || format!("{:?} is no time of day such as 13:18:10", if length == 0 { text } else { written });
    let (whole, fraction) = match written.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (written, None),
    };
    let parts: Vec<&str> = match whole.contains(':') {
        true => whole.split(':').collect(),
        false => match whole.len() {
            2 => vec![whole],
            4 => vec![&whole[..2], &whole[2..]],
            6 => vec![&whole[..2], &whole[2..4], &whole[4..]],
            _ => return Err(wrong()),
        },
    };
    let number = |part: Option<&&str>, fewest: usize| match part {
        None => Some(0),
        Some(part) if (fewest..=2).contains(&part.len()) => part.parse::<i64>().ok(),
        Some(_) => None,
    };
    let all = (number(parts.first(), 1), number(parts.get(1), 2), number(parts.get(2), 2));
    let (Some(hour), Some(minute), Some(second)) = all else { return Err(wrong()) };
    if parts.len() > 3 {
        return Err(wrong());
    }
    let fraction_us = match fraction {
        None => 0,
        Some(digits)
            if parts.len() == 3 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            let six: String = digits.chars().chain("000000".chars()).take(6).collect();
            six.parse().expect("six digits")
        }
        Some(_) => return Err(format!("{written:?} has a fraction of something else than a second")),
    };
    let hour = match half_of_day(rest) {
        None => hour,
        Some(after) if (1..=12).contains(&hour) => hour % 12 + after,
        Some(_) => return Err(format!("the hour of {written:?} is not one of 12")),
    };
    if minute > 59 || second > 60 || hour > 24 {
        return Err(format!("there is no time {written:?}"));
    }
    if hour == 24 && (minute, second, fraction_us) != (0, 0, 0) {
        return Err(format!("{written:?} is behind 24:00, the end of the day"));
    }
    let is_leap = second == 60;
    Ok(Day { second: hour * 3_600 + minute * 60 + second - i64::from(is_leap), is_leap, fraction_us })
}

/// Takes `am` or `pm`: hours to be added.
fn half_of_day(rest: &mut &str) -> Option<i64> {
    let word = rest.trim_start();
    let hours = match word.get(..2)?.to_ascii_lowercase().as_str() {
        "am" => 0,
        "pm" => 12,
        _ => return None,
    };
    *rest = &word[2..];
    Some(hours)
}

/// Seconds east of UTC; `None` where nothing is said.
fn offset(text: &str) -> Result<Option<i64>, String> {
    // Java writes the zone's name behind the offset, which holds.
    let text = match text.split_once('[') {
        Some((offset, name)) if !offset.trim().is_empty() && name.ends_with(']') => offset.trim_end(),
        _ => text,
    };
    if text.is_empty() {
        return Ok(None);
    }
    if ["z", "utc", "gmt"].contains(&text.to_ascii_lowercase().as_str()) {
        return Ok(Some(0));
    }
    let wrong = || format!("{text:?} behind the time is no offset such as Z, +01:00, +0100 or +01");
    let mut letters = text.chars();
    let sign = match letters.next() {
        Some('+') => 1,
        // ISO 8601 prefers the minus sign to the hyphen.
        Some('-' | '\u{2212}') => -1,
        _ => return Err(wrong()),
    };
    let digits = letters.as_str();
    let (hours, minutes) = match (digits.len(), digits.split_once(':')) {
        (5, Some((hours, minutes))) if hours.len() == 2 => (hours, minutes),
        (4, None) if digits.is_ascii() => digits.split_at(2),
        (2, None) => (digits, "0"),
        _ => return Err(wrong()),
    };
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
    match (number(hours), number(minutes)) {
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(Some(sign * (hours * 3_600 + minutes * 60))),
        _ => Err(wrong()),
    }
}

fn to_utc_s(local: NaiveDateTime, time_zone: Tz) -> Result<i64, String> {
    match time_zone.from_local_datetime(&local) {
        LocalResult::Single(instant) => Ok(instant.timestamp()),
        LocalResult::Ambiguous(one, other) => Ok(earlier(&one, &other)),
        LocalResult::None => {
            Err(format!("{local} does not exist in {}: clocks go forward over it", time_zone.name()))
        }
    }
}

fn earlier(one: &DateTime<Tz>, other: &DateTime<Tz>) -> i64 {
    one.timestamp().min(other.timestamp())
}

//! Hours of the week in a time zone, such as `mon-fri 08:00-18:00`. Hours that go past midnight belong to the day on
//! which they begin. They follow the zone's daylight saving time: 02:30 may come twice, or not at all.

use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u32 = 24 * 60;
const MINUTE_MS: u64 = 60_000;
/// How far ahead the next span is searched: a week, plus a day for changes of daylight saving time.
const AHEAD_MINUTES: u64 = 8 * 24 * 60;

/// The hours in which a route may notify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    spans: Vec<Span>,
    zone: Tz,
}

/// A span of minutes of a day; `until` may lie on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// By the number of the day, Monday first.
    days: [bool; 7],
    from: u32,
    until: u32,
}

impl Hours {
    /// Parses spans.
    ///
    /// # Errors
    ///
    /// The first invalid span, as the end of a sentence.
    pub fn parse<'a>(spans: impl Iterator<Item = &'a str>, zone: Tz) -> Result<Hours, String> {
        Ok(Hours { spans: spans.map(span).collect::<Result<_, _>>()?, zone })
    }

    /// Time until the next span begins, milliseconds; 0 within a span.
    pub fn opens_in_ms(&self, now_ms: u64) -> i64 {
        if self.contain(now_ms) {
            return 0;
        }
        let minute = now_ms / MINUTE_MS;
        let opens = (minute + 1..=minute + AHEAD_MINUTES).find(|minute| self.contain(minute * MINUTE_MS));
        let opens = opens.unwrap_or(minute + AHEAD_MINUTES);
        i64::try_from(opens * MINUTE_MS - now_ms).unwrap_or(i64::MAX)
    }

    fn contain(&self, at_ms: u64) -> bool {
        let at = i64::try_from(at_ms).ok().and_then(DateTime::from_timestamp_millis);
        let Some(at) = at.map(|at| at.with_timezone(&self.zone)) else { return true };
        let day = at.weekday().num_days_from_monday() as usize;
        let minute = at.hour() * 60 + at.minute();
        self.spans.iter().any(|span| {
            let today = span.days[day] && (span.from..span.until).contains(&minute);
            let from_yesterday =
                span.days[(day + 6) % 7] && (span.from..span.until).contains(&(minute + DAY_MINUTES));
            today || from_yesterday
        })
    }
}

fn span(text: &str) -> Result<Span, String> {
    let wrong = || format!("\"{}\" is not like \"mon-fri 08:00-18:00\"", text.escape_debug());
    let (days, times) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let (from, until) = times.trim().split_once('-').ok_or_else(wrong)?;
    let (from, until) = (minute(from).ok_or_else(wrong)?, minute(until).ok_or_else(wrong)?);
    if from == until || from == DAY_MINUTES {
        return Err(format!("\"{}\" has no length", text.escape_debug()));
    }
    let until = if until < from { until + DAY_MINUTES } else { until };
    Ok(Span { days: self::days(days).ok_or_else(wrong)?, from, until })
}

/// Parses a time of day to its minute: `08:30` is 510, `24:00` the end of the day.
fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.trim().split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    let minute: u32 = hour.parse::<u32>().ok()? * 60 + minute.parse::<u32>().ok().filter(|one| *one < 60)?;
    (minute <= DAY_MINUTES).then_some(minute)
}

/// Parses days: `mon-fri`, `sat,sun`, `fri-mon`, `daily`.
fn days(text: &str) -> Option<[bool; 7]> {
    if text == "daily" {
        return Some([true; 7]);
    }
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days[at] = true;
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis() as u64
    }

    fn hours(spans: &[&str], zone: Tz) -> Hours {
        Hours::parse(spans.iter().copied(), zone).expect("hours")
    }

    #[test]
    fn hours_are_those_of_their_time_zone() {
        let office = hours(&["mon-fri 08:00-18:00"], chrono_tz::Europe::Berlin);
        // A Friday in November: UTC + 1.
        assert_eq!(office.opens_in_ms(ms("2026-11-27T07:00:00Z")), 0);
        assert_eq!(office.opens_in_ms(ms("2026-11-27T06:59:30Z")), 30_000);
        assert_eq!(office.opens_in_ms(ms("2026-11-27T16:59:59Z")), 0);
        // Until Monday at eight.
        assert_eq!(office.opens_in_ms(ms("2026-11-27T17:00:00Z")), (48 + 14) * 3_600_000);
        // In summer it is UTC + 2.
        assert_eq!(office.opens_in_ms(ms("2026-07-24T06:00:00Z")), 0);
    }

    #[test]
    fn hours_past_midnight_belong_to_the_day_on_which_they_begin() {
        let nights = hours(&["fri,sat 22:00-06:00"], Tz::UTC);
        assert_eq!(nights.opens_in_ms(ms("2026-11-28T05:59:00Z")), 0, "Saturday morning");
        assert_eq!(nights.opens_in_ms(ms("2026-11-29T05:59:00Z")), 0, "Sunday morning");
        assert_ne!(nights.opens_in_ms(ms("2026-11-30T05:59:00Z")), 0, "Monday morning");
        assert_ne!(nights.opens_in_ms(ms("2026-11-27T05:59:00Z")), 0, "Friday morning");
        let weekend = hours(&["sun-mon 00:00-24:00"], Tz::UTC);
        assert_eq!(weekend.opens_in_ms(ms("2026-11-30T23:59:59Z")), 0, "Monday night");
        assert_eq!(weekend.opens_in_ms(ms("2026-11-28T23:00:00Z")), 3_600_000, "Saturday night");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for wrong in
            ["", "mon", "mon 8:00-9:00", "mon 08:00", "mun 08:00-09:00", "mon 08:00-08:00", "mon 25:00-26:00"]
        {
            assert!(Hours::parse([wrong].into_iter(), Tz::UTC).is_err(), "{wrong}");
        }
    }
}

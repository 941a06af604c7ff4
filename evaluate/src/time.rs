//! Event times as tables write them.

use chrono::{DateTime, NaiveDate};

const DAY_US: i64 = 86_400_000_000;
/// Day numbers of spreadsheets count from here.
const SPREADSHEET_EPOCH: NaiveDate = NaiveDate::from_ymd_opt(1899, 12, 30).expect("a date");
/// Day numbers from 1954 to 2105: a column of nothing but such numbers holds days, not seconds of one day in 1970.
const SPREADSHEET_DAYS: (f64, f64) = (20_000.0, 75_000.0);
/// Magnitudes from which numbers are milliseconds, microseconds and nanoseconds: the year 5138 of the unit before.
const MILLISECONDS_FROM: f64 = 1e11;
const MICROSECONDS_FROM: f64 = 1e14;
const NANOSECONDS_FROM: f64 = 1e17;

/// Microseconds of the Unix epoch of a time on its own: RFC 3339 and what people write instead of it (see
/// [`TimeFormat`]), or a number of seconds, milliseconds, microseconds or nanoseconds, by its magnitude. Day before month
/// where only that is possible.
pub fn time_us(text: &str) -> Option<i64> {
    let mut seen = TimesSeen::default();
    seen.see(text);
    let format = match seen.format() {
        Ok(TimeFormat::SpreadsheetDays) | Err(_) => TimeFormat::Numbers,
        Ok(format) => format,
    };
    format.read(text)
}

/// How a column writes its times. One field can leave it open what it means; a column seldom does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeFormat {
    /// Seconds, milliseconds, microseconds or nanoseconds of the Unix epoch.
    Numbers,
    /// Days since 1899-12-30.
    SpreadsheetDays,
    /// A date with the year first, and a clock: `2026-11-21T05:26:00Z`, also with slashes or points, a space for the T,
    /// without offset (then UTC), `UTC` for the Z, without seconds, without a clock, with AM or PM.
    #[default]
    YearFirst,
    /// The same with the year last: `21/11/2026 5:26`.
    DayFirst,
    /// `11/21/2026 5:26 AM`.
    MonthFirst,
}

/// What a column of times has shown so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimesSeen {
    numbers: usize,
    fractions: usize,
    outside_days: usize,
    texts: usize,
    year_last: usize,
    /// Greatest first and second part of dates with the year last.
    first_most: u32,
    second_most: u32,
    has_points: bool,
    /// First and last day by either order.
    day_first: Option<(NaiveDate, NaiveDate)>,
    month_first: Option<(NaiveDate, NaiveDate)>,
}

/// Numbers without a fraction that may be days or seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaysOrSeconds;

impl TimesSeen {
    /// Takes note of a field.
    pub fn see(&mut self, text: &str) {
        let text = text.trim();
        if let Some(number) = decimal(text) {
            self.numbers += 1;
            self.fractions += usize::from(number.fract() != 0.0);
            self.outside_days += usize::from(!(SPREADSHEET_DAYS.0..SPREADSHEET_DAYS.1).contains(&number));
            return;
        }
        self.texts += 1;
        let Some(([first, second, year], _)) = date_parts(text) else { return };
        let (Some(one), Some(other)) = (day_or_month(first), day_or_month(second)) else { return };
        let Some(year) = (year.len() == 4).then(|| year.parse().ok()).flatten() else { return };
        self.year_last += 1;
        (self.first_most, self.second_most) = (self.first_most.max(one), self.second_most.max(other));
        self.has_points |= text.as_bytes()[first.len()] == b'.';
        widen(&mut self.day_first, NaiveDate::from_ymd_opt(year, other, one));
        widen(&mut self.month_first, NaiveDate::from_ymd_opt(year, one, other));
    }

    /// What the column writes. Where day and month could be either, the order is the one in which the column spans less
    /// time: a file of the days from 1 to 9 January is not one of the first days of nine months.
    ///
    /// # Errors
    ///
    /// Whole numbers that are as likely day numbers as seconds.
    pub fn format(&self) -> Result<TimeFormat, DaysOrSeconds> {
        if self.numbers > self.texts {
            return match self.outside_days {
                1.. => Ok(TimeFormat::Numbers),
                0 if self.fractions == 0 && self.numbers > 1 => Err(DaysOrSeconds),
                0 if self.fractions == 0 => Ok(TimeFormat::Numbers),
                0 => Ok(TimeFormat::SpreadsheetDays),
            };
        }
        if self.year_last * 2 <= self.texts {
            return Ok(TimeFormat::YearFirst);
        }
        let days = |span: Option<(NaiveDate, NaiveDate)>| {
            span.map_or(i64::MAX, |(first, last)| (last - first).num_days())
        };
        Ok(if self.has_points || self.first_most > 12 {
            TimeFormat::DayFirst
        } else if self.second_most > 12 || days(self.month_first) < days(self.day_first) {
            TimeFormat::MonthFirst
        } else {
            TimeFormat::DayFirst
        })
    }
}

fn widen(span: &mut Option<(NaiveDate, NaiveDate)>, date: Option<NaiveDate>) {
    let Some(date) = date else { return };
    let (first, last) = span.unwrap_or((date, date));
    *span = Some((first.min(date), last.max(date)));
}

impl TimeFormat {
    /// Microseconds of the Unix epoch of a field.
    pub fn read(self, text: &str) -> Option<i64> {
        let text = text.trim();
        match (self, decimal(text)) {
            (TimeFormat::SpreadsheetDays, days) => {
                let days = days.filter(|days| days.abs() < 1e7)?;
                let epoch_us = SPREADSHEET_EPOCH.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros();
                // Spreadsheets keep days in doubles: good to microseconds, meant in milliseconds.
                let milliseconds = (days * (DAY_US / 1000) as f64).round() as i64;
                Some(epoch_us + milliseconds * 1000)
            }
            (_, Some(number)) => number_us(text, number),
            (TimeFormat::Numbers, None) => TimeFormat::YearFirst.text_us(text),
            (_, None) => self.text_us(text),
        }
    }

    /// What is said of it where it is not what the documentation asks for.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            TimeFormat::Numbers | TimeFormat::YearFirst => None,
            TimeFormat::SpreadsheetDays => Some("read as day numbers of a spreadsheet"),
            TimeFormat::DayFirst => Some("read with the day before the month"),
            TimeFormat::MonthFirst => Some("read with the month before the day"),
        }
    }

    fn text_us(self, text: &str) -> Option<i64> {
        let ([first, second, third], rest) = date_parts(text)?;
        let is_year_first = first.len() == 4;
        let (year, month, day) = match self {
            _ if is_year_first => (first, second, third),
            TimeFormat::DayFirst => (third, second, first),
            TimeFormat::MonthFirst => (third, first, second),
            _ => return None,
        };
        if year.len() != 4 {
            return None;
        }
        let date = NaiveDate::from_ymd_opt(year.parse().ok()?, day_or_month(month)?, day_or_month(day)?)?;
        let rest = rest.trim_start_matches(['T', 't', ' ', ',']);
        let at_us = date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros();
        Some(at_us + if rest.is_empty() { 0 } else { clock_us(rest)? })
    }
}

/// The three parts of a date at the beginning, and what is behind it.
fn date_parts(text: &str) -> Option<([&str; 3], &str)> {
    let end = text.find(['T', 't', ' ', ',']).unwrap_or(text.len());
    let (date, rest) = text.split_at(end);
    let separator = date.chars().find(|letter| !letter.is_ascii_digit())?;
    if !matches!(separator, '-' | '/' | '.') {
        return None;
    }
    let mut parts = date.split(separator);
    let three = [parts.next()?, parts.next()?, parts.next()?];
    let are_digits =
        three.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    (are_digits && parts.next().is_none()).then_some((three, rest))
}

fn day_or_month(text: &str) -> Option<u32> {
    if text.len() > 2 { None } else { text.parse().ok() }
}

/// A number, but not what a parser of numbers takes besides: `inf`, `nan`.
fn decimal(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn number_us(text: &str, number: f64) -> Option<i64> {
    let size = number.abs();
    if size >= NANOSECONDS_FROM {
        // A double has no room for nanoseconds.
        return text.parse::<i64>().ok().map(|nanoseconds| nanoseconds.div_euclid(1000));
    }
    let unit_us = match size {
        ..MILLISECONDS_FROM => 1e6,
        ..MICROSECONDS_FROM => 1e3,
        _ => 1.0,
    };
    Some((number * unit_us).round() as i64)
}

/// Microseconds since midnight UTC of a clock, with its offset: `05:26`, `5:26:00.5 PM`, `05:26:00+02:00`, `05:26 UTC`.
fn clock_us(text: &str) -> Option<i64> {
    let (text, offset_s) = match text.find(['Z', 'z', '+', '-']) {
        None => (text.trim_end_matches("UTC").trim_end_matches("GMT"), 0),
        Some(at) => (&text[..at], offset_s(&text[at..])?),
    };
    let text = text.trim();
    let half = text.len().checked_sub(2).and_then(|at| text.split_at_checked(at));
    let (clock, afternoon) = match half {
        Some((clock, half)) if half.eq_ignore_ascii_case("am") => (clock.trim_end(), Some(0)),
        Some((clock, half)) if half.eq_ignore_ascii_case("pm") => (clock.trim_end(), Some(12)),
        _ => (text, None),
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let second = parts.next().map_or(Some(0.0), |part| part.replacen(',', ".", 1).parse::<f64>().ok())?;
    let hour = match afternoon {
        None => hour,
        Some(later) if (1..=12).contains(&hour) => hour % 12 + later,
        Some(_) => return None,
    };
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..61.0).contains(&second) {
        return None;
    }
    Some((hour * 3_600 + minute * 60 - offset_s) * 1_000_000 + (second * 1e6).round() as i64)
}

/// Seconds that `Z`, `+02:00`, `+0200` or `+02` are ahead of UTC.
fn offset_s(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, offset) = text.split_at(1);
    let (hours, minutes) = offset.split_once(':').or_else(|| offset.split_at_checked(2))?;
    let minutes = if minutes.is_empty() { "0" } else { minutes };
    let offset_s = hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60;
    Some(if sign == "-" { -offset_s } else { offset_s })
}

/// An instant for people.
pub(crate) fn shown(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us).map_or_else(
        || format!("{at_us} µs of the Unix epoch"),
        |at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(fields: &[&str]) -> Result<(TimeFormat, Vec<Option<String>>), DaysOrSeconds> {
        let mut seen = TimesSeen::default();
        fields.iter().for_each(|field| seen.see(field));
        let format = seen.format()?;
        Ok((format, fields.iter().map(|field| format.read(field).map(shown)).collect()))
    }

    fn reads(fields: &[&str], format: TimeFormat, times: &[&str]) {
        let times = times.iter().map(|time| Some((*time).to_owned())).collect();
        assert_eq!(column(fields), Ok((format, times)));
    }

    #[test]
    fn times_are_read_as_in_readings() {
        assert_eq!(time_us("2026-11-21T05:26:00.5+02:00"), Some(1_795_231_560_500_000));
        assert_eq!(time_us("1795231560500"), Some(1_795_231_560_500_000));
        assert_eq!(time_us("1795231560500000"), time_us("1795231560500"));
        assert_eq!(time_us("1795231560500000000"), time_us("1795231560500"));
        assert_eq!((time_us("12"), time_us("46027.5")), (Some(12_000_000), Some(46_027_500_000)));
        assert_eq!(time_us("2026-11-21 05:26:00.5+02"), time_us("2026-11-21T03:26:00.5Z"));
        assert_eq!(time_us("2026-11-21"), time_us("2026-11-21 00:00"));
        for wrong in ["2026-13-01 00:00:00", "2026-02-30", "2026-02-30T00:00:00Z", "", "NaN", "inf"] {
            assert_eq!(time_us(wrong), None, "{wrong}");
        }
        for wrong in ["2026-11-21T05:26:61", "2026-11-21 13:00 PM", "2026-11-21 0:00 am", "31/02/2026", "1/2"]
        {
            assert_eq!(time_us(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for same in
            ["2026/11/21 5:26 am", "21.11.2026 05:26", "2026-11-21 05:26 UTC", "11/21/2026, 5:26:00 AM"]
        {
            assert_eq!(time_us(same), time_us("2026-11-21T05:26:00Z"), "{same}");
        }
        assert_eq!(time_us("2026-11-21 12:30 AM"), time_us("2026-11-21T00:30:00Z"));
        assert_eq!(time_us("2026-11-21 12:30 PM"), time_us("2026-11-21T12:30:00Z"));
    }

    #[test]
    fn the_column_says_which_of_two_numbers_is_the_day() {
        reads(
            &["03/04/2026", "13/04/2026"],
            TimeFormat::DayFirst,
            &["2026-04-03T00:00:00Z", "2026-04-13T00:00:00Z"],
        );
        reads(
            &["03/04/2026", "03/14/2026"],
            TimeFormat::MonthFirst,
            &["2026-03-04T00:00:00Z", "2026-03-14T00:00:00Z"],
        );
        // Two days on end rather than two months.
        reads(
            &["01/05/2026", "01/06/2026"],
            TimeFormat::MonthFirst,
            &["2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"],
        );
        reads(
            &["05/01/2026", "06/01/2026"],
            TimeFormat::DayFirst,
            &["2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"],
        );
        // In either order one of them is no date.
        let both = column(&["13/04/2026", "04/14/2026"]).expect("texts").1;
        assert!(both.iter().any(Option::is_none));
    }

    #[test]
    fn day_numbers_of_spreadsheets_are_recognised_and_whole_ones_refused() {
        reads(
            &["46027.0", "46027.00069444445"],
            TimeFormat::SpreadsheetDays,
            &["2026-01-05T00:00:00Z", "2026-01-05T00:01:00Z"],
        );
        assert_eq!(column(&["46027", "46028"]), Err(DaysOrSeconds));
        let numbers = ["0.5", "46027.5"];
        reads(&numbers, TimeFormat::Numbers, &["1970-01-01T00:00:00.500Z", "1970-01-01T12:47:07.500Z"]);
    }
}

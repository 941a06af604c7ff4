//! Parses durations: a whole number and a unit.

use crate::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};

/// The longest duration, in days: a hundred years, so that sums of durations stay far from overflow.
const DAYS_MAX: i64 = 36_525;

/// Parses a duration to microseconds: a whole number and a unit (ms, s, m, h, d), or `0`.
///
/// ```
/// use citytide_domain::{HOUR_US, parse_duration};
///
/// assert_eq!(parse_duration("250ms"), Ok(250_000));
/// assert_eq!(parse_duration("24h"), Ok(24 * HOUR_US));
/// assert!(parse_duration("90").is_err(), "the unit is missing");
/// ```
///
/// # Errors
///
/// The mistake, as the end of a sentence.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it must begin with a whole number, as in 90s".to_owned());
    }
    let unit_us: i64 = match unit {
        "ms" => 1_000,
        "s" => SECOND_US,
        "m" => MINUTE_US,
        "h" => HOUR_US,
        "d" => DAY_US,
        "" if number.bytes().all(|digit| digit == b'0') => 1,
        "" => return Err("its unit is missing; units are ms, s, m, h, d".to_owned()),
        _ => return Err(format!("`{}` is not a unit; units are ms, s, m, h, d", unit.escape_debug())),
    };
    number
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_us))
        .filter(|duration_us| *duration_us <= DAYS_MAX * DAY_US)
        .ok_or_else(|| format!("it is longer than {DAYS_MAX}d"))
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(250_000));
        assert_eq!(parse_duration("90s"), Ok(90_000_000));
        assert_eq!(parse_duration("5m"), Ok(300_000_000));
        assert_eq!(parse_duration("24h"), parse_duration("1d"));
        assert_eq!(parse_duration("366d"), Ok(366 * 86_400_000_000));
        assert_eq!(parse_duration("0"), Ok(0));
        for wrong in ["", "s", "5", "1.5h", "-5s", "5 s", "5min", "99999999999999999999s", "36526d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}

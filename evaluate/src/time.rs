//! Event times as tables write them.

use chrono::NaiveDate;

/// Microseconds of the Unix epoch of a time: RFC 3339, also with a space for the T, without offset (then UTC), without
/// seconds or without a clock; or a number: milliseconds, or seconds when below 10¹¹.
pub fn time_us(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number.abs() < 1e11 { number } else { number / 1e3 };
        return (seconds.abs() < 1e12).then_some((seconds * 1e6).round() as i64);
    }
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.splitn(3, '-');
    let (year, month, day) =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let midnight = NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(0, 0, 0)?.and_utc();
    let (clock, offset_s) = match clock.find(['Z', '+', '-']) {
        None => (clock, 0),
        Some(at) => (&clock[..at], offset_s(&clock[at..])?),
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let second = parts.next().map_or(Some(0.0), |part| part.parse::<f64>().ok())?;
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..61.0).contains(&second) {
        return None;
    }
    let whole_s = midnight.timestamp() + hour * 3_600 + minute * 60 - offset_s;
    Some(whole_s * 1_000_000 + (second * 1e6).round() as i64)
}

/// Seconds that `Z`, `+02:00`, `+0200` or `+02` are ahead of UTC.
fn offset_s(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, offset) = text.split_at(1);
    let (hours, minutes) = offset.split_once(':').or_else(|| offset.split_at_checked(2))?;
    let minutes = if minutes.is_empty() { "0" } else { minutes };
    let offset_s = hours.parse::<i64>().ok()? * 3_600 + minutes.parse::<i64>().ok()? * 60;
    Some(if sign == "-" { -offset_s } else { offset_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_in_readings() {
        assert_eq!(time_us("2026-11-21T05:26:00.5+02:00"), Some(1_795_231_560_500_000));
        assert_eq!(time_us("1795231560500"), Some(1_795_231_560_500_000));
        assert_eq!(time_us("12"), Some(12_000_000));
        assert_eq!(time_us("2026-11-21 05:26:00.5+02"), time_us("2026-11-21T03:26:00.5Z"));
        assert_eq!(time_us("2026-11-21"), time_us("2026-11-21 00:00"));
        for wrong in
            ["2026-13-01 00:00:00", "2026-02-30", "", "NaN", "inf", "21.11.2026", "2026-11-21T05:26:61"]
        {
            assert_eq!(time_us(wrong), None, "{wrong}");
        }
    }
}

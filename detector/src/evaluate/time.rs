//! Times as tables write them.

/// A time in microseconds: RFC 3339, also with a space for the T, without offset (then UTC) or without a clock; or
/// milliseconds, or seconds below 10¹¹.
pub fn time_us(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number.abs() < 1e11 { number } else { number / 1e3 };
        return (seconds.abs() < 1e12).then_some((seconds * 1e6).round() as i64);
    }
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, ahead_s) = match clock.find(['Z', '+', '-']) {
        None => (clock, 0),
        Some(at) if &clock[at..] == "Z" => (&clock[..at], 0),
        Some(at) => {
            let offset = &clock[at + 1..];
            let (hours, minutes) = match offset.split_once(':') {
                Some(parts) => parts,
                None => offset.split_at_checked(2)?,
            };
            let minutes = if minutes.is_empty() { "0" } else { minutes };
            let ahead = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            (&clock[..at], if clock[at..].starts_with('-') { -ahead } else { ahead })
        }
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let second = parts.next().map_or(Some(0.0), |part| part.parse::<f64>().ok())?;
    let is_clock = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..61.0).contains(&second);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !is_clock {
        return None;
    }
    // Days since the epoch: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let whole_s = days * 86_400 + hour * 3_600 + minute * 60 - ahead_s;
    Some(whole_s * 1_000_000 + (second * 1e6).round() as i64)
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
        for wrong in ["2026-13-01 00:00:00", "", "NaN", "inf", "21.11.2026", "2026-11-21T05:26:61"] {
            assert_eq!(time_us(wrong), None, "{wrong}");
        }
    }
}

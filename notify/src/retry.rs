//! Classifies the answers of receivers, and computes when to retry a message.

use std::time::Duration;

/// The upper limit of pauses between tries.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// The upper limit of the first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest `Retry-After` that is obeyed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The result of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has accepted the message.
    Sent,
    /// The try failed and may succeed later, after the time for which the receiver asked.
    Retry { not_before: Option<Duration> },
    /// The receiver will never accept the message.
    Rejected,
}

/// The result of a try with its reason: the receiver's words or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub outcome: Outcome,
    pub reason: String,
}

/// Classifies an HTTP status: 408, 425, 429 and 5xx are retried.
pub fn of_status(status: u16, retry_after: Option<&str>, now_ms: u64) -> Outcome {
    match status {
        200..=299 => Outcome::Sent,
        408 | 425 | 429 | 500..=599 => {
            Outcome::Retry { not_before: retry_after.and_then(|text| after(text, now_ms)) }
        }
        _ => Outcome::Rejected,
    }
}

/// Parses `Retry-After`: `120`, or an HTTP date.
fn after(text: &str, now_ms: u64) -> Option<Duration> {
    let text = text.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            let at = at.duration_since(std::time::UNIX_EPOCH).ok()?;
            at.saturating_sub(Duration::from_millis(now_ms))
        }
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// Computes the pause before the next try: exponential back-off with full jitter, so that messages that failed together
/// are not retried together. `random` is any number.
pub fn pause(tries: i32, not_before: Option<Duration>, random: u64) -> Duration {
    let doublings = u32::try_from(tries - 1).unwrap_or(0).min(16);
    let bound = (FIRST_PAUSE * 2_u32.pow(doublings)).min(PAUSE_MAX);
    let jitter = Duration::from_millis(random % (bound.as_millis() as u64 + 1));
    not_before.map_or(jitter, |asked| asked + jitter.min(FIRST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_receiver_will_never_take_is_not_tried_again() {
        for status in [301, 302, 400, 401, 403, 404, 410, 422] {
            assert_eq!(of_status(status, Some("1"), 0), Outcome::Rejected, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503] {
            assert_eq!(of_status(status, None, 0), Outcome::Retry { not_before: None }, "{status}");
        }
        assert_eq!(of_status(204, None, 0), Outcome::Sent);
    }

    #[test]
    fn a_receiver_can_ask_to_be_left_alone_for_an_hour_at_most() {
        let asked = |text: &str| match of_status(429, Some(text), 1_795_262_400_000) {
            Outcome::Retry { not_before } => not_before,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("999999"), Some(Duration::from_secs(3600)));
        assert_eq!(asked("Sat, 21 Nov 2026 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sat, 21 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn pauses_spread_over_a_bound_that_doubles() {
        let most = |tries| (0..10_000).map(|random| pause(tries, None, random * 37)).max().expect("some");
        let bounds = [1, 2, 3, 7, 8, 9, 500].map(|tries| most(tries).as_millis().div_ceil(1000));
        assert_eq!(bounds, [2, 4, 8, 128, 256, 300, 300]);
        assert!(
            (0..10_000).any(|random| pause(8, None, random * 37) < Duration::from_secs(30)),
            "full jitter"
        );
        let obeyed = pause(1, Some(Duration::from_secs(60)), 1_234);
        assert!(obeyed >= Duration::from_secs(60) && obeyed <= Duration::from_secs(62));
    }
}

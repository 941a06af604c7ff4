//! The run: readings go out when they are due, until there are enough or someone says stop.
//!
//! Live (without `--start`) event time keeps up with the clock: when the broker stalls, or nothing paces the
//! readings, the city restarts its event time at now, at the offsets reached. What lies behind stays as it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use citytide_domain::Domain;
use citytide_generator::{City, Encoder, Schedule};

use crate::failure::Failure;
use crate::sink::{Sink, Taken};

/// Pace of live readings that were asked for as fast as possible: more than any broker takes from one thread.
pub const FASTEST_RATE: f64 = 2_000_000.0;
/// Readings per second of event time when there is a start and no pace.
pub const UNPACED_RATE: f64 = 10_000.0;
/// Furthest that live event time falls behind the clock, and its bound as a share of `out_of_orderness`.
const BEHIND_US_MAX: i64 = 500_000;
const BEHIND_SHARE_MAX: f64 = 0.1;
/// Furthest ahead before the clock is taken to have been set back.
const AHEAD_US_MAX: i64 = 2_000_000;
/// Most readings between two looks at the clock.
const BURST_MAX: i64 = 1_000;
/// Longest and shortest rest between readings.
const REST_US: (i64, i64) = (1_000, 100_000);
/// Rest when the queue is full.
const FULL_REST: Duration = Duration::from_millis(5);
/// Time between two status lines.
const STATUS_US: i64 = 5_000_000;

/// Everything that a run needs.
pub struct Run {
    /// What makes the readings.
    pub city: City,
    /// Where they go.
    pub sink: Sink,
    /// When they go; `None` as fast as possible.
    pub pace: Option<Schedule>,
    /// Whether event time keeps up with the clock.
    pub is_live: bool,
    /// How many there shall be.
    pub count: Option<u64>,
    /// Whether nothing is said meanwhile.
    pub quiet: bool,
}

impl Run {
    /// Runs to the end; returns how many readings were sent. `now_us` tells the time.
    pub fn until_done(
        mut self,
        domain: &Domain,
        stop: &AtomicBool,
        now_us: impl Fn() -> i64,
    ) -> Result<u64, Failure> {
        let encoder = Encoder::new(domain, &self.city);
        let behind_us_max =
            BEHIND_US_MAX.min((domain.time.out_of_orderness_us as f64 * BEHIND_SHARE_MAX) as i64).max(50_000);
        let mut next_offsets = self.city.schedule().first_offsets.clone();
        let mut json = Vec::new();
        let (mut sent, mut number) = (0u64, 0i64);
        let mut status = Status { at_us: now_us(), sent: 0 };

        while !stop.load(Ordering::Relaxed) && self.count.is_none_or(|count| sent < count) {
            let now = now_us();
            if self.is_live {
                let behind_us = now - self.city.schedule().turn_us(number);
                if behind_us > behind_us_max || behind_us < -AHEAD_US_MAX {
                    self.city.restart_at(now, next_offsets.clone());
                    self.pace = Some(self.city.schedule().clone());
                    number = 0;
                }
            }
            let due = self.pace.as_ref().map_or(i64::MAX, |pace| pace.due(now));
            let left = self.count.map_or(i64::MAX, |count| (count - sent) as i64);
            let burst = due.saturating_sub(number).min(BURST_MAX).min(left);
            for _ in 0..burst {
                let (partition, offset) = self.city.place_of(number);
                let reading = self.city.reading(partition, offset);
                encoder.encode(&reading, &mut json);
                match self.sink.offer(partition, reading.sensor.to_string().as_str(), &json)? {
                    Taken::Yes => {}
                    Taken::NotYet => {
                        self.sink.rest(FULL_REST)?;
                        break;
                    }
                    Taken::Closed => return Ok(sent),
                }
                next_offsets[partition as usize] = offset + 1;
                number += 1;
                sent += 1;
            }
            let rest_us = match &self.pace {
                Some(pace) if burst <= 0 => (pace.turn_us(number) - now).clamp(REST_US.0, REST_US.1),
                _ => 0,
            };
            if self.sink.rest(Duration::from_micros(rest_us as u64))? == Taken::Closed {
                return Ok(sent);
            }
            if !self.quiet {
                status.say(now, sent, self.sink.delivered(sent));
            }
        }
        self.sink.finish(sent)?;
        Ok(sent)
    }
}

/// The line that is said every few seconds.
struct Status {
    at_us: i64,
    sent: u64,
}

impl Status {
    fn say(&mut self, now_us: i64, sent: u64, delivered: u64) {
        let elapsed_us = now_us - self.at_us;
        if (0..STATUS_US).contains(&elapsed_us) {
            return;
        }
        let rate = (sent - self.sent) as f64 / (elapsed_us.max(1) as f64 / 1e6);
        let way = sent - delivered;
        eprintln!(
            "{} readings sent, {} on their way, {}/s",
            grouped(sent),
            grouped(way),
            grouped(rate.round() as u64)
        );
        *self = Status { at_us: now_us, sent };
    }
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}

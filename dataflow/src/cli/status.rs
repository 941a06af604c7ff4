//! The line every few seconds: rate, lag, watermark, anomalies, last commit. Told from the commits and marks that
//! worker 0 sees, so it speaks of the whole run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::commit::committer::Committed;
use crate::window::{Mark, NEVER};

/// Distance of two lines.
const INTERVAL: Duration = Duration::from_secs(5);

/// What the line tells of.
#[derive(Debug, Default)]
pub struct Status {
    since: Option<Instant>,
    readings: i64,
    total: i64,
    low_us: Option<i64>,
    /// By partition: offsets not read yet, anomalies since the run began.
    partitions: BTreeMap<i32, (i64, i64)>,
    last_commit: Option<(u64, Instant)>,
}

impl Status {
    /// Takes note of a commit.
    pub fn committed(&mut self, committed: &Committed, now: Instant) {
        self.readings += committed.plan.readings;
        self.total += committed.plan.readings;
        self.low_us = (committed.plan.low_us != NEVER).then_some(committed.plan.low_us);
        self.last_commit = Some((committed.epoch, now));
    }

    /// Takes note of a mark.
    pub fn mark(&mut self, mark: &Mark) {
        let lag = (mark.end_offset - mark.next_offset).max(0);
        self.partitions.insert(mark.partition, (lag, mark.anomalies));
    }

    /// Readings that this run has committed.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// The line, when it is due. `now_ms` is the wall clock.
    pub fn line(&mut self, now: Instant, now_ms: u64) -> Option<String> {
        let since = *self.since.get_or_insert(now);
        let passed = now.duration_since(since);
        if passed < INTERVAL {
            return None;
        }
        self.since = Some(now);
        let rate = std::mem::take(&mut self.readings) as f64 / passed.as_secs_f64();
        let (lag, anomalies) =
            self.partitions.values().fold((0, 0), |sum, (lag, anomalies)| (sum.0 + lag, sum.1 + anomalies));
        let watermark = self.low_us.and_then(chrono::DateTime::from_timestamp_micros).map_or_else(
            || "none yet".to_owned(),
            |at| {
                let behind_s = (now_ms as i64 - at.timestamp_millis()) / 1000;
                if behind_s < 3600 {
                    format!("{behind_s} s behind")
                } else {
                    at.format("%Y-%m-%d %H:%M").to_string()
                }
            },
        );
        let commit = self.last_commit.map_or_else(
            || "none yet".to_owned(),
            |(_, at)| format!("{:.1} s ago", now.duration_since(at).as_secs_f64()),
        );
        Some(format!(
            "{}/s · lag {} · watermark {watermark} · {} anomalies · commit {commit}",
            thousands(rate.round() as i64),
            thousands(lag),
            thousands(anomalies)
        ))
    }
}

/// 1234567 → 1,234,567.
pub fn thousands(number: i64) -> String {
    let digits = number.abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests;

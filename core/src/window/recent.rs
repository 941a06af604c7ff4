//! Which anomalies lie in the last five minutes of event time before W: what enters and what leaves as W advances.
//!
//! An anomaly recorded at r is recent while `r < W` and `W − 5 min <= r`. A pure struct; differential dataflow
//! counts and ranks what it reports.

use std::collections::BTreeMap;

use super::RecentAnomaly;
use crate::NEVER;

/// How long an anomaly is recent, microseconds of event time.
pub const RECENT_US: i64 = 5 * 60 * 1_000_000;

/// Anomalies that are, or will be, recent: by event time and order of arrival, since equal ones count each. There may
/// be many, so an entry is no more than its key and two shared names.
type ByTime = BTreeMap<(i64, u64), RecentAnomaly>;

/// Anomalies that are, or will be, recent.
#[derive(Debug, Default)]
pub struct Recent {
    /// Recorded at or after W.
    ahead: ByTime,
    /// Recent now.
    inside: ByTime,
    arrivals: u64,
}

impl Recent {
    /// Takes in an epoch's anomalies and the W at its end, and returns what entered (+1) and left (−1).
    pub fn advance(
        &mut self,
        anomalies: impl IntoIterator<Item = RecentAnomaly>,
        low_us: i64,
    ) -> Vec<(RecentAnomaly, isize)> {
        for anomaly in anomalies {
            self.arrivals += 1;
            self.ahead.insert((anomaly.recorded_us, self.arrivals), anomaly);
        }
        if low_us == NEVER {
            return Vec::new();
        }
        let oldest_us = low_us.saturating_sub(RECENT_US);
        let left = take_before(&mut self.inside, oldest_us);
        let mut changes: Vec<(RecentAnomaly, isize)> =
            left.into_values().map(|anomaly| (anomaly, -1)).collect();
        // A leap of W passes over some.
        let mut entered = take_before(&mut self.ahead, low_us);
        take_before(&mut entered, oldest_us);
        changes.extend(entered.values().cloned().map(|anomaly| (anomaly, 1)));
        self.inside.append(&mut entered);
        changes
    }
}

/// Takes out what was recorded before `bound_us`.
fn take_before(anomalies: &mut ByTime, bound_us: i64) -> ByTime {
    let rest = anomalies.split_off(&(bound_us, 0));
    std::mem::replace(anomalies, rest)
}

#[cfg(test)]
mod tests;

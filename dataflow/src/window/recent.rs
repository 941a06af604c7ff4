//! Which anomalies lie in the last five minutes of event time before W: what enters and what leaves as W advances.
//!
//! An anomaly recorded at r is recent while `r < W` and `W − 5 min <= r`. A pure struct; differential dataflow
//! counts and ranks what it reports.

use std::collections::BTreeMap;

use super::{NEVER, RecentAnomaly};

/// How long an anomaly is recent, microseconds of event time.
pub const RECENT_US: i64 = 5 * 60 * 1_000_000;

/// Anomalies that are, or will be, recent.
#[derive(Debug, Default)]
pub struct Recent {
    /// Recorded at or after W.
    ahead: BTreeMap<i64, Vec<RecentAnomaly>>,
    /// Recent now.
    inside: BTreeMap<i64, Vec<RecentAnomaly>>,
}

impl Recent {
    /// Takes in an epoch's anomalies and the W at its end, and returns what entered (+1) and left (−1).
    pub fn advance(
        &mut self,
        anomalies: impl IntoIterator<Item = RecentAnomaly>,
        low_us: i64,
    ) -> Vec<(RecentAnomaly, isize)> {
        let mut changes = Vec::new();
        for anomaly in anomalies {
            self.ahead.entry(anomaly.recorded_us).or_default().push(anomaly);
        }
        if low_us == NEVER {
            return changes;
        }
        let oldest_us = low_us.saturating_sub(RECENT_US);
        let stay = self.inside.split_off(&oldest_us);
        for left in std::mem::replace(&mut self.inside, stay).into_values() {
            changes.extend(left.into_iter().map(|anomaly| (anomaly, -1)));
        }
        let still_ahead = self.ahead.split_off(&low_us);
        for (recorded_us, entered) in std::mem::replace(&mut self.ahead, still_ahead) {
            if recorded_us < oldest_us {
                continue;
            }
            changes.extend(entered.iter().cloned().map(|anomaly| (anomaly, 1)));
            self.inside.entry(recorded_us).or_default().extend(entered);
        }
        changes
    }
}

#[cfg(test)]
mod tests;

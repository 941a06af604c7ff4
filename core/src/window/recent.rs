//! The anomalies of the last five minutes of event time before W, by sensor, as W advances.
//!
//! An anomaly recorded at r is recent while `r < W` and `W − 5 min <= r`. A pure struct; differential dataflow
//! sums and ranks what it reports. That is a change per sensor and epoch, however many anomalies come.
//!
//! A partition that is hours behind holds W back while the others bring anomalies that will be recent in hours. They
//! wait in the database, and are read back when W gets there.
//!
//! Invariants:
//! 1. what entered and did not leave are the anomalies of the five minutes before W;
//! 2. memory holds all that was recorded below `whole_below_us`, unless it is too old to be recent again; what was
//!    recorded later it holds until the epoch that brought it is committed. W passes `whole_below_us` only once what lies
//!    between has been read back;
//! 3. beyond what is recent, and what is not committed, memory holds no more than a given number of anomalies.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::RecentAnomaly;
use crate::NEVER;

/// How long an anomaly is recent, microseconds of event time.
pub const RECENT_US: i64 = 5 * 60 * 1_000_000;

/// Anomalies ahead of W that a worker keeps in memory, about ten megabytes: minutes of a large city.
pub const AHEAD_MAX: usize = 100_000;

/// Anomalies by event time and order of arrival, since equal ones count each. There may be many, so an entry is no more
/// than its key, a number and two shared names.
type ByTime<A> = BTreeMap<(i64, u64), A>;

/// A sensor's recent anomalies, as one worker knows them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SensorAnomalies {
    pub zone: Arc<str>,
    pub sensor: Arc<str>,
    /// How many, at least one.
    pub count: u64,
    /// Event time of the last one, microseconds.
    pub last_us: i64,
}

/// The anomalies that were recorded at or after `from_us` in epochs below `epoch_below`: the first `rows_max` of them, and
/// all that were recorded at the same time as the last of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBack {
    /// The earliest event time, microseconds; [`NEVER`] when there is none.
    pub from_us: i64,
    /// Bound of the epochs.
    pub epoch_below: u64,
    /// How many.
    pub rows_max: usize,
}

impl ReadBack {
    /// The event time below which an answer is complete, `i64::MAX` when there is nothing more.
    pub fn whole_below_us<'a>(&self, answer: impl ExactSizeIterator<Item = &'a RecentAnomaly>) -> i64 {
        if answer.len() < self.rows_max {
            return i64::MAX;
        }
        answer.last().map_or(i64::MAX, |last| last.recorded_us + 1)
    }
}

/// Anomalies that are, or will be, recent.
#[derive(Debug)]
pub struct Recent {
    /// Recorded at or after W and below `whole_below_us`, each with its epoch.
    ahead: ByTime<(u64, RecentAnomaly)>,
    /// Recent now.
    inside: ByTime<RecentAnomaly>,
    /// How many these are by zone and sensor, and when the last one was recorded.
    of_sensors: HashMap<(Arc<str>, Arc<str>), (u64, i64)>,
    /// Recorded at or above `whole_below_us`, by epoch.
    uncommitted: BTreeMap<u64, Vec<RecentAnomaly>>,
    /// What was recorded at or after this may be in the database only, microseconds; `i64::MAX` when nothing is.
    whole_below_us: i64,
    /// Every epoch below is committed.
    committed_below: u64,
    /// Whether anomalies are being read back: the answer may be older than a commit made meanwhile.
    awaits: bool,
    ahead_max: usize,
    arrivals: u64,
}

impl Recent {
    /// Knows of nothing. Committed anomalies that were recorded at or after `whole_below_us` will be read back; those
    /// below are taken in with the first [`Recent::advance`]. Epochs below `committed_below` are committed.
    pub fn new(ahead_max: usize, whole_below_us: i64, committed_below: u64) -> Recent {
        Recent {
            ahead: BTreeMap::new(),
            inside: BTreeMap::new(),
            of_sensors: HashMap::new(),
            uncommitted: BTreeMap::new(),
            whole_below_us,
            committed_below,
            awaits: false,
            ahead_max,
            arrivals: 0,
        }
    }

    /// What must be read back before W may be `low_us`; asked again with each answer, until nothing is.
    pub fn missing(&mut self, low_us: i64) -> Option<ReadBack> {
        self.awaits = low_us > self.whole_below_us;
        self.awaits.then(|| ReadBack {
            // A leap of W passes over some.
            from_us: self.whole_below_us.max(low_us.saturating_sub(RECENT_US)),
            epoch_below: self.committed_below,
            rows_max: (self.ahead_max / 2).max(1),
        })
    }

    /// Takes in the answer, by event time.
    pub fn read_back(&mut self, asked: ReadBack, anomalies: Vec<RecentAnomaly>) {
        self.whole_below_us = asked.whole_below_us(anomalies.iter());
        anomalies.into_iter().for_each(|anomaly| self.keep(0, anomaly));
        for (epoch, anomalies) in std::mem::take(&mut self.uncommitted) {
            anomalies.into_iter().for_each(|anomaly| self.keep(epoch, anomaly));
        }
    }

    /// Takes in an epoch's anomalies and the W at its end, for which nothing may be missing. Returns what is known of
    /// sensors now (+1) and no longer (−1).
    pub fn advance(
        &mut self,
        epoch: u64,
        anomalies: impl IntoIterator<Item = RecentAnomaly>,
        low_us: i64,
    ) -> Vec<(SensorAnomalies, isize)> {
        let mut before: HashMap<(Arc<str>, Arc<str>), (u64, i64)> = HashMap::new();
        for (RecentAnomaly { zone, sensor, recorded_us }, diff) in self.pass(epoch, anomalies, low_us) {
            let key = (zone, sensor);
            let known = self.of_sensors.entry(key.clone()).or_insert((0, i64::MIN));
            before.entry(key).or_insert(*known);
            // The oldest leave first, so the last one stays until none is left.
            *known = (known.0.strict_add_signed(diff as i64), known.1.max(recorded_us));
        }
        let mut changes = Vec::new();
        for (key, was) in before {
            let is = self.of_sensors[&key];
            if is.0 == 0 {
                self.of_sensors.remove(&key);
            }
            let (zone, sensor) = key;
            for ((count, last_us), diff) in [(was, -1), (is, 1)].into_iter().filter(|_| was != is) {
                if count > 0 {
                    let (zone, sensor) = (zone.clone(), sensor.clone());
                    changes.push((SensorAnomalies { zone, sensor, count, last_us }, diff));
                }
            }
        }
        changes
    }

    /// Takes in an epoch's anomalies and the W at its end. Returns what left (−1), then what entered (+1).
    fn pass(
        &mut self,
        epoch: u64,
        anomalies: impl IntoIterator<Item = RecentAnomaly>,
        low_us: i64,
    ) -> Vec<(RecentAnomaly, isize)> {
        assert!(low_us <= self.whole_below_us, "what lies before W is in memory");
        anomalies.into_iter().for_each(|anomaly| self.keep(epoch, anomaly));
        if low_us == NEVER {
            return Vec::new();
        }
        let oldest_us = low_us.saturating_sub(RECENT_US);
        let left = take_before(&mut self.inside, oldest_us);
        let mut changes: Vec<(RecentAnomaly, isize)> =
            left.into_values().map(|anomaly| (anomaly, -1)).collect();
        let mut entered = take_before(&mut self.ahead, low_us);
        take_before(&mut entered, oldest_us);
        changes.extend(entered.values().map(|(_, anomaly)| (anomaly.clone(), 1)));
        self.inside.extend(entered.into_iter().map(|(key, (_, anomaly))| (key, anomaly)));
        changes
    }

    /// Lets go of what the database holds and memory has no room for. Every epoch below `committed_below` is committed.
    pub fn evict(&mut self, committed_below: u64) {
        if self.awaits {
            return;
        }
        self.committed_below = self.committed_below.max(committed_below);
        self.uncommitted = self.uncommitted.split_off(&self.committed_below);
        if self.ahead.len() > self.ahead_max {
            // Half, so that this is not done for each of them.
            let (bound_us, _) = *self.ahead.keys().nth(self.ahead_max / 2).expect("there are more");
            self.whole_below_us = bound_us;
            for (epoch, anomaly) in self.ahead.split_off(&(bound_us, 0)).into_values() {
                if epoch >= self.committed_below {
                    self.keep(epoch, anomaly);
                }
            }
        }
    }

    /// Anomalies ahead of W in memory.
    pub fn ahead(&self) -> usize {
        self.ahead.len() + self.uncommitted.values().map(Vec::len).sum::<usize>()
    }

    fn keep(&mut self, epoch: u64, anomaly: RecentAnomaly) {
        if anomaly.recorded_us < self.whole_below_us {
            self.arrivals += 1;
            self.ahead.insert((anomaly.recorded_us, self.arrivals), (epoch, anomaly));
        } else {
            self.uncommitted.entry(epoch).or_default().push(anomaly);
        }
    }
}

/// Takes out what was recorded before `bound_us`.
fn take_before<A>(anomalies: &mut ByTime<A>, bound_us: i64) -> ByTime<A> {
    let rest = anomalies.split_off(&(bound_us, 0));
    std::mem::replace(anomalies, rest)
}

#[cfg(test)]
mod tests;

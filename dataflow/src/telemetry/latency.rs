//! Latency: from the timestamp that Kafka gave a record to the moment its epoch is committed, hence visible.
//!
//! What a worker reads is noted by epoch as runs of records with the same millisecond; when worker 0 hears of a commit,
//! everything at or below its epoch is counted. A record costs a comparison.
//!
//! Bounds: as many epochs are open as the sources let be in flight, and an epoch holds at most as many runs as records.

use std::collections::BTreeMap;
use std::sync::Mutex;

use citytide_core::batch::Chunk;

/// Upper bounds of the histogram's buckets, seconds; one more is without bound.
pub const BOUNDS_S: [f64; 14] =
    [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// What has been counted so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Records by bucket: those within each bound of [`BOUNDS_S`] but beyond the one before, then the rest.
    pub buckets: [u64; BOUNDS_S.len() + 1],
    /// Records.
    pub count: u64,
    /// Sum of their latencies, seconds.
    pub sum_s: f64,
}

impl Observed {
    fn add(&mut self, latency_ms: i64, records: u64) {
        // A clock that is behind the broker's makes no negative time.
        let latency_s = latency_ms.max(0) as f64 / 1000.0;
        let bucket = BOUNDS_S.iter().position(|bound| latency_s <= *bound).unwrap_or(BOUNDS_S.len());
        self.buckets[bucket] += records;
        self.count += records;
        self.sum_s += latency_s * records as f64;
    }
}

/// Receive times of what is not committed yet, and the latencies of what is.
#[derive(Debug)]
pub struct Latency {
    /// Whether this process sees commits; if not, nothing is noted.
    sees_commits: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By epoch: runs of records with the same receive time, milliseconds of the Unix epoch.
    open: BTreeMap<u64, Vec<(i64, u64)>>,
    observed: Observed,
}

impl Latency {
    pub fn new(sees_commits: bool) -> Latency {
        Latency { sees_commits, state: Mutex::default() }
    }

    /// Takes note of chunks that a worker has read in an epoch.
    pub fn received<'a>(&self, epoch: u64, chunks: impl Iterator<Item = &'a Chunk>) {
        if !self.sees_commits {
            return;
        }
        let mut runs: Vec<(i64, u64)> = Vec::new();
        for received_at_ms in chunks.flat_map(|chunk| &chunk.received_at_ms) {
            match runs.last_mut() {
                Some((at_ms, records)) if at_ms == received_at_ms => *records += 1,
                _ => runs.push((*received_at_ms, 1)),
            }
        }
        if !runs.is_empty() {
            self.state.lock().expect("no holder panics").open.entry(epoch).or_default().append(&mut runs);
        }
    }

    /// Everything up to `epoch` is visible since `now_ms`, milliseconds of the Unix epoch.
    pub fn committed(&self, epoch: u64, now_ms: u64) {
        let state = &mut *self.state.lock().expect("no holder panics");
        while let Some(first) = state.open.first_entry()
            && *first.key() <= epoch
        {
            for (received_at_ms, records) in first.remove() {
                state.observed.add(now_ms as i64 - received_at_ms, records);
            }
        }
    }

    /// What has been counted so far.
    pub fn observed(&self) -> Observed {
        self.state.lock().expect("no holder panics").observed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(received_at_ms: &[i64]) -> Chunk {
        Chunk { received_at_ms: received_at_ms.to_vec(), ..Chunk::default() }
    }

    #[test]
    fn a_record_counts_once_its_epoch_is_committed_and_not_before() {
        let latency = Latency::new(true);
        latency.received(100, [chunk(&[1_000, 1_000]), chunk(&[1_000, 1_030])].iter());
        latency.received(150, [chunk(&[1_040])].iter());
        latency.committed(99, 1_050);
        assert_eq!(latency.observed(), Observed::default());
        latency.committed(149, 1_050);
        let mut expected = Observed { count: 4, sum_s: 0.17, ..Observed::default() };
        expected.buckets[2] = 3;
        expected.buckets[1] = 1;
        assert_eq!(latency.observed(), expected);
        latency.committed(150, 400_000_000);
        assert_eq!(latency.observed().buckets[BOUNDS_S.len()], 1, "what is beyond every bound counts too");
        assert_eq!(latency.observed().count, 5);
    }

    #[test]
    fn a_broker_whose_clock_is_ahead_makes_no_negative_latency() {
        let latency = Latency::new(true);
        latency.received(1, [chunk(&[5_000])].iter());
        latency.committed(1, 4_000);
        assert_eq!((latency.observed().buckets[0], latency.observed().sum_s), (1, 0.0));
    }

    #[test]
    fn a_process_that_hears_of_no_commit_notes_nothing() {
        let latency = Latency::new(false);
        latency.received(1, [chunk(&[5_000])].iter());
        assert!(latency.state.lock().expect("no holder panics").open.is_empty());
    }

    #[test]
    fn a_chunk_without_records_leaves_nothing_behind() {
        let latency = Latency::new(true);
        latency.received(1, [chunk(&[])].iter());
        assert!(latency.state.lock().expect("no holder panics").open.is_empty());
    }
}

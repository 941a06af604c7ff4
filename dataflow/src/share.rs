//! The share of one worker: the partitions that it reads, and the zones that it keeps.

use std::hash::Hasher;

use fnv::FnvHasher;

/// A worker among all workers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The worker.
    pub index: usize,
    /// How many workers there are, in all processes.
    pub peers: usize,
}

impl Share {
    /// Whether the worker reads a partition, also one that is added while it does.
    pub fn reads(self, partition: i32) -> bool {
        partition as usize % self.peers == self.index
    }

    /// Whether what concerns a zone is routed to the worker.
    pub fn keeps(self, zone: &str) -> bool {
        route(zone) % self.peers as u64 == self.index as u64
    }
}

/// What a worker says of a zone goes to the worker with this number modulo the number of workers. FNV-1a, mixed,
/// because timely masks the low bits.
pub fn route(zone: &str) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(zone.as_bytes());
    let hash = hasher.finish();
    hash ^ (hash >> 32) ^ (hash >> 17)
}

//! The thin shells: timely in, plain struct, timely out. The timestamp is the ingest epoch in milliseconds.
//!
//! An operator keeps what it receives in [`OpenEpochs`], and acts on an epoch once its frontier has passed it: then every
//! worker has said all it has to say about that epoch.

mod baselines;
mod commit;
mod copy;
mod decode;
mod epochs;
mod lateness;
mod place;
mod read;
mod score;
mod watermark;
mod window;

pub use baselines::{BaselineStreams, BaselinesParts, baselines};
pub use commit::{CommitParts, Streams, commit};
pub use copy::copy;
pub use decode::decode;
pub use epochs::{OpenEpoch, OpenEpochs, passed};
pub use lateness::{Judged, lateness};
pub use place::{Placed, place};
pub use read::{ReadParts, read};
pub use score::{Directive, ScoreParts, Scored, score};
pub use watermark::watermark;
pub use window::{Changes, WindowParts, window};

use std::hash::Hasher;

use fnv::FnvHasher;
use timely::container::CapacityContainerBuilder;

/// How outputs gather rows into messages.
pub type Rows<D> = CapacityContainerBuilder<Vec<D>>;

/// The dataflow's timestamp: an ingest epoch, milliseconds.
pub type Epoch = u64;

/// What a worker says of a zone goes to the worker with this number modulo the number of workers. FNV-1a, mixed,
/// because timely masks the low bits.
pub fn route(zone: &str) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(zone.as_bytes());
    let hash = hasher.finish();
    hash ^ (hash >> 32) ^ (hash >> 17)
}

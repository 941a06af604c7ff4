//! The thin shells: timely in, plain struct, timely out. The timestamp is the ingest epoch in milliseconds.
//!
//! An operator keeps what it receives in [`OpenEpochs`], and acts on an epoch once its frontier has passed it: then no
//! worker can send more for that epoch.

mod baselines;
mod commit;
mod copy;
mod decode;
mod epochs;
mod lateness;
mod place;
mod read;
mod recall;
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
pub use read::{ReadParts, Readings, read};
pub use recall::Recall;
pub use score::{Held, ScoreParts, Scored, score};
pub use watermark::watermark;
pub use window::{Changes, WindowParts, window};

use std::sync::Arc;

use citytide_store::session::Wake;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// How outputs gather rows into messages.
pub type Rows<D> = CapacityContainerBuilder<Vec<D>>;

/// The dataflow's timestamp: an ingest epoch, milliseconds.
pub type Epoch = u64;

/// Wakes an operator from another thread.
pub fn wake(scope: Scope<'_, Epoch>, builder: &OperatorBuilder<'_, Epoch>) -> Wake {
    let operator = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    Arc::new(move || {
        // It fails only when the worker is gone, and then nothing is to be woken.
        let _ = operator.activate();
    })
}

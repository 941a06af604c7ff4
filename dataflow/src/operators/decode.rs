//! decode: chunks of bytes → batches of readings, with the records that are none as dead letters.

use std::sync::Arc;

use citytide_core::batch::{Assembler, Batch, Chunk};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::vec::Map;

use super::Epoch;
use crate::telemetry::{Stage, Telemetry};

/// Builds the operator. A chunk becomes one batch, in its epoch.
pub fn decode<'scope>(
    chunks: StreamVec<'scope, Epoch, Chunk>,
    mut assembler: Assembler,
    telemetry: Arc<Telemetry>,
) -> StreamVec<'scope, Epoch, Batch> {
    let received = telemetry.clone();
    chunks
        .inspect_batch(move |epoch, chunks| received.latency.received(*epoch, chunks.iter()))
        .map(move |chunk| telemetry.stages.time(Stage::Decode, || assembler.assemble(&chunk)))
}

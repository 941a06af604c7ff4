//! copy: encodes placed batches and what the detector wants kept, and hands them to this worker's writer, an epoch at a
//! time. Its output carries no data: the epoch's capability is held until the writer has acknowledged it, so the
//! frontier behind this operator says which raw rows are in the database.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use citytide_core::batch::Batch;
use citytide_core::detect::Blob;
use citytide_store::session::{Session, Wake};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Epoch, passed, wake};
use crate::commit::copy::{encode_blobs, encode_dead_letters, encode_readings};
use crate::commit::writer::Rows;
use crate::telemetry::{Stage, Telemetry};

/// Encoded bytes that are handed over at once.
const CHUNK_BYTES: usize = 256 * 1024;

struct OpenEpoch {
    capability: Capability<Epoch>,
    readings: Vec<u8>,
    dead: Vec<u8>,
    blobs: Vec<u8>,
    /// Whether some of its readings have been handed over: then the writer's transaction is this epoch's.
    is_streamed: bool,
    /// Whether all of it has been handed over.
    handed_over: bool,
    /// Earlier epochs whose blobs came when this one was streamed already, and go with it.
    earlier: Vec<Capability<Epoch>>,
}

impl OpenEpoch {
    fn new(capability: Capability<Epoch>) -> OpenEpoch {
        OpenEpoch {
            capability,
            readings: Vec::new(),
            dead: Vec::new(),
            blobs: Vec::new(),
            is_streamed: false,
            handed_over: false,
            earlier: Vec::new(),
        }
    }
}

/// Builds the operator. `open` starts the writer, which acknowledges epochs on the channel.
pub fn copy<'scope>(
    batches: StreamVec<'scope, Epoch, Batch>,
    blobs: StreamVec<'scope, Epoch, Blob>,
    telemetry: Arc<Telemetry>,
    open: impl FnOnce(crossbeam_channel::Sender<Epoch>, Wake) -> Session<Rows>,
) -> StreamVec<'scope, Epoch, ()> {
    let scope = batches.scope();
    let mut builder = OperatorBuilder::new("copy".to_owned(), scope);
    let mut input = builder.new_input(batches, Pipeline);
    let mut blobs_in = builder.new_input(blobs, Pipeline);
    let (_output, copied) = builder.new_output::<Vec<()>>();
    let (finished, acknowledged) = crossbeam_channel::unbounded();
    let writer = open(finished, wake(scope, &builder));

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: BTreeMap<Epoch, OpenEpoch> = BTreeMap::new();
        move |frontiers| {
            let hand_over = |epoch: Epoch, readings: &mut Vec<u8>| {
                let rows = std::mem::take(readings);
                writer.send(Rows::Readings(epoch, Bytes::from(rows)));
            };
            input.for_each(|capability, batches| {
                let epoch = *capability.time();
                let first = epochs
                    .iter()
                    .find(|(_, open)| !open.handed_over)
                    .is_none_or(|(first, _)| *first >= epoch);
                let open = epochs.entry(epoch).or_insert_with(|| OpenEpoch::new(capability.retain(0)));
                let _timing = telemetry.stages.start(Stage::Copy);
                for batch in batches.drain(..) {
                    encode_readings(&batch, epoch, &mut open.readings);
                    encode_dead_letters(batch.partition, &batch.dead, epoch, &mut open.dead);
                    // Only the oldest epoch is streamed; a later one waits for its turn in memory.
                    if first && open.readings.len() >= CHUNK_BYTES {
                        open.is_streamed = true;
                        hand_over(epoch, &mut open.readings);
                    }
                }
            });
            blobs_in.for_each(|capability, blobs| {
                // What is known before an epoch may be told when a later one is streamed already. It goes into that
                // one's transaction; its own epoch is not done before.
                let epoch = *capability.time();
                let later = epochs.iter_mut().find(|(later, open)| **later > epoch && open.is_streamed);
                match later {
                    Some((_, open)) => {
                        open.earlier.push(capability.retain(0));
                        encode_blobs(blobs, epoch, &mut open.blobs);
                    }
                    None => {
                        let open =
                            epochs.entry(epoch).or_insert_with(|| OpenEpoch::new(capability.retain(0)));
                        encode_blobs(blobs, epoch, &mut open.blobs);
                    }
                }
                blobs.clear();
            });
            for (&epoch, open) in &mut epochs {
                if open.handed_over {
                    continue;
                }
                if !passed(frontiers, epoch) {
                    break;
                }
                if !open.readings.is_empty() {
                    hand_over(epoch, &mut open.readings);
                }
                open.readings = Vec::new();
                let last = |bytes: &mut Vec<u8>| Bytes::from(std::mem::take(bytes));
                writer.send(Rows::Finish { epoch, dead: last(&mut open.dead), blobs: last(&mut open.blobs) });
                open.handed_over = true;
            }
            for epoch in acknowledged.try_iter() {
                let open = epochs.remove(&epoch).expect("an epoch is acknowledged once");
                drop((open.capability, open.earlier));
            }
        }
    });
    copied
}

#[cfg(test)]
mod tests;

//! The order in which epochs reach the writer.

use std::sync::Mutex;

use citytide_core::batch::example::{Row, batch};
use citytide_core::detect::{Blob, BlobKind};
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Input;

use super::*;

#[test]
fn a_blob_of_an_earlier_epoch_goes_with_the_one_that_is_streamed() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let jobs = told.clone();
    timely::execute_directly(move |worker| {
        let (mut batches, mut blobs, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (batches, batch_stream) = scope.new_input::<Batch>();
            let (blobs, blob_stream) = scope.new_input::<Blob>();
            let telemetry = Arc::new(Telemetry::new(0, Arc::default()));
            let copied = copy(batch_stream, blob_stream, telemetry, |finished, wake| {
                Session::spawn("writer".to_owned(), Arc::new(|_| {}), async move |mut from| {
                    while let Some(job) = from.recv().await {
                        let line = match job {
                            Rows::Readings(epoch, _) => format!("readings of {epoch}"),
                            Rows::Finish { epoch, blobs, .. } => {
                                let _ = finished.send(epoch);
                                wake();
                                format!("end of {epoch}, {} blob", u8::from(!blobs.is_empty()))
                            }
                        };
                        jobs.lock().expect("no holder panics").push(line);
                    }
                    Ok(())
                })
            });
            (batches, blobs, copied.probe().0)
        });
        let rows: Vec<Row> = (0..4000).map(|offset| Row::new(offset, 0, &[1.0])).collect();
        batches.advance_to(20);
        batches.send(batch(0, &rows));
        batches.flush();
        (0..10).for_each(|_| {
            worker.step();
        });
        // The zones' worker is behind: only now does it say what it knew before epoch 10.
        blobs.advance_to(10);
        blobs.send(Blob { kind: BlobKind::Partition, key: "0".to_owned(), as_of_us: 0, state: vec![7] });
        blobs.advance_to(15);
        batches.flush();
        (0..10).for_each(|_| {
            worker.step();
        });
        assert!(probe.less_equal(&10), "epoch 10 is done when the transaction that holds its blob is");
        batches.close();
        blobs.close();
        worker.step_while(|| !probe.done());
    });
    let told = told.lock().expect("no holder panics");
    assert!(
        told.len() >= 2 && told[..told.len() - 1].iter().all(|line| line == "readings of 20"),
        "{told:?}"
    );
    assert_eq!(told[told.len() - 1], "end of 20, 1 blob");
}

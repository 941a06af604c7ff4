//! The session that copies raw rows: where they go, and how what the detector keeps is stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use citytide::commit::copy::encode_blobs;
use citytide::commit::writer::{Rows, WriterSettings, spawn};
use citytide_core::detect::{Blob, BlobKind};
use citytide_domain::Domain;
use citytide_store::schema::Pace;
use citytide_store::session::Session;
use citytide_store::upkeep::ensure_partitions;
use crossbeam_channel::{Receiver, unbounded};

use super::scratch::{NOON_MS, Scratch, texts, with_database};

const LONG: Duration = Duration::from_secs(20);

fn writer(scratch: &Scratch) -> (Session<Rows>, Receiver<u64>) {
    let settings = WriterSettings {
        database: scratch.database(None),
        domain: Arc::new(Domain::smart_city()),
        run_id: 0,
        worker: 0,
        fail_at: None,
    };
    let (finished, acknowledged) = unbounded();
    let on_failure = Arc::new(|error| panic!("nothing fails here: {error}"));
    (spawn(settings, finished, Arc::new(|| ()), on_failure), acknowledged)
}

#[test]
fn an_epoch_waits_for_the_segment_that_holds_it() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let (writer, acknowledged) = writer(scratch);
        writer.send(Rows::Readings(NOON_MS, Bytes::new()));
        writer.send(Rows::Finish { epoch: NOON_MS, dead: Bytes::new(), blobs: Bytes::new() });
        acknowledged.recv_timeout(Duration::from_millis(300)).expect_err("there is no segment yet");
        ensure_partitions(&mut client, 0, NOON_MS, Some(Pace::Behind)).await.expect("partitions");
        assert_eq!(acknowledged.recv_timeout(LONG), Ok(NOON_MS));
    });
}

#[test]
fn what_the_detector_keeps_is_compressed_by_lz4_where_the_server_has_it() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        let (writer, acknowledged) = writer(scratch);
        let state = (0..100_000_u32).flat_map(|number| (number / 8).to_le_bytes()).collect();
        let blob = Blob { kind: BlobKind::Partition, key: "0".to_owned(), as_of_us: 0, state };
        let mut blobs = Vec::new();
        encode_blobs(&[blob], NOON_MS, &mut blobs);
        writer.send(Rows::Finish { epoch: NOON_MS, dead: Bytes::new(), blobs: blobs.into() });
        assert_eq!(acknowledged.recv_timeout(LONG), Ok(NOON_MS));
        let sql = "select pg_column_compression(state) from detector_state";
        let known = "select case when 'lz4' = any (enumvals) then 'lz4' else 'pglz' end from pg_settings \
                     where name = 'default_toast_compression'";
        assert_eq!(texts(&client, sql).await, texts(&client, known).await);
    });
}

//! Rows that were copied but never committed go, wherever on the disk they are.

use citytide_store::schema::Pace;
use citytide_store::upkeep::{Written, delete_uncommitted, ensure_partitions};
use tokio_postgres::Client;

use super::scratch::{NOON_MS, Scratch, execute, number, texts, with_database};

/// With segments that have indexes, or that a backlog is read into.
async fn with_segments(scratch: &Scratch, pace: Pace) -> Client {
    let mut client = scratch.with_schema().await;
    ensure_partitions(&mut client, 0, NOON_MS, Some(pace)).await.expect("partitions");
    client
}

/// `rows` readings of one epoch.
async fn copy(client: &Client, epoch: u64, rows: u32) {
    execute(
        client,
        &format!(
            "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, is_late, \
             is_anomaly, anomaly_score, model_version) select {epoch}, 0, n, n, 'Downtown', now(), false, false, 0, 0 \
             from generate_series(1, {rows}) as n; \
             insert into dead_letter_records values ({epoch}, 0, 0, now(), 'empty', null, 'nothing', '', 0)"
        ),
    )
    .await;
}

#[test]
fn everything_above_the_committed_epoch_goes_whatever_segment_it_lies_in() {
    for pace in [Pace::Live, Pace::Behind] {
        with_database(async |scratch| {
            let mut client = with_segments(scratch, pace).await;
            let next = NOON_MS + pace.segment_ms();
            ensure_partitions(&mut client, 0, next, Some(pace)).await.expect("partitions");
            for epoch in [NOON_MS, NOON_MS + 50, next] {
                copy(&client, epoch, 10).await;
            }
            let deleted = delete_uncommitted(&client, NOON_MS as i64).await.expect("deleted");
            assert_eq!(deleted, 22);
            assert_eq!(number(&client, "select count(*) from sensor_readings").await, 10);
            assert_eq!(number(&client, "select max(epoch) from dead_letter_records").await, NOON_MS as i64);
            assert_eq!(delete_uncommitted(&client, NOON_MS as i64).await.expect("nothing left"), 0);
        });
    }
}

/// The reason for BRIN: after a clean-up and a vacuum, new rows fill the space of the deleted ones, below the block
/// count of the last commit. A clean-up by TID range from that count would leave them, to appear with a later epoch.
#[test]
fn rows_in_space_that_an_earlier_clean_up_freed_are_found() {
    with_database(async |scratch| {
        let client = with_segments(scratch, Pace::Live).await;
        copy(&client, NOON_MS, 1_000).await;
        copy(&client, NOON_MS + 50, 20_000).await;
        copy(&client, NOON_MS + 100, 1_000).await;
        execute(&client, &format!("delete from sensor_readings where epoch = {}", NOON_MS + 50)).await;
        execute(&client, "vacuum sensor_readings_20261121_120000").await;
        Written::default().summarize(&client, NOON_MS).await.expect("summarised");
        let blocks = "select pg_relation_size('sensor_readings_20261121_120000') / 8192";
        let committed_blocks = number(&client, blocks).await;
        copy(&client, NOON_MS + 150, 5_000).await;
        let above = format!(
            "select count(*) from sensor_readings_20261121_120000 where epoch > {} and ctid >= '({committed_blocks},0)'",
            NOON_MS + 100
        );
        assert!(number(&client, &above).await < 5_000, "the new rows lie in old blocks");
        let deleted = delete_uncommitted(&client, (NOON_MS + 100) as i64).await.expect("deleted");
        assert_eq!(deleted, 5_001);
        assert_eq!(number(&client, "select count(*) from sensor_readings").await, 2_000);
    });
}

#[test]
fn the_clean_up_reads_by_index_although_nothing_is_analysed() {
    with_database(async |scratch| {
        let client = with_segments(scratch, Pace::Live).await;
        copy(&client, NOON_MS, 20_000).await;
        execute(&client, "begin; set local enable_seqscan = off").await;
        let plan = "explain delete from sensor_readings_20261121_120000 where epoch > 1795262400000";
        let plan = texts(&client, plan).await.join("\n");
        assert!(plan.contains("Bitmap Index Scan on sensor_readings_20261121_120000_epoch"), "{plan}");
    });
}

//! Partitions ahead of the epochs, and the BRIN summaries of those being written.

use std::ops::Range;
use std::time::Duration;

use tokio_postgres::Client;

use super::{failed, fenced, lacked_lock};
use crate::partitions::{Partition, partitions};
use crate::postgres::DatabaseError;
use crate::schema::{
    DEAD_LETTERS, Pace, RAW, READINGS, create_day, create_segment, day_bounds, segment_bounds,
};

/// How often partitions are tried before the caller hears that locks are in the way.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(200);
/// Segments are there for so long ahead.
const AHEAD_MS: u64 = 60_000;
/// The first segment holds epochs from so long ago: clocks of processes may differ by a second.
const BEFORE_MS: u64 = 5_000;
/// For so long after its last epoch a partition is summarised.
const TAIL_MS: u64 = 60_000;
/// Over so much of epochs the pace is measured.
const PACE_MS: u64 = 10_000;
/// Readings come as fast as they can be written: so many a second at least …
const BEHIND_PER_SECOND: i64 = 50_000;
/// … while event time is so far behind at least.
const BEHIND_US: i64 = 60_000_000;
/// With so many segments and more the next one is of an hour at least: whoever asks pays for each.
const SHORT_SEGMENTS_MAX: usize = 1_000;
/// Below so many readings a second over the last hour, a segment is a day.
const SPARSE_PER_SECOND: i64 = 500;
const HOUR_MS: u64 = Pace::Live.segment_ms();

/// Makes what is missing of both raw tables for now and the time ahead, in one transaction; returns until when nothing
/// has to be made. Without a `pace` the commits of the last time tell it.
///
/// # Errors
///
/// When the server fails, this run has been taken over, or others' locks were in the way at every attempt.
pub async fn ensure_partitions(
    client: &mut Client,
    run_id: i64,
    now_ms: u64,
    pace: Option<Pace>,
) -> Result<u64, DatabaseError> {
    let mut tries = 1;
    loop {
        match ensure(client, run_id, now_ms, pace).await {
            Err(error) if lacked_lock(&error) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

async fn ensure(
    client: &mut Client,
    run_id: i64,
    now_ms: u64,
    pace: Option<Pace>,
) -> Result<u64, DatabaseError> {
    let segments = partitions(client, READINGS).await?;
    let days = partitions(client, DEAD_LETTERS).await?;
    let tomorrow_ms = day_bounds(now_ms).1;
    let mut script = Vec::new();
    for day_ms in [now_ms, tomorrow_ms] {
        if !days.iter().any(|day| day.epochs.contains(&day_ms)) {
            script.extend(create_day(day_ms));
        }
    }
    let covered_ms = segments.last().map_or(0, |last| last.epochs.end);
    let from_ms = now_ms.saturating_sub(BEFORE_MS);
    let mut until_ms = covered_ms.max(from_ms - from_ms % Pace::Behind.segment_ms());
    if until_ms <= now_ms + AHEAD_MS {
        let pace = match pace {
            Some(pace) => pace,
            None => read_pace(client, now_ms).await?,
        };
        let pace =
            if segments.len() >= SHORT_SEGMENTS_MAX && pace == Pace::Behind { Pace::Live } else { pace };
        while until_ms <= now_ms + AHEAD_MS {
            let epochs = segment_bounds(until_ms, pace);
            script.extend(create_segment(&epochs, pace));
            until_ms = epochs.end;
        }
    }
    if !script.is_empty() {
        let attempted = "making partitions";
        let transaction = fenced(client, run_id).await?;
        transaction.batch_execute(&script.join(";\n")).await.map_err(failed(attempted))?;
        transaction.commit().await.map_err(failed(attempted))?;
    }
    Ok((until_ms - AHEAD_MS).min(tomorrow_ms))
}

/// How fast readings came of late.
///
/// # Errors
///
/// When the server fails.
pub async fn read_pace(client: &Client, now_ms: u64) -> Result<Pace, DatabaseError> {
    let lately = now_ms.saturating_sub(PACE_MS) as i64;
    let an_hour_ago = now_ms.saturating_sub(HOUR_MS) as i64;
    let sql = "select coalesce(sum(readings) filter (where epoch > $1), 0)::bigint, \
                      coalesce(sum(readings), 0)::bigint, \
                      coalesce((max(epoch) * 1000 - extract(epoch from max(watermark)) * 1000000)::bigint, 0), \
                      exists (select from commits where epoch <= $2) \
               from commits where epoch > $2";
    let row = client.query_one(sql, &[&lately, &an_hour_ago]).await;
    let row = row.map_err(failed("reading how fast readings came of late"))?;
    let (lately, in_the_hour, behind_us): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let is_behind = lately >= BEHIND_PER_SECOND * (PACE_MS / 1000) as i64 && behind_us >= BEHIND_US;
    let is_sparse = row.get(3) && in_the_hour < SPARSE_PER_SECOND * (HOUR_MS / 1000) as i64;
    Ok(match (is_behind, is_sparse) {
        (true, _) => Pace::Behind,
        (_, true) => Pace::Sparse,
        _ => Pace::Live,
    })
}

/// Summarises what was written since the last time: an unsummarised range matches every condition.
///
/// # Errors
///
/// When the server fails, or a vacuum holds the table for longer than a lock timeout.
pub async fn summarize(client: &Client, now_ms: u64) -> Result<(), DatabaseError> {
    let lately = now_ms.saturating_sub(TAIL_MS)..now_ms + 1;
    let overlap = |one: &Range<u64>| one.start < lately.end && lately.start < one.end;
    for parent in RAW {
        let written = partitions(client, parent).await?.into_iter().filter(|one| overlap(&one.epochs));
        for Partition { table, .. } in written {
            // There is none while a backlog is read.
            client
                .query_one("select brin_summarize_new_values(to_regclass($1))", &[&format!("{table}_epoch")])
                .await
                .map_err(failed(format!("summarising the epochs of {table}")))?;
        }
    }
    Ok(())
}

//! Creates partitions ahead of time and summarises the BRIN indexes of those being written.

use std::time::Duration;

use tokio_postgres::Client;

use super::{failed, fenced, lacked_lock};
use crate::partitions::{Partition, partitions};
use crate::postgres::DatabaseError;
use crate::schema::{
    DEAD_LETTERS, Pace, RAW, READINGS, create_day, create_segment, day_bounds, segment_bounds,
};

/// Attempts, while others hold locks, before creating partitions fails.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(200);
/// How long ahead segments are created.
const AHEAD_MS: u64 = 60_000;
/// The first segment begins this long before now: the clocks of processes may differ by a second.
const BEFORE_MS: u64 = 5_000;
/// How long after its last epoch a partition is still summarised.
const TAIL_MS: u64 = 60_000;
/// The span of epochs over which the rate is measured.
const RATE_MS: u64 = 10_000;
/// At this rate b-trees, which cost about five microseconds per reading, are too slow.
const FAST_PER_SECOND: i64 = 30_000;
/// At that rate, readings are a backlog if event time is this far behind.
const BEHIND_US: i64 = 60_000_000;
/// With at least this many segments, the next one covers at least an hour: each segment costs planning time per query.
const SHORT_SEGMENTS_MAX: usize = 1_000;
/// Below this rate over the last hour, a segment covers a day.
const SPARSE_PER_SECOND: i64 = 500;
const HOUR_MS: u64 = Pace::Live.segment_ms();

/// Creates the missing partitions of both raw tables for now and the time ahead, in one transaction. Returns the time,
/// in milliseconds, until which no further ones are needed. Without a `pace`, derives it from the recent commits.
///
/// # Errors
///
/// When the server fails, this run has been taken over, or other sessions hold locks at every attempt.
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
        let is_short = pace.segment_ms() < HOUR_MS;
        let pace = if segments.len() >= SHORT_SEGMENTS_MAX && is_short { Pace::Live } else { pace };
        while until_ms <= now_ms + AHEAD_MS {
            let epochs = segment_bounds(until_ms, pace);
            script.extend(create_segment(&epochs, pace));
            until_ms = epochs.end;
        }
    }
    if !script.is_empty() {
        let attempted = "creating partitions";
        let transaction = fenced(client, run_id).await?;
        transaction.batch_execute(&script.join(";\n")).await.map_err(failed(attempted))?;
        transaction.commit().await.map_err(failed(attempted))?;
    }
    Ok((until_ms - AHEAD_MS).min(tomorrow_ms))
}

/// Derives the length of the next segment from the rate of readings.
async fn read_pace(client: &Client, now_ms: u64) -> Result<Pace, DatabaseError> {
    let rate = RecentRate::read(client, now_ms).await?;
    if rate.is_fast {
        return Ok(if rate.is_behind { Pace::Behind } else { Pace::Busy });
    }
    let an_hour_ago = now_ms.saturating_sub(HOUR_MS) as i64;
    let sql = "select coalesce(sum(readings), 0)::bigint, exists (select from commits where epoch <= $1) \
               from commits where epoch > $1";
    let row = client.query_one(sql, &[&an_hour_ago]).await;
    let row = row.map_err(failed("reading the rate of the last hour"))?;
    let is_sparse = row.get(1) && row.get::<_, i64>(0) < SPARSE_PER_SECOND * (HOUR_MS / 1000) as i64;
    Ok(if is_sparse { Pace::Sparse } else { Pace::Live })
}

/// The rate of the readings committed in the last seconds.
pub(super) struct RecentRate {
    /// Whether there are too many readings for b-trees.
    pub(super) is_fast: bool,
    /// Whether the run is also reading a backlog.
    pub(super) is_behind: bool,
}

impl RecentRate {
    pub(super) async fn read(client: &Client, now_ms: u64) -> Result<RecentRate, DatabaseError> {
        let from_ms = now_ms.saturating_sub(RATE_MS) as i64;
        let sql = "select coalesce(sum(readings), 0)::bigint, \
                          coalesce((max(epoch) * 1000 - extract(epoch from max(watermark)) * 1000000)::bigint, 0) \
                   from commits where epoch > $1";
        let row = client.query_one(sql, &[&from_ms]).await;
        let row = row.map_err(failed("reading the rate of the last seconds"))?;
        let (readings, behind_us): (i64, i64) = (row.get(0), row.get(1));
        let is_fast = readings >= FAST_PER_SECOND * (RATE_MS / 1000) as i64;
        Ok(RecentRate { is_fast, is_behind: is_fast && behind_us >= BEHIND_US })
    }
}

/// Caches the partitions that are being written, because listing hundreds of partitions is slow.
#[derive(Debug, Default)]
pub struct Written {
    /// By raw table: the partitions with epochs of the last minute.
    recent: [Vec<Partition>; RAW.len()],
}

impl Written {
    /// Summarises the block ranges written since the last call; an unsummarised range matches every condition.
    ///
    /// # Errors
    ///
    /// When the server fails, or a vacuum locks a partition for longer than the lock timeout.
    pub async fn summarize(&mut self, client: &Client, now_ms: u64) -> Result<(), DatabaseError> {
        for (parent, written) in RAW.into_iter().zip(&mut self.recent) {
            if !written.iter().any(|one| one.epochs.contains(&now_ms)) {
                *written = partitions(client, parent).await?;
            }
            let since_ms = now_ms.saturating_sub(TAIL_MS);
            written.retain(|one| one.epochs.start <= now_ms && since_ms < one.epochs.end);
            for Partition { table, .. } in written {
                // Segments of a backlog have no such index yet.
                client
                    .query_one(
                        "select brin_summarize_new_values(to_regclass($1))",
                        &[&format!("{table}_epoch")],
                    )
                    .await
                    .map_err(failed(format!("summarising the epochs of {table}")))?;
            }
        }
        Ok(())
    }
}

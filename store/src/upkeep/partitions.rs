//! Partitions ahead of the epochs, and the BRIN summaries of those being written.

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
/// So many readings a second are too many for b-trees, which take some five microseconds for each.
const FAST_PER_SECOND: i64 = 30_000;
/// They are a backlog when event time is so far behind besides.
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
        let is_short = pace.segment_ms() < HOUR_MS;
        let pace = if segments.len() >= SHORT_SEGMENTS_MAX && is_short { Pace::Live } else { pace };
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
async fn read_pace(client: &Client, now_ms: u64) -> Result<Pace, DatabaseError> {
    let lately = Lately::read(client, now_ms).await?;
    if lately.is_fast {
        return Ok(if lately.is_behind { Pace::Behind } else { Pace::Busy });
    }
    let an_hour_ago = now_ms.saturating_sub(HOUR_MS) as i64;
    let sql = "select coalesce(sum(readings), 0)::bigint, exists (select from commits where epoch <= $1) \
               from commits where epoch > $1";
    let row = client.query_one(sql, &[&an_hour_ago]).await;
    let row = row.map_err(failed("reading how fast readings came in the last hour"))?;
    let is_sparse = row.get(1) && row.get::<_, i64>(0) < SPARSE_PER_SECOND * (HOUR_MS / 1000) as i64;
    Ok(if is_sparse { Pace::Sparse } else { Pace::Live })
}

/// What came in the last seconds.
pub(super) struct Lately {
    /// Whether so many readings came that b-trees cost too much.
    pub(super) is_fast: bool,
    /// Whether these were of a backlog: of long ago.
    pub(super) is_behind: bool,
}

impl Lately {
    pub(super) async fn read(client: &Client, now_ms: u64) -> Result<Lately, DatabaseError> {
        let lately = now_ms.saturating_sub(PACE_MS) as i64;
        let sql = "select coalesce(sum(readings), 0)::bigint, \
                          coalesce((max(epoch) * 1000 - extract(epoch from max(watermark)) * 1000000)::bigint, 0) \
                   from commits where epoch > $1";
        let row = client.query_one(sql, &[&lately]).await;
        let row = row.map_err(failed("reading how fast readings came of late"))?;
        let (readings, behind_us): (i64, i64) = (row.get(0), row.get(1));
        let is_fast = readings >= FAST_PER_SECOND * (PACE_MS / 1000) as i64;
        Ok(Lately { is_fast, is_behind: is_fast && behind_us >= BEHIND_US })
    }
}

/// The partitions that are being written: listing them takes a moment where there are hundreds.
#[derive(Debug, Default)]
pub struct Written {
    /// By raw table, those whose epochs are of now or of a minute ago.
    lately: [Vec<Partition>; RAW.len()],
}

impl Written {
    /// Summarises what was written since the last time: an unsummarised range matches every condition.
    ///
    /// # Errors
    ///
    /// When the server fails, or a vacuum holds the table for longer than a lock timeout.
    pub async fn summarize(&mut self, client: &Client, now_ms: u64) -> Result<(), DatabaseError> {
        for (parent, written) in RAW.into_iter().zip(&mut self.lately) {
            if !written.iter().any(|one| one.epochs.contains(&now_ms)) {
                *written = partitions(client, parent).await?;
            }
            let since_ms = now_ms.saturating_sub(TAIL_MS);
            written.retain(|one| one.epochs.start <= now_ms && since_ms < one.epochs.end);
            for Partition { table, .. } in written {
                // There is none while a backlog is read.
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

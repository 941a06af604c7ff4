//! Merges old rows of `commits`: at full speed there are 1.7 million a day, and without a retention of readings nothing
//! else deletes them.
//!
//! The old commits of one run and minute become one row, the last of them: its `previous_epoch` is that of the first,
//! its `readings` their sum and its `windows_from` their minimum. So the chain has no gap, sums do not change, and a
//! follower whose position is inside the minute still gets every window that it has not read. The merge only loses
//! which readings of the minute were committed together; each reading keeps its epoch.

use std::ops::Range;

use tokio_postgres::Client;

use super::{failed, fenced};
use crate::postgres::DatabaseError;
use crate::time::{Timestamp, micros};

/// The age from which commits are merged.
pub const COMMITS_MERGED_AFTER_MS: u64 = 3_600_000;
/// The span of epochs whose commits become one.
const MINUTE_MS: i64 = 60_000;
/// Maximum number of readings of a merged commit, unless a single one has more: a follower reads a commit in one step.
const READINGS_MAX: i64 = 100_000;
/// The span of epochs that one transaction merges.
const CHUNK_MS: i64 = 600_000;
/// Maximum number of merging transactions per round.
const CHUNKS_MAX: u32 = 20;

/// A row of `commits`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Commit {
    epochs: Range<i64>,
    run_id: i64,
    readings: i64,
    windows_from_us: Option<i64>,
}

/// Merges the old commits from epoch `from_ms` on, and advances `from_ms` past them.
///
/// # Errors
///
/// When the server fails or this run has been taken over.
pub async fn merge_commits(
    client: &mut Client,
    run_id: i64,
    from_ms: &mut i64,
    now_ms: u64,
) -> Result<(), DatabaseError> {
    let attempted = "reading old commits";
    let until_ms = now_ms.saturating_sub(COMMITS_MERGED_AFTER_MS) as i64;
    let until_ms = until_ms - until_ms.rem_euclid(MINUTE_MS);
    let mut chunks = 0;
    while chunks < CHUNKS_MAX {
        // The newest commit is the recovery point and is never merged.
        let sql = "select epoch from commits where epoch >= $1 and epoch < $2 \
                   and epoch < (select max(epoch) from commits) order by epoch limit 1";
        let first = client.query_opt(sql, &[from_ms, &until_ms]).await.map_err(failed(attempted))?;
        let Some(first) = first.map(|row| row.get::<_, i64>(0)) else { break };
        let chunk = first - first.rem_euclid(MINUTE_MS)
            ..(first - first.rem_euclid(MINUTE_MS) + CHUNK_MS).min(until_ms);
        chunks += u32::from(merge_chunk(client, run_id, &chunk).await?);
        *from_ms = chunk.end;
    }
    Ok(())
}

/// Merges the commits of a span of epochs. Returns whether there were any to merge.
async fn merge_chunk(client: &mut Client, run_id: i64, chunk: &Range<i64>) -> Result<bool, DatabaseError> {
    let attempted = "merging old commits";
    let sql = "select previous_epoch, epoch, run_id, readings, windows_from from commits where epoch >= $1 and epoch < $2 \
               and epoch < (select max(epoch) from commits) order by epoch";
    let rows = client.query(sql, &[&chunk.start, &chunk.end]).await.map_err(failed(attempted))?;
    let commit = |row: &tokio_postgres::Row| Commit {
        epochs: row.get(0)..row.get(1),
        run_id: row.get(2),
        readings: row.get(3),
        windows_from_us: micros(row, 4),
    };
    let merged = merged(rows.iter().map(commit));
    if merged.is_empty() {
        return Ok(false);
    }
    let before: Vec<i64> = merged.iter().map(|one| one.epochs.start).collect();
    let last: Vec<i64> = merged.iter().map(|one| one.epochs.end).collect();
    let readings: Vec<i64> = merged.iter().map(|one| one.readings).collect();
    let windows: Vec<Option<Timestamp>> =
        merged.iter().map(|one| one.windows_from_us.map(Timestamp)).collect();
    let transaction = fenced(client, run_id).await?;
    let delete = "delete from commits using unnest($1::bigint[], $2::bigint[]) as merged (before, last) \
                  where commits.epoch > merged.before and commits.epoch < merged.last";
    transaction.execute(delete, &[&before, &last]).await.map_err(failed(attempted))?;
    let update = "update commits set previous_epoch = merged.before, readings = merged.readings, \
                  windows_from = merged.windows_from \
                  from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::timestamptz[]) \
                       as merged (before, last, readings, windows_from) where commits.epoch = merged.last";
    transaction.execute(update, &[&before, &last, &readings, &windows]).await.map_err(failed(attempted))?;
    transaction.commit().await.map_err(failed(attempted))?;
    Ok(true)
}

/// Computes the rows that replace several commits each.
fn merged(commits: impl Iterator<Item = Commit>) -> Vec<Commit> {
    let mut merged: Vec<(Commit, usize)> = Vec::new();
    for commit in commits {
        match merged.last_mut() {
            Some((last, count)) if last.can_merge(&commit) => {
                last.epochs.end = commit.epochs.end;
                last.readings += commit.readings;
                last.windows_from_us = last.windows_from_us.into_iter().chain(commit.windows_from_us).min();
                *count += 1;
            }
            _ => merged.push((commit, 1)),
        }
    }
    merged.into_iter().filter(|(_, count)| *count > 1).map(|(commit, _)| commit).collect()
}

impl Commit {
    fn can_merge(&self, next: &Commit) -> bool {
        self.epochs.end == next.epochs.start
            && self.run_id == next.run_id
            && self.epochs.end.div_euclid(MINUTE_MS) == next.epochs.end.div_euclid(MINUTE_MS)
            && self.readings + next.readings <= READINGS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(epochs: Range<i64>, run_id: i64, readings: i64, windows_from_us: Option<i64>) -> Commit {
        Commit { epochs, run_id, readings, windows_from_us }
    }

    #[test]
    fn commits_of_a_run_and_minute_become_one_with_their_sums() {
        let commits = [
            commit(0..100, 1, 7, None),
            commit(100..200, 1, 3, Some(60)),
            commit(200..300, 1, 1, Some(30)),
            commit(300..400, 2, 1, Some(10)),
            commit(400..59_950, 2, 1, None),
            commit(59_950..60_000, 2, 1, None),
            commit(60_000..60_050, 2, 99_999, Some(5)),
            commit(60_050..60_100, 2, 2, None),
            commit(60_100..60_150, 2, 200_000, None),
        ];
        assert_eq!(
            merged(commits.into_iter()),
            [
                commit(0..300, 1, 11, Some(30)),
                commit(300..59_950, 2, 2, Some(10)),
                commit(59_950..60_050, 2, 100_000, Some(5))
            ]
        );
    }

    #[test]
    fn a_gap_in_the_chain_stays_for_verify_to_find() {
        assert_eq!(merged([commit(0..100, 1, 1, None), commit(150..200, 1, 1, None)].into_iter()), []);
    }
}

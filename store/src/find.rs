//! Finds a record by partition and offset in tables that have no index on either.
//!
//! ```text
//!  epochs   low ├──▪──────▪──────▪──────▪──────▪──────▪──────▪──────▪──┤ high     ▪ a sample
//!  offsets        900   1,200  4,000  9,000  …
//!  wanted: 4,711                ├──────┤ is the next (low, high]
//! ```
//!
//! A partition is read in log order, so in both raw tables its offsets rise with the epochs. One query reads the least
//! and greatest offset of several short spans of epochs (samples); with the BRIN index each sample reads a few pages.
//! About six queries find a record among those of a week. Where a partition was silent for long, no sample has a record
//! of it: the samples then grow until the remaining epochs are read as a whole.
//!
//! Replayed dead letters are the exception: their old offsets have new epochs. The samples leave the commits of replays
//! out, and a separate query searches them.

use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row};

use crate::postgres::DatabaseError;

/// Samples per query.
const SAMPLES: i64 = 8;
/// Length of the first samples, milliseconds of epochs.
const SAMPLE_MS: i64 = 400;
/// A span of at most this length is read as a whole, milliseconds of epochs: segments of a backlog are not longer and
/// may have no index, so that each sample would read the whole segment.
const WHOLE_MS: i64 = 30_000;
/// Factor by which samples grow when none of them narrows the range.
const GROWTH: i64 = 16;
/// Assumed span of a database's first commit, which does not record where its epochs begin: about a minute when it
/// merges several commits, more when the server was unreachable in between. Milliseconds of epochs.
const FIRST_COMMIT_MS: i64 = 3_600_000;
/// SQL condition: the record was not written by a replay.
const IS_NOT_REPLAYED: &str = "not exists (select from unnest($4::bigint[], $5::bigint[]) as replay (low, high) \
                               where record.epoch > replay.low and record.epoch <= replay.high)";

/// The view to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw {
    Readings,
    DeadLetters,
}

impl Raw {
    fn view(self) -> &'static str {
        match self {
            Raw::Readings => "sensor_data",
            Raw::DeadLetters => "dead_letters",
        }
    }
}

/// A search within the caller's snapshot.
#[derive(Debug)]
pub struct Search {
    /// The epochs to search: (low, high].
    low: i64,
    high: i64,
    /// The commits of replays: epochs in (from, until].
    replays_from: Vec<i64>,
    replays_until: Vec<i64>,
    has_horizon: bool,
    /// Whether a sample had a lower offset than the wanted one.
    found_lower: bool,
    /// Searches that saw no lower offset: the view, and the highest epoch at which it may still hold one.
    unchecked: Vec<(Raw, i64)>,
    /// Number of sampling queries so far.
    pub rounds: u32,
}

impl Search {
    /// Reads the range of committed epochs. `client` must be in a transaction with one snapshot. Sets it to plan each
    /// query for its own epochs, and turns off JIT compilation, which takes longer than the queries.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn begin(client: &impl GenericClient) -> Result<Search, DatabaseError> {
        let attempted = "reading the range of committed epochs";
        client
            .batch_execute("set local plan_cache_mode = force_custom_plan; set local jit = off")
            .await
            .map_err(failed(attempted))?;
        let sql = "select greatest(horizon_epoch, coalesce((select case when previous_epoch > 0 then previous_epoch \
                   else epoch - $1::bigint end from commits order by epoch limit 1), 0)), \
                   coalesce((select max(epoch) from commits), 0), horizon_epoch > 0 from citytide_database";
        let row = client.query_one(sql, &[&FIRST_COMMIT_MS]).await.map_err(failed(attempted))?;
        let sql = "select previous_epoch, epoch from commits join runs using (run_id) where processes = 0 \
                   order by epoch";
        let replays = client.query(sql, &[]).await.map_err(failed(attempted))?;
        Ok(Search {
            low: row.get(0),
            high: row.get(1),
            replays_from: replays.iter().map(|row| row.get(0)).collect(),
            replays_until: replays.iter().map(|row| row.get(1)).collect(),
            has_horizon: row.get(2),
            found_lower: false,
            unchecked: Vec::new(),
            rounds: 0,
        })
    }

    /// Returns the record of a (partition, offset) with the given columns; `None` when the view does not hold it.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn find(
        &mut self,
        client: &impl GenericClient,
        raw: Raw,
        columns: &str,
        (partition, offset): (i32, i64),
    ) -> Result<Option<Row>, DatabaseError> {
        let attempted = format!("searching a record in {}", raw.view());
        let select = format!("select {columns} from {}", raw.view());
        let (low, high) = self.narrow(client, raw, (partition, offset)).await?;
        let sql = format!(
            "{select} where epoch > $1 and epoch <= $2 and kafka_partition = $3 and kafka_offset = $4 limit 1"
        );
        let arguments: [&(dyn ToSql + Sync); 4] = [&low, &high, &partition, &offset];
        let found = client.query_opt(&sql, &arguments).await.map_err(failed(attempted.as_str()))?;
        if found.is_some() {
            return Ok(found);
        }
        if raw == Raw::DeadLetters || self.replays_from.is_empty() {
            return Ok(None);
        }
        let sql = format!(
            "select found.* from unnest($1::bigint[], $2::bigint[]) as replay (low, high) cross join lateral ({select} \
             where epoch > replay.low and epoch <= replay.high and kafka_partition = $3 and kafka_offset = $4) as \
             found limit 1"
        );
        let arguments: [&(dyn ToSql + Sync); 4] =
            [&self.replays_from, &self.replays_until, &partition, &offset];
        client.query_opt(&sql, &arguments).await.map_err(failed(attempted))
    }

    /// Whether a record that [`Search::find`] did not find never existed, rather than having been removed by retention:
    /// a record of the partition with a lower offset is left, or retention has removed nothing.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn is_behind_what_is_left(
        &self,
        client: &impl GenericClient,
        (partition, offset): (i32, i64),
    ) -> Result<bool, DatabaseError> {
        if !self.has_horizon || self.found_lower {
            return Ok(true);
        }
        for (raw, until) in &self.unchecked {
            let sql = format!(
                "select exists (select from {} as record where epoch > $1 and epoch <= $2 and kafka_partition = $3 \
                 and kafka_offset < $6 and {IS_NOT_REPLAYED})",
                raw.view()
            );
            let arguments: [&(dyn ToSql + Sync); 6] =
                [&self.low, until, &partition, &self.replays_from, &self.replays_until, &offset];
            let row = client.query_one(&sql, &arguments).await;
            if row.map_err(failed("searching for records that retention has left"))?.get(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the range of epochs (low, high] that must hold the wanted offset, unless a replay wrote it.
    async fn narrow(
        &mut self,
        client: &impl GenericClient,
        raw: Raw,
        (partition, offset): (i32, i64),
    ) -> Result<(i64, i64), DatabaseError> {
        let attempted = format!("sampling offsets in {}", raw.view());
        let sql = format!(
            "select sample.low, sample.high, least, greatest from unnest($1::bigint[], $2::bigint[]) as sample (low, high) \
             cross join lateral (select min(kafka_offset) as least, max(kafka_offset) as greatest from {} as record \
             where epoch > sample.low and epoch <= sample.high and kafka_partition = $3 and {IS_NOT_REPLAYED}) as found \
             where least is not null order by sample.low",
            raw.view()
        );
        let statement = client.prepare(&sql).await.map_err(failed(attempted.as_str()))?;
        let (mut low, mut high, mut sample_ms) = (self.low, self.high, SAMPLE_MS);
        while high - low > WHOLE_MS {
            let step = (high - low) / SAMPLES;
            let from: Vec<i64> = (0..SAMPLES).map(|sample| low + step / 2 + sample * step).collect();
            let until: Vec<i64> = from.iter().map(|from| from + sample_ms.min(step)).collect();
            let arguments: [&(dyn ToSql + Sync); 5] =
                [&from, &until, &partition, &self.replays_from, &self.replays_until];
            let samples = client.query(&statement, &arguments).await.map_err(failed(attempted.as_str()))?;
            self.rounds += 1;
            let before = (low, high);
            for sample in samples {
                let (least, greatest): (i64, i64) = (sample.get(2), sample.get(3));
                self.found_lower |= least < offset;
                if offset < least {
                    high = sample.get(0);
                    break;
                }
                low = sample.get(1);
                if offset <= greatest {
                    return Ok((sample.get(0), low));
                }
            }
            if (low, high) == before {
                sample_ms *= GROWTH;
                // Reading the rest as a whole is cheaper than samples that cover much of it.
                if high - low < GROWTH * SAMPLES * sample_ms {
                    break;
                }
            }
        }
        if low == self.low {
            self.unchecked.push((raw, high));
        }
        Ok((low, high))
    }
}

fn failed(attempted: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

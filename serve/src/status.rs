//! What the first sentence of the page says: is a run writing, how far is it, is anything lost.

use citytide_domain::Domain;
use citytide_store::postgres::DatabaseError;
use citytide_store::time::micros;
use serde::Serialize;
use tokio_postgres::Transaction;

use crate::now::failed;

/// What a rate is taken over, milliseconds.
const RATE_MS: i64 = 30_000;
/// A run whose heart has not beaten for so long does not live, milliseconds.
const HEART_MS: i64 = 5_000;
/// From here on behind counts as catching up, milliseconds.
const BEHIND_MS: i64 = 15_000;
/// Partitions that are named when their offsets do not add up.
const NAMED_MAX: i64 = 8;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is committed yet.
    Empty,
    /// No run is alive.
    NoRun,
    /// Readings arrive, and are behind the clock.
    CatchingUp,
    /// A run is alive and nothing arrives.
    Quiet,
    /// Readings arrive as they are recorded.
    Live,
}

/// Everything that the sentence is made of, as of one commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub phase: Phase,
    /// The server's clock; milliseconds of the Unix epoch, as all times here.
    pub now_ms: i64,
    pub epoch: Option<i64>,
    pub committed_ms: Option<i64>,
    pub watermark_ms: Option<i64>,
    pub run_id: Option<i64>,
    pub host: Option<String>,
    pub started_ms: Option<i64>,
    /// When the last run was last alive.
    pub alive_ms: Option<i64>,
    /// When readings last came.
    pub read_ms: Option<i64>,
    /// Of the last half minute.
    pub readings_per_s: f64,
    /// How far W and what the domain allows beyond it are behind the clock.
    pub behind_ms: Option<i64>,
    pub partitions: i64,
    pub consumed: i64,
    pub accepted: i64,
    pub late: i64,
    pub dead: i64,
    pub lost: i64,
    /// Partitions whose offsets do not add up, and by how much.
    pub unaccounted: Vec<(i32, i64)>,
}

/// The phase, from what is known.
fn phase(consumed: i64, lives: bool, readings_per_s: f64, behind_ms: Option<i64>) -> Phase {
    match (consumed, lives) {
        // A run commits how far it has come also where it has found nothing.
        (0, _) => Phase::Empty,
        (_, false) => Phase::NoRun,
        _ if readings_per_s == 0.0 => Phase::Quiet,
        _ if behind_ms.is_some_and(|behind_ms| behind_ms > BEHIND_MS) => Phase::CatchingUp,
        _ => Phase::Live,
    }
}

const NEWEST: &str = "select clock_timestamp(), c.epoch, c.committed_at, c.watermark, r.run_id, r.host, r.started_at, \
     coalesce(r.ended_at, r.heartbeat_at), r.run_id is not null and r.ended_at is null, \
     (select committed_at from commits where readings > 0 order by epoch desc limit 1), \
     (select coalesce(sum(readings), 0)::bigint from commits where epoch > c.epoch - 2 * $1::bigint \
      and committed_at > clock_timestamp() - $1::bigint * interval '1 millisecond') \
     from (values (1)) as one \
     left join lateral (select * from commits order by epoch desc limit 1) as c on true \
     left join lateral (select * from runs where processes > 0 order by run_id desc limit 1) as r on true";

const SUMS: &str = "select count(*), coalesce(sum(next_offset - first_offset), 0)::bigint, \
     coalesce(sum(accepted), 0)::bigint, coalesce(sum(late), 0)::bigint, coalesce(sum(dead), 0)::bigint, \
     coalesce(sum(lost), 0)::bigint from conservation";

const UNACCOUNTED: &str = "select kafka_partition, next_offset - first_offset - accepted - late - dead - lost - gaps \
     from conservation where not holds order by kafka_partition limit $1";

/// Reads it in a snapshot.
pub async fn read(snapshot: &Transaction<'_>, domain: &Domain) -> Result<Status, DatabaseError> {
    let newest = snapshot.query_one(NEWEST, &[&RATE_MS]).await;
    let newest = newest.map_err(failed("reading the newest commit and run"))?;
    let sums = snapshot.query_one(SUMS, &[]).await.map_err(failed("adding offsets up"))?;
    let unaccounted = snapshot.query(UNACCOUNTED, &[&NAMED_MAX]).await;
    let unaccounted = unaccounted.map_err(failed("looking for offsets that are not accounted for"))?;
    let ms = |column: usize| micros(&newest, column).map(|us| us.div_euclid(1000));
    let now_ms = ms(0).expect("the clock always answers");
    let epoch: Option<i64> = newest.get(1);
    let (watermark_ms, started_ms, alive_ms) = (ms(3), ms(6), ms(7));
    let has_not_ended: bool = newest.get(8);
    let lives = has_not_ended && alive_ms.is_some_and(|alive_ms| now_ms - alive_ms < HEART_MS);
    let span_ms = started_ms.map_or(RATE_MS, |started_ms| (now_ms - started_ms).clamp(1_000, RATE_MS));
    let readings_per_s = newest.get::<_, i64>(10) as f64 * 1000.0 / span_ms as f64;
    let allowed_ms = domain.time.out_of_orderness_us / 1000;
    let behind_ms = watermark_ms.map(|watermark_ms| (now_ms - watermark_ms - allowed_ms).max(0));
    Ok(Status {
        phase: phase(sums.get(1), lives, readings_per_s, behind_ms),
        now_ms,
        epoch,
        committed_ms: ms(2),
        watermark_ms,
        run_id: newest.get(4),
        host: newest.get(5),
        started_ms,
        alive_ms,
        read_ms: ms(9),
        readings_per_s,
        behind_ms,
        partitions: sums.get(0),
        consumed: sums.get(1),
        accepted: sums.get(2),
        late: sums.get(3),
        dead: sums.get(4),
        lost: sums.get(5),
        unaccounted: unaccounted.iter().map(|row| (row.get(0), row.get(1))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_live_only_while_its_heart_beats_and_readings_come() {
        assert_eq!(phase(0, true, 0.0, None), Phase::Empty);
        assert_eq!(phase(50, false, 10.0, Some(0)), Phase::NoRun);
        assert_eq!(phase(50, true, 0.0, Some(90_000)), Phase::Quiet);
        assert_eq!(phase(50, true, 10.0, Some(90_000)), Phase::CatchingUp);
        assert_eq!(phase(50, true, 10.0, Some(300)), Phase::Live);
    }
}

//! Reads anomalies from `sensor_data`: the recent ones after a restart, and those ahead of W once W comes near them.
//!
//! Each worker has its own session, as for panes. The partial index on anomalies is ordered by event time, so a query
//! for the first few does not read the rest.

use citytide_core::NEVER;
use citytide_core::window::{AHEAD_MAX, RECENT_US, ReadBack, RecentAnomaly};
use crossbeam_channel::Sender;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::postgres::{Database, DatabaseError};
use super::session::{OnFailure, Session, Wake};
use super::time::{Timestamp, micros};

/// The partitions of one worker: those whose number modulo `peers` is `index`.
#[derive(Debug, Clone, Copy)]
pub struct Partitions {
    /// The worker's index.
    pub index: usize,
    /// The number of workers.
    pub peers: usize,
}

const SELECT: &str = "select kafka_partition, zone, sensor_id, recorded_at from sensor_data \
     where is_anomaly and not is_late and ($1::timestamptz is null or recorded_at >= $1)";

/// Decodes a row of [`SELECT`] to an anomaly and its partition.
fn anomaly(row: &Row) -> (i32, RecentAnomaly) {
    let anomaly = RecentAnomaly {
        zone: row.get::<_, &str>(1).into(),
        sensor: row.get::<_, &str>(2).into(),
        recorded_us: micros(row, 3).expect("a reading has a time"),
    };
    (row.get(0), anomaly)
}

async fn read(
    client: &Client,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<(i32, RecentAnomaly)>, DatabaseError> {
    let rows = client.query(sql, parameters).await;
    let rows = rows.map_err(|error| DatabaseError::statement("reading anomalies", &error))?;
    Ok(rows.iter().map(anomaly).collect())
}

/// Reads the committed anomalies that are recent as of W and the first ones ahead of it, each with its partition. Also
/// returns the event time in microseconds from which on the database may hold more, `i64::MAX` when it holds none.
pub async fn load(client: &Client, low_us: i64) -> Result<(Vec<(i32, RecentAnomaly)>, i64), DatabaseError> {
    let mut anomalies = Vec::new();
    if low_us != NEVER {
        let (from, until) = (Timestamp(low_us.saturating_sub(RECENT_US)), Timestamp(low_us));
        anomalies = read(client, &format!("{SELECT} and recorded_at < $2"), &[&Some(from), &until]).await?;
    }
    let rows_max = AHEAD_MAX / 2;
    let request = ReadBack { from_us: low_us, epoch_below: u64::MAX, rows_max };
    let mut ahead = read_ahead(client, request, Partitions { index: 0, peers: 1 }).await?;
    let whole_below_us = request.whole_below_us(ahead.iter().map(|(_, anomaly)| anomaly));
    anomalies.append(&mut ahead);
    Ok((anomalies, whole_below_us))
}

/// Reads the first `request.rows_max` anomalies of the partitions in event-time order, and those tied with the last.
async fn read_ahead(
    client: &Client,
    request: ReadBack,
    partitions: Partitions,
) -> Result<Vec<(i32, RecentAnomaly)>, DatabaseError> {
    let sql = format!(
        "{SELECT} and epoch < $2 and kafka_partition % $3 = $4 \
         order by recorded_at fetch first {} rows with ties",
        request.rows_max
    );
    let epoch_below = i64::try_from(request.epoch_below).unwrap_or(i64::MAX);
    let (peers, index) = (partitions.peers as i32, partitions.index as i32);
    read(client, &sql, &[&Timestamp::watermark(request.from_us), &epoch_below, &peers, &index]).await
}

/// Starts the session that answers each [`ReadBack`] with its anomalies and then calls `wake`.
pub fn spawn(
    database: Database,
    partitions: Partitions,
    name: String,
    answers: Sender<Vec<RecentAnomaly>>,
    wake: Wake,
    on_failure: OnFailure,
) -> Session<ReadBack> {
    Session::spawn(name.clone(), on_failure, async move |mut requests: UnboundedReceiver<ReadBack>| {
        // Connects at the first request: most runs make none.
        let mut client: Option<Client> = None;
        while let Some(request) = requests.recv().await {
            if client.is_none() {
                client = Some(database.connect(&name).await?);
            }
            let client = client.as_ref().expect("connected");
            let anomalies = read_ahead(client, request, partitions).await?;
            let _ = answers.send(anomalies.into_iter().map(|(_, anomaly)| anomaly).collect());
            wake();
        }
        Ok(())
    })
}

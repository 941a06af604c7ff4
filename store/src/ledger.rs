//! Reads the ledger, the state as of the last commit, once when a run begins. A run has no other recovery point.

use std::collections::BTreeMap;
use std::sync::Arc;

use citytide_core::NEVER;
use citytide_core::position::{Counts, Mark, Position, Reach};
use citytide_core::window::{PaneState, RecentAnomaly};
use tokio_postgres::Client;

use super::anomalies;
use super::compare::AsOf;
use super::incidents::{self, LoadedIncidents};
use super::panes::load_open;
use super::postgres::DatabaseError;
use super::row::{Row, Value};
use super::schema::{EPOCH, Schema, quoted};
use super::sessions;
use super::time::micros;

/// The state from which a run starts.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// W of the last commit, microseconds; [`NEVER`] before the first.
    pub low_us: i64,
    /// The position of each partition, with the zones of its readings.
    pub marks: Vec<Mark>,
    /// The source of each partition, from `ingest_progress.source`.
    pub sources: BTreeMap<i32, String>,
    /// Panes that may still change.
    pub panes: Vec<PaneState>,
    /// The recent anomalies and the first ones ahead of W, with their partitions.
    pub anomalies: Vec<(i32, RecentAnomaly)>,
    /// Event time, microseconds, from which on anomalies are left in the database; `i64::MAX` when all were read.
    pub anomalies_below_us: i64,
    /// Incidents that may still change.
    pub incidents: LoadedIncidents,
    /// Sessions that may still change.
    pub sessions: sessions::Loaded,
    /// The rows of the live views, by table; of those that lag behind the commits, what they lack.
    pub views: BTreeMap<String, Vec<Row>>,
}

impl Ledger {
    /// The rows of a live view's table.
    pub fn rows(&self, table: &str) -> &[Row] {
        self.views.get(table).map_or(&[], |rows| rows.as_slice())
    }

    /// The anomalies of the partitions for which `is_mine` is true.
    pub fn anomalies_of(&self, is_mine: impl Fn(i32) -> bool) -> Vec<RecentAnomaly> {
        let mine = self.anomalies.iter().filter(|(partition, _)| is_mine(*partition));
        mine.map(|(_, anomaly)| anomaly.clone()).collect()
    }
}

/// Reads the ledger. `open_from_us` maps W to the start of the oldest open pane, microseconds.
pub async fn read(
    client: &Client,
    schema: &Schema<'_>,
    open_from_us: impl FnOnce(i64) -> i64,
) -> Result<Ledger, DatabaseError> {
    let positions = read_positions(client).await?;
    let low_us = positions.low_us;
    let (anomalies, anomalies_below_us) = anomalies::load(client, low_us).await?;
    Ok(Ledger {
        panes: load_open(client, schema.domain, open_from_us(low_us)).await?,
        anomalies,
        anomalies_below_us,
        incidents: incidents::load(client, schema.domain, low_us).await?,
        sessions: sessions::load(client, schema.domain, low_us).await?,
        views: views(client, schema).await?,
        ..positions
    })
}

/// Reads W, the marks and the sources; all other fields stay empty. For commands that need only these.
pub async fn read_positions(client: &Client) -> Result<Ledger, DatabaseError> {
    let low = client.query_opt("select watermark from commits order by epoch desc limit 1", &[]).await;
    let low = low.map_err(|error| DatabaseError::statement("reading the last commit", &error))?;
    Ok(Ledger {
        low_us: low.and_then(|row| micros(&row, 0)).unwrap_or(NEVER),
        marks: marks(client).await?,
        sources: sources(client).await?,
        ..Ledger::default()
    })
}

async fn marks(client: &Client) -> Result<Vec<Mark>, DatabaseError> {
    let sql = "select kafka_partition, first_offset, next_offset, accepted, late, dead, lost, gaps, watermark, \
               array(select zone from partition_zones brought where brought.kafka_partition = p.kafka_partition), cursor, \
               claim \
               from ingest_progress p order by kafka_partition";
    let rows = client.query(sql, &[]).await;
    let rows = rows.map_err(|error| DatabaseError::statement("reading ingest_progress", &error))?;
    let mark = |row: &tokio_postgres::Row| {
        let position = Position {
            first_offset: row.get(1),
            next_offset: row.get(2),
            counts: Counts {
                accepted: row.get(3),
                late: row.get(4),
                dead: row.get(5),
                lost: row.get(6),
                gaps: row.get(7),
            },
            watermark_us: micros(row, 8).unwrap_or(NEVER),
            claim: row.get::<_, Option<&str>>(11).and_then(|claim| serde_json::from_str(claim).ok()),
            cursor: row.get::<_, Option<&str>>(10).map(Arc::from),
        };
        // After a restart every partition is active until it reaches its end.
        let reach = Reach::active(position.next_offset);
        Mark { partition: row.get(0), position, reach, new_zones: row.get(9) }
    };
    Ok(rows.iter().map(mark).collect())
}

async fn sources(client: &Client) -> Result<BTreeMap<i32, String>, DatabaseError> {
    let rows = client.query("select kafka_partition, source from ingest_progress", &[]).await;
    let rows =
        rows.map_err(|error| DatabaseError::statement("reading the sources of the partitions", &error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn views(client: &Client, schema: &Schema<'_>) -> Result<BTreeMap<String, Vec<Row>>, DatabaseError> {
    let mut views = BTreeMap::new();
    let as_of = AsOf::read(client).await?;
    for (live, table) in schema.live.iter().zip(schema.live_tables()) {
        let columns = table.columns.iter().filter(|column| column.name != EPOCH);
        let columns: Vec<String> = columns.map(|column| quoted(&column.name)).collect();
        let columns = columns.join(", ");
        let sql = match live.overdue {
            Some(overdue) => format!("select {columns} from ({}) as overdue", overdue(&as_of, schema.domain)),
            None if live.is_restored => format!("select {columns} from {}", table.name),
            None => continue,
        };
        // A command that only reads may open a database that no run of this version has migrated yet.
        let exists = client.query_one("select to_regclass($1) is not null", &[&table.name]).await;
        let exists =
            exists.map_err(|error| DatabaseError::statement("looking for the live views", &error))?;
        if !exists.get::<_, bool>(0) {
            continue;
        }
        let rows = client.query(&sql, &[]).await;
        let rows =
            rows.map_err(|error| DatabaseError::statement(format!("reading {}", table.name), &error))?;
        let row =
            |row: &tokio_postgres::Row| (0..row.len()).map(|column| row.get::<_, Value>(column)).collect();
        views.insert(table.name, rows.iter().map(row).collect());
    }
    Ok(views)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_anomaly_is_in_one_share() {
        let anomaly = |number: i64| {
            let (zone, sensor) = ("Downtown".into(), (number % 7).to_string().into());
            (number as i32 % 5, RecentAnomaly { zone, sensor, recorded_us: number })
        };
        let ledger = Ledger { anomalies: (0..100).map(anomaly).collect(), ..Ledger::default() };
        let mut shared: Vec<RecentAnomaly> =
            (0..3).flat_map(|worker| ledger.anomalies_of(|partition| partition % 3 == worker)).collect();
        shared.sort_by_key(|anomaly| anomaly.recorded_us);
        let all: Vec<RecentAnomaly> = ledger.anomalies.into_iter().map(|(_, anomaly)| anomaly).collect();
        assert_eq!(shared, all);
    }
}

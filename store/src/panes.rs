//! Reads panes: the open ones after a restart, and old ones when a partition brings readings for them.
//!
//! Each worker has its own session, so that a long answer does not delay the others. Each request has its own
//! snapshot: a pane leaves memory only after the epoch that last changed it is committed, so the snapshot holds it.

use std::sync::Arc;

use citytide_core::NEVER;
use citytide_core::window::{ExactSum, MetricSums, PaneRange, PaneState, PaneSums};
use citytide_domain::Domain;
use crossbeam_channel::Sender;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::{Client, Row};

use super::postgres::{Database, DatabaseError};
use super::schema::{panes as panes_table, quoted};
use super::session::{OnFailure, Session, Wake};
use super::time::{Timestamp, micros};

fn select(domain: &Domain) -> String {
    let columns = panes_table(domain).columns.into_iter();
    let columns: Vec<String> = columns.map(|column| format!("panes.{}", quoted(&column.name))).collect();
    format!("select {} from panes", columns.join(", "))
}

/// Decodes a row whose columns are those of the table, in its order.
fn pane(row: &Row, metrics: usize) -> PaneState {
    let metrics = (0..metrics).map(|metric| {
        let column = 6 + 4 * metric;
        let sum: Option<Vec<u8>> = row.get(column + 1);
        MetricSums {
            count: row.get::<_, i64>(column) as u64,
            sum: sum.map_or(ExactSum::ZERO, |sum| {
                ExactSum::from_bytes(sum.try_into().expect("a pane's sum has 16 bytes"))
            }),
            min: row.get::<_, Option<f64>>(column + 2).unwrap_or(f64::INFINITY),
            max: row.get::<_, Option<f64>>(column + 3).unwrap_or(f64::NEG_INFINITY),
        }
    });
    PaneState {
        zone: Arc::from(row.get::<_, &str>(0)),
        start_us: micros(row, 1).expect("a pane has a start"),
        sums: PaneSums {
            readings: row.get::<_, i64>(2) as u64,
            anomalies: row.get::<_, i64>(3) as u64,
            last_event_us: NEVER,
            metrics: metrics.collect(),
        },
        first_epoch: row.get::<_, i64>(4) as u64,
        last_epoch: row.get::<_, i64>(5) as u64,
    }
}

/// Reads the panes that start at `from_us` or later; all panes when it is [`NEVER`].
pub async fn load_open(
    client: &Client,
    domain: &Domain,
    from_us: i64,
) -> Result<Vec<PaneState>, DatabaseError> {
    let sql = format!("{} where $1::timestamptz is null or pane_start >= $1", select(domain));
    let rows = client.query(&sql, &[&Timestamp::watermark(from_us)]).await;
    let rows = rows.map_err(|error| DatabaseError::statement("reading the open panes", &error))?;
    Ok(rows.iter().map(|row| pane(row, domain.metrics.len())).collect())
}

/// Reads the panes of the given ranges of zone and start.
pub async fn load_ranges(
    client: &Client,
    domain: &Domain,
    ranges: &[PaneRange],
) -> Result<Vec<PaneState>, DatabaseError> {
    let sql = format!(
        "{} join unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) as wanted (zone, low, high) \
         on panes.zone = wanted.zone and panes.pane_start >= wanted.low and panes.pane_start < wanted.high",
        select(domain)
    );
    let zones: Vec<String> = ranges.iter().map(|range| range.zone.to_string()).collect();
    let low: Vec<Timestamp> = ranges.iter().map(|range| Timestamp(range.from_us)).collect();
    let high: Vec<Timestamp> = ranges.iter().map(|range| Timestamp(range.until_us)).collect();
    let rows = client.query(&sql, &[&zones, &low, &high]).await;
    let rows = rows.map_err(|error| DatabaseError::statement("reading panes back", &error))?;
    Ok(rows.iter().map(|row| pane(row, domain.metrics.len())).collect())
}

/// Starts the session that answers each list of ranges with its panes and then calls `wake`.
pub fn spawn(
    database: Database,
    domain: Arc<Domain>,
    name: String,
    answers: Sender<Vec<PaneState>>,
    wake: Wake,
    on_failure: OnFailure,
) -> Session<Vec<PaneRange>> {
    Session::spawn(name.clone(), on_failure, async move |mut requests: UnboundedReceiver<Vec<PaneRange>>| {
        // Connects at the first request: most runs make none.
        let mut client: Option<Client> = None;
        while let Some(ranges) = requests.recv().await {
            if client.is_none() {
                client = Some(database.connect(&name).await?);
            }
            let client = client.as_ref().expect("connected");
            let _ = answers.send(load_ranges(client, &domain, &ranges).await?);
            wake();
        }
        Ok(())
    })
}

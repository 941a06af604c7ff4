//! How a window came about: its row, the panes it is made of, and the readings of its time.

use citytide_domain::{Domain, Window};
use citytide_store::postgres::DatabaseError;
use citytide_store::schema::quoted;
use citytide_store::time::{Timestamp, micros};
use serde_json::{Value, json};
use tokio_postgres::Transaction;

use super::facts::{AsOf, Commit, failed};
use crate::cli::models::print::rfc3339;

/// Panes, sensors and reasons that are listed at most.
const LISTED_MAX: i64 = 1_000;

/// The answer.
#[derive(Debug)]
pub struct Answer {
    pub window: Window,
    pub zone: String,
    pub start_us: i64,
    pub row: Option<WindowRow>,
    pub panes: Vec<Pane>,
    /// The readings of its zone and time that are still there.
    pub raw: Raw,
    /// Anomalies of accepted readings by metric and rule, or the member that found them.
    pub reasons: Vec<(String, String, i64)>,
    /// Sensors with anomalies, the most first.
    pub sensors: Vec<(String, i64)>,
    /// Where there is no row: the zones of accepted readings.
    pub zones: Vec<String>,
    /// The commit with which W passed its end.
    pub final_by: Option<Commit>,
    /// The commit that last wrote the row.
    pub written_by: Option<Commit>,
}

/// Its row.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRow {
    pub readings: i64,
    pub anomalies: i64,
    pub is_final: bool,
    pub revision: i32,
    pub epoch: i64,
    /// Average, least and greatest, in the order of the domain's metrics.
    pub figures: Vec<[Option<f64>; 3]>,
}

/// A pane of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pane {
    pub start_us: i64,
    pub readings: i64,
    pub anomalies: i64,
    pub first_epoch: i64,
    pub last_epoch: i64,
}

/// Counts of readings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Raw {
    pub accepted: i64,
    pub late: i64,
    pub anomalies: i64,
}

impl Answer {
    pub async fn read(
        snapshot: &Transaction<'_>,
        domain: &Domain,
        window: Window,
        zone: String,
        start_us: i64,
    ) -> Result<Answer, DatabaseError> {
        // Plans for the time that is asked for.
        let set = "set local plan_cache_mode = force_custom_plan";
        snapshot.batch_execute(set).await.map_err(failed("setting up the session"))?;
        let end_us = start_us + window.size_us;
        let row = WindowRow::read(snapshot, domain, &window, &zone, start_us).await?;
        let panes = Pane::read(snapshot, &zone, (start_us, end_us)).await?;
        let time = (Timestamp(start_us), Timestamp(end_us));
        let raw = Raw::read(snapshot, &zone, time).await?;
        let reasons = reasons(snapshot, &zone, time).await?;
        let sensors = sensors(snapshot, &zone, time).await?;
        let zones = match row {
            Some(_) => Vec::new(),
            None => zones(snapshot).await?,
        };
        let final_by = Commit::that_reached(snapshot, end_us).await?;
        let written_by = match &row {
            Some(row) => Commit::of_epoch(snapshot, row.epoch).await?,
            None => None,
        };
        Ok(Answer { window, zone, start_us, row, panes, raw, reasons, sensors, zones, final_by, written_by })
    }

    pub fn end_us(&self) -> i64 {
        self.start_us + self.window.size_us
    }

    /// Whether the row was first written when W had passed its end already: it was never early.
    pub fn was_never_early(&self) -> bool {
        let first = self.panes.iter().map(|pane| pane.first_epoch).min();
        first.zip(self.final_by.as_ref()).is_some_and(|(first, commit)| first > commit.epoch)
    }

    /// The state's name in JSON.
    pub fn state(&self) -> &'static str {
        match &self.row {
            None => "no_row",
            Some(row) if !row.is_final => "early",
            Some(row) if row.revision > 0 => "corrected",
            Some(_) => "final",
        }
    }

    pub fn json(&self, domain: &Domain, as_of: &AsOf) -> Value {
        let figures = |row: &WindowRow| {
            let one = |(metric, figures): (&citytide_domain::Metric, &[Option<f64>; 3])| {
                let [avg, min, max] = figures;
                (metric.name.clone(), json!({"avg": avg, "min": min, "max": max}))
            };
            domain.metrics.iter().zip(&row.figures).map(one).collect::<serde_json::Map<_, _>>()
        };
        let row = self.row.as_ref().map(|row| {
            json!({
                "reading_count": row.readings,
                "anomaly_count": row.anomalies,
                "is_final": row.is_final,
                "revision": row.revision,
                "epoch": row.epoch,
                "values": figures(row),
            })
        });
        let pane = |pane: &Pane| {
            json!({
                "pane_start": rfc3339(pane.start_us),
                "reading_count": pane.readings,
                "anomaly_count": pane.anomalies,
                "first_epoch": pane.first_epoch,
                "last_epoch": pane.last_epoch,
            })
        };
        let reason =
            |(metric, by, count): &(String, String, i64)| json!({"metric": metric, "by": by, "count": count});
        json!({
            "as_of": as_of.json(),
            "name": self.window.name,
            "zone": self.zone,
            "window_start": rfc3339(self.start_us),
            "window_end": rfc3339(self.end_us()),
            "state": self.state(),
            "row": row,
            "written_by": self.written_by.as_ref().map(Commit::json),
            "final_by": self.final_by.as_ref().map(Commit::json),
            "was_never_early": self.was_never_early(),
            "panes": self.panes.iter().map(pane).collect::<Vec<_>>(),
            "readings": {"accepted": self.raw.accepted, "late": self.raw.late, "anomalies": self.raw.anomalies},
            "reasons": self.reasons.iter().map(reason).collect::<Vec<_>>(),
            "sensors": self.sensors.iter().map(|(sensor, count)| json!({"sensor": sensor, "anomalies": count}))
                .collect::<Vec<_>>(),
        })
    }
}

impl WindowRow {
    async fn read(
        snapshot: &Transaction<'_>,
        domain: &Domain,
        window: &Window,
        zone: &str,
        start_us: i64,
    ) -> Result<Option<WindowRow>, DatabaseError> {
        let figures = domain.metrics.iter().flat_map(|metric| {
            ["avg", "min", "max"].map(|figure| format!(", {}", quoted(&format!("{figure}_{}", metric.name))))
        });
        let sql = format!(
            "select reading_count, anomaly_count, is_final, revision, epoch{} from {} where zone = $1 and window_start = $2",
            figures.collect::<String>(),
            quoted(&window.table())
        );
        let row = snapshot.query_opt(&sql, &[&zone, &Timestamp(start_us)]).await;
        let row = row.map_err(failed(format!("reading {}", window.table())))?;
        Ok(row.map(|row| WindowRow {
            readings: row.get(0),
            anomalies: row.get(1),
            is_final: row.get(2),
            revision: row.get(3),
            epoch: row.get(4),
            figures: (0..domain.metrics.len())
                .map(|metric| [0, 1, 2].map(|figure| row.get(5 + 3 * metric + figure)))
                .collect(),
        }))
    }
}

impl Pane {
    async fn read(
        snapshot: &Transaction<'_>,
        zone: &str,
        (from_us, until_us): (i64, i64),
    ) -> Result<Vec<Pane>, DatabaseError> {
        let sql = format!(
            "select pane_start, reading_count, anomaly_count, first_epoch, last_epoch from panes where zone = $1 \
             and pane_start >= $2 and pane_start < $3 order by pane_start limit {LISTED_MAX}"
        );
        let rows = snapshot.query(&sql, &[&zone, &Timestamp(from_us), &Timestamp(until_us)]).await;
        let pane = |row: &tokio_postgres::Row| Pane {
            start_us: micros(row, 0).expect("the column is not null"),
            readings: row.get(1),
            anomalies: row.get(2),
            first_epoch: row.get(3),
            last_epoch: row.get(4),
        };
        Ok(rows.map_err(failed("reading the panes of the window"))?.iter().map(pane).collect())
    }
}

/// The readings of a zone and time: the BRIN index on (epoch, recorded_at) leaves few pages.
const OF_ZONE: &str = "zone = $1 and recorded_at >= $2 and recorded_at < $3";

impl Raw {
    async fn read(
        snapshot: &Transaction<'_>,
        zone: &str,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<Raw, DatabaseError> {
        let sql = format!(
            "select count(*) filter (where not is_late), count(*) filter (where is_late), \
             count(*) filter (where is_anomaly and not is_late) from sensor_data where {OF_ZONE}"
        );
        let row = snapshot.query_one(&sql, &[&zone, &from, &until]).await;
        let row = row.map_err(failed("counting the readings of the window's time"))?;
        Ok(Raw { accepted: row.get(0), late: row.get(1), anomalies: row.get(2) })
    }
}

async fn reasons(
    snapshot: &Transaction<'_>,
    zone: &str,
    (from, until): (Timestamp, Timestamp),
) -> Result<Vec<(String, String, i64)>, DatabaseError> {
    let sql = format!(
        "select coalesce(reason ->> 'metric', ''), coalesce(reason ->> 'rule', reason ->> 'member', ''), count(*) \
         from sensor_data cross join jsonb_array_elements(reasons) as reason \
         where {OF_ZONE} and is_anomaly and not is_late group by 1, 2 order by 3 desc, 1, 2 limit {LISTED_MAX}"
    );
    let rows = snapshot.query(&sql, &[&zone, &from, &until]).await;
    let rows = rows.map_err(failed("counting the anomalies of the window by reason"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

async fn sensors(
    snapshot: &Transaction<'_>,
    zone: &str,
    (from, until): (Timestamp, Timestamp),
) -> Result<Vec<(String, i64)>, DatabaseError> {
    let sql = format!(
        "select sensor_id, count(*) from sensor_data where {OF_ZONE} and is_anomaly and not is_late \
         group by 1 order by 2 desc, 1 limit {LISTED_MAX}"
    );
    let rows = snapshot.query(&sql, &[&zone, &from, &until]).await;
    let rows = rows.map_err(failed("counting the anomalies of the window by sensor"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn zones(snapshot: &Transaction<'_>) -> Result<Vec<String>, DatabaseError> {
    let rows = snapshot.query("select zone from zone_status order by zone", &[]).await;
    Ok(rows.map_err(failed("listing the zones"))?.iter().map(|row| row.get(0)).collect())
}

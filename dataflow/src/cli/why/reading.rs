//! What became of a record: its row, or why there is none.

use citytide_core::floor_to;
use citytide_domain::{Domain, Metric};
use citytide_store::find::{Raw, Search};
use citytide_store::follow::{DeadLetter, LETTER_COLUMNS};
use citytide_store::postgres::DatabaseError;
use citytide_store::schema::quoted;
use citytide_store::time::{Timestamp, micros};
use serde_json::{Value, json};
use tokio_postgres::{Row, Transaction};

use super::facts::{AsOf, Commit, failed};
use crate::cli::dead_letters::print as letters;
use crate::cli::models::print::rfc3339;

/// How far back what a partition had accepted before a reading is looked for, in milliseconds of epochs.
const BEFORE_MS: i64 = 600_000;
/// A reading may be in very many windows.
const WINDOWS_MAX: i64 = 1_000;

/// The answer.
#[derive(Debug)]
pub struct Answer {
    pub partition: i32,
    pub offset: i64,
    /// What the ledger says of the partition; `None` when nothing of it was ever read.
    pub progress: Option<Progress>,
    pub fate: Fate,
    /// The commit that brought the row.
    pub commit: Option<Commit>,
}

/// What became of the record.
#[derive(Debug)]
pub enum Fate {
    Reading(Box<Reading>),
    DeadLetter(DeadLetter),
    /// Nothing of the partition was ever read.
    UnknownPartition,
    /// Below the offset at which reading began.
    BeforeTheStart,
    NotReadYet,
    /// Retention has removed rows, and the record was before those that are left.
    BehindTheHorizon,
    /// Nothing is there: a gap or a loss, as the partition's counts have it.
    Nothing,
}

/// A row of `ingest_progress`.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    pub source: String,
    pub first_offset: i64,
    pub next_offset: i64,
    pub lost: i64,
    pub gaps: i64,
}

/// A reading, and what goes with it.
#[derive(Debug, Clone)]
pub struct Reading {
    pub epoch: i64,
    pub sensor: String,
    pub zone: String,
    pub recorded_us: i64,
    /// In the order of the domain's metrics.
    pub values: Vec<Option<f64>>,
    pub is_late: bool,
    pub is_anomaly: bool,
    pub score: f32,
    pub severity: Option<String>,
    pub reasons: Value,
    pub model_version: i32,
    pub confidence: Option<f32>,
    pub detector: Option<String>,
    /// Of a late one: the highest event time that the partition had accepted in the minutes before.
    pub highest_before_us: Option<i64>,
    /// The windows that have it: none of a late one.
    pub windows: Vec<InWindow>,
    pub model: Option<Model>,
}

/// A window that has a reading.
#[derive(Debug, Clone, PartialEq)]
pub struct InWindow {
    pub name: String,
    pub start_us: i64,
    pub end_us: i64,
    pub readings: i64,
    pub is_final: bool,
    pub revision: i32,
    pub epoch: i64,
}

/// The model that judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub fitted_from_us: i64,
    pub fitted_until_us: i64,
    pub rows: i64,
    pub status: String,
}

impl Answer {
    pub async fn read(
        snapshot: &Transaction<'_>,
        domain: &Domain,
        (partition, offset): (i32, i64),
    ) -> Result<Answer, DatabaseError> {
        let progress = Progress::read(snapshot, partition).await?;
        let (fate, epoch) = match &progress {
            None => (Fate::UnknownPartition, None),
            Some(progress) if offset < progress.first_offset => (Fate::BeforeTheStart, None),
            Some(progress) if offset >= progress.next_offset => (Fate::NotReadYet, None),
            Some(_) => stored(snapshot, domain, (partition, offset)).await?,
        };
        let commit = match epoch {
            Some(epoch) => Commit::of_epoch(snapshot, epoch).await?,
            None => None,
        };
        Ok(Answer { partition, offset, progress, fate, commit })
    }

    pub fn json(&self, domain: &Domain, as_of: &AsOf) -> Value {
        let progress = self.progress.as_ref();
        let mut object = json!({
            "as_of": as_of.json(),
            "partition": self.partition,
            "offset": self.offset,
            "fate": self.fate.name(progress),
            "source": progress.map(|one| &one.source),
            "first_offset": progress.map(|one| one.first_offset),
            "next_offset": progress.map(|one| one.next_offset),
            "lost": progress.map(|one| one.lost),
            "gaps": progress.map(|one| one.gaps),
            "commit": self.commit.as_ref().map(Commit::json),
        });
        match &self.fate {
            Fate::Reading(reading) => object["reading"] = reading.json(domain, self.commit.as_ref()),
            Fate::DeadLetter(letter) => object["dead_letter"] = letters::json(letter),
            _ => {}
        }
        object
    }
}

impl Fate {
    /// Its name in JSON.
    fn name(&self, progress: Option<&Progress>) -> &'static str {
        match self {
            Fate::Reading(reading) if reading.is_late => "late",
            Fate::Reading(_) => "accepted",
            Fate::DeadLetter(_) => "dead_letter",
            Fate::UnknownPartition => "unknown_partition",
            Fate::BeforeTheStart => "before_the_start",
            Fate::NotReadYet => "not_read_yet",
            Fate::BehindTheHorizon => "behind_the_horizon",
            Fate::Nothing => match progress {
                Some(Progress { gaps: 1.., lost: 0, .. }) => "gap",
                Some(Progress { gaps: 0, lost: 1.., .. }) => "lost",
                _ => "gap_or_lost",
            },
        }
    }
}

impl Progress {
    async fn read(snapshot: &Transaction<'_>, partition: i32) -> Result<Option<Progress>, DatabaseError> {
        let sql = "select source, first_offset, next_offset, lost, gaps from ingest_progress where kafka_partition = $1";
        let row = snapshot.query_opt(sql, &[&partition]).await;
        let row = row.map_err(failed("reading how far the partition is"))?;
        Ok(row.map(|row| Progress {
            source: row.get(0),
            first_offset: row.get(1),
            next_offset: row.get(2),
            lost: row.get(3),
            gaps: row.get(4),
        }))
    }
}

/// What is stored of an offset that was read, and its epoch.
async fn stored(
    snapshot: &Transaction<'_>,
    domain: &Domain,
    place: (i32, i64),
) -> Result<(Fate, Option<i64>), DatabaseError> {
    let mut search = Search::begin(snapshot).await?;
    let metrics: String = domain.metrics.iter().map(|metric| format!(", {}", quoted(&metric.name))).collect();
    let columns = format!(
        "epoch, sensor_id, zone, recorded_at, is_late, is_anomaly, anomaly_score, severity, reasons::text, model_version, \
         confidence, detector{metrics}"
    );
    if let Some(row) = search.find(snapshot, Raw::Readings, &columns, place).await? {
        let mut reading = Reading::of(&row, &domain.metrics);
        reading.complete(snapshot, domain, place).await?;
        let epoch = reading.epoch;
        return Ok((Fate::Reading(Box::new(reading)), Some(epoch)));
    }
    if let Some(row) = search.find(snapshot, Raw::DeadLetters, LETTER_COLUMNS, place).await? {
        let letter = DeadLetter::of(&row);
        let epoch = letter.epoch;
        return Ok((Fate::DeadLetter(letter), Some(epoch)));
    }
    let is_left = search.is_behind_what_is_left(snapshot, place).await?;
    Ok((if is_left { Fate::Nothing } else { Fate::BehindTheHorizon }, None))
}

impl Reading {
    fn of(row: &Row, metrics: &[Metric]) -> Reading {
        let reasons = row.get::<_, Option<String>>(8);
        Reading {
            epoch: row.get(0),
            sensor: row.get(1),
            zone: row.get(2),
            recorded_us: micros(row, 3).expect("a reading has a time"),
            is_late: row.get(4),
            is_anomaly: row.get(5),
            score: row.get(6),
            severity: row.get(7),
            reasons: reasons.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            model_version: row.get(9),
            confidence: row.get(10),
            detector: row.get(11),
            values: (0..metrics.len()).map(|metric| row.get(12 + metric)).collect(),
            highest_before_us: None,
            windows: Vec::new(),
            model: None,
        }
    }

    /// Reads what goes with it.
    async fn complete(
        &mut self,
        snapshot: &Transaction<'_>,
        domain: &Domain,
        (partition, offset): (i32, i64),
    ) -> Result<(), DatabaseError> {
        if self.is_late {
            let sql = "select max(recorded_at) from sensor_data where epoch > $1 and epoch <= $2 and kafka_partition = $3 \
                       and kafka_offset < $4 and not is_late";
            let from = self.epoch - BEFORE_MS;
            let row = snapshot.query_one(sql, &[&from, &self.epoch, &partition, &offset]).await;
            self.highest_before_us = micros(&row.map_err(failed("looking what was accepted before"))?, 0);
        } else {
            let pane_us = floor_to(self.recorded_us, domain.pane_us());
            for window in &domain.windows {
                let sql = format!(
                    "select window_start, window_end, reading_count, is_final, revision, epoch from {} where zone = $1 \
                     and window_start > $2 and window_start <= $3 order by window_start limit {WINDOWS_MAX}",
                    quoted(&window.table())
                );
                let (from, until) = (Timestamp(pane_us - window.size_us), Timestamp(pane_us));
                let rows = snapshot.query(&sql, &[&self.zone, &from, &until]).await;
                let rows = rows.map_err(failed(format!("reading {}", window.table())))?;
                self.windows.extend(rows.iter().map(|row| InWindow::of(&window.name, row)));
            }
        }
        let sql = "select fitted_from, fitted_until, rows, status from models where version = $1";
        let row = snapshot.query_opt(sql, &[&self.model_version]).await;
        self.model = row.map_err(failed("reading the model"))?.map(|row| Model {
            fitted_from_us: micros(&row, 0).expect("the column is not null"),
            fitted_until_us: micros(&row, 1).expect("the column is not null"),
            rows: row.get(2),
            status: row.get(3),
        });
        Ok(())
    }

    fn json(&self, domain: &Domain, commit: Option<&Commit>) -> Value {
        let names = domain.metrics.iter().map(|metric| metric.name.clone());
        let values: serde_json::Map<_, _> = names.zip(self.values.iter().map(|value| json!(value))).collect();
        let pane_us = floor_to(self.recorded_us, domain.pane_us());
        let model = self.model.as_ref().map(|model| {
            json!({
                "version": self.model_version,
                "fitted_from": rfc3339(model.fitted_from_us),
                "fitted_until": rfc3339(model.fitted_until_us),
                "rows": model.rows,
                "status": model.status,
            })
        });
        json!({
            "epoch": self.epoch,
            "read_at": rfc3339(read_at_us(self.epoch, commit)),
            "sensor": self.sensor,
            "zone": self.zone,
            "recorded_at": rfc3339(self.recorded_us),
            "values": values,
            "lateness": {
                "is_late": self.is_late,
                "pane_start": rfc3339(pane_us),
                "pane_end": rfc3339(pane_us + domain.pane_us()),
                "allowed_lateness_ms": domain.time.allowed_lateness_us / 1000,
                "out_of_orderness_ms": domain.time.out_of_orderness_us / 1000,
                "highest_accepted_before": self.highest_before_us.and_then(rfc3339),
            },
            "windows": self.windows.iter().map(InWindow::json).collect::<Vec<_>>(),
            "verdict": {
                "is_anomaly": self.is_anomaly,
                "score": self.score,
                "confidence": self.confidence,
                "severity": self.severity,
                "detector": self.detector,
                "reasons": self.reasons,
                "model_version": self.model_version,
            },
            "model": model,
        })
    }
}

impl InWindow {
    fn of(name: &str, row: &Row) -> InWindow {
        InWindow {
            name: name.to_owned(),
            start_us: micros(row, 0).expect("the column is not null"),
            end_us: micros(row, 1).expect("the column is not null"),
            readings: row.get(2),
            is_final: row.get(3),
            revision: row.get(4),
            epoch: row.get(5),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "window_start": rfc3339(self.start_us),
            "window_end": rfc3339(self.end_us),
            "reading_count": self.readings,
            "is_final": self.is_final,
            "revision": self.revision,
            "epoch": self.epoch,
        })
    }
}

/// When a record was read, by the clock of the run: an epoch may be ahead of it.
pub fn read_at_us(epoch: i64, commit: Option<&Commit>) -> i64 {
    (epoch - commit.map_or(0, |commit| commit.offset_ms)) * 1000
}

//! Every verdict again, from the first reading on: a verdict is a function of the reading, the earlier readings of its
//! sensor in its partition, the models, and what its zone had been taught by the row's epoch. Readings, models and the
//! epochs in which minutes were closed are all in the database, so the same code must say the same, to the bit,
//! whatever workers and restarts there were.

use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_core::detect::Memory;
use citytide_detector::{Layout, Sample};
use citytide_domain::Domain;
use citytide_store::compare::{Check, SHOWN_MAX};
use citytide_store::detector::{JudgedRows, past};
use citytide_store::postgres::DatabaseError;
use tokio_postgres::{GenericClient, Row};

/// Readings that are read at once.
const READINGS_AT_ONCE: i64 = 250_000;

/// What is stored of a verdict.
#[derive(Debug, PartialEq)]
struct Verdict {
    score: f32,
    confidence: f32,
    version: i32,
    /// Severity, detector and reasons of an anomaly.
    anomaly: Option<(String, String, serde_json::Value)>,
}

const COLUMNS: &str =
    ", anomaly_score, confidence, model_version, is_anomaly, severity, detector, reasons::text";

impl Verdict {
    fn stored(row: &Row, from: usize) -> Verdict {
        let reasons = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Verdict {
            score: row.get(from),
            confidence: row.get(from + 1),
            version: row.get(from + 2),
            anomaly: row.get::<_, bool>(from + 3).then(|| {
                let word = |column| row.get::<_, Option<String>>(column).unwrap_or_default();
                (word(from + 4), word(from + 5), reasons(&word(from + 6)))
            }),
        }
    }

    /// Of all rows of a batch that was just judged.
    fn found(batch: &Batch) -> Vec<Verdict> {
        let Some(opinion) = &batch.opinion else { return Vec::new() };
        let mut anomalies = batch.anomalies.iter().peekable();
        let verdict = |row: usize| {
            let anomaly = anomalies.next_if(|anomaly| anomaly.row as usize == row);
            Verdict {
                score: anomaly.map_or(opinion.scores[row], |anomaly| anomaly.score),
                confidence: opinion.confidences[row],
                version: opinion.version_of(row),
                anomaly: anomaly.map(|anomaly| {
                    let reasons = serde_json::from_str(&anomaly.reasons).unwrap_or_default();
                    (anomaly.severity.as_str().to_owned(), anomaly.flagged_by.as_str().to_owned(), reasons)
                }),
            }
        };
        (0..batch.rows()).map(verdict).collect()
    }
}

/// Compares all verdicts of the detector. Where retention has taken readings away, or the domain had other metrics
/// once, nothing can be found again, and the check's name says so.
pub async fn compare(client: &impl GenericClient, domain: &Domain) -> Result<Check, DatabaseError> {
    let failed = |error| DatabaseError::statement("listing commits and models", &error);
    let mut check =
        Check { name: "verdicts".to_owned(), rows: "readings", compared: 0, differing: 0, shown: Vec::new() };
    let whole = "select not exists (select from commits) or exists (select from commits where previous_epoch = 0 \
                 and epoch > (select horizon_epoch from citytide_database))";
    if !client.query_one(whole, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        check.name = "verdicts (retention has dropped the first readings)".to_owned();
        return Ok(check);
    }
    let commits =
        client.query("select epoch, readings from commits order by epoch", &[]).await.map_err(failed)?;
    let layout = Arc::new(Layout::new(domain));
    let others = "select exists (select from models where parameters ->> 'metrics' <> $1)";
    let metrics = layout.fingerprint();
    if client.query_one(others, &[&metrics]).await.map_err(failed)?.get::<_, bool>(0) {
        check.name = "verdicts (some were made when the domain had other metrics)".to_owned();
        return Ok(check);
    }
    let mut memory = Memory::new(layout.clone(), Sample::of(domain));
    memory.begin(past(client, &layout, 0).await?.0);
    let (mut from, mut readings) = (0, 0);
    for (number, commit) in commits.iter().enumerate() {
        let epoch: i64 = commit.get(0);
        readings += commit.get::<_, i64>(1);
        if readings < READINGS_AT_ONCE && number + 1 < commits.len() {
            continue;
        }
        let rows = JudgedRows::read(client, domain, from, epoch, COLUMNS, Verdict::stored).await?;
        rows.each(|epoch, batch, stored| {
            memory.see(epoch, batch);
            for (row, (found, stored)) in Verdict::found(batch).iter().zip(stored).enumerate() {
                check.compared += 1;
                if found != *stored {
                    check.differing += 1;
                    if check.shown.len() < SHOWN_MAX {
                        check.shown.push(format!(
                            "partition {} offset {} of epoch {epoch}\nstored {stored:?}\nfound  {found:?}",
                            batch.partition, batch.offsets[row]
                        ));
                    }
                }
            }
        });
        (from, readings) = (epoch + 1, 0);
    }
    Ok(check)
}

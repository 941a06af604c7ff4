//! Every verdict again, from the first reading on: a verdict is a function of the readings in their logs, the models,
//! and which partitions were not waited for. All of that is in the database, so the same code must give the same, to
//! the bit, whatever workers and restarts there were.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_detector::Layout;
use citytide_domain::Domain;
use citytide_store::compare::{Check, SHOWN_MAX};
use citytide_store::detector::{JudgedRows, new_detector, past};
use citytide_store::postgres::DatabaseError;
use tokio_postgres::{GenericClient, Row};

/// Readings that are read at once.
const READINGS_AT_ONCE: i64 = 250_000;

/// What is stored of a verdict.
#[derive(Debug, Clone, PartialEq)]
struct Verdict {
    score: f32,
    confidence: f32,
    version: i32,
    /// Severity, detector and reasons of an anomaly.
    anomaly: Option<(String, String, serde_json::Value)>,
}

const COLUMNS: &str =
    ", anomaly_score, confidence, model_version, is_anomaly, severity, detector, reasons::text";

/// Partitions: the offset up to which each is read, and its last reading that the detector has judged.
const PARTITIONS: &str = "select kafka_partition, next_offset, last from ingest_progress left join \
     (select kafka_partition, max(kafka_offset) as last from sensor_data where confidence is not null group by 1) \
     as judged using (kafka_partition)";

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
                version: opinion.versions[row],
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
/// once, nothing can be found again, and the check says so.
pub async fn compare(client: &impl GenericClient, domain: &Domain) -> Result<Check, DatabaseError> {
    let failed = |error| DatabaseError::statement("listing commits and models", &error);
    let mut check = Check {
        name: "verdicts".to_owned(),
        rows: "readings",
        compared: 0,
        differing: 0,
        shown: Vec::new(),
        not_compared: None,
    };
    let whole = "select not exists (select from commits) or exists (select from commits where previous_epoch = 0 \
                 and epoch > (select horizon_epoch from citytide_database))";
    if !client.query_one(whole, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        check.not_compared = Some("retention has dropped the first readings".to_owned());
        return Ok(check);
    }
    let commits =
        client.query("select epoch, readings from commits order by epoch", &[]).await.map_err(failed)?;
    let layout = Arc::new(Layout::new(domain));
    let others = "select exists (select from models where parameters ->> 'metrics' <> $1)";
    let metrics = layout.fingerprint();
    if client.query_one(others, &[&metrics]).await.map_err(failed)?.get::<_, bool>(0) {
        check.not_compared = Some("some were made when the domain had other metrics".to_owned());
        return Ok(check);
    }
    let mut detector = new_detector(domain, &layout);
    let partitions = client.query(PARTITIONS, &[]).await.map_err(failed)?;
    partitions.iter().for_each(|row| detector.join(row.get(0)));
    detector.recall(past(client, &layout).await?);
    // By partition: its last reading, and the offset up to which it is read.
    let mut ends: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    for row in &partitions {
        match row.get(2) {
            Some(last) => drop(ends.insert(row.get(0), (last, row.get(1)))),
            None => detector.pass_over(row.get(0), row.get(1)),
        }
    }
    // What is stored of readings that are not judged again yet, by partition, in log order.
    let mut stored: BTreeMap<i32, VecDeque<(i64, i64, Verdict)>> = BTreeMap::new();
    let (mut from, mut readings) = (0, 0);
    for (number, commit) in commits.iter().enumerate() {
        let epoch: i64 = commit.get(0);
        readings += commit.get::<_, i64>(1);
        if readings < READINGS_AT_ONCE && number + 1 < commits.len() {
            continue;
        }
        let rows = JudgedRows::read(client, domain, [from, epoch], "", COLUMNS, Verdict::stored).await?;
        rows.each(|epoch, batch, verdicts| {
            let of_partition = stored.entry(batch.partition).or_default();
            let offsets = batch.offsets.iter().zip(verdicts);
            of_partition
                .extend(offsets.map(|(offset, verdict)| (*offset, epoch as i64, Verdict::clone(verdict))));
            let (partition, last) = (batch.partition, batch.offsets.last().copied());
            detector.push(batch);
            // Dead letters may come behind the last reading, and what was noted there would wait for one.
            if let Some((_, next_offset)) = ends.get(&partition).filter(|(end, _)| last == Some(*end)) {
                detector.pass_over(partition, *next_offset);
            }
        });
        for batch in detector.run() {
            let of_partition = stored.get_mut(&batch.partition).expect("it was pushed");
            for (row, found) in Verdict::found(&batch).into_iter().enumerate() {
                let (offset, epoch, stored) = of_partition.pop_front().expect("it was pushed");
                assert_eq!(offset, batch.offsets[row], "in log order");
                check.compared += 1;
                if found != stored {
                    check.differing += 1;
                    if check.shown.len() < SHOWN_MAX {
                        check.shown.push(format!(
                            "partition {} offset {offset} of epoch {epoch}\nstored {stored:?}\nfound  {found:?}",
                            batch.partition
                        ));
                    }
                }
            }
        }
        (from, readings) = (epoch + 1, 0);
    }
    let waiting: usize = stored.values().map(VecDeque::len).sum();
    if waiting > 0 {
        check.not_compared = Some(format!("{waiting} wait for readings that are not committed yet"));
    }
    Ok(check)
}

//! Which letters are meant, and reading them a page at a time, in the order in which they were committed.

use citytide_store::postgres::DatabaseError;
use citytide_store::time::micros;
use tokio_postgres::{Client, Row};

/// Which letters are meant; what is empty or `None` restricts nothing.
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// Of these reasons.
    pub reasons: Vec<String>,
    /// Of this partition.
    pub partition: Option<i32>,
    /// These, by partition and offset.
    pub letters: Vec<(i32, i64)>,
}

/// A committed dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The epoch that committed it.
    pub epoch: i64,
    pub partition: i32,
    pub offset: i64,
    /// The source's timestamp, microseconds of the Unix epoch.
    pub received_at_us: i64,
    /// Why it is no reading.
    pub reason: String,
    /// The field at fault.
    pub field: Option<String>,
    /// The reason as a sentence.
    pub message: String,
    /// What is kept of its bytes.
    pub payload: Vec<u8>,
    /// How many bytes it had.
    pub payload_bytes: i32,
}

impl Letter {
    /// Where it stands in the order of pages.
    pub fn key(&self) -> (i64, i32, i64) {
        (self.epoch, self.partition, self.offset)
    }

    fn of(row: &Row) -> Letter {
        Letter {
            epoch: row.get(0),
            partition: row.get(1),
            offset: row.get(2),
            received_at_us: micros(row, 3).expect("a letter has the source's timestamp"),
            reason: row.get(4),
            field: row.get(5),
            message: row.get(6),
            payload: row.get(7),
            payload_bytes: row.get(8),
        }
    }
}

/// At most `letters_max` of the selected letters behind `after`, an (epoch, partition, offset).
///
/// # Errors
///
/// When the server fails.
pub async fn page(
    client: &Client,
    selection: &Selection,
    after: Option<(i64, i32, i64)>,
    letters_max: i64,
) -> Result<Vec<Letter>, DatabaseError> {
    let (epoch, partition, offset) = after.unwrap_or((i64::MIN, 0, 0));
    let sql = "select epoch, kafka_partition, kafka_offset, received_at, reason, field, message, payload, payload_bytes \
         from dead_letters where epoch >= $1 and (epoch, kafka_partition, kafka_offset) > ($1, $2, $3) \
         and (cardinality($4::text[]) = 0 or reason = any($4)) and ($5::integer is null or kafka_partition = $5) \
         and (cardinality($6::integer[]) = 0 or (kafka_partition, kafka_offset) in (select * from unnest($6, $7::bigint[]))) \
         order by epoch, kafka_partition, kafka_offset limit $8";
    let partitions: Vec<i32> = selection.letters.iter().map(|(partition, _)| *partition).collect();
    let offsets: Vec<i64> = selection.letters.iter().map(|(_, offset)| *offset).collect();
    let rows = client
        .query(
            sql,
            &[
                &epoch,
                &partition,
                &offset,
                &selection.reasons,
                &selection.partition,
                &partitions,
                &offsets,
                &letters_max,
            ],
        )
        .await
        .map_err(|error| DatabaseError::statement("reading dead letters", &error))?;
    Ok(rows.iter().map(Letter::of).collect())
}

//! Which letters are meant, and reading them a page at a time, in the order in which they were committed.

use citytide_store::follow::{DeadLetter, LETTER_COLUMNS};
use citytide_store::postgres::DatabaseError;
use tokio_postgres::Client;

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
) -> Result<Vec<DeadLetter>, DatabaseError> {
    let (epoch, partition, offset) = after.unwrap_or((i64::MIN, 0, 0));
    let sql = format!(
        "select {LETTER_COLUMNS} from dead_letters where epoch >= $1 and (epoch, kafka_partition, kafka_offset) > ($1, $2, $3) \
         and (cardinality($4::text[]) = 0 or reason = any($4)) and ($5::integer is null or kafka_partition = $5) \
         and (cardinality($6::integer[]) = 0 or (kafka_partition, kafka_offset) in (select * from unnest($6, $7::bigint[]))) \
         order by epoch, kafka_partition, kafka_offset limit $8"
    );
    let partitions: Vec<i32> = selection.letters.iter().map(|(partition, _)| *partition).collect();
    let offsets: Vec<i64> = selection.letters.iter().map(|(_, offset)| *offset).collect();
    let rows = client
        .query(
            &sql,
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
    Ok(rows.iter().map(DeadLetter::of).collect())
}

//! A dead letter as a follower sees it.

use tokio_postgres::Row;

use crate::time::micros;

/// Letters of a page: each has up to 64 KiB, so a page of as many letters as readings would be too much to hold.
pub(super) const PAGE_LETTERS_MAX: i32 = 100;

/// The columns that [`DeadLetter::of`] takes, in its order.
pub const COLUMNS: &str =
    "epoch, kafka_partition, kafka_offset, received_at, reason, field, message, payload, payload_bytes";

/// A committed dead letter: a row of `dead_letters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The epoch that committed it.
    pub epoch: i64,
    /// With `offset` the identity of a record.
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

impl DeadLetter {
    /// A row of [`COLUMNS`].
    pub fn of(row: &Row) -> DeadLetter {
        DeadLetter {
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

    /// Where it stands in the order of pages.
    pub fn key(&self) -> (i64, i32, i64) {
        (self.epoch, self.partition, self.offset)
    }
}

/// The query for the letters of epochs in ($1, $2].
pub(super) fn query() -> String {
    format!(
        "select {COLUMNS} from dead_letters where epoch > $1 and epoch <= $2 \
         order by epoch, kafka_partition, kafka_offset"
    )
}

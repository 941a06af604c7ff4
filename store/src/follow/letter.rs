//! The dead letters that a follower reads.

use tokio_postgres::Row;

use crate::time::micros;

/// Maximum number of dead letters per page. Each has up to 64 KiB, so a page holds fewer of them than of readings.
pub(super) const PAGE_LETTERS_MAX: i32 = 100;

/// The columns that [`DeadLetter::of`] decodes, in its order.
pub const COLUMNS: &str = "epoch, kafka_partition, kafka_offset, received_at, reason, field, message, payload, \
                           payload_bytes, sensor_id";

/// A committed dead letter: a row of `dead_letters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The epoch that committed it.
    pub epoch: i64,
    /// Partition and offset identify a record.
    pub partition: i32,
    pub offset: i64,
    /// The source's timestamp, microseconds of the Unix epoch.
    pub received_at_us: i64,
    /// The code of the reason, such as `in_the_future`.
    pub reason: String,
    /// The invalid field, if the reason concerns one.
    pub field: Option<String>,
    /// The reason as a sentence.
    pub message: String,
    /// The first bytes of the record.
    pub payload: Vec<u8>,
    /// The length of the record, bytes.
    pub payload_bytes: i32,
    /// Whose record it is, where that could be read.
    pub sensor: Option<String>,
}

impl DeadLetter {
    /// Decodes a row with the columns [`COLUMNS`].
    pub fn of(row: &Row) -> DeadLetter {
        DeadLetter {
            epoch: row.get(0),
            partition: row.get(1),
            offset: row.get(2),
            received_at_us: micros(row, 3).expect("the column is not null"),
            reason: row.get(4),
            field: row.get(5),
            message: row.get(6),
            payload: row.get(7),
            payload_bytes: row.get(8),
            sensor: row.get(9),
        }
    }

    /// The sort key of pages: epoch, partition, offset.
    pub fn key(&self) -> (i64, i32, i64) {
        (self.epoch, self.partition, self.offset)
    }
}

/// The query for the dead letters of epochs in ($1, $2].
pub(super) fn query() -> String {
    format!(
        "select {COLUMNS} from dead_letters where epoch > $1 and epoch <= $2 \
         order by epoch, kafka_partition, kafka_offset"
    )
}

//! Batches → rows in PostgreSQL's binary COPY format. Pure: bytes in, bytes out.
//!
//! The format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format". The order of the columns is
//! [`citytide_store::schema::reading_columns`] and [`citytide_store::schema::dead_letter_columns`].

use citytide_core::batch::{Batch, DeadLetter, RULES_ONLY};
use citytide_core::detect::Blob;
use citytide_store::time::POSTGRES_EPOCH_US;

/// What opens a stream: signature, no flags, no header extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What closes a stream.
pub const TRAILER: &[u8] = &[0xff, 0xff];

/// Columns of a reading besides its metrics.
const READING_COLUMNS: usize = 14;
const DEAD_LETTER_COLUMNS: i16 = 10;
const STATE_COLUMNS: i16 = 5;

/// Version byte in front of a jsonb value.
const JSONB_VERSION: u8 = 1;

struct Row<'a>(&'a mut Vec<u8>);

impl Row<'_> {
    fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(&(value.len() as i32).to_be_bytes());
        self.0.extend_from_slice(value);
    }

    /// A value of known length: one copy of length and bytes together.
    fn fixed<const N: usize>(&mut self, value: [u8; N]) {
        self.0.extend_from_slice(&(N as i32).to_be_bytes());
        self.0.extend_from_slice(&value);
    }

    fn null(&mut self) {
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
    }
}

/// Bytes of a batch's rows, so that a buffer is allocated once and holds nothing idle while it waits for the server.
fn encoded_bytes(batch: &Batch) -> usize {
    const FIXED: usize = 100;
    const FIXED_METRIC: usize = 12;
    const FIXED_ANOMALY: usize = 12;
    let zones: usize = (0..batch.rows()).map(|row| batch.zone(row).len()).sum();
    let anomalies: usize = batch.anomalies.iter().map(|one| one.reasons.len() + FIXED_ANOMALY).sum();
    batch.rows() * (FIXED + FIXED_METRIC * batch.metrics.len()) + batch.sensors.len() + zones + anomalies
}

/// Appends a placed batch's readings as rows of `epoch`.
pub fn encode_readings(batch: &Batch, epoch: u64, rows: &mut Vec<u8>) {
    let columns =
        i16::try_from(READING_COLUMNS + batch.metrics.len()).expect("columns fit PostgreSQL's limit");
    let more = encoded_bytes(batch);
    if rows.is_empty() {
        rows.reserve_exact(more)
    } else {
        rows.reserve(more)
    }
    let mut anomalies = batch.anomalies.iter().peekable();
    let opinion = batch.opinion.as_ref();
    for index in 0..batch.rows() {
        rows.extend_from_slice(&columns.to_be_bytes());
        let mut row = Row(rows);
        row.fixed((epoch as i64).to_be_bytes());
        row.fixed(batch.partition.to_be_bytes());
        row.fixed(batch.offsets[index].to_be_bytes());
        row.bytes(batch.sensor(index));
        row.bytes(batch.zone(index).as_bytes());
        row.fixed((batch.event_times_us[index] - POSTGRES_EPOCH_US).to_be_bytes());
        for column in &batch.metrics {
            let value = column[index];
            if value.is_nan() {
                row.null();
            } else {
                row.fixed(value.to_be_bytes());
            }
        }
        row.fixed([u8::from(batch.late[index])]);
        let anomaly = anomalies.next_if(|anomaly| anomaly.row as usize == index);
        match anomaly {
            None => {
                row.fixed([0]);
                row.fixed(opinion.map_or(0.0, |opinion| opinion.scores[index]).to_be_bytes());
                row.null();
                row.null();
            }
            Some(anomaly) => {
                row.fixed([1]);
                row.fixed(anomaly.score.to_be_bytes());
                row.bytes(anomaly.severity.as_str().as_bytes());
                row.0.extend_from_slice(&(anomaly.reasons.len() as i32 + 1).to_be_bytes());
                row.0.push(JSONB_VERSION);
                row.0.extend_from_slice(anomaly.reasons.as_bytes());
            }
        }
        let version = opinion.map_or(RULES_ONLY, |opinion| opinion.versions[index]);
        row.fixed(version.to_be_bytes());
        match opinion {
            None => row.null(),
            Some(opinion) => row.fixed(opinion.confidences[index].to_be_bytes()),
        }
        match anomaly {
            None => row.null(),
            Some(anomaly) => row.bytes(anomaly.flagged_by.as_str().as_bytes()),
        }
    }
}

/// Appends a partition's dead letters as rows of `epoch`.
pub fn encode_dead_letters(partition: i32, dead: &[DeadLetter], epoch: u64, rows: &mut Vec<u8>) {
    for letter in dead {
        rows.extend_from_slice(&DEAD_LETTER_COLUMNS.to_be_bytes());
        let mut row = Row(rows);
        row.fixed((epoch as i64).to_be_bytes());
        row.fixed(partition.to_be_bytes());
        row.fixed(letter.offset.to_be_bytes());
        row.fixed(
            (letter.received_at_ms.saturating_mul(1000).saturating_sub(POSTGRES_EPOCH_US)).to_be_bytes(),
        );
        row.bytes(letter.reason.as_str().as_bytes());
        match &letter.field {
            Some(field) => row.bytes(field.as_bytes()),
            None => row.null(),
        }
        // A sentence may quote what was sent, and text holds no NUL: one bad byte must not stop the stream.
        row.bytes(letter.message.replace('\0', "\u{fffd}").as_bytes());
        row.bytes(&letter.payload);
        row.fixed(letter.payload_bytes.to_be_bytes());
        match &letter.sensor {
            Some(sensor) => row.bytes(sensor.as_bytes()),
            None => row.null(),
        }
    }
}

/// Appends what the detector wants kept as rows of `epoch`.
pub fn encode_blobs(blobs: &[Blob], epoch: u64, rows: &mut Vec<u8>) {
    for blob in blobs {
        rows.extend_from_slice(&STATE_COLUMNS.to_be_bytes());
        let mut row = Row(rows);
        row.bytes(blob.kind.as_str().as_bytes());
        row.bytes(blob.key.as_bytes());
        row.fixed((epoch as i64).to_be_bytes());
        row.fixed((blob.as_of_us - POSTGRES_EPOCH_US).to_be_bytes());
        row.bytes(&blob.state);
    }
}

#[cfg(test)]
mod tests;

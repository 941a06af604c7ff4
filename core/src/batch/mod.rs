//! What flows through timely: batches, not rows.
//!
//! A [`Chunk`] is a run of records of one partition as a source read them; a [`Batch`] is what they say, as a
//! struct of arrays. One partition's chunks and batches keep their log order on every edge of the dataflow.
//!
//! Invariants of a `Batch`:
//! 1. rows are in offset order, and every column has `rows()` entries;
//! 2. `metrics[m][row]` is NaN exactly where the reading has no value of metric `m`;
//! 3. `zones[row]` indexes `zone_names`, which only ever grows on one worker;
//! 4. `anomalies` is sorted by row; a row that it does not name is normal.

mod assemble;
mod columns;
pub mod example;
mod tally;

use std::sync::Arc;

pub use assemble::Assembler;
pub use citytide_detector::{FlaggedBy, Member, Severity};
pub use columns::Columns;
pub use tally::{Labelled, Tally};

use crate::decode::{CsvHeader, Reason};
use crate::position::Reach;

/// Records in one chunk.
const CHUNK_RECORDS_MAX: usize = 4096;
/// Bytes in one chunk before it is full; one record may exceed it.
const CHUNK_BYTES_MAX: usize = 768 * 1024;

/// Consecutive records of one partition, as bytes.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    pub partition: i32,
    /// All payloads, one after the other.
    pub payloads: Vec<u8>,
    /// End of each record's payload in `payloads`.
    pub ends: Vec<u32>,
    /// Offset of each record, ascending, not necessarily dense.
    pub offsets: Vec<i64>,
    /// Kafka timestamp of each record, milliseconds of the Unix epoch.
    pub received_at_ms: Vec<i64>,
    /// Where the partition's log begins, in the first chunk of a partition that was not there at the start.
    pub begins_at: Option<i64>,
    /// Everything below this offset that was not delivered was deleted by retention before it was read.
    pub lost_below: Option<i64>,
    /// The log has been read up to here, also where its last offsets hold no record for us.
    pub read_up_to: Option<i64>,
    /// What the source wants back with the next offset after a restart: see [`ReadProgress::cursor`].
    pub cursor: Option<Arc<str>>,
    /// Records whose sender's timestamp lies ahead of the reader's clock, ascending: offset and what that clock said,
    /// milliseconds of the Unix epoch. Their event times are held against it, too.
    pub ahead: Vec<(i64, i64)>,
    /// The header of the CSV file whose rows the payloads are; without one they are JSON.
    pub header: Option<Arc<CsvHeader>>,
    /// Records of which the payload is only the beginning: offset and length in bytes.
    pub too_long: Vec<(i64, u64)>,
    /// Records whose truth the stream tells, ascending: offset and whether it is anomalous. Empty where nobody tells.
    pub truth: Vec<(i64, bool)>,
    /// What the source says of the partition behind the last record.
    pub reach: Reach,
    /// Whether the partition's end is for good: nothing will be added.
    pub ended: bool,
}

impl Chunk {
    /// Number of records.
    pub fn records(&self) -> usize {
        self.offsets.len()
    }

    /// Whether it should be passed on before it takes more.
    pub fn is_full(&self) -> bool {
        self.records() >= CHUNK_RECORDS_MAX || self.payloads.len() >= CHUNK_BYTES_MAX
    }

    /// Appends one record.
    pub fn push(&mut self, offset: i64, received_at_ms: i64, payload: &[u8]) {
        self.payloads.extend_from_slice(payload);
        self.ends.push(u32::try_from(self.payloads.len()).expect("a chunk holds less than 4 GiB"));
        self.offsets.push(offset);
        self.received_at_ms.push(received_at_ms);
    }

    /// Forgets the records at or above `offset`, as if they had not been read yet.
    pub fn cut_at(&mut self, offset: i64) {
        let records = self.records();
        let keep = self.offsets.partition_point(|&at| at < offset);
        self.offsets.truncate(keep);
        self.received_at_ms.truncate(keep);
        self.ends.truncate(keep);
        self.payloads.truncate(self.ends.last().map_or(0, |&end| end as usize));
        self.ahead.truncate(self.ahead.partition_point(|&(at, _)| at < offset));
        self.truth.truncate(self.truth.partition_point(|&(at, _)| at < offset));
        self.read_up_to = self.read_up_to.map(|up_to| up_to.min(offset));
        self.cursor = self.cursor.take().filter(|_| keep == records);
    }

    fn payload(&self, record: usize) -> &[u8] {
        let start = if record == 0 { 0 } else { self.ends[record - 1] as usize };
        &self.payloads[start..self.ends[record] as usize]
    }
}

/// A record that is no reading, with the reason.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub offset: i64,
    /// Kafka timestamp, milliseconds of the Unix epoch.
    pub received_at_ms: i64,
    /// Why it is no reading.
    pub reason: Reason,
    /// The JSON field that is wrong, when it is one.
    pub field: Option<String>,
    /// The reason as a sentence.
    pub message: String,
    /// The first 64 KiB of the record.
    pub payload: Vec<u8>,
    /// Length of the whole record in bytes.
    pub payload_bytes: i32,
    /// Whose record it is, where that could be read.
    pub sensor: Option<String>,
}

/// The verdict on an anomalous row.
#[derive(Debug, Clone, PartialEq)]
pub struct Anomaly {
    pub row: u32,
    /// 0 … 1.
    pub score: f32,
    /// How bad.
    pub severity: Severity,
    /// Whether rules or the model say so.
    pub flagged_by: FlaggedBy,
    /// Who finds it oddest.
    pub found_by: Member,
    /// JSON array, as `sensor_data.reasons` holds it.
    pub reasons: String,
}

/// What a learned detector says of all rows of a batch, flagged or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opinion {
    /// Score of each row, 0 … 1.
    pub scores: Vec<f32>,
    /// How sure it is of each row's verdict, 0 … 1.
    pub confidences: Vec<f32>,
    /// Version of the model that judged each row; [`RULES_ONLY`] where too little was known of its zone.
    pub versions: Vec<i32>,
}

/// Version stamped on rows that no learned model has judged.
pub const RULES_ONLY: i32 = 0;

/// How far a partition has been read, behind the last row of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadProgress {
    /// Where the partition's log begins, in the first batch of a partition that was not there at the start.
    pub begins_at: Option<i64>,
    /// The next offset to read.
    pub next_offset: i64,
    /// Offsets of this batch that held no record for us: control records, compaction, aborted transactions.
    pub gaps: i64,
    /// Offsets of this batch that retention deleted before they were read.
    pub lost: i64,
    /// Where the source itself stands at `next_offset`, in its own words, if it has said so: committed with the
    /// offset, and given back after a restart, so that it finds its place and knows when it is another one.
    pub cursor: Option<Arc<str>>,
    pub reach: Reach,
}

impl ReadProgress {
    /// Every offset below this one has been read, and the log may go on there.
    pub fn up_to(next_offset: i64) -> ReadProgress {
        let reach = Reach::active(next_offset);
        ReadProgress { begins_at: None, next_offset, gaps: 0, lost: 0, cursor: None, reach }
    }
}

/// Readings of one partition in log order, a struct of arrays.
#[derive(Debug, Clone)]
pub struct Batch {
    pub partition: i32,
    /// Offsets.
    pub offsets: Vec<i64>,
    /// Event times, microseconds of the Unix epoch.
    pub event_times_us: Vec<i64>,
    /// Kafka's timestamps, milliseconds; empty where they are not known.
    pub received_at_ms: Vec<i64>,
    /// Zones, as indices into `zone_names`.
    pub zones: Vec<u32>,
    /// The names of all zones this worker knew when the batch was made.
    pub zone_names: Arc<Vec<Arc<str>>>,
    /// All sensor ids, one after the other, UTF-8.
    pub sensors: Vec<u8>,
    /// End of each row's sensor id in `sensors`.
    pub sensor_ends: Vec<u32>,
    /// Values by metric, then row; NaN where there is none.
    pub metrics: Vec<Vec<f64>>,
    /// Records of the same run of the log that are no readings.
    pub dead: Vec<DeadLetter>,
    /// Zones that this partition brings for the first time and that the domain file does not name.
    pub new_zones: Vec<Arc<str>>,
    /// How far the partition has been read.
    pub progress: ReadProgress,
    /// As in [`Chunk::truth`]: of some rows, and of records that are no rows.
    pub truth: Vec<(i64, bool)>,
    /// Anomalous rows; filled by `score`.
    pub anomalies: Vec<Anomaly>,
    /// What the learned detector says; `None` where rules alone judge. Filled by `score`.
    pub opinion: Option<Opinion>,
    /// Whether a row is late; filled by [`Lateness`](crate::window::Lateness), and for itself by the detector.
    pub late: Vec<bool>,
    /// The partition's watermark behind the batch; filled with `late`.
    pub watermark_us: i64,
}

impl Batch {
    /// A batch without rows.
    pub fn empty(partition: i32, progress: ReadProgress) -> Batch {
        Batch {
            partition,
            progress,
            offsets: Vec::new(),
            event_times_us: Vec::new(),
            received_at_ms: Vec::new(),
            zones: Vec::new(),
            zone_names: Arc::default(),
            sensors: Vec::new(),
            sensor_ends: Vec::new(),
            metrics: Vec::new(),
            dead: Vec::new(),
            new_zones: Vec::new(),
            truth: Vec::new(),
            anomalies: Vec::new(),
            opinion: None,
            late: Vec::new(),
            watermark_us: crate::NEVER,
        }
    }

    /// Number of readings.
    pub fn rows(&self) -> usize {
        self.offsets.len()
    }

    /// Keeps the readings whose event time (microseconds) is wanted. Before it is scored and placed.
    pub fn retain(&mut self, wanted: impl Fn(i64) -> bool) {
        let kept = (0..self.rows()).filter(|row| wanted(self.event_times_us[*row])).collect();
        self.keep(kept);
    }

    fn keep(&mut self, kept: Vec<usize>) {
        let mut sensors = Vec::new();
        self.sensor_ends = kept
            .iter()
            .map(|row| {
                sensors.extend_from_slice(self.sensor(*row));
                sensors.len() as u32
            })
            .collect();
        self.sensors = sensors;
        self.offsets = kept.iter().map(|row| self.offsets[*row]).collect();
        self.zones = kept.iter().map(|row| self.zones[*row]).collect();
        if !self.received_at_ms.is_empty() {
            self.received_at_ms = kept.iter().map(|row| self.received_at_ms[*row]).collect();
        }
        for column in &mut self.metrics {
            *column = kept.iter().map(|row| column[*row]).collect();
        }
        self.event_times_us = kept.iter().map(|row| self.event_times_us[*row]).collect();
    }

    /// A row's sensor id, UTF-8.
    pub fn sensor(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.sensor_ends[row - 1] as usize };
        &self.sensors[start..self.sensor_ends[row] as usize]
    }

    /// A row's zone.
    pub fn zone(&self, row: usize) -> &Arc<str> {
        &self.zone_names[self.zones[row] as usize]
    }
}

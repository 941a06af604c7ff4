//! When a partition is written down, and how it is written and read.

use citytide_detector::{Chosen, Layout, Sample, SampleRow, SensorStates, SufficientStats};
use serde::{Deserialize, Serialize};

use super::{Partition, Place};
use crate::detect::event_time::{BEGINNING_US, NO_MINUTE};
use crate::detect::scoring_state::Judged;
use crate::detect::snapshot::{Blob, BlobKind, SnapshotError, SnapshotRate, read, write};

/// For so many ticks what a partition has taught is kept, so that it can be written down anew as of the same tick.
pub(super) const TICKS_KEPT: i64 = 5;

/// As it is written down.
#[derive(Serialize, Deserialize)]
pub struct StoredPartition {
    metrics: String,
    at: Place,
    lifted: i64,
    teaches_from: i64,
    taught: SufficientStats,
    rows: Vec<(u64, SampleRow)>,
    chosen: Chosen,
    sensors: Vec<u8>,
}

impl Partition {
    /// Whether what it has taught since it was written down is still there.
    pub(super) fn is_kept(&self, closed: i64) -> bool {
        self.written != NO_MINUTE && self.kept_until.is_none_or(|until| closed <= until)
    }

    /// The tick as of which it is to be written down before a reading that knows the ticks before `known`: that of the
    /// `snapshot`, or once more the last one, by its own `rate`; without a rate it is not written once more.
    pub fn due(&self, snapshot: i64, known: i64, closed: i64, rate: Option<SnapshotRate>) -> Option<i64> {
        if self.written < snapshot && known >= snapshot {
            return Some(snapshot);
        }
        let is_due = |rate: SnapshotRate| rate.is_due(self.judged_since, self.written_bytes);
        (self.is_kept(closed) && rate.is_some_and(is_due)).then_some(self.written)
    }

    fn written_as_of(&mut self, snapshot: i64, layout: &Layout) {
        let is_beginning = snapshot == layout.tick(BEGINNING_US);
        (self.written, self.kept_until) = (snapshot, (!is_beginning).then_some(snapshot + TICKS_KEPT));
    }

    /// Writes it down as of `snapshot`, at a place: before a reading that knows the ticks before, or more.
    pub fn write(&mut self, number: i32, at: Place, layout: &Layout, snapshot: i64) {
        if self.written != snapshot {
            self.written_as_of(snapshot, layout);
        }
        self.judged_since = 0;
        let mut taught = self.handed_out.clone();
        taught.take_before(snapshot);
        taught.merge(&self.training_data.stats);
        let of_snapshot = |(_, row): &&(u64, SampleRow)| layout.tick(row.event_time_us) >= snapshot;
        let rows = self.handed_out_rows.iter().filter(of_snapshot).chain(&self.training_data.sampled);
        let stored = StoredPartition {
            metrics: layout.fingerprint(),
            at,
            lifted: self.lifted,
            teaches_from: self.teaches_from,
            taught,
            rows: rows.cloned().collect(),
            chosen: self.training_data.chosen.clone(),
            sensors: self.sensors.to_bytes(),
        };
        let as_of_us = snapshot * layout.tick_us;
        let state = write(BlobKind::Partition, &stored);
        self.written_bytes = state.len();
        self.blob = Some(Blob { kind: BlobKind::Partition, key: number.to_string(), as_of_us, state });
    }

    /// Passes on what was written down, with the batch that it was written down in.
    pub fn pass_blob(&mut self, number: i32, judged: &mut Judged) {
        if let Some(blob) = self.blob.take() {
            judged.blobs.push(blob);
            judged.taught.push(self.taught(number, SufficientStats::default(), Vec::new()));
        }
    }

    /// Reads what was written down as of `snapshot`; the offset from which on its readings must be seen again.
    pub fn read(
        layout: &Layout,
        sample: &Sample,
        snapshot: i64,
        bytes: &[u8],
    ) -> Result<(Partition, i64), SnapshotError> {
        let stored: StoredPartition =
            read(BlobKind::Partition, layout, bytes, |stored: &StoredPartition| &stored.metrics)?;
        let mut partition = Partition::new(layout, sample);
        partition.sensors = SensorStates::from_bytes(layout, &stored.sensors)?;
        partition.lifted = stored.lifted;
        partition.teaches_from = stored.teaches_from;
        // Other settings of the sample: then it is filled anew.
        if stored.chosen.is_like(&partition.training_data.chosen) {
            partition.training_data.chosen = stored.chosen;
        }
        partition.training_data.stats = stored.taught;
        partition.training_data.sampled = stored.rows;
        let next_offset = stored.at.next_offset;
        partition.behind = stored.at;
        partition.written_as_of(snapshot, layout);
        partition.written_bytes = bytes.len();
        Ok((partition, next_offset))
    }
}

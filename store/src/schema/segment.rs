//! Segments: the partitions of the readings' table, each a contiguous range of epochs.
//!
//! The rate of readings when a segment is created decides its length. Its bounds never change, so a writer looks up the
//! segment of an epoch once per segment. A segment that is created behind a backlog is short and has no index until it
//! is complete.
//!
//! A segment is created as a separate table and attached: `create table … partition of` would wait for an exclusive
//! lock on the parent, with every COPY queued behind it.

use std::ops::Range;

use chrono::DateTime;

use super::READINGS;

const SECOND_MS: u64 = 1_000;
/// Heap pages per entry of a BRIN index.
pub(super) const PAGES_PER_RANGE: u32 = 32;

/// The rate of readings, which decides the length and the indexes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A backlog is read as fast as it can be written.
    Behind,
    /// A live stream that is too fast for b-trees.
    Busy,
    /// A live stream.
    Live,
    /// A live stream with so few readings that a segment holds a day.
    Sparse,
}

impl Pace {
    /// The maximum length of a segment, milliseconds of epochs. Segments end on multiples of it.
    pub const fn segment_ms(self) -> u64 {
        match self {
            Pace::Behind => 30 * SECOND_MS,
            Pace::Busy => 600 * SECOND_MS,
            Pace::Live => 3_600 * SECOND_MS,
            Pace::Sparse => 86_400 * SECOND_MS,
        }
    }
}

/// An index of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentIndex {
    /// A BRIN index on the epoch, for followers, restarts and the clean-up after a crash.
    Epoch,
    /// Anomalies by time.
    Anomalies,
    /// Readings by sensor and time.
    Sensor,
    /// Readings by zone and time.
    Zone,
}

impl SegmentIndex {
    /// All indexes, in the order of their creation.
    pub const ALL: [SegmentIndex; 4] =
        [SegmentIndex::Epoch, SegmentIndex::Anomalies, SegmentIndex::Sensor, SegmentIndex::Zone];

    /// Whether it is a b-tree with an entry for each row, which makes writing slow.
    pub fn is_btree_of_all(self) -> bool {
        matches!(self, SegmentIndex::Sensor | SegmentIndex::Zone)
    }

    /// Whether a segment has it from its creation.
    fn is_written_at(self, pace: Pace) -> bool {
        match pace {
            Pace::Behind => false,
            Pace::Busy => !self.is_btree_of_all(),
            Pace::Live | Pace::Sparse => true,
        }
    }

    /// The index's name is the segment's name with this suffix.
    pub fn suffix(self) -> &'static str {
        match self {
            SegmentIndex::Epoch => "epoch",
            SegmentIndex::Anomalies => "anomalies",
            SegmentIndex::Sensor => "sensor",
            SegmentIndex::Zone => "zone",
        }
    }

    /// The index with this suffix.
    pub fn of_suffix(suffix: &str) -> Option<SegmentIndex> {
        SegmentIndex::ALL.into_iter().find(|index| index.suffix() == suffix)
    }

    /// The statement that creates it on a segment.
    pub fn create(self, segment: &str) -> String {
        let what = match self {
            SegmentIndex::Epoch => format!(
                "using brin (epoch, recorded_at) with (pages_per_range = {PAGES_PER_RANGE}, autosummarize = off)"
            ),
            SegmentIndex::Anomalies => "(recorded_at) where is_anomaly".to_owned(),
            SegmentIndex::Sensor => "(sensor_id, recorded_at)".to_owned(),
            SegmentIndex::Zone => "(zone, recorded_at)".to_owned(),
        };
        format!("create index {segment}_{} on {segment} {what}", self.suffix())
    }
}

/// The epochs of the segment that begins at `from_ms`.
pub fn segment_bounds(from_ms: u64, pace: Pace) -> Range<u64> {
    let length_ms = pace.segment_ms();
    from_ms..(from_ms / length_ms + 1) * length_ms
}

/// The name of the segment that begins at an epoch, such as `sensor_readings_20261121_140000`.
pub fn segment_table(from_ms: u64) -> String {
    let from = DateTime::from_timestamp_millis(from_ms as i64).expect("an epoch is a date of this age");
    format!("{READINGS}_{}", from.format("%Y%m%d_%H%M%S"))
}

/// The statements that create a segment, for one transaction.
pub fn create_segment(epochs: &Range<u64>, pace: Pace) -> Vec<String> {
    let Range { start: from_ms, end: until_ms } = epochs;
    let table = segment_table(*from_ms);
    let mut statements =
        vec![format!("create table {table} (like {READINGS} including defaults including comments)")];
    let indexes = SegmentIndex::ALL.into_iter().filter(|index| index.is_written_at(pace));
    statements.extend(indexes.map(|index| index.create(&table)));
    statements.push(format!(
        "alter table {READINGS} attach partition {table} for values from ({from_ms}) to ({until_ms})"
    ));
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: u64 = 1_795_262_400_000;

    #[test]
    fn segments_follow_each_other_and_end_with_the_hour_or_day() {
        let hour = segment_bounds(NOON_MS + 90_000, Pace::Live);
        assert_eq!(hour, NOON_MS + 90_000..NOON_MS + 3_600_000);
        assert_eq!(segment_bounds(hour.end, Pace::Behind), hour.end..hour.end + 30_000);
        assert_eq!(segment_bounds(hour.end, Pace::Sparse).end, NOON_MS + 12 * 3_600_000);
        assert_eq!(segment_table(NOON_MS + 90_000), "sensor_readings_20261121_120130");
    }

    #[test]
    fn a_segment_is_attached_and_has_indexes_unless_a_backlog_is_read() {
        for (pace, indexes) in [(Pace::Behind, 0), (Pace::Busy, 2), (Pace::Live, 4), (Pace::Sparse, 4)] {
            let statements = create_segment(&segment_bounds(NOON_MS, pace), pace).join(";\n");
            assert!(statements.contains("attach partition") && !statements.contains("partition of"));
            assert_eq!(statements.matches("create index").count(), indexes, "{pace:?}");
        }
    }

    #[test]
    fn an_index_is_found_by_its_suffix() {
        for index in SegmentIndex::ALL {
            assert_eq!(SegmentIndex::of_suffix(index.suffix()), Some(index));
        }
        assert_eq!(SegmentIndex::of_suffix("day"), None);
    }
}

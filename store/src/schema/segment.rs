//! The partitions of the readings' table: segments, stretches of epochs that follow each other.
//!
//! How long a segment is follows from how fast readings come when it is made. Its bounds never change, so whoever
//! writes an epoch asks the server once per segment which one holds it. A segment that is made while a backlog is read
//! has no index as long as it is written: it is short, and gets its indexes when it is over.
//!
//! A segment is made as a table of its own and attached: `create table … partition of` would take the parent's exclusive
//! lock, wait for its readers, and let every COPY queue behind it.

use std::ops::Range;

use chrono::DateTime;

use super::READINGS;

const SECOND_MS: u64 = 1_000;
/// Heap pages that one entry of a BRIN index stands for.
pub(super) const PAGES_PER_RANGE: u32 = 32;

/// How fast readings come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as they can be written: a backlog is read.
    Behind,
    /// As they are measured, but so many that b-trees would cost too much.
    Busy,
    /// As they are measured.
    Live,
    /// So few that an hour of them is no segment of its own.
    Sparse,
}

impl Pace {
    /// How many milliseconds of epochs a segment holds at most. Segments end on multiples of it.
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
    /// Where the rows of an epoch are: for followers, restarts and the clean-up after a crash.
    Epoch,
    /// The anomalies, by time.
    Anomalies,
    /// The readings of a sensor, by time.
    Sensor,
    /// The readings of a zone, by time.
    Zone,
}

impl SegmentIndex {
    /// All of a segment, in the order in which they are made.
    pub const ALL: [SegmentIndex; 4] =
        [SegmentIndex::Epoch, SegmentIndex::Anomalies, SegmentIndex::Sensor, SegmentIndex::Zone];

    /// Whether each row costs it a walk from its root.
    pub fn is_btree_of_all(self) -> bool {
        matches!(self, SegmentIndex::Sensor | SegmentIndex::Zone)
    }

    /// Whether a segment has it from its beginning.
    fn is_written_at(self, pace: Pace) -> bool {
        match pace {
            Pace::Behind => false,
            Pace::Busy => !self.is_btree_of_all(),
            Pace::Live | Pace::Sparse => true,
        }
    }

    /// What its name adds to that of the segment.
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

    /// The statement that makes it on a segment.
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

/// The epochs of the segment that begins with `from_ms`.
pub fn segment_bounds(from_ms: u64, pace: Pace) -> Range<u64> {
    let length_ms = pace.segment_ms();
    from_ms..(from_ms / length_ms + 1) * length_ms
}

/// The name of the segment that begins with an epoch, as `sensor_readings_20261121_140000`.
pub fn segment_table(from_ms: u64) -> String {
    let from = DateTime::from_timestamp_millis(from_ms as i64).expect("an epoch is a date of this age");
    format!("{READINGS}_{}", from.format("%Y%m%d_%H%M%S"))
}

/// The statements that make a segment, for one transaction.
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

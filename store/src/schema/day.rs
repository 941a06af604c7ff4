//! The partitions of the dead letters' table, one per UTC day of epochs. They are attached like segments (`segment`).

use chrono::DateTime;

use super::DEAD_LETTERS;
use super::segment::PAGES_PER_RANGE;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// The name of the partition for the epoch's UTC day, such as `dead_letter_records_20261121`.
pub fn day_table(epoch_ms: u64) -> String {
    let day = DateTime::from_timestamp_millis(epoch_ms as i64).expect("an epoch is a date of this age");
    format!("{DEAD_LETTERS}_{}", day.format("%Y%m%d"))
}

/// The epoch's UTC day: its first epoch, and the first one of the next day, in milliseconds.
pub fn day_bounds(epoch_ms: u64) -> (u64, u64) {
    let from_ms = epoch_ms - epoch_ms % DAY_MS;
    (from_ms, from_ms + DAY_MS)
}

/// The statements that create the partition for the epoch's UTC day, for one transaction.
pub fn create_day(epoch_ms: u64) -> Vec<String> {
    let table = day_table(epoch_ms);
    let (from_ms, until_ms) = day_bounds(epoch_ms);
    vec![
        format!("create table {table} (like {DEAD_LETTERS} including defaults including comments)"),
        format!(
            "create index {table}_epoch on {table} using brin (epoch, received_at) \
             with (pages_per_range = {PAGES_PER_RANGE}, autosummarize = off)"
        ),
        format!(
            "alter table {DEAD_LETTERS} attach partition {table} for values from ({from_ms}) to ({until_ms})"
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_named_and_bounded_by_utc() {
        let noon = 1_795_262_400_000;
        assert_eq!(day_table(noon), "dead_letter_records_20261121");
        assert_eq!(day_bounds(noon), (1_795_219_200_000, 1_795_305_600_000));
        assert_eq!(day_table(1_795_305_599_999), "dead_letter_records_20261121");
        assert_eq!(day_table(1_795_305_600_000), "dead_letter_records_20261122");
    }

    #[test]
    fn a_day_is_attached_and_never_created_as_a_partition() {
        let statements = create_day(0).join(";\n");
        assert!(statements.contains("attach partition"));
        assert!(!statements.contains("partition of"));
    }
}

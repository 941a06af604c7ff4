//! The partitions of the raw tables: one per UTC day of epochs.
//!
//! A partition is created as a table of its own and attached: `create table … partition of` would take the parent's
//! exclusive lock, wait for its readers, and let every COPY queue behind it.

use chrono::{DateTime, NaiveDate, TimeDelta};

use super::READINGS;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Heap pages that one entry of a day's BRIN index stands for.
const PAGES_PER_RANGE: u32 = 32;

/// The name of the partition of `parent` for the epoch's UTC day, as `sensor_readings_20261121`.
pub fn day_table(parent: &str, epoch_ms: u64) -> String {
    let day = DateTime::from_timestamp_millis(epoch_ms as i64).expect("an epoch is a date of this age");
    format!("{parent}_{}", day.format("%Y%m%d"))
}

/// The epoch's UTC day: its first epoch, and the first one of the next day, in milliseconds.
pub fn day_bounds(epoch_ms: u64) -> (u64, u64) {
    let from_ms = epoch_ms - epoch_ms % DAY_MS;
    (from_ms, from_ms + DAY_MS)
}

/// The bounds of the day that a partition of `parent` is named after; `None` when it has another kind of name.
pub fn day_of_table(parent: &str, table: &str) -> Option<(u64, u64)> {
    let digits = table.strip_prefix(parent)?.strip_prefix('_').filter(|digits| digits.len() == 8)?;
    let day = NaiveDate::parse_from_str(digits, "%Y%m%d").ok()?;
    let since = day.signed_duration_since(NaiveDate::default());
    (since >= TimeDelta::zero()).then(|| day_bounds(since.num_milliseconds() as u64))
}

/// The statements that make the partition of `parent` for the epoch's UTC day, for one transaction.
///
/// The CHECK saves the scan of an attached table, and goes once it has done so: a COPY would pay for it row by row.
pub fn create_day(parent: &str, epoch_ms: u64) -> Vec<String> {
    let table = day_table(parent, epoch_ms);
    let (from_ms, until_ms) = day_bounds(epoch_ms);
    let time = if parent == READINGS { "recorded_at" } else { "received_at" };
    let mut statements = vec![
        format!("create table {table} (like {parent} including defaults including comments)"),
        format!(
            "alter table {table} add constraint {table}_day check (epoch >= {from_ms} and epoch < {until_ms})"
        ),
        format!(
            "create index {table}_epoch on {table} using brin (epoch, {time}) \
             with (pages_per_range = {PAGES_PER_RANGE}, autosummarize = off)"
        ),
    ];
    if parent == READINGS {
        statements.push(format!("create index {table}_anomalies on {table} (recorded_at) where is_anomaly"));
    }
    statements.push(format!(
        "alter table {parent} attach partition {table} for values from ({from_ms}) to ({until_ms})"
    ));
    statements.push(format!("alter table {table} drop constraint {table}_day"));
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_named_and_bounded_by_utc() {
        let noon = 1_795_262_400_000;
        assert_eq!(day_table(READINGS, noon), "sensor_readings_20261121");
        assert_eq!(day_bounds(noon), (1_795_219_200_000, 1_795_305_600_000));
        assert_eq!(day_table(READINGS, 1_795_305_599_999), "sensor_readings_20261121");
        assert_eq!(day_table(READINGS, 1_795_305_600_000), "sensor_readings_20261122");
    }

    #[test]
    fn a_name_gives_back_its_day_and_other_names_none() {
        let bounds = day_bounds(1_795_262_400_000);
        assert_eq!(day_of_table(READINGS, "sensor_readings_20261121"), Some(bounds));
        for other in [
            "sensor_readings",
            "sensor_readings_old",
            "sensor_readings_20261399",
            "dead_letter_records_20261121",
        ] {
            assert_eq!(day_of_table(READINGS, other), None, "{other}");
        }
    }

    #[test]
    fn a_day_is_attached_and_never_created_as_a_partition() {
        for parent in super::super::DAILY {
            let statements = create_day(parent, 0).join(";\n");
            assert!(statements.contains("attach partition"));
            assert!(!statements.contains("partition of"));
            assert_eq!(statements.contains("where is_anomaly"), parent == READINGS);
        }
    }
}

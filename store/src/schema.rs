//! The database's schema as it follows from a domain: the DDL, and the names that writers share. Pure.
//!
//! Invariants:
//! 1. names, types and the order of columns in the views are a contract with every program that reads the database;
//! 2. what a domain may name (metrics, windows) are identifiers that need no quotes: the domain file refuses others,
//!    PostgreSQL's keywords among them; whatever is built from such names goes through [`quoted`] elsewhere;
//! 3. `sql/smart-city.sql` is exactly [`create`] of the built-in domain;
//! 4. the raw tables have one partition per UTC day of epochs, and no other.

mod day;
mod detector_tables;
mod ledger_tables;
mod table;
mod tables;

use citytide_domain::Domain;

pub use day::{create_day, day_bounds, day_of_table, day_table};
use table::literal;
pub(super) use table::{Table, View, comments};
pub(super) use tables::{later_tables, ledger_additions, metric_additions, tables, views};

/// The version of this schema; a database with a higher one was made by a newer program.
pub const SCHEMA_VERSION: i32 = 1;

/// First key of every advisory lock of citytide.
pub const LOCK_SPACE: i32 = 1_667_855_481;
/// Second key: taken shared by every writing transaction, exclusively by the run that takes over (the fence).
pub const LOCK_FENCE: i32 = 1;
/// Second key: held by the transaction that creates or changes the schema.
pub const LOCK_SCHEMA: i32 = 3;
/// Second key: held by the transaction that numbers and stores a model.
pub const LOCK_MODELS: i32 = 4;

/// The partitioned table of readings, committed or not.
pub const READINGS: &str = "sensor_readings";
/// The partitioned table of dead letters, committed or not.
pub const DEAD_LETTERS: &str = "dead_letter_records";
/// Both tables that are partitioned by day.
pub const DAILY: [&str; 2] = [READINGS, DEAD_LETTERS];

/// What the detector knew at some epochs.
pub const DETECTOR_STATE: &str = "detector_state";
/// Its columns in the order of the COPY.
pub const DETECTOR_STATE_COLUMNS: [&str; 4] = ["kind", "key", "epoch", "state"];

/// An identifier as SQL takes it: plain names stay as they are. Keywords are none of a domain's names.
pub fn quoted(name: &str) -> String {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if name.bytes().all(plain) && !name.starts_with(|first: char| first.is_ascii_digit()) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// The columns of [`READINGS`] in the order of the COPY.
pub fn reading_columns(domain: &Domain) -> Vec<String> {
    let before = ["epoch", "kafka_partition", "kafka_offset", "sensor_id", "zone", "recorded_at"];
    let after = [
        "is_late",
        "is_anomaly",
        "anomaly_score",
        "severity",
        "reasons",
        "model_version",
        "confidence",
        "detector",
    ];
    let metrics = domain.metrics.iter().map(|metric| metric.name.as_str());
    before.into_iter().chain(metrics).chain(after).map(str::to_owned).collect()
}

/// The columns of [`DEAD_LETTERS`] in the order of the COPY.
pub fn dead_letter_columns() -> Vec<String> {
    tables::dead_letter_columns().into_iter().map(|column| column.name).collect()
}

/// The domain's windows as `citytide_database.windows` keeps them: JSON, in the order of the file.
pub fn windows_json(domain: &Domain) -> String {
    let windows = domain.windows.iter().map(|window| {
        serde_json::json!({"name": window.name, "size_us": window.size_us, "slide_us": window.slide_us})
    });
    serde_json::Value::Array(windows.collect()).to_string()
}

/// Every relation of the schema that is no partition and no index.
pub fn relations(domain: &Domain) -> Vec<String> {
    let tables = tables(domain).into_iter().map(|table| table.name);
    tables.chain(views(domain).into_iter().map(|view| view.name)).collect()
}

/// The whole schema of a domain that reads `topic`, as one script for an empty database.
pub fn create(domain: &Domain, topic: &str) -> String {
    let mut script = format!(
        "-- The database of the domain {}, as citytide makes it in an empty database.\n\
         -- Rendered from store/src/schema; a test holds this file equal to it.\n\n",
        domain.name.escape_debug()
    );
    for table in tables(domain) {
        script += &table.render();
        script.push('\n');
        match table.name.as_str() {
            "citytide_database" => script += &database_row(domain, topic),
            "fence" => script += tables::FENCE,
            _ => {}
        }
    }
    let views = views(domain);
    script += &views.iter().map(View::render).collect::<Vec<_>>().join("\n");
    script
}

fn database_row(domain: &Domain, topic: &str) -> String {
    format!(
        "insert into citytide_database (schema_version, domain, topic, windows, pane_us)\nvalues ({SCHEMA_VERSION}, {}, {}, \
         {}, {});\n\n",
        literal(&domain.name),
        literal(topic),
        literal(&windows_json(domain)),
        domain.pane_us()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_for_people_is_the_rendering_of_smart_city() {
        let domain = Domain::smart_city();
        let rendered = create(&domain, &domain.topic);
        let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/smart-city.sql");
        if std::fs::read_to_string(kept).unwrap_or_default() != rendered {
            let fresh = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/smart-city.sql");
            std::fs::write(fresh, rendered).expect("the target directory takes a file");
            panic!("sql/smart-city.sql is not what the schema renders; copy target/smart-city.sql over it");
        }
    }

    #[test]
    fn copy_names_the_metrics_between_the_time_and_the_verdict() {
        let columns = reading_columns(&Domain::smart_city()).join(" ");
        assert_eq!(
            columns,
            "epoch kafka_partition kafka_offset sensor_id zone recorded_at temperature humidity aqi noise_level \
             traffic_flow is_late is_anomaly anomaly_score severity reasons model_version \
             confidence detector"
        );
        assert_eq!(
            dead_letter_columns().join(" "),
            "epoch kafka_partition kafka_offset received_at reason field message payload payload_bytes"
        );
    }

    #[test]
    fn every_further_metric_and_window_gets_its_columns_and_table() {
        let mut domain = Domain::smart_city();
        domain.windows[1].name = "hour".to_owned();
        domain.metrics[4].name = "wind".to_owned();
        let script = create(&domain, "it's");
        for part in
            ["create table metrics_hour (", "sum_wind", "avg_wind", "max_wind", "'it''s'", "    wind  "]
        {
            assert!(script.contains(part), "{part} is missing");
        }
        assert!(!script.contains("traffic_flow") && !script.contains("metrics_5min"));
    }
}

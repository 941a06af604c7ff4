//! Derives the database's schema from a domain: the DDL, and the names that writers use. No I/O.
//!
//! Invariants:
//! 1. names, types and the order of columns in the views are a contract with every program that reads the database;
//! 2. what a domain may name (metrics, windows) are identifiers that need no quotes: the domain file refuses others,
//!    PostgreSQL's keywords among them; whatever is built from such names goes through [`quoted`] elsewhere;
//! 3. the live views' tables come from the engine, as data: nothing here knows one by its name;
//! 4. the raw tables are partitioned by epochs: the readings by segments, the dead letters by UTC days.

mod day;
mod detector_tables;
mod latest;
mod ledger_tables;
mod segment;
mod table;
mod tables;

use std::collections::BTreeSet;

use citytide_domain::{Domain, Metric};

use crate::compare::{AsOf, Comparison};
use crate::notifications;
pub use day::{create_day, day_bounds, day_table};
pub(super) use latest::{LATEST_READINGS, argument_names as latest_names, create as create_latest};
pub use segment::{Pace, SegmentIndex, create_segment, segment_bounds, segment_table};
pub(super) use table::comments;
use table::literal;
pub use table::{AFTER_EPOCH, Column, Table, View, column, table};
pub(super) use tables::session_columns;

/// The version of this schema. A newer program creates databases with a higher one.
pub const SCHEMA_VERSION: i32 = 1;

/// First key of every advisory lock of citytide.
pub const LOCK_SPACE: i32 = 1_667_855_481;
/// Second key: taken shared by every writing transaction, exclusively by the run that takes over (the fence).
pub const LOCK_FENCE: i32 = 1;
/// Second key: held by the session of the run that commits.
pub const LOCK_RUN: i32 = 2;
/// Second key: held by the transaction that creates or changes the schema.
pub const LOCK_SCHEMA: i32 = 3;
/// Second key: held by the transaction that numbers and stores a model.
pub const LOCK_MODELS: i32 = 4;
/// Second key: held shared while a follower registers, exclusively while the retention horizon is raised.
pub const LOCK_FOLLOWERS: i32 = 5;
/// Second key: held by the session that notifies.
pub const LOCK_NOTIFY: i32 = 6;

/// The partitioned table of readings, committed or not.
pub const READINGS: &str = "sensor_readings";
/// The partitioned table of dead letters, committed or not.
pub const DEAD_LETTERS: &str = "dead_letter_records";
/// Both tables that are partitioned by epochs.
pub const RAW: [&str; 2] = [READINGS, DEAD_LETTERS];

/// What the detector knew at some epochs.
pub const DETECTOR_STATE: &str = "detector_state";
/// Its columns in the order of the COPY.
pub const DETECTOR_STATE_COLUMNS: [&str; 5] = ["kind", "key", "epoch", "as_of", "state"];

/// Updated rows stay on their page: the new version is a HOT update as long as half the page is free.
pub const ROOM_FOR_UPDATES: &str = "with (fillfactor = 50)";

/// Quotes an identifier unless it is plain. Names in a domain are never keywords.
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
    tables::reading_columns(domain).into_iter().map(|column| column.name).collect()
}

/// The columns of [`DEAD_LETTERS`] in the order of the COPY.
pub fn dead_letter_columns() -> Vec<String> {
    tables::dead_letter_columns().into_iter().map(|column| column.name).collect()
}

/// The domain's windows as `citytide_database.windows` keeps them: JSON, in the order of the file, the session
/// windows behind the others.
pub fn windows_json(domain: &Domain) -> String {
    let windows = domain.windows.iter().map(|window| {
        serde_json::json!({"name": window.name, "size_us": window.size_us, "slide_us": window.slide_us})
    });
    let sessions = domain.sessions.iter().map(|window| {
        serde_json::json!({
            "name": window.name, "gap_us": window.gap_us, "max_us": window.max_us, "by": window.by.as_str()
        })
    });
    serde_json::Value::Array(windows.chain(sessions).collect()).to_string()
}

/// What the database needs to know of a live view.
#[derive(Debug, Clone, Copy)]
pub struct LiveTable {
    /// Its table for a domain, without [`EPOCH`]; its key stands before the other columns.
    pub table: fn(&Domain) -> Table,
    /// Recomputes its rows in SQL; `None` for a log, which cannot be recomputed.
    pub comparison: Option<fn(&AsOf, &Domain) -> Comparison>,
    /// Whether a domain has it.
    pub is_of: fn(&Domain) -> bool,
    /// Whether a restart reads all of its rows.
    pub is_restored: bool,
    /// Of a table that lags behind the commits: a query for what committed readings have still to bring to it, rows that a
    /// restart begins with.
    pub overdue: Option<fn(&AsOf, &Domain) -> String>,
    /// Further tables, which the dataflow does not write.
    pub beside: fn(&Domain) -> Vec<Table>,
    /// Further views.
    pub views: fn(&Domain) -> Vec<View>,
}

impl LiveTable {
    /// A live view that a restart reads, without further tables or views.
    pub const fn new(table: fn(&Domain) -> Table, comparison: fn(&AsOf, &Domain) -> Comparison) -> LiveTable {
        LiveTable {
            table,
            comparison: Some(comparison),
            is_of: |_| true,
            is_restored: true,
            overdue: None,
            beside: |_| Vec::new(),
            views: |_| Vec::new(),
        }
    }

    /// A log: it cannot be recomputed, and a restart does not read it.
    pub const fn log(table: fn(&Domain) -> Table) -> LiveTable {
        LiveTable {
            table,
            comparison: None,
            is_of: |_| true,
            is_restored: false,
            overdue: None,
            beside: |_| Vec::new(),
            views: |_| Vec::new(),
        }
    }

    /// Its table with the column [`EPOCH`].
    fn stored(&self, domain: &Domain) -> Table {
        with_epoch((self.table)(domain))
    }
}

/// The last column of tables whose rows change, by which a follower reads the rows written since an epoch.
pub const EPOCH: &str = "epoch";

fn with_epoch(mut table: Table) -> Table {
    let written = "The commit that last wrote the row, milliseconds";
    table.columns.push(column(EPOCH, "bigint not null default 0", written).later());
    table
}

/// The schema of a domain.
#[derive(Debug, Clone)]
pub struct Schema<'a> {
    pub domain: &'a Domain,
    /// The live views.
    pub live: Vec<LiveTable>,
}

impl Schema<'_> {
    /// All tables, in the order of their creation.
    pub fn tables(&self) -> Vec<Table> {
        self.tables_of(self.domain)
    }

    fn tables_of(&self, domain: &Domain) -> Vec<Table> {
        let mut tables = ledger_tables::ledger();
        tables.extend(tables::raw(domain));
        tables.push(panes(domain));
        tables.extend((0..domain.windows.len()).map(|window| window_table(domain, window)));
        tables.extend(self.live.iter().map(|live| live.stored(domain)));
        tables.extend(self.live.iter().flat_map(|live| (live.beside)(domain)));
        tables.extend(detector_tables::detector());
        tables.push(ledger_tables::followers());
        tables.extend(notifications::tables());
        tables
    }

    /// The live views' tables, in their order.
    pub fn live_tables(&self) -> Vec<Table> {
        self.live.iter().map(|live| live.stored(self.domain)).collect()
    }

    /// All views, in the order of their creation.
    pub fn views(&self) -> Vec<View> {
        let mut views = tables::views(self.domain);
        views.extend(self.live.iter().flat_map(|live| (live.views)(self.domain)));
        views
    }

    /// The names of all tables and views.
    pub fn relations(&self) -> Vec<String> {
        let tables = self.tables().into_iter().map(|table| table.name);
        tables.chain(self.views().into_iter().map(|view| view.name)).collect()
    }

    /// The names of the tables and views that later versions have added.
    pub(super) fn later_relations(&self) -> BTreeSet<String> {
        let tables = self.tables().into_iter().filter(|table| table.came_later).map(|table| table.name);
        let views = self.views().into_iter().filter(|view| view.came_later).map(|view| view.name);
        tables.chain(views).collect()
    }

    /// The columns that a start adds, as (table, column): those of later versions and those of new metrics.
    pub(super) fn later_columns(&self, is_new: impl Fn(&Metric) -> bool) -> BTreeSet<(String, String)> {
        let mut before = self.domain.clone();
        before.metrics.retain(|metric| !is_new(metric));
        let named = |table: &Table, column: &Column| (table.name.clone(), column.name.clone());
        let mut columns = BTreeSet::new();
        for table in self.tables() {
            columns.extend(table.columns.iter().map(|column| named(&table, column)));
        }
        for table in self.tables_of(&before) {
            for column in table.columns.iter().filter(|column| !column.came_later) {
                columns.remove(&named(&table, column));
            }
        }
        columns
    }

    /// The whole schema for readings of `topic`, as one script for an empty database.
    pub fn create(&self, topic: &str) -> String {
        let mut script = format!(
            "-- The database of the domain {}, as citytide makes it in an empty database.\n\
             -- Rendered from store/src/schema and dataflow/src/views; a test holds this file equal to it.\n\n",
            self.domain.name.escape_debug()
        );
        for table in self.tables() {
            script += &table.render();
            script.push('\n');
            match table.name.as_str() {
                "citytide_database" => script += &database_row(self.domain, topic),
                "fence" => script += &tables::fence(),
                _ => {}
            }
        }
        script += &self.views().iter().map(View::render).collect::<Vec<_>>().join("\n");
        script.push('\n');
        script + &latest::create(self.domain)
    }
}

/// The table of one of the domain's windows.
pub fn window_table(domain: &Domain, window: usize) -> Table {
    with_epoch(tables::window_table(domain, &domain.windows[window]))
}

/// The table of panes.
pub fn panes(domain: &Domain) -> Table {
    tables::panes(domain)
}

/// `ingest_progress`.
pub fn progress() -> Table {
    ledger_tables::progress()
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
            "epoch kafka_partition kafka_offset received_at reason field message payload payload_bytes sensor_id"
        );
    }

    #[test]
    fn every_further_metric_and_window_gets_its_columns_and_table() {
        let mut domain = Domain::smart_city();
        domain.windows[1].name = "hour".to_owned();
        domain.metrics[4].name = "wind".to_owned();
        let script = Schema { domain: &domain, live: Vec::new() }.create("it's");
        for part in
            ["create table metrics_hour (", "sum_wind", "avg_wind", "max_wind", "'it''s'", "    wind  "]
        {
            assert!(script.contains(part), "{part} is missing");
        }
        assert!(!script.contains("traffic_flow") && !script.contains("metrics_5min"));
    }

    #[test]
    fn the_comment_of_dead_letters_names_every_reason() {
        let columns = tables::dead_letter_columns();
        let reason = columns.iter().find(|column| column.name == "reason").expect("the column");
        for word in citytide_core::decode::Reason::ALL.map(|reason| reason.as_str()) {
            let words = reason.comment.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            assert!(words.into_iter().any(|one| one == word), "{word} is not in: {}", reason.comment);
        }
    }
}

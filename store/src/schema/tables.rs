//! What the tables and views of a domain are: every column with its meaning.

use citytide_domain::{Domain, Metric, Window};

use super::detector_tables::detector;
use super::ledger_tables::ledger;
use super::table::{Column, Table, View, column};
use super::{DEAD_LETTERS, READINGS};

/// Updated rows stay on their page: the new version is a HOT update as long as half the page is free.
pub(super) const ROOM_FOR_UPDATES: &str = "with (fillfactor = 50)";
const BY_EPOCH: &str = "partition by range (epoch)";

/// The fence's row and the function with which every writing transaction begins.
pub const FENCE: &str = "insert into fence (run_id) values (0);

create function citytide_fence(mine bigint) returns void language plpgsql volatile as $$
declare
    current bigint;
begin
    perform pg_advisory_xact_lock_shared(1667855481, 1);
    select run_id into current from fence;
    if current is distinct from mine then
        raise exception 'run % has been taken over by run %', mine, current using errcode = 'CT001';
    end if;
end $$;
comment on function citytide_fence(bigint) is 'Begins every writing transaction: a run that was taken over fails here, \
with SQLSTATE CT001. The lock is taken first and run_id read by a later statement, whose snapshot is not older than it';

";

/// All tables, in the order in which they are made.
pub fn tables(domain: &Domain) -> Vec<Table> {
    let mut tables = ledger();
    tables.extend(raw(domain));
    tables.push(panes(domain));
    tables.extend(domain.windows.iter().map(|window| window_table(domain, window)));
    tables.extend(live(domain));
    tables.extend(detector());
    tables
}

pub(super) fn table(name: &str, comment: &str, columns: Vec<Column>) -> Table {
    Table { name: name.to_owned(), comment: comment.to_owned(), columns, key: "", storage: "", index: None }
}

/// The columns of the readings' table, without `not null` where a view shows them.
fn reading_columns(domain: &Domain) -> Vec<Column> {
    let mut columns = vec![
        column("epoch", "bigint not null", "Ingest epoch that brought the row, milliseconds"),
        column(
            "kafka_partition",
            "integer not null",
            "Partition; with kafka_offset the identity of a reading",
        ),
        column("kafka_offset", "bigint not null", "Offset in the partition"),
        column("sensor_id", "text not null", "The sensor"),
        column("zone", "text not null", "The zone"),
        column("recorded_at", "timestamptz not null", "Event time, microseconds kept"),
    ];
    columns.extend(domain.metrics.iter().map(reading_metric));
    columns.extend([
        column("is_late", "boolean not null", "Came too late: in none of its windows"),
        column("is_anomaly", "boolean not null", "Whether it is anomalous"),
        column("anomaly_score", "real not null", "How odd it is, 0 … 1; with rules only 0 or 1"),
        column("severity", "text", "low, medium or high; null when normal"),
        column(
            "reasons",
            "jsonb",
            "Why it is anomalous, a list of {\"metric\", \"actual\"} with \"rule\", or with \"typical\", \"spread\", \"unit\", \"share\", \"member\" \
             and \"text\"; null when normal",
        ),
        column("model_version", "integer not null", "The model that judged; 0 = rules only"),
        column("confidence", "real", "Chance that the verdict is right, 0 … 1; null where rules alone judge"),
        column("detector", "text", "What found it: rules, model or both; null when normal"),
    ]);
    columns
}

fn reading_metric(metric: &Metric) -> Column {
    column(&metric.name, "double precision", format!("In {}; null when not sent", metric.unit))
}

/// The columns of the dead letters' table.
pub fn dead_letter_columns() -> Vec<Column> {
    vec![
        column("epoch", "bigint not null", "Ingest epoch that brought the row, milliseconds"),
        column(
            "kafka_partition",
            "integer not null",
            "Partition; with kafka_offset the identity of a record",
        ),
        column("kafka_offset", "bigint not null", "Offset in the partition"),
        column("received_at", "timestamptz not null", "Kafka's timestamp of the record"),
        column(
            "reason",
            "text not null",
            "Why it is no reading: empty, not_utf8, not_json, missing_field, wrong_type, \
             duplicate_field, bad_timestamp, bad_number, no_metric, too_long, in_the_future, too_old or too_many_zones",
        ),
        column("field", "text", "The field that is wrong; null when none is"),
        column("message", "text not null", "The reason as a sentence"),
        column("payload", "bytea not null", "The first 64 KiB of the record"),
        column("payload_bytes", "integer not null", "Length of the whole record in bytes"),
    ]
}

fn raw(domain: &Domain) -> [Table; 2] {
    [
        Table {
            storage: BY_EPOCH,
            ..table(
                READINGS,
                "All readings, also those whose epoch is not committed yet: read sensor_data instead",
                reading_columns(domain),
            )
        },
        Table {
            storage: BY_EPOCH,
            ..table(
                DEAD_LETTERS,
                "All dead letters, also those whose epoch is not committed yet: read dead_letters instead",
                dead_letter_columns(),
            )
        },
    ]
}

fn panes(domain: &Domain) -> Table {
    let mut columns = vec![
        column("zone", "text not null", "The zone"),
        column("pane_start", "timestamptz not null", "Start of the pane"),
        column("reading_count", "bigint not null", "Accepted readings"),
        column("anomaly_count", "bigint not null", "Anomalous ones among them"),
        column("first_epoch", "bigint not null", "The first epoch that added to it"),
        column("last_epoch", "bigint not null", "The last one"),
    ];
    columns.extend(domain.metrics.iter().flat_map(pane_metric));
    Table {
        key: "zone, pane_start",
        storage: ROOM_FOR_UPDATES,
        index: Some("pane_start"),
        ..table(
            "panes",
            "What windows are merged from: exact sums by zone and pane, of accepted readings",
            columns,
        )
    }
}

fn pane_metric(metric: &Metric) -> [Column; 4] {
    let name = &metric.name;
    [
        column(format!("count_{name}"), "bigint not null default 0", format!("Readings with {name}")),
        column(
            format!("sum_{name}"),
            "bytea",
            format!(
                "Exact sum of {name}: 128-bit two's complement, big-endian, 60 binary places; null when none"
            ),
        ),
        column(format!("min_{name}"), "double precision", format!("Least {name} in {}", metric.unit)),
        column(format!("max_{name}"), "double precision", format!("Greatest {name} in {}", metric.unit)),
    ]
}

fn window_table(domain: &Domain, window: &Window) -> Table {
    let mut columns = vec![
        column("window_start", "timestamptz not null", "Start, inclusive"),
        column("window_end", "timestamptz not null", "End, exclusive"),
        column("zone", "text not null", "The zone"),
        column("reading_count", "bigint not null", "Accepted readings; never 0"),
        column("anomaly_count", "bigint not null", "Anomalous ones among them"),
    ];
    columns.extend(domain.metrics.iter().flat_map(window_metric));
    columns.extend([
        column("is_final", "boolean not null", "Whether W has passed the window's end; never taken back"),
        column("revision", "integer not null", "How many commits corrected the row after it was final"),
        column("updated_at", "timestamptz not null", "When the row was last committed"),
    ]);
    let seconds = |us: i64| us / 1_000_000;
    let comment = format!(
        "Accepted readings by zone in windows of {} s, one every {} s",
        seconds(window.size_us),
        seconds(window.slide_us)
    );
    Table {
        key: "zone, window_start",
        storage: ROOM_FOR_UPDATES,
        index: Some("window_start"),
        ..table(&window.table(), &comment, columns)
    }
}

fn window_metric(metric: &Metric) -> [Column; 3] {
    let name = &metric.name;
    let figure = |prefix: &str, word: &str| {
        let comment = format!("{word} {name} in {}; null when no reading has it", metric.unit);
        column(format!("{prefix}_{name}"), "double precision", comment)
    };
    [figure("avg", "Average"), figure("min", "Least"), figure("max", "Greatest")]
}

fn live(domain: &Domain) -> [Table; 2] {
    let hot = vec![
        column("zone", "text not null", "The zone"),
        column("rank", "integer not null", "1 … 10, ties by sensor_id"),
        column("sensor_id", "text not null", "The sensor"),
        column("anomaly_count", "bigint not null", "Its accepted anomalies of the five minutes before W"),
        column("last_anomaly_at", "timestamptz not null", "The latest of them, event time"),
    ];
    let mut status = vec![
        column("zone", "text primary key", "The zone"),
        column("window_start", "timestamptz", "Start of its last final window; null before the first"),
        column("reading_count", "bigint", "Accepted readings of that window"),
        column("anomaly_count", "bigint", "Anomalous ones among them"),
    ];
    status.extend(domain.metrics.iter().map(status_metric));
    status.extend([
        column("anomalies_5min", "bigint not null", "Its accepted anomalies of the five minutes before W"),
        column("last_recorded_at", "timestamptz not null", "The latest event time of its accepted readings"),
    ]);
    let first = domain.windows.first().map_or(String::new(), Window::table);
    [
        Table {
            key: "zone, rank",
            storage: ROOM_FOR_UPDATES,
            ..table("hot_sensors", "The sensors with the most anomalies lately, by zone", hot)
        },
        Table {
            storage: ROOM_FOR_UPDATES,
            ..table(
                "zone_status",
                &format!("How each zone is: its last final row of {first}, and what came since"),
                status,
            )
        },
    ]
}

fn status_metric(metric: &Metric) -> Column {
    let comment = format!("Average {} of that window in {}", metric.name, metric.unit);
    column(format!("avg_{}", metric.name), "double precision", comment)
}

/// Columns that a further metric adds, by table.
pub fn metric_additions(domain: &Domain, metric: &Metric) -> Vec<(String, Vec<Column>)> {
    let mut additions = vec![
        (READINGS.to_owned(), vec![reading_metric(metric)]),
        ("panes".to_owned(), pane_metric(metric).to_vec()),
        ("zone_status".to_owned(), vec![status_metric(metric)]),
    ];
    additions.extend(domain.windows.iter().map(|window| (window.table(), window_metric(metric).to_vec())));
    additions
}

/// Columns of the ledger that came after the first databases were made, by table. They may be null.
pub fn ledger_additions() -> Vec<(String, Column)> {
    const LATER: [(&str, &str); 3] = [
        ("ingest_progress", "cursor"),
        ("citytide_database", "cluster_id"),
        ("citytide_database", "topic_id"),
    ];
    let later = |table: &Table, column: &Column| LATER.contains(&(&table.name, &column.name));
    let tables = ledger();
    let additions = tables.iter().flat_map(|table| {
        let columns = table.columns.iter().filter(move |column| later(table, column));
        columns.map(|column| (table.name.clone(), column.clone()))
    });
    additions.collect()
}

/// Tables that came after the first databases were made.
pub fn later_tables() -> Vec<Table> {
    detector()
}

/// All views, in the order in which they are made.
pub fn views(domain: &Domain) -> Vec<View> {
    let committed = |name: &str, comment: &str, table: &str, columns| View {
        name: name.to_owned(),
        comment: comment.to_owned(),
        columns,
        expressions: Vec::new(),
        source: format!(
            "from {table}\n    where epoch <= (select max(epoch) from commits)\n      \
             and epoch > (select horizon_epoch from citytide_database)"
        ),
    };
    vec![
        committed(
            "sensor_data",
            "The committed readings, behind the retention horizon",
            READINGS,
            reading_columns(domain),
        ),
        committed(
            "dead_letters",
            "The committed records that are no readings, behind the retention horizon",
            DEAD_LETTERS,
            dead_letter_columns(),
        ),
        View {
            name: "conservation".to_owned(),
            comment: "Nothing vanishes: what became of every offset of every partition".to_owned(),
            columns: conservation_columns(),
            expressions: vec![("holds", "next_offset - first_offset = accepted + late + dead + lost + gaps")],
            source: "from ingest_progress".to_owned(),
        },
    ]
}

fn conservation_columns() -> Vec<Column> {
    let shown =
        ["kafka_partition", "first_offset", "next_offset", "accepted", "late", "dead", "lost", "gaps"];
    let progress =
        ledger().into_iter().find(|table| table.name == "ingest_progress").expect("the ledger has it");
    let mut columns: Vec<Column> =
        progress.columns.into_iter().filter(|column| shown.contains(&column.name.as_str())).collect();
    columns.push(column("holds", "boolean", "Whether next_offset - first_offset is the sum of the others"));
    columns
}

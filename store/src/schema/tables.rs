//! The tables and views of a domain: every column with its meaning.

use citytide_domain::{Domain, Metric, SessionBy, SessionWindow, Window};

use super::ledger_tables::progress;
use super::table::{Column, Table, View, column, table};
use super::{DEAD_LETTERS, LOCK_FENCE, LOCK_SPACE, READINGS, ROOM_FOR_UPDATES};

const BY_EPOCH: &str = "partition by range (epoch)";

/// The fence's row and the function with which every writing transaction begins.
pub fn fence() -> String {
    format!(
        "insert into fence (run_id) values (0);

create function citytide_fence(mine bigint) returns void language plpgsql volatile as $$
declare
    current bigint;
begin
    perform pg_advisory_xact_lock_shared({LOCK_SPACE}, {LOCK_FENCE});
    select run_id into current from fence;
    if current is distinct from mine then
        raise exception 'run % has been taken over by run %', mine, current using errcode = 'CT001';
    end if;
end $$;
comment on function citytide_fence(bigint) is 'Begins every writing transaction: a run that was taken over fails \
here, with SQLSTATE CT001. It takes the lock first and reads run_id in a later statement, whose snapshot is taken \
after the lock';

"
    )
}

/// The columns of the readings' table, without `not null` where a view shows them.
pub fn reading_columns(domain: &Domain) -> Vec<Column> {
    let mut columns = vec![
        column("epoch", "bigint not null", "Ingest epoch of the row, milliseconds"),
        column(
            "kafka_partition",
            "integer not null",
            "Partition; with kafka_offset the identity of a reading",
        ),
        column("kafka_offset", "bigint not null", "Offset in the partition"),
        column("sensor_id", "text not null", "The sensor"),
        column("zone", "text not null", "The zone"),
        column("recorded_at", "timestamptz not null", "Event time, with microseconds"),
    ];
    columns.extend(domain.metrics.iter().map(reading_metric));
    columns.extend([
        column("is_late", "boolean not null", "Whether it came too late: then it is in no window"),
        column("is_anomaly", "boolean not null", "Whether it is anomalous"),
        column("anomaly_score", "real not null", "How unusual it is, 0 … 1; with rules only 0 or 1"),
        column("severity", "text", "low, medium or high; null when normal"),
        column(
            "reasons",
            "jsonb",
            "Why it is anomalous, a list of {\"metric\", \"actual\", \"unit\", \"text\"} with \"rule\", or with \"share\" \
             and \"member\"; \"typical\" and \"spread\" where they are known, \"flagged_of_8\" of the sensor's last 8 readings; null when normal",
        ),
        column("model_version", "integer not null", "The model that judged; 0 = rules only"),
        column("confidence", "real", "Probability that the verdict is right, 0 … 1; null where rules alone judge"),
        column("detector", "text", "What flagged it: rules, model or both; null when normal"),
    ]);
    columns
}

fn reading_metric(metric: &Metric) -> Column {
    column(&metric.name, "double precision", format!("In {}; null when not sent", metric.unit))
}

/// The columns of the dead letters' table.
pub fn dead_letter_columns() -> Vec<Column> {
    vec![
        column("epoch", "bigint not null", "Ingest epoch of the row, milliseconds"),
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
            "Why it is not a reading: empty, not_utf8, not_json, not_csv, missing_field, wrong_type, \
             duplicate_field, bad_timestamp, bad_number, no_metric, too_long, clock_not_set, bad_record_timestamp, \
             in_the_future, too_old or too_many_zones",
        ),
        column("field", "text", "The wrong field; null when the whole record is"),
        column("message", "text not null", "The reason as a sentence"),
        column("payload", "bytea not null", "The first 64 KiB of the record"),
        column("payload_bytes", "integer not null", "Length of the whole record in bytes"),
        column("sensor_id", "text", "The sensor; null where it could not be read").later(),
    ]
}

pub fn raw(domain: &Domain) -> [Table; 2] {
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

pub fn panes(domain: &Domain) -> Table {
    let mut columns = vec![
        column("zone", "text not null", "The zone"),
        column("pane_start", "timestamptz not null", "Start of the pane"),
        column("reading_count", "bigint not null", "Accepted readings"),
        column("anomaly_count", "bigint not null", "Anomalous ones among them"),
        column("first_epoch", "bigint not null", "First epoch that added to it"),
        column("last_epoch", "bigint not null", "Last epoch that added to it"),
    ];
    columns.extend(domain.metrics.iter().flat_map(pane_metric));
    Table {
        key: "zone, pane_start",
        storage: ROOM_FOR_UPDATES,
        index: Some("pane_start"),
        ..table(
            "panes",
            "Exact sums of accepted readings by zone and pane; windows are merged from them",
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

pub fn window_table(domain: &Domain, window: &Window) -> Table {
    let mut columns = vec![
        column("window_start", "timestamptz not null", "Start, inclusive"),
        column("window_end", "timestamptz not null", "End, exclusive"),
        column("zone", "text not null", "The zone"),
    ];
    columns.extend(window_figures(domain));
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
        is_of_windows: true,
        ..table(&window.table(), &comment, columns)
    }
}

/// The columns of a table of sessions: its key, those of every window, and what is needed to add to a session.
pub fn session_columns(domain: &Domain, window: &SessionWindow) -> Vec<Column> {
    let mut columns = vec![column("zone", "text not null", "The zone")];
    if window.by == SessionBy::Sensor {
        columns.push(column("sensor_id", "text not null", "The sensor"));
    }
    columns.extend([
        column("window_start", "timestamptz not null", "Event time of the first reading"),
        column(
            "window_end",
            "timestamptz not null",
            "A gap after the last reading, or where the session is cut",
        ),
    ]);
    columns.extend(window_figures(domain));
    columns.extend([
        column("last_recorded_at", "timestamptz not null", "Event time of the last reading"),
        column("first_epoch", "bigint not null", "First epoch that added to it"),
    ]);
    columns.extend(domain.metrics.iter().flat_map(|metric| {
        let name = &metric.name;
        let sum = format!("Exact sum of {name} in units of 2^-60");
        [
            column(format!("count_{name}"), "bigint not null default 0", format!("Readings with {name}")),
            column(format!("sum_{name}"), "numeric", sum),
        ]
    }));
    columns
}

/// What every window has beside its key and end.
fn window_figures(domain: &Domain) -> Vec<Column> {
    let mut columns = vec![
        column("reading_count", "bigint not null", "Accepted readings; never 0"),
        column("anomaly_count", "bigint not null", "Anomalous ones among them"),
    ];
    columns.extend(domain.metrics.iter().flat_map(window_metric));
    columns.extend([
        column("is_final", "boolean not null", "Whether W has passed the window's end; never reset"),
        column("revision", "integer not null", "Number of commits that corrected the row after it was final"),
        column("updated_at", "timestamptz not null", "When the row was last committed"),
    ]);
    columns
}

fn window_metric(metric: &Metric) -> [Column; 3] {
    let name = &metric.name;
    let figure = |prefix: &str, word: &str| {
        let comment = format!("{word} {name} in {}; null when no reading has it", metric.unit);
        column(format!("{prefix}_{name}"), "double precision", comment)
    };
    [figure("avg", "Average"), figure("min", "Least"), figure("max", "Greatest")]
}

/// All views, in the order of their creation.
pub fn views(domain: &Domain) -> Vec<View> {
    let committed = |name: &str, comment: &str, table: &str, columns| View {
        name: name.to_owned(),
        comment: comment.to_owned(),
        columns,
        expressions: Vec::new(),
        came_later: false,
        source: format!(
            "from {table}\n    where epoch <= (select max(epoch) from commits)\n      \
             and epoch > (select horizon_epoch from citytide_database)"
        ),
    };
    vec![
        committed(
            "sensor_data",
            "Committed readings above the retention horizon",
            READINGS,
            reading_columns(domain),
        ),
        committed(
            "dead_letters",
            "Committed records that are not readings, above the retention horizon",
            DEAD_LETTERS,
            dead_letter_columns(),
        ),
        View {
            name: "conservation".to_owned(),
            comment: "What became of every offset of each partition: nothing vanishes".to_owned(),
            columns: conservation_columns(),
            expressions: vec![("holds", "next_offset - first_offset = accepted + late + dead + lost + gaps")],
            source: "from ingest_progress".to_owned(),
            came_later: false,
        },
    ]
}

fn conservation_columns() -> Vec<Column> {
    let shown =
        ["kafka_partition", "first_offset", "next_offset", "accepted", "late", "dead", "lost", "gaps"];
    let mut columns: Vec<Column> =
        progress().columns.into_iter().filter(|column| shown.contains(&column.name.as_str())).collect();
    columns.push(column("holds", "boolean", "Whether next_offset - first_offset is the sum of the others"));
    columns
}

//! The tables of the commit protocol, the same for every domain: runs, commits, and the positions of partitions.

use super::ROOM_FOR_UPDATES;
use super::table::{Column, Table, column, table};

/// The tables of the protocol.
pub fn ledger() -> Vec<Table> {
    let only_row = || {
        column("only_row", "boolean primary key default true check (only_row)", "Limits the table to one row")
    };
    let database = vec![
        only_row(),
        column("schema_version", "integer not null", "Version of this schema"),
        column("domain", "text not null", "Name of the domain whose readings are here"),
        column("topic", "text not null", "The Kafka topic, or other source, that the readings come from"),
        column(
            "windows",
            "jsonb not null",
            "The windows: name, size_us, slide_us, or of sessions gap_us, max_us, by; in the order of the domain file",
        ),
        column("pane_us", "bigint not null", "Length of a pane in microseconds"),
        column(
            "horizon_epoch",
            "bigint not null default 0",
            "Rows up to this epoch are no longer shown; retention raises it",
        ),
        column(
            "horizon_raised_at",
            "timestamptz",
            "When horizon_epoch was last raised; partitions at or below it are dropped an hour later",
        ),
        column("cluster_id", "text", "Id of the Kafka cluster, stored when it is first seen").later(),
        column(
            "topic_id",
            "text",
            "Id of the topic in that cluster; a topic that was deleted and created again \
                has a new one",
        )
        .later(),
    ];
    let fence = vec![only_row(), column("run_id", "bigint not null", "The run that may write")];
    let runs = vec![
        column("run_id", "bigint primary key", "Number of the run, ascending"),
        column("host", "text not null", "Host of its process 0"),
        column("process_id", "integer not null", "Process id of its process 0 on that host"),
        column("processes", "integer not null", "Number of processes"),
        column("workers", "integer not null", "Workers per process"),
        column(
            "epoch_offset_ms",
            "bigint not null",
            "Milliseconds that the run adds to the clock, so that epochs never repeat",
        ),
        column("started_at", "timestamptz not null default clock_timestamp()", "When it started"),
        column(
            "heartbeat_at",
            "timestamptz not null default clock_timestamp()",
            "Last heartbeat; one a second",
        ),
        column("ended_at", "timestamptz", "When it ended; null while it runs and after a crash"),
        column("why", "text", "Why it ended"),
    ];
    let members = vec![
        column("run_id", "bigint not null", "The run"),
        column("process", "integer not null", "Number of the process in the run, from 0"),
        column("host", "text not null", "Host of the process"),
        column("joined_at", "timestamptz not null default clock_timestamp()", "When it joined"),
    ];
    let commits = vec![
        column("epoch", "bigint primary key", "Every row up to this epoch is committed; milliseconds"),
        column(
            "previous_epoch",
            "bigint not null unique",
            "Epoch of the previous commit; unique, so that no epoch has two successors",
        ),
        column("run_id", "bigint not null", "The run that committed"),
        column("committed_at", "timestamptz not null default clock_timestamp()", "When it was committed"),
        column(
            "watermark",
            "timestamptz",
            "W: windows that end at or before it are final; null before the first reading",
        ),
        column("readings", "bigint not null", "Readings in this commit, including late ones"),
        column(
            "windows_from",
            "timestamptz",
            "The earliest window_start that this commit wrote, in any table that has one; null when none",
        )
        .later(),
    ];
    let changes = vec![
        column(
            "epoch",
            "bigint not null",
            "The deletion shows with the first commit at or above it, milliseconds",
        ),
        column("table_name", "text not null", "The table: a live view's or a window's"),
        column("key", "jsonb not null", "The columns of the row's key"),
    ];
    let zones = vec![
        column("kafka_partition", "integer not null", "The partition"),
        column("zone", "text not null", "A zone of its readings that the domain file does not name"),
    ];
    vec![
        table("citytide_database", "The domain, source and windows of this database; one row", database),
        table("fence", "The run that may write; one row", fence),
        table("runs", "Every start of citytide on this database", runs),
        Table { key: "run_id, process", ..table("run_members", "The processes of each run", members) },
        table(
            "commits",
            "The ledger: one row per commit; rows above the highest epoch are not committed",
            commits,
        ),
        Table {
            index: Some("epoch"),
            came_later: true,
            ..table("changes", "Rows that were deleted, kept for as long as readings are", changes)
        },
        progress(),
        Table {
            key: "kafka_partition, zone",
            ..table("partition_zones", "Zones that count against zones_max, by partition", zones)
        },
        Table {
            key: "metric, since_epoch",
            came_later: true,
            ..table(
                "usual_ranges",
                "The usual range of each metric, and which ones it had before",
                usual_ranges(),
            )
        },
    ]
}

fn usual_ranges() -> Vec<Column> {
    vec![
        column("metric", "text not null", "The metric"),
        column("since_epoch", "bigint not null", "Readings above this epoch are held against it"),
        column("least", "double precision not null", "Least usual value"),
        column("greatest", "double precision not null", "Greatest usual value"),
    ]
}

/// `ingest_progress`.
pub fn progress() -> Table {
    let columns = vec![
        column("kafka_partition", "integer primary key", "Partition number, as in the readings"),
        column("source", "text not null", "Topic and partition, or file"),
        column("first_offset", "bigint not null", "The offset at which reading began"),
        column("next_offset", "bigint not null", "The next offset to read"),
        column("accepted", "bigint not null", "Readings in windows"),
        column("late", "bigint not null", "Late readings, in no window"),
        column("dead", "bigint not null", "Dead letters: records that are not readings"),
        column("lost", "bigint not null", "Offsets that Kafka deleted before they were read"),
        column(
            "gaps",
            "bigint not null",
            "Offsets that Kafka never delivers: control records, compaction, aborted transactions",
        ),
        column(
            "watermark",
            "timestamptz",
            "Highest event time of its accepted readings, less out_of_orderness",
        ),
        column(
            "is_idle",
            "boolean not null",
            "Whether it has brought no accepted reading for idle_after and no longer holds W back",
        ),
        column(
            "cursor",
            "text",
            "Position of the source at next_offset, in a form of its own: finds the place again, and detects a \
             source that was replaced",
        )
        .later(),
        column(
            "claim",
            "text",
            "Event times more than jump_max ahead of the watermark, from a single sensor: they move the watermark once \
             they are confirmed",
        )
        .later(),
    ];
    Table {
        storage: ROOM_FOR_UPDATES,
        ..table("ingest_progress", "How far each partition has been read, as of the newest commit", columns)
    }
}

/// The programs that follow this database: a later table.
pub fn followers() -> Table {
    let columns = vec![
        column("name", "text primary key", "The follower"),
        column(
            "epoch",
            "bigint not null",
            "It has taken everything up to this epoch; raw rows above it are kept",
        ),
        column("updated_at", "timestamptz", "When it last advanced; null when it never did"),
    ];
    let what = "Programs that follow the committed epochs, and how far each is";
    Table { came_later: true, ..table("followers", what, columns) }
}

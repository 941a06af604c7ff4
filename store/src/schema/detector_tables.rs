//! The tables of the detector, the same for every domain: models, the detector's decisions by epoch, and its state.

use super::table::{Table, column, table};
use super::{DETECTOR_STATE, ROOM_FOR_UPDATES};

/// The tables of the detector, which a later version has added.
pub fn detector() -> Vec<Table> {
    let models = vec![
        column("version", "integer primary key", "Number of the model, from 1"),
        column("status", "text not null", "shadow, in_force or retired"),
        column("fitted_from", "timestamptz not null", "Event time of the oldest reading it was fitted on"),
        column("fitted_until", "timestamptz not null", "Event time of the newest one"),
        column("rows", "bigint not null", "Readings it was fitted on"),
        column("parameters", "jsonb not null", "Trees, rows_per_tree, extension and the metrics it judges"),
        column(
            "figures",
            "jsonb not null",
            "How it was trained, and how it scores the rows it was fitted on",
        ),
        column("model", "bytea not null", "The model itself, with a checksum on its first line"),
        column(
            "in_force_from_epoch",
            "bigint",
            "First epoch that it judged when it last came into force; null before",
        ),
        column("created_at", "timestamptz not null default clock_timestamp()", "When it was stored"),
    ];
    let changes = vec![
        column("epoch", "bigint primary key", "The epoch that decided it"),
        column("version", "integer not null", "The model that comes into force"),
        column("in_force_from_epoch", "bigint not null", "First epoch that it judges"),
    ];
    let requests = vec![
        column("request", "bigint primary key generated always as identity", "Number of the request"),
        column("version", "integer not null", "The requested model"),
        column("requested_at", "timestamptz not null default clock_timestamp()", "When it was requested"),
    ];
    let judges = vec![
        column(
            "in_force_from",
            "timestamptz primary key",
            "It judges readings once the detector has learnt from all minutes before this event time",
        ),
        column("version", "integer not null", "The model; 0: rules alone"),
        column("epoch", "bigint not null", "The epoch of the first such reading"),
    ];
    let promotions = vec![
        column("kafka_partition", "integer not null", "The partition"),
        column("kafka_offset", "bigint not null", "First offset that it judges there"),
        column("version", "integer not null", "The model"),
        column(
            "in_force_from",
            "timestamptz not null",
            "It judges until a model that is trained at a later event time than this comes into force",
        ),
        column("epoch", "bigint not null", "The epoch of that reading"),
    ];
    let lifts = vec![
        column("kafka_partition", "integer not null", "The partition"),
        column("kafka_offset", "bigint not null", "First offset to which this applies"),
        column("lifted_to", "timestamptz", "Least value that its watermark counts as"),
        column(
            "teaches_from",
            "timestamptz",
            "Event time from which it teaches, if it was added while others were read",
        ),
        column("epoch", "bigint not null", "The epoch that noted it"),
    ];
    let state = vec![
        column("kind", "text not null", "partition, zone or schedule; with the schedule a state is complete"),
        column("key", "text not null", "The partition or zone"),
        column("epoch", "bigint not null", "The epoch that wrote it; it counts once that is committed"),
        column("as_of", "timestamptz not null", "The state includes the minutes before this event time"),
        column("state", "bytea not null", "The state in the program's own format"),
    ];
    let disagreements = vec![
        column("version", "integer not null", "The shadow model"),
        column("zone", "text not null", "The zone"),
        column("readings", "bigint not null", "Committed readings that both judged"),
        column("flagged_by_both", "bigint not null", "Flagged by both; a broken rule counts for both"),
        column("only_in_force", "bigint not null", "Flagged only by the detector in force"),
        column(
            "only_shadow",
            "bigint not null",
            "Flagged only with the shadow model in place of the model in force",
        ),
        column("since_epoch", "bigint not null", "First epoch that is counted"),
    ];
    let tables = vec![
        Table {
            storage: ROOM_FOR_UPDATES,
            ..table("models", "Trained models: each is immutable, only its status changes", models)
        },
        Table {
            key: "version, zone",
            storage: ROOM_FOR_UPDATES,
            ..table(
                "model_disagreements",
                "Agreement of a shadow model with the detector in force, while a run asks it",
                disagreements,
            )
        },
        table("model_changes", "When each model came into force", changes),
        table("model_requests", "Models that were requested by hand; a run puts them into force", requests),
        table("detector_models", "The model in force, by event time", judges),
        Table {
            key: "kafka_partition, kafka_offset",
            ..table("detector_promotions", "Models that were put into force by hand", promotions)
        },
        Table {
            key: "kafka_partition, kafka_offset",
            storage: ROOM_FOR_UPDATES,
            ..table("detector_lifts", "Partitions that the detector did not wait for", lifts)
        },
        Table {
            key: "kind, key, epoch, as_of",
            ..table(
                DETECTOR_STATE,
                "The detector's state of sensors and zones, from which a restart continues",
                state,
            )
        },
    ];
    tables.into_iter().map(|table| Table { came_later: true, ..table }).collect()
}

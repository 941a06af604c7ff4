//! The tables of incidents.

use citytide_domain::Domain;

use super::actions::actions;
use crate::schema::{Column, ROOM_FOR_UPDATES, Table, column, table};

/// What incidents are about, as the key of occurrences has it.
fn subject() -> [Column; 4] {
    [
        column("zone", "text not null", "The zone"),
        column("kind", "text not null", "rule, model, stuck or quality"),
        column("metric", "text not null", "The metric; '' where a sensor is the subject"),
        column("sensor_id", "text not null", "The sensor; '' where a zone's metric is the subject"),
    ]
}

/// What stands out most, and when each severity was last seen.
fn figures() -> Vec<Column> {
    vec![
        column(
            "readings",
            "bigint not null",
            "Anomalous readings; 0: all lie between the clear limit and the bound",
        ),
        column("low_at", "timestamptz", "Event time of the last anomaly of severity low; null when none"),
        column("medium_at", "timestamptz", "The same for medium"),
        column("high_at", "timestamptz", "The same for high"),
        column("sensor_ids", "jsonb not null", "The sensors that they come from, a list"),
    ]
}

fn peak() -> Vec<Column> {
    vec![
        column(
            "peak_magnitude",
            "double precision not null",
            "How far the reading that stands out most is beyond its bound, or from what is typical in deviations",
        ),
        column("peak_at", "timestamptz not null", "Its event time"),
        column("peak_sensor_id", "text not null", "Its sensor"),
        column("peak_metric", "text not null", "Its metric"),
        column("peak_value", "double precision", "Its value; null where it is missing"),
        column("typical", "double precision", "What was typical there then; null where that is not known"),
        column("spread", "double precision", "One standard deviation of that"),
        column("unit", "text not null", "The metric's unit"),
        column("reason", "text not null", "Why it is anomalous, a sentence"),
        column("model_version", "integer not null", "The model that judged it; 0 = rules only"),
    ]
}

/// `incident_occurrences`.
pub fn occurrences(_: &Domain) -> Table {
    let mut columns: Vec<Column> = subject().into();
    columns.extend([
        column("first_at", "timestamptz not null", "Event time of the first anomaly"),
        column("last_at", "timestamptz not null", "Event time of the last one"),
    ]);
    columns.extend(figures());
    columns.extend(peak());
    columns.push(
        column(
            "begins_at",
            "timestamptz",
            "Event time of the first anomaly, where readings beyond the rule's clear limit come before it; null where \
             that is first_at",
        )
        .later(),
    );
    Table {
        key: "zone, kind, metric, sensor_id, first_at",
        storage: ROOM_FOR_UPDATES,
        index: Some("last_at"),
        came_later: true,
        ..table(
            "incident_occurrences",
            "Anomalies of a subject without a gap longer than clear_for; incidents are made of those that are long and \
             large enough",
            columns,
        )
    }
}

/// `incident_states`.
pub fn states(_: &Domain) -> Table {
    let mut columns = vec![
        column("zone", "text not null", "The zone"),
        column(
            "incident_id",
            "text not null",
            "Identity: a hash of kind, zone, metric, sensor and its first ten seconds",
        ),
    ];
    columns.extend(subject().into_iter().skip(1));
    columns.extend([
        column("condition", "text not null", "pending, open, cleared, withdrawn or superseded"),
        column("superseded_by", "text", "The incident that late readings joined it with"),
        column("severity", "text not null", "low, medium or high: the worst of the last step_down_for"),
        column("severity_peak", "text not null", "The worst ever"),
        column("opened_at", "timestamptz not null", "Event time of its first anomaly"),
        column("last_seen_at", "timestamptz not null", "Event time of its last one"),
        column("cleared_at", "timestamptz", "When it was over: clear_for behind that; null before"),
        column("revision", "bigint not null", "How often it has changed"),
        column("readings", "bigint not null", "Anomalous readings"),
        column("sensors", "bigint not null", "Distinct sensors that they come from"),
        column("occurrences", "bigint not null", "How often it was open"),
    ]);
    columns.extend(peak());
    Table {
        key: "zone, incident_id",
        storage: ROOM_FOR_UPDATES,
        index: Some("last_seen_at"),
        came_later: true,
        followed_by: "create index incident_states_incident_id on incident_states (incident_id);\n\
                      create index incident_states_superseded_by on incident_states (superseded_by) \
                      where superseded_by is not null;\n\
                      create index incident_states_current on incident_states (zone) \
                      where condition in ('open', 'pending');\n\
                      create index incident_states_of_zones on incident_states (zone) \
                      where sensor_id = '' and condition = 'open';\n"
            .to_owned(),
        ..table("incident_states", "What the data say of incidents: read incidents instead", columns)
    }
}

/// `incident_transitions`.
pub fn transitions(_: &Domain) -> Table {
    let columns = vec![
        column("zone", "text not null", "The zone"),
        column("incident_id", "text not null", "The incident"),
        column("revision", "bigint not null", "Number of the change, from 1"),
        column("event_at", "timestamptz not null", "Now in event time: W at its last full ten seconds"),
        column("from_condition", "text", "What it was; null when it was not there"),
        column("to_condition", "text", "What it is; null when it is gone, since it never opened"),
        column("cause", "text not null", "condition, escalation, late_data or merge"),
        column(
            "evidence",
            "jsonb not null",
            "Severity, readings, sensors and the reading that stands out most, then",
        ),
    ];
    Table {
        key: "zone, incident_id, revision",
        index: Some("epoch"),
        came_later: true,
        ..table(
            "incident_transitions",
            "Every change of incident_states: read incident_changes instead",
            columns,
        )
    }
}

/// The table that the dataflow does not write.
pub fn beside(_: &Domain) -> Vec<Table> {
    vec![actions()]
}

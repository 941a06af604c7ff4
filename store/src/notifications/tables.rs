//! The tables of the outbox.

use crate::schema::{Table, column, table};

/// All tables, in the order of their creation.
pub fn tables() -> Vec<Table> {
    vec![routes(), notifications(), failures()]
}

fn routes() -> Table {
    let columns = vec![
        column("route", "text primary key", "The route's name in citytide.toml"),
        column(
            "as_of_epoch",
            "bigint not null",
            "Changes up to this commit have been filed in notifications, milliseconds",
        ),
        column("began_at", "timestamptz not null default clock_timestamp()", "When the route was first used"),
    ];
    let what = "The position of each route of notifications";
    Table { came_later: true, ..table("notification_routes", what, columns) }
}

fn notifications() -> Table {
    let columns = vec![
        column("notification_id", "bigint not null generated always as identity", "The order of filing"),
        column("route", "text not null", "The route"),
        column("incident_id", "text not null", "The incident"),
        column("revision", "bigint not null", "The incident's revision that it reports"),
        column("repetition", "integer not null", "0, or the number of the reminder"),
        column(
            "event",
            "text not null",
            "opened, escalated, reopened, repeated, cleared, withdrawn or superseded",
        ),
        column("severity", "text not null", "The incident's severity that it reports"),
        column("incident", "jsonb not null", "The incident as it was when this was filed"),
        column("filed_at", "timestamptz not null default clock_timestamp()", "When, by the server's clock"),
        column("due_at", "timestamptz not null", "Not sent before"),
        column("state", "text not null default 'waiting'", "waiting, sent or given_up"),
        column("message_id", "text", "The message that it is part of; null before the first try"),
        column("tries", "integer not null default 0", "How often it was tried"),
        column("claimed_at", "timestamptz", "When the last try began"),
        column("done_at", "timestamptz", "When it was sent or given up"),
        column("last_error", "text", "Why the last try failed"),
    ];
    Table {
        key: "route, incident_id, revision, repetition",
        came_later: true,
        followed_by: "create index notifications_waiting on notifications (route, notification_id) \
                      where state = 'waiting';\n\
                      create index notifications_message_id on notifications (message_id);\n"
            .to_owned(),
        ..table(
            "notifications",
            "Notifications of incidents, waiting and done; done rows are removed after 30 days",
            columns,
        )
    }
}

fn failures() -> Table {
    let columns = vec![
        column("failure_id", "bigint generated always as identity primary key", "The order of failures"),
        column("failed_at", "timestamptz not null default clock_timestamp()", "When it was given up"),
        column("route", "text not null", "The route"),
        column("message_id", "text not null", "The message, as in notifications"),
        column("notifications", "integer not null", "How many notifications it has"),
        column("incidents", "jsonb not null", "The incidents that it is about, a list"),
        column("tries", "integer not null", "How often it was tried"),
        column("reason", "text not null", "Why the last try failed"),
    ];
    let what = "Messages that were given up; removed after 30 days";
    Table { index: Some("failed_at"), came_later: true, ..table("notification_failures", what, columns) }
}

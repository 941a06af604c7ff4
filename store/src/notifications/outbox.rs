//! Claims filed notifications as messages, one at a time, and marks each message as sent, to be retried, or given up.
//!
//! Each step is one statement, so no transaction is open while a message is being sent.

use std::time::Duration;

use tokio_postgres::{Client, Row};

use crate::postgres::DatabaseError;

/// A claimed notification.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub incident_id: String,
    pub revision: i64,
    pub repetition: i32,
    pub event: String,
    /// The incident when the notification was filed, with the columns of the view `incidents`.
    pub incident: serde_json::Value,
    /// The time of filing, milliseconds of the Unix epoch.
    pub filed_ms: i64,
}

/// One or more notifications that are sent together.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub route: String,
    pub message_id: String,
    /// Number of tries, including this one.
    pub tries: i32,
    /// At least one, in the order of filing.
    pub notifications: Vec<Notification>,
}

/// The result of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    Message(Message),
    /// The first waiting notification is due after this time.
    Later(Duration),
    /// No notification is waiting.
    Nothing,
}

/// The outbox of one route.
pub struct Outbox<'a> {
    pub client: &'a Client,
    pub route: &'a str,
}

impl Outbox<'_> {
    /// Claims the next message. A new message takes up to `group_max` notifications once the first of them is due.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn claim(&self, group_max: i64) -> Result<Claim, DatabaseError> {
        // The first row either belongs to a message that was tried before or begins a new one. A message's identity is
        // that of its first notification and the number of the others.
        let sql = "with first as ( \
                       select notification_id, message_id, due_at from notifications \
                       where route = $1 and state = 'waiting' order by notification_id limit 1 \
                   ), members as ( \
                       select n.notification_id, n.incident_id, n.revision, n.repetition \
                       from notifications as n, first \
                       where n.route = $1 and n.state = 'waiting' and first.due_at <= clock_timestamp() \
                       and n.message_id is not distinct from first.message_id \
                       order by n.notification_id \
                       limit (select case when message_id is null then $2::bigint end from first) \
                   ), named as ( \
                       select coalesce((select message_id from first), \
                           (select concat_ws('/', $1::text, incident_id, revision, nullif(repetition, 0)) from members \
                            order by notification_id limit 1) \
                           || case when (select count(*) from members) > 1 \
                                   then '+' || ((select count(*) from members) - 1) else '' end) as message_id \
                   ), claimed as ( \
                       update notifications as n set message_id = named.message_id, tries = n.tries + 1, \
                           claimed_at = clock_timestamp() \
                       from named where n.notification_id in (select notification_id from members) and n.route = $1 \
                       returning n.* \
                   ) \
                   select null::bigint, message_id, tries, incident_id, revision, repetition, event, incident::text, \
                       (extract(epoch from filed_at) * 1000)::bigint, notification_id from claimed \
                   union all \
                   select greatest((extract(epoch from due_at - clock_timestamp()) * 1000)::bigint, 1), \
                       null, null, null, null, null, null, null, null, null \
                   from first where not exists (select from members) order by 10";
        let rows = self.client.query(sql, &[&self.route, &group_max]).await;
        let rows = rows.map_err(failed("claiming a message"))?;
        let Some(first) = rows.first() else { return Ok(Claim::Nothing) };
        if let Some(later_ms) = first.get::<_, Option<i64>>(0) {
            return Ok(Claim::Later(Duration::from_millis(later_ms.unsigned_abs())));
        }
        Ok(Claim::Message(Message {
            route: self.route.to_owned(),
            message_id: first.get(1),
            tries: first.get(2),
            notifications: rows.iter().map(notification).collect(),
        }))
    }

    /// Marks a message as sent.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn sent(&self, message: &Message) -> Result<(), DatabaseError> {
        let sql = "update notifications set state = 'sent', done_at = clock_timestamp(), last_error = null \
                   where message_id = $1 and route = $2 and state = 'waiting'";
        let sent = self.client.execute(sql, &[&message.message_id, &self.route]).await;
        sent.map(drop).map_err(failed("marking a message as sent"))
    }

    /// Schedules a message for a retry.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn retry(&self, message: &Message, after: Duration, why: &str) -> Result<(), DatabaseError> {
        let sql = "update notifications set due_at = clock_timestamp() + $3::bigint * interval '1 millisecond', \
                   last_error = $4 where message_id = $1 and route = $2 and state = 'waiting'";
        let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        let scheduled = self.client.execute(sql, &[&message.message_id, &self.route, &after_ms, &why]).await;
        scheduled.map(drop).map_err(failed("scheduling a message for a retry"))
    }

    /// Gives a message up and records the failure.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn give_up(&self, message: &Message, why: &str) -> Result<(), DatabaseError> {
        let sql = "with given_up as ( \
                       update notifications set state = 'given_up', done_at = clock_timestamp(), last_error = $3 \
                       where message_id = $1 and route = $2 and state = 'waiting' returning incident_id, tries \
                   ) \
                   insert into notification_failures (route, message_id, notifications, incidents, tries, reason) \
                   select $2, $1, count(*), jsonb_agg(distinct incident_id), max(tries), $3 from given_up \
                   having count(*) > 0";
        let given_up = self.client.execute(sql, &[&message.message_id, &self.route, &why]).await;
        given_up.map(drop).map_err(failed("giving a message up"))
    }
}

fn notification(row: &Row) -> Notification {
    Notification {
        incident_id: row.get(3),
        revision: row.get(4),
        repetition: row.get(5),
        event: row.get(6),
        incident: serde_json::from_str(row.get(7)).expect("the column is JSON"),
        filed_ms: row.get(8),
    }
}

fn failed(attempted: &str) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

//! Reads the new changes of incidents with the last notification of each route, and files new notifications.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::incidents::shown::{self, ShownIncident, rank};
use crate::postgres::DatabaseError;
use crate::schema::{LOCK_NOTIFY, LOCK_SPACE};

/// Number of changes to read at once; the last epoch is always read completely.
const CHANGES_MAX: i64 = 5_000;
/// How often, and with which pause, [`try_lock`] tries.
const LOCK_TRIES: u32 = 15;
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// A change of an incident's condition or severity: a row of `incident_transitions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The epoch that committed it.
    pub epoch: i64,
    pub revision: i64,
    /// The new condition.
    pub condition: String,
    pub severity: String,
}

/// The last notification of a route about an incident, sent or waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastNotification {
    pub event: String,
    pub severity: String,
    pub revision: i64,
    pub repetition: i32,
    /// Time since it was sent or given up, milliseconds; `None` while it waits.
    pub done_ago_ms: Option<i64>,
}

/// A notification to file.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNotification {
    pub route: String,
    pub incident_id: String,
    pub revision: i64,
    pub repetition: i32,
    pub event: String,
    pub severity: String,
    /// The incident as JSON.
    pub incident: String,
    /// Delay before it may be sent, milliseconds.
    pub due_in_ms: i64,
}

/// Selects the open incidents that concern a route; an empty list does not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    pub route: String,
    /// The least severity.
    pub severity: String,
    pub zones: Vec<String>,
    pub kinds: Vec<String>,
    /// Interval of reminders, milliseconds.
    pub repeat_every_ms: Option<i64>,
}

/// The transaction that files notifications, with what [`Filing::read`] has read.
pub struct Filing<'a> {
    transaction: Transaction<'a>,
    /// The position of the routes after this transaction.
    until: i64,
    /// Whether there is no newer commit.
    pub is_current: bool,
    /// The incidents to decide about, in their current state.
    pub incidents: Vec<ShownIncident>,
    /// Their new changes by incident, in order.
    pub changes: BTreeMap<String, Vec<Change>>,
    /// By route and incident.
    pub last: BTreeMap<(String, String), LastNotification>,
    /// The last epoch whose changes each route has filed.
    pub positions: BTreeMap<String, i64>,
}

/// Takes the lock of the notifier until the session ends; `false` when another session keeps it. Retries for a few
/// seconds, in which the server releases the lock of a lost session.
///
/// # Errors
///
/// When the server fails.
pub async fn try_lock(client: &Client) -> Result<bool, DatabaseError> {
    let sql = format!("select pg_try_advisory_lock({LOCK_SPACE}, {LOCK_NOTIFY})");
    for _ in 0..LOCK_TRIES {
        let row = client.query_one(&sql, &[]).await.map_err(failed("taking the lock of the notifier"))?;
        if row.get(0) {
            return Ok(true);
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(false)
}

impl Filing<'_> {
    /// Reads the changes since the positions of the routes. `routes` are all configured routes; a new one starts at the
    /// newest commit, with the open incidents. With `all_open`, includes open incidents without changes.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn read<'a>(
        client: &'a mut Client,
        routes: &[Candidates],
        all_open: bool,
    ) -> Result<Filing<'a>, DatabaseError> {
        let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await;
        let transaction = begun.map_err(failed("beginning to file notifications"))?;
        let names: Vec<&str> = routes.iter().map(|route| route.route.as_str()).collect();
        let sql = "insert into notification_routes (route, as_of_epoch) \
                   select route, (select coalesce(max(epoch), 0) from commits) from unnest($1::text[]) as route \
                   on conflict (route) do nothing";
        let has_new = transaction.execute(sql, &[&names]).await.map_err(failed("adding routes"))? > 0;
        let sql = "select route, as_of_epoch, (select coalesce(max(epoch), 0) from commits) from notification_routes \
                   where route = any ($1)";
        let rows =
            transaction.query(sql, &[&names]).await.map_err(failed("reading the positions of the routes"))?;
        let positions: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let newest = rows.first().map_or(0, |row| row.get(2));
        // In a restored database the positions may be above the newest commit: nothing is new until it has caught up.
        let position = positions.values().copied().min().unwrap_or(newest);
        let (changes, until) = changes(&transaction, position, newest).await?;
        let mut ids: Vec<String> = changes.keys().cloned().collect();
        if all_open || has_new {
            for route in routes {
                ids.extend(unnotified(&transaction, route).await?);
            }
            ids.sort_unstable();
            ids.dedup();
        }
        let incidents = shown::of_identities(&transaction, &ids).await?;
        let last = last_notifications(&transaction, &names, &ids).await?;
        Ok(Filing { transaction, until, is_current: until >= newest, incidents, changes, last, positions })
    }

    /// Whether there are no incidents to decide about.
    pub fn is_empty(&self) -> bool {
        self.incidents.is_empty()
    }

    /// Files the notifications, advances the positions of all routes, and commits both.
    ///
    /// # Errors
    ///
    /// When the server fails; nothing has changed then.
    pub async fn file(self, routes: &[Candidates], filed: &[NewNotification]) -> Result<(), DatabaseError> {
        let names: Vec<&str> = routes.iter().map(|route| route.route.as_str()).collect();
        if !filed.is_empty() {
            let text = |of: fn(&NewNotification) -> &String| {
                filed.iter().map(|one| of(one).as_str()).collect::<Vec<_>>()
            };
            let revisions: Vec<i64> = filed.iter().map(|one| one.revision).collect();
            let repetitions: Vec<i32> = filed.iter().map(|one| one.repetition).collect();
            let due: Vec<i64> = filed.iter().map(|one| one.due_in_ms).collect();
            let sql = "insert into notifications (route, incident_id, revision, repetition, event, severity, incident, \
                                                  due_at) \
                       select route, incident_id, revision, repetition, event, severity, incident::jsonb, \
                              clock_timestamp() + due * interval '1 millisecond' \
                       from unnest($1::text[], $2::text[], $3::bigint[], $4::integer[], $5::text[], $6::text[], \
                                   $7::text[], $8::bigint[]) with ordinality \
                            as filed (route, incident_id, revision, repetition, event, severity, incident, due, place) \
                       order by place on conflict do nothing";
            let parameters: [&(dyn ToSql + Sync); 8] = [
                &text(|one| &one.route),
                &text(|one| &one.incident_id),
                &revisions,
                &repetitions,
                &text(|one| &one.event),
                &text(|one| &one.severity),
                &text(|one| &one.incident),
                &due,
            ];
            self.transaction.execute(sql, &parameters).await.map_err(failed("filing notifications"))?;
        }
        let sql =
            "update notification_routes set as_of_epoch = $2 where route = any ($1) and as_of_epoch < $2";
        self.transaction
            .execute(sql, &[&names, &self.until])
            .await
            .map_err(failed("advancing the routes"))?;
        self.transaction.commit().await.map_err(failed("committing notifications"))
    }
}

/// Reads the changes above `position`, by incident, and returns them with the last epoch that was read.
async fn changes(
    transaction: &Transaction<'_>,
    position: i64,
    newest: i64,
) -> Result<(BTreeMap<String, Vec<Change>>, i64), DatabaseError> {
    let attempted = "reading the changes of incidents";
    let bound = "select max(epoch) from (select epoch from incident_transitions where epoch > $1 and epoch <= $2 \
                 order by epoch limit $3) as next having count(*) = $3";
    let row =
        transaction.query_opt(bound, &[&position, &newest, &CHANGES_MAX]).await.map_err(failed(attempted))?;
    let until = row.map_or(newest, |row| row.get(0));
    let sql = "select incident_id, epoch, revision, to_condition, evidence ->> 'severity' from incident_transitions \
               where epoch > $1 and epoch <= $2 and to_condition <> 'pending' order by incident_id, revision";
    let rows = transaction.query(sql, &[&position, &until]).await.map_err(failed(attempted))?;
    let mut changes: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for row in rows {
        let change =
            Change { epoch: row.get(1), revision: row.get(2), condition: row.get(3), severity: row.get(4) };
        changes.entry(row.get(0)).or_default().push(change);
    }
    Ok((changes, until.max(position)))
}

/// Lists the open incidents for which the route's last notification is missing, of a lower severity, or due for a
/// reminder.
async fn unnotified(transaction: &Transaction<'_>, route: &Candidates) -> Result<Vec<String>, DatabaseError> {
    let sql = format!(
        "select s.incident_id from incident_states as s left join lateral ( \
             select event, severity, done_at from notifications as n \
             where n.route = $1 and n.incident_id = s.incident_id order by revision desc, repetition desc limit 1 \
         ) as told on true \
         where s.condition = 'open' and {severity} >= {least} \
         and (cardinality($3::text[]) = 0 or s.zone = any ($3)) \
         and (cardinality($4::text[]) = 0 or s.kind = any ($4)) \
         and (told.event is null or told.event in ('cleared', 'withdrawn', 'superseded') \
              or {told} < {severity} \
              or told.done_at < clock_timestamp() - $5::bigint * interval '1 millisecond')",
        severity = rank("s.severity"),
        least = rank("$2"),
        told = rank("told.severity"),
    );
    let Candidates { route, severity, zones, kinds, repeat_every_ms } = route;
    let rows = transaction.query(&sql, &[route, severity, zones, kinds, repeat_every_ms]).await;
    let rows = rows.map_err(failed("looking for open incidents to notify of"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Reads the last notifications by route and incident.
async fn last_notifications(
    transaction: &Transaction<'_>,
    routes: &[&str],
    incidents: &[String],
) -> Result<BTreeMap<(String, String), LastNotification>, DatabaseError> {
    let sql = "select distinct on (route, incident_id) route, incident_id, event, severity, revision, repetition, \
                      (extract(epoch from clock_timestamp() - done_at) * 1000)::bigint \
               from notifications where route = any ($1) and incident_id = any ($2) \
               order by route, incident_id, revision desc, repetition desc";
    let rows = transaction.query(sql, &[&routes, &incidents]).await;
    let rows = rows.map_err(failed("reading the last notifications"))?;
    let last = |row: &tokio_postgres::Row| LastNotification {
        event: row.get(2),
        severity: row.get(3),
        revision: row.get(4),
        repetition: row.get(5),
        done_ago_ms: row.get(6),
    };
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), last(row))).collect())
}

fn failed(attempted: &str) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

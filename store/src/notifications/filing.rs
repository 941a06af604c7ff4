//! Filing what is to be told: reads what is new and what each route was told, and writes what it is to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::incidents::shown::{self, ShownIncident, rank};
use crate::postgres::DatabaseError;
use crate::schema::{LOCK_NOTIFY, LOCK_SPACE};

/// Changes that are read at once; the epoch in which this is reached is read whole.
const CHANGES_MAX: i64 = 5_000;
/// How often, and with which pause, the lock of those who notify is asked for.
const HOLD_TRIES: u32 = 15;
const HOLD_PAUSE: Duration = Duration::from_millis(200);

/// A change of what the data say of an incident: a row of `incident_transitions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The commit that brought it.
    pub epoch: i64,
    pub revision: i64,
    /// The condition from then on.
    pub condition: String,
    pub severity: String,
}

/// What a route was last told, or is about to be told, of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub event: String,
    pub severity: String,
    pub revision: i64,
    pub repetition: i32,
    /// How long ago that was sent, or given up, milliseconds; `None` while it waits.
    pub done_ago_ms: Option<i64>,
}

/// Something that is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Filed {
    pub route: String,
    pub incident_id: String,
    pub revision: i64,
    pub repetition: i32,
    pub event: String,
    pub severity: String,
    /// The incident as JSON.
    pub incident: String,
    /// Not to be sent for so many milliseconds.
    pub due_in_ms: i64,
}

/// Which open incidents a route wants to hear of; what is empty restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    pub route: String,
    /// The least severity.
    pub severity: String,
    pub zones: Vec<String>,
    pub kinds: Vec<String>,
    /// After how long it wants to be reminded, milliseconds.
    pub repeat_every_ms: Option<i64>,
}

/// One look at what is new, inside its transaction.
pub struct Filing<'a> {
    transaction: Transaction<'a>,
    /// Everything up to this epoch is filed once this is committed.
    until: i64,
    /// Whether nothing newer is committed.
    pub is_current: bool,
    /// The incidents that may have something to tell, as they are.
    pub incidents: Vec<ShownIncident>,
    /// What became of each of them since the last look, in order.
    pub changes: BTreeMap<String, Vec<Change>>,
    /// What was last told, by route and incident.
    pub told: BTreeMap<(String, String), Told>,
    /// Up to which epoch each route has filed everything.
    pub places: BTreeMap<String, i64>,
}

/// Takes the lock of those who notify, for as long as the session lives; whether nobody else has it. A session that was
/// lost a moment ago is waited for.
///
/// # Errors
///
/// When the server fails.
pub async fn hold(client: &Client) -> Result<bool, DatabaseError> {
    let sql = format!("select pg_try_advisory_lock({LOCK_SPACE}, {LOCK_NOTIFY})");
    for _ in 0..HOLD_TRIES {
        let row = client.query_one(&sql, &[]).await.map_err(failed("asking who notifies"))?;
        if row.get(0) {
            return Ok(true);
        }
        tokio::time::sleep(HOLD_PAUSE).await;
    }
    Ok(false)
}

impl Filing<'_> {
    /// Reads what is new since the last look. `routes` are all routes that there are; one that is new begins now, with
    /// what is open. With `looks_at_all` also every open incident is looked at, not only those that have changed.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn read<'a>(
        client: &'a mut Client,
        routes: &[Candidates],
        looks_at_all: bool,
    ) -> Result<Filing<'a>, DatabaseError> {
        let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await;
        let transaction = begun.map_err(failed("beginning to look for what is to be told"))?;
        let names: Vec<&str> = routes.iter().map(|route| route.route.as_str()).collect();
        let sql = "insert into notification_routes (route, as_of_epoch) \
                   select route, (select coalesce(max(epoch), 0) from commits) from unnest($1::text[]) as route \
                   on conflict (route) do nothing";
        let begun = transaction.execute(sql, &[&names]).await.map_err(failed("beginning routes"))? > 0;
        let sql = "select route, as_of_epoch, (select coalesce(max(epoch), 0) from commits) from notification_routes \
                   where route = any ($1)";
        let rows = transaction.query(sql, &[&names]).await.map_err(failed("reading the place of routes"))?;
        let places: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let newest = rows.first().map_or(0, |row| row.get(2));
        // A database that was restored may be behind its place: then nothing is new until it has caught up.
        let place = places.values().copied().min().unwrap_or(newest);
        let (changes, until) = changes(&transaction, place, newest).await?;
        let mut ids: Vec<String> = changes.keys().cloned().collect();
        if looks_at_all || begun {
            for route in routes {
                ids.extend(open(&transaction, route).await?);
            }
            ids.sort_unstable();
            ids.dedup();
        }
        let incidents = shown::of_identities(&transaction, &ids).await?;
        let told = told(&transaction, &names, &ids).await?;
        Ok(Filing { transaction, until, is_current: until >= newest, incidents, changes, told, places })
    }

    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.incidents.is_empty()
    }

    /// Files this, moves the place of all routes, and commits both.
    ///
    /// # Errors
    ///
    /// When the server fails: then nothing has changed.
    pub async fn file(self, routes: &[Candidates], filed: &[Filed]) -> Result<(), DatabaseError> {
        let names: Vec<&str> = routes.iter().map(|route| route.route.as_str()).collect();
        if !filed.is_empty() {
            let text =
                |of: fn(&Filed) -> &String| filed.iter().map(|one| of(one).as_str()).collect::<Vec<_>>();
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
        self.transaction.execute(sql, &[&names, &self.until]).await.map_err(failed("moving the routes"))?;
        self.transaction.commit().await.map_err(failed("committing what is to be told"))
    }
}

/// What has changed above `place`, by incident, and up to which epoch that was read.
async fn changes(
    transaction: &Transaction<'_>,
    place: i64,
    newest: i64,
) -> Result<(BTreeMap<String, Vec<Change>>, i64), DatabaseError> {
    let attempted = "reading the changes of incidents";
    let bound = "select max(epoch) from (select epoch from incident_transitions where epoch > $1 and epoch <= $2 \
                 order by epoch limit $3) as next having count(*) = $3";
    let row =
        transaction.query_opt(bound, &[&place, &newest, &CHANGES_MAX]).await.map_err(failed(attempted))?;
    let until = row.map_or(newest, |row| row.get(0));
    let sql = "select incident_id, epoch, revision, to_condition, evidence ->> 'severity' from incident_transitions \
               where epoch > $1 and epoch <= $2 and to_condition <> 'pending' order by incident_id, revision";
    let rows = transaction.query(sql, &[&place, &until]).await.map_err(failed(attempted))?;
    let mut changes: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for row in rows {
        let change =
            Change { epoch: row.get(1), revision: row.get(2), condition: row.get(3), severity: row.get(4) };
        changes.entry(row.get(0)).or_default().push(change);
    }
    Ok((changes, until.max(place)))
}

/// The open incidents of which a route was told nothing, or less than there is, or long ago.
async fn open(transaction: &Transaction<'_>, route: &Candidates) -> Result<Vec<String>, DatabaseError> {
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
    let rows = rows.map_err(failed("looking for open incidents that nobody was told of"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What was last told, by route and incident.
async fn told(
    transaction: &Transaction<'_>,
    routes: &[&str],
    incidents: &[String],
) -> Result<BTreeMap<(String, String), Told>, DatabaseError> {
    let sql = "select distinct on (route, incident_id) route, incident_id, event, severity, revision, repetition, \
                      (extract(epoch from clock_timestamp() - done_at) * 1000)::bigint \
               from notifications where route = any ($1) and incident_id = any ($2) \
               order by route, incident_id, revision desc, repetition desc";
    let rows = transaction.query(sql, &[&routes, &incidents]).await;
    let rows = rows.map_err(failed("reading what was told"))?;
    let told = |row: &tokio_postgres::Row| Told {
        event: row.get(2),
        severity: row.get(3),
        revision: row.get(4),
        repetition: row.get(5),
        done_ago_ms: row.get(6),
    };
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), told(row))).collect())
}

fn failed(attempted: &str) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

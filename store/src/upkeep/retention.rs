//! Applies the retention: raises the horizon, which hides rows from views and `verify` at once, and deletes them later.
//!
//! A partition is dropped an hour after the horizon has passed it, so that queries that began before are neither
//! blocked nor miss rows. Rows of the ledger, windows and panes are deleted in small transactions.
//!
//! All functions that write fail when the server fails or this run has been taken over.

use citytide_domain::{Domain, Window};
use tokio_postgres::{Client, Transaction};

use super::{failed, fenced};
use crate::partitions::{Partition, partitions};
use crate::postgres::DatabaseError;
use crate::schema::{AFTER_EPOCH, LOCK_FOLLOWERS, LOCK_SPACE, RAW, day_bounds};
use crate::sessions::session_key;

/// Maximum number of rows that one transaction deletes.
const BATCH_ROWS: u64 = 5_000;
/// Maximum number of transactions per table and round.
const BATCHES: u32 = 20;

/// The highest horizon that the retention allows: the last epoch of the last day that is entirely older than `raw_us`.
pub fn retention_horizon(raw_us: i64, now_ms: u64) -> i64 {
    let (until_ms, _) = day_bounds(now_ms.saturating_sub((raw_us / 1000) as u64));
    until_ms.saturating_sub(1) as i64
}

/// Raises the horizon to [`retention_horizon`], at most to the committed epoch and to the position of the slowest
/// registered follower. Does nothing while that would hide no commit, so that `verify` compares everything until then.
pub async fn raise_horizon(
    client: &mut Client,
    run_id: i64,
    raw_us: i64,
    now_ms: u64,
) -> Result<(), DatabaseError> {
    let attempted = "raising the retention horizon";
    let horizon = retention_horizon(raw_us, now_ms);
    // Null, not $1, before the first commit: there is nothing to hide.
    let above = "(select least($1, epoch, (select min(epoch) from followers)) from commits order by epoch desc limit 1)";
    let raises = format!("horizon_epoch < {above} and exists (select from commits where epoch <= {above})");
    let row = client
        .query_one(&format!("select {raises} from citytide_database"), &[&horizon])
        .await
        .map_err(failed(attempted))?;
    if row.get::<_, Option<bool>>(0) != Some(true) {
        return Ok(());
    }
    let transaction = fenced(client, run_id).await?;
    // A follower that registers at the same time either commits before the next statement or reads the new horizon.
    let lock = format!("select pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_FOLLOWERS})");
    transaction.batch_execute(&lock).await.map_err(failed(attempted))?;
    let update = format!(
        "update citytide_database set horizon_epoch = {above}, horizon_raised_at = clock_timestamp() where {raises}"
    );
    transaction.execute(&update, &[&horizon]).await.map_err(failed(attempted))?;
    transaction.commit().await.map_err(failed(attempted))
}

/// Drops the partitions below the horizon if it was raised at least an hour ago.
pub async fn drop_partitions(client: &mut Client, run_id: i64) -> Result<(), DatabaseError> {
    let horizon = client
        .query_opt(
            "select horizon_epoch from citytide_database \
             where horizon_raised_at <= clock_timestamp() - interval '1 hour'",
            &[],
        )
        .await
        .map_err(failed("reading the retention horizon"))?;
    let Some(horizon) = horizon.map(|row| row.get::<_, i64>(0)) else { return Ok(()) };
    for parent in RAW {
        for Partition { table, epochs } in partitions(client, parent).await? {
            if epochs.end as i64 - 1 > horizon {
                continue;
            }
            let attempted = format!("dropping the partition {table}, which is below the retention horizon");
            let transaction = fenced(client, run_id).await?;
            transaction
                .batch_execute(&format!("drop table {table}"))
                .await
                .map_err(failed(attempted.as_str()))?;
            transaction.commit().await.map_err(failed(attempted))?;
            tracing::info!("dropped {table}, which is below the retention horizon");
        }
    }
    Ok(())
}

/// Deletes the rows of `commits` below the horizon, except the newest commit, which is the recovery point.
pub async fn prune_commits(client: &mut Client, run_id: i64) -> Result<(), DatabaseError> {
    let which = "select epoch from commits where epoch <= (select horizon_epoch from citytide_database) \
                 and epoch < (select max(epoch) from commits) order by epoch";
    prune(client, run_id, "commits", "epoch", which, Record::None).await
}

/// Deletes detector states older than the newest complete one. Keeps the detector's decisions as long as the readings:
/// both together reproduce every verdict.
pub async fn prune_detector(client: &mut Client, run_id: i64) -> Result<(), DatabaseError> {
    let transaction = fenced(client, run_id).await?;
    let newest = "(select max(as_of) from detector_state where kind = 'schedule' \
                  and epoch <= (select max(epoch) from commits))";
    let horizon = "(select horizon_epoch from citytide_database)";
    let script = format!(
        "delete from detector_state where kind <> 'zone' and as_of < {newest}; \
         delete from detector_state as old using detector_state as new where old.kind = 'partition' \
           and new.kind = old.kind and new.key = old.key and new.as_of = old.as_of and old.epoch < new.epoch \
           and new.epoch <= (select max(epoch) from commits); \
         delete from detector_state as old using detector_state as new where old.kind = 'zone' and new.kind = 'zone' \
           and old.key = new.key and old.as_of < new.as_of and new.as_of <= {newest}; \
         delete from detector_lifts where epoch <= {horizon}; \
         delete from detector_promotions where epoch <= {horizon} and in_force_from < {newest}; \
         delete from detector_models where epoch <= {horizon} and in_force_from < \
           (select max(in_force_from) from detector_models where in_force_from <= {newest})"
    );
    let attempted = "deleting old states of the detector";
    transaction.batch_execute(&script).await.map_err(failed(attempted))?;
    transaction.commit().await.map_err(failed(attempted))
}

/// Deletes the rows of `changes` below the horizon.
pub async fn prune_changes(client: &mut Client, run_id: i64) -> Result<(), DatabaseError> {
    let which = "select ctid from changes where epoch <= (select horizon_epoch from citytide_database) order by epoch";
    prune(client, run_id, "changes", "ctid", which, Record::None).await
}

/// Deletes panes, windows and counts by zone and time that begin earlier than W less the retention of windows, if there
/// is one. Records the deleted keys in `changes`, except those of panes.
pub async fn prune_windows(client: &mut Client, run_id: i64, domain: &Domain) -> Result<(), DatabaseError> {
    let Some(windows_us) = domain.retention.windows_us else { return Ok(()) };
    let counts = count_tables(client).await?.into_iter();
    let tables = domain.windows.iter().map(Window::table).chain(counts);
    let tables = tables.map(|table| (table, "window_start", Record::Keys));
    let before = format!(
        "(select watermark from commits order by epoch desc limit 1) - interval '{windows_us} microseconds'"
    );
    // A session may begin long before the readings that it may still get.
    for of in &domain.sessions {
        let (table, key) = (of.table(), session_key(of));
        let which = format!(
            "select {key} from {table} where window_start < {before} and window_end < {before} order by window_start"
        );
        prune(client, run_id, &table, key, &which, Record::Keys).await?;
    }
    for (table, start, record) in tables.chain([("panes".to_owned(), "pane_start", Record::None)]) {
        let which = format!("select zone, {start} from {table} where {start} < {before} order by {start}");
        prune(client, run_id, &table, &format!("zone, {start}"), &which, record).await?;
    }
    Ok(())
}

/// Deletes incidents that were last seen earlier than W less the retention of windows, if there is one, with their
/// transitions and actions. Records the deleted keys of states and occurrences in `changes`.
pub async fn prune_incidents(client: &mut Client, run_id: i64, domain: &Domain) -> Result<(), DatabaseError> {
    let Some(windows_us) = domain.retention.windows_us else { return Ok(()) };
    let before = format!(
        "(select watermark from commits order by epoch desc limit 1) - interval '{windows_us} microseconds'"
    );
    // The occurrences of a kept incident are kept: the page shows them, and a run that continues it reads them.
    let occurrences = format!(
        "select zone, kind, metric, sensor_id, first_at from incident_occurrences as one where last_at < {before} \
         and not exists (select from incident_states as of where of.zone = one.zone and of.kind = one.kind \
         and of.metric = one.metric and of.sensor_id = one.sensor_id and of.opened_at <= one.last_at \
         and of.last_seen_at >= greatest(one.last_at, {before})) order by last_at"
    );
    let states = format!(
        "select zone, incident_id from incident_states where last_seen_at < {before} order by last_seen_at"
    );
    let without_state =
        "not exists (select from incident_states as of where of.incident_id = gone.incident_id)";
    // W never falls, so a transition at a higher epoch is not older.
    let transitions = format!(
        "select ctid from incident_transitions as gone where {without_state} and epoch < coalesce((select epoch \
         from incident_transitions where event_at >= {before} order by epoch limit 1), {})",
        i64::MAX
    );
    let actions =
        format!("select ctid from incident_actions as gone where event_at < {before} and {without_state}");
    for (table, key, which, record) in [
        ("incident_occurrences", "zone, kind, metric, sensor_id, first_at", occurrences, Record::Keys),
        ("incident_states", "zone, incident_id", states, Record::Keys),
        ("incident_transitions", "ctid", transitions, Record::None),
        ("incident_actions", "ctid", actions, Record::None),
    ] {
        prune(client, run_id, table, key, &which, record).await?;
    }
    Ok(())
}

/// Deletes sensors whose last reading is older than W less the retention of windows, when there is one; their keys are left
/// in `changes`.
pub async fn prune_sensors(client: &mut Client, run_id: i64, domain: &Domain) -> Result<(), DatabaseError> {
    let Some(windows_us) = domain.retention.windows_us else { return Ok(()) };
    let is_gone = format!(
        "last_recorded_at < (select watermark from commits order by epoch desc limit 1) - \
         interval '{windows_us} microseconds'"
    );
    // A commit may bring the sensor back while this waits for its row: PostgreSQL then checks conditions on the row itself
    // again.
    let key = "sensor_id";
    let which = format!("select sensor_id from sensor_states where {is_gone} limit {BATCH_ROWS}");
    let delete = format!("delete from sensor_states where sensor_id in ({which}) and {is_gone}");
    prune_by(client, run_id, "sensor_states", key, &delete, Record::Keys).await
}

/// Lists the tables of counts by zone and time.
async fn count_tables(client: &Client) -> Result<Vec<String>, DatabaseError> {
    let sql = "select relname::text from pg_class join pg_attribute on attrelid = pg_class.oid \
               where relnamespace = current_schema()::regnamespace and relkind = 'r' and attname = $1 order by 1";
    let rows = client.query(sql, &[&AFTER_EPOCH]).await.map_err(failed("looking for tables of counts"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What a deletion records in `changes`.
#[derive(Clone, Copy)]
enum Record {
    None,
    /// The keys of the deleted rows.
    Keys,
}

/// Deletes in batches the rows of `table` whose `key` the query `which` returns.
async fn prune(
    client: &mut Client,
    run_id: i64,
    table: &str,
    key: &str,
    which: &str,
    record: Record,
) -> Result<(), DatabaseError> {
    let delete = format!("delete from {table} where ({key}) in ({which} limit {BATCH_ROWS})");
    prune_by(client, run_id, table, key, &delete, record).await
}

/// Runs a statement that deletes a batch of `table` until it finds less.
async fn prune_by(
    client: &mut Client,
    run_id: i64,
    table: &str,
    key: &str,
    delete: &str,
    record: Record,
) -> Result<(), DatabaseError> {
    let attempted = format!("deleting old rows of {table}");
    let and_keys = format!("with gone as ({delete} returning {key}) select to_jsonb(gone)::text from gone");
    for _ in 0..BATCHES {
        let transaction = fenced(client, run_id).await?;
        let deleted = match record {
            Record::None => transaction.execute(delete, &[]).await.map_err(failed(attempted.as_str()))?,
            Record::Keys => {
                // Times in the keys are in UTC, whatever the role's setting.
                let utc = transaction.batch_execute("set local time zone 'UTC'").await;
                utc.map_err(failed(attempted.as_str()))?;
                let rows = transaction.query(&and_keys, &[]).await.map_err(failed(attempted.as_str()))?;
                let keys: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                record_deletions(&transaction, table, &keys).await?;
                keys.len() as u64
            }
        };
        transaction.commit().await.map_err(failed(attempted.as_str()))?;
        if deleted < BATCH_ROWS {
            break;
        }
    }
    Ok(())
}

/// Records deleted keys in `changes`. Their epoch is the newest commit's plus one, so that they become visible with the
/// next commit, and a follower that has read up to the newest commit still gets them. No commit may come between the
/// choice of that epoch and the end of this transaction, so this locks `commits`, as late as possible.
async fn record_deletions(
    transaction: &Transaction<'_>,
    table: &str,
    keys: &[String],
) -> Result<(), DatabaseError> {
    if keys.is_empty() {
        return Ok(());
    }
    let attempted = "recording deletions";
    let lock = "lock table commits in share row exclusive mode";
    transaction.batch_execute(lock).await.map_err(failed(attempted))?;
    let insert = "insert into changes (epoch, table_name, key) \
                  select (select coalesce(max(epoch), 0) + 1 from commits), $1, key::jsonb from unnest($2::text[]) as key";
    transaction.execute(insert, &[&table, &keys]).await.map_err(failed(attempted)).map(drop)
}

//! Creates the schema in an empty database, migrates an older one to the domain file, and refuses a database that does
//! not match.
//!
//! Invariants:
//! 1. each step is one transaction under an advisory lock: when several processes start, one creates the schema and the
//!    others find it done, and a crash leaves no partial schema. The steps are: create the schema; add columns and
//!    replace views; create and fill new tables, which takes no lock that readers wait for;
//! 2. only views and `latest_readings` are dropped, and the same transaction creates them again; views get their
//!    privileges back. A table with a new name is renamed together with its indexes; a view that takes its old name
//!    gets its privileges;
//! 3. no statement waits for a lock longer than [`LOCK_TIMEOUT_MS`], because readers and COPYs queue behind a waiting
//!    ALTER TABLE. The whole transaction is tried up to [`TRIES`] times.

mod declared;
mod differences;
mod error;
mod statements;

use std::time::Duration;

use tokio_postgres::{Client, Transaction};

use super::postgres::DatabaseError;
use super::schema::{LOCK_SCHEMA, LOCK_SPACE, Schema};
use crate::clock::instant;
pub use declared::Declared;
use differences::{Catalog, other_views};
pub use differences::{Difference, in_words};
pub use error::MigrateError;
use statements::{add_columns, add_tables, rename_tables, replace_latest_readings, replace_views, run};

/// How long a statement waits for a lock.
const LOCK_TIMEOUT_MS: u32 = 100;
/// How long to wait for another process that is changing the schema.
const SCHEMA_LOCK_TIMEOUT_MS: u32 = 5_000;
/// How often to try the transaction while other sessions hold locks.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// How often to check whether process 0 has changed the schema.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Creates the schema in an empty database. Leaves a database that matches unchanged, and refuses any other.
///
/// # Errors
///
/// See [`MigrateError`]; nothing has changed then.
pub async fn prepare(client: &mut Client, schema: &Schema<'_>, topic: &str) -> Result<(), MigrateError> {
    with_retries(client, schema, topic, Step::Create).await.map(drop)
}

/// Creates the schema for readings of `topic`, or migrates an existing one, and returns the differences that it
/// removed. The caller must have taken the database over: an active run would fail.
///
/// # Errors
///
/// See [`MigrateError`]; the failed step has changed nothing.
pub async fn apply(
    client: &mut Client,
    schema: &Schema<'_>,
    topic: &str,
) -> Result<Vec<Difference>, MigrateError> {
    let Applied { mut removed, lacks_tables } = with_retries(client, schema, topic, Step::Columns).await?;
    if lacks_tables {
        removed.extend(with_retries(client, schema, topic, Step::Tables).await?.removed);
    }
    Ok(removed)
}

/// Compares the database with the domain file; `None` when it holds none of citytide's relations. Tables that were
/// changed by hand are differences, not errors.
///
/// # Errors
///
/// When the database belongs to another domain or topic, or the server fails.
pub async fn examine(
    client: &mut Client,
    schema: &Schema<'_>,
    topic: Option<&str>,
) -> Result<Option<Vec<Difference>>, MigrateError> {
    let mut transaction = client.transaction().await.map_err(failed("beginning to read the schema"))?;
    let found = match Present::read(&transaction, schema).await? {
        Present::Nothing => None,
        Present::Schema(declared) => {
            declared.check(schema.domain, topic)?;
            Some(all_differences(&mut transaction, schema, &declared).await?)
        }
    };
    transaction.rollback().await.map_err(failed("ending the transaction that read the schema"))?;
    Ok(found)
}

/// Reads the topic from which the database is filled, or the name of another source.
///
/// # Errors
///
/// When the server fails, or the database has no schema.
pub async fn declared_topic(client: &Client) -> Result<String, MigrateError> {
    let row = client.query_one("select topic from citytide_database", &[]).await;
    Ok(row.map_err(failed("reading the topic of this database"))?.get(0))
}

/// Waits until process 0 of the run has migrated the database to the domain file.
///
/// # Errors
///
/// [`MigrateError::NotApplied`] after `patience`; also when the database does not match or the server fails.
pub async fn wait_until_applied(
    client: &Client,
    schema: &Schema<'_>,
    topic: &str,
    patience: Duration,
) -> Result<(), MigrateError> {
    let until = instant() + patience;
    loop {
        if let Some(declared) = Declared::read(client).await? {
            declared.check(schema.domain, Some(topic))?;
            let found = Catalog::read(client, schema).await?.differences(schema, &declared);
            if !found.iter().any(Difference::is_migrated) {
                return Ok(());
            }
            if instant() >= until {
                return Err(MigrateError::NotApplied { what: in_words(&found) });
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What a transaction does if the schema exists; if it does not, every step creates it.
#[derive(Clone, Copy)]
enum Step {
    /// Nothing further.
    Create,
    /// Rename tables, add columns and replace views.
    Columns,
    /// Create and fill the tables that later versions have added.
    Tables,
}

/// What a transaction has done.
#[derive(Default)]
struct Applied {
    removed: Vec<Difference>,
    /// Whether [`Step::Tables`] is still to be done.
    lacks_tables: bool,
}

/// Tries a step until no other session's locks block it.
async fn with_retries(
    client: &mut Client,
    schema: &Schema<'_>,
    topic: &str,
    step: Step,
) -> Result<Applied, MigrateError> {
    let mut tries = 1;
    loop {
        let error = match in_one_transaction(client, schema, topic, step).await {
            Ok(applied) => return Ok(applied),
            Err(error) => error,
        };
        let MigrateError::Database(DatabaseError::Statement { attempted, reason, sqlstate: Some(state) }) =
            error
        else {
            return Err(error);
        };
        match state.as_str() {
            "55P03" | "40P01" if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            "55P03" | "40P01" => {
                let reason = format!("{reason}; end the queries or transactions that lock the tables");
                return Err(DatabaseError::Statement { attempted, reason, sqlstate: Some(state) }.into());
            }
            "42501" => {
                let [role, schema] = role_and_schema(client).await?;
                return Err(MigrateError::Denied { role, schema, reason });
            }
            _ => return Err(DatabaseError::Statement { attempted, reason, sqlstate: Some(state) }.into()),
        }
    }
}

async fn in_one_transaction(
    client: &mut Client,
    schema: &Schema<'_>,
    topic: &str,
    step: Step,
) -> Result<Applied, MigrateError> {
    let mut transaction = client.transaction().await.map_err(failed("beginning to change the schema"))?;
    let lock = format!(
        "set local lock_timeout = {SCHEMA_LOCK_TIMEOUT_MS}; select pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_SCHEMA}); \
         set local lock_timeout = {LOCK_TIMEOUT_MS}"
    );
    run(&transaction, "waiting for another process that changes the schema", &lock).await?;
    let mut applied = Applied::default();
    match Present::read(&transaction, schema).await? {
        Present::Nothing => {
            run(&transaction, "creating the schema", &schema.create(topic)).await?;
        }
        Present::Schema(declared) => {
            declared.check(schema.domain, Some(topic))?;
            if matches!(step, Step::Columns) {
                rename_tables(&transaction, schema).await?;
            }
            let found = all_differences(&mut transaction, schema, &declared).await?;
            let (breaking, others): (Vec<_>, Vec<_>) = found.into_iter().partition(Difference::breaks);
            if !breaking.is_empty() {
                return Err(MigrateError::ChangedByHand { what: in_words(&breaking) });
            }
            let (tables, columns): (Vec<_>, Vec<_>) = others
                .into_iter()
                .filter(Difference::is_migrated)
                .partition(|difference| matches!(difference, Difference::MissingTable { .. }));
            match step {
                Step::Create => {}
                Step::Columns => {
                    add_columns(&transaction, schema, &columns).await?;
                    replace_views(&transaction, schema, &columns).await?;
                    replace_latest_readings(&transaction, schema).await?;
                    applied = Applied { removed: columns, lacks_tables: !tables.is_empty() };
                }
                Step::Tables => {
                    add_tables(&transaction, schema, &tables).await?;
                    applied.removed = tables;
                }
            }
        }
    }
    transaction.commit().await.map_err(failed("committing the schema"))?;
    Ok(applied)
}

/// Returns all differences, including those of the views' definitions.
async fn all_differences(
    transaction: &mut Transaction<'_>,
    schema: &Schema<'_>,
    declared: &Declared,
) -> Result<Vec<Difference>, MigrateError> {
    let mut found = Catalog::read(transaction, schema).await?.differences(schema, declared);
    for view in other_views(transaction, schema).await? {
        if !found.contains(&view) {
            found.push(view);
        }
    }
    Ok(found)
}

/// What the database holds of citytide.
enum Present {
    Nothing,
    Schema(Declared),
}

impl Present {
    async fn read(transaction: &Transaction<'_>, schema: &Schema<'_>) -> Result<Present, MigrateError> {
        let wanted = schema.relations();
        let rows = transaction
            .query("select relname::text from pg_class where relnamespace = current_schema()::regnamespace and relname = any($1)", &[&wanted])
            .await
            .map_err(failed("looking for the schema's tables"))?;
        let present: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if present.is_empty() {
            return Ok(Present::Nothing);
        }
        let has = |name: &str| present.iter().any(|there| there == name);
        if has("citytide_database")
            && let Some(declared) = Declared::read(transaction).await?
        {
            // Check the domain first: the names of the expected tables depend on it.
            declared.check(schema.domain, None)?;
            let later = schema.later_relations();
            if wanted.iter().all(|name| has(name) || later.contains(name)) {
                return Ok(Present::Schema(declared));
            }
        }
        let [_, schema] = role_and_schema(transaction).await?;
        let absent = wanted.iter().filter(|name| !has(name)).map(String::as_str).collect::<Vec<_>>();
        let absent =
            if absent.is_empty() { "a row in citytide_database".to_owned() } else { absent.join(", ") };
        Err(MigrateError::HalfMade { schema, present: present.join(", "), absent })
    }
}

/// Reads the role and the current schema of this session.
async fn role_and_schema(client: &impl tokio_postgres::GenericClient) -> Result<[String; 2], MigrateError> {
    let row = client
        .query_one(
            "select current_user::text, coalesce(current_schema()::text, '(none of the search path)')",
            &[],
        )
        .await
        .map_err(failed("reading the role and schema of this session"))?;
    Ok([row.get(0), row.get(1)])
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> MigrateError {
    move |error| DatabaseError::statement(attempted, &error).into()
}

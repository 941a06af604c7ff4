//! Makes the schema in an empty database, brings an older one up to the domain file, and refuses what does not fit.
//!
//! Invariants:
//! 1. each step is one transaction under an advisory lock: of several first starts one creates, the others find it
//!    done, and a crash leaves nothing half made. Creating is one step; columns and views are another; a table that
//!    came later is made and filled in a third, which changes nothing that readers wait for;
//! 2. nothing is ever dropped but the views, which come back in the same transaction with the rights they had. A table
//!    that has another name now is renamed, with its indexes; a view that takes its old name gets its rights;
//! 3. no statement waits for another session's locks longer than [`LOCK_TIMEOUT_MS`]: readers and COPYs queue behind
//!    a waiting ALTER TABLE. The whole transaction is tried again, [`TRIES`] times.

mod declared;
mod differences;
mod error;

use std::time::Duration;

use tokio_postgres::{Client, Transaction};

use super::compare::AsOf;
use super::postgres::DatabaseError;
use super::schema::{self, Column, EPOCH, LOCK_SCHEMA, LOCK_SPACE, Schema, Table, quoted};
use crate::clock::instant;
pub use declared::Declared;
use differences::{Catalog, other_views};
pub use differences::{Difference, in_words};
pub use error::MigrateError;

/// How long one statement waits for a lock.
const LOCK_TIMEOUT_MS: u32 = 100;
/// How long to wait for another process that is creating or changing the schema.
const TURN_TIMEOUT_MS: u32 = 5_000;
/// How often the transaction is tried when locks are in the way.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// The pause between two looks at a schema that another process is changing.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Makes the schema in an empty database; refuses a database that does not fit, and changes nothing in one that does.
///
/// # Errors
///
/// See [`MigrateError`]; after an error the database is as it was.
pub async fn prepare(client: &mut Client, schema: &Schema<'_>, topic: &str) -> Result<(), MigrateError> {
    tried_again(client, schema, topic, Extent::Create).await.map(drop)
}

/// Makes the schema for readings of `topic`, or brings an existing one up to it, and says what it mended. A run
/// that lives would fail on it: this is for those who have taken the database over.
///
/// # Errors
///
/// See [`MigrateError`]; after an error the database is as it was.
pub async fn apply(
    client: &mut Client,
    schema: &Schema<'_>,
    topic: &str,
) -> Result<Vec<Difference>, MigrateError> {
    let Mended { mut mended, lacks_tables } = tried_again(client, schema, topic, Extent::Columns).await?;
    if lacks_tables {
        mended.extend(tried_again(client, schema, topic, Extent::Tables).await?.mended);
    }
    Ok(mended)
}

/// How the database differs from the domain file; `None` when there is nothing of citytide in it.
///
/// # Errors
///
/// When it is another domain's, or the server fails. That tables were changed by hand is no error here.
pub async fn examine(
    client: &mut Client,
    schema: &Schema<'_>,
    topic: Option<&str>,
) -> Result<Option<Vec<Difference>>, MigrateError> {
    let mut transaction = client.transaction().await.map_err(failed("beginning to look at the schema"))?;
    let found = match Present::read(&transaction, schema).await? {
        Present::Nothing => None,
        Present::Schema(there) => {
            there.check(schema.domain, topic)?;
            Some(all_differences(&mut transaction, schema, &there).await?)
        }
    };
    transaction.rollback().await.map_err(failed("ending the look at the schema"))?;
    Ok(found)
}

/// What the readings in the database come from.
///
/// # Errors
///
/// When the server fails, or nothing of citytide is there.
pub async fn declared_topic(client: &Client) -> Result<String, MigrateError> {
    let row = client.query_one("select topic from citytide_database", &[]).await;
    Ok(row.map_err(failed("reading what this database is for"))?.get(0))
}

/// Waits until process 0 of the run has brought the database up to the domain file.
///
/// # Errors
///
/// When the database does not fit, the server fails, or `patience` ends.
pub async fn wait_until_applied(
    client: &Client,
    schema: &Schema<'_>,
    topic: &str,
    patience: Duration,
) -> Result<(), MigrateError> {
    let until = instant() + patience;
    loop {
        let there = Declared::read(client).await?;
        if let Some(there) = there {
            there.check(schema.domain, Some(topic))?;
            let found = Catalog::read(client, schema).await?.differences(schema, &there);
            if !found.iter().any(Difference::is_mended) {
                return Ok(());
            }
            if instant() >= until {
                return Err(MigrateError::NotApplied { what: in_words(&found) });
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// How far a start goes.
#[derive(Clone, Copy)]
enum Extent {
    /// Create what is not there at all.
    Create,
    /// Add columns to what is there, too, and make views anew.
    Columns,
    /// Make and fill tables that came later.
    Tables,
}

/// What a transaction has done.
#[derive(Default)]
struct Mended {
    mended: Vec<Difference>,
    /// Whether tables that came later are still to be made.
    lacks_tables: bool,
}

async fn tried_again(
    client: &mut Client,
    schema: &Schema<'_>,
    topic: &str,
    extent: Extent,
) -> Result<Mended, MigrateError> {
    let mut tries = 1;
    loop {
        let error = match in_one_transaction(client, schema, topic, extent).await {
            Ok(mended) => return Ok(mended),
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
                let reason = format!("{reason}; end long queries on the tables, or what else holds them");
                return Err(DatabaseError::Statement { attempted, reason, sqlstate: Some(state) }.into());
            }
            "42501" => {
                let [role, schema] = whereabouts(client).await?;
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
    extent: Extent,
) -> Result<Mended, MigrateError> {
    let mut transaction = client.transaction().await.map_err(failed("beginning to look at the schema"))?;
    let turn = format!(
        "set local lock_timeout = {TURN_TIMEOUT_MS}; select pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_SCHEMA}); \
         set local lock_timeout = {LOCK_TIMEOUT_MS}"
    );
    run(&transaction, "waiting for another process that changes the schema", &turn).await?;
    let mut done = Mended::default();
    match Present::read(&transaction, schema).await? {
        Present::Nothing => {
            run(&transaction, "creating the schema", &schema.create(topic)).await?;
        }
        Present::Schema(there) => {
            there.check(schema.domain, Some(topic))?;
            if matches!(extent, Extent::Columns) {
                rename_tables(&transaction, schema).await?;
            }
            let found = all_differences(&mut transaction, schema, &there).await?;
            let (breaking, others): (Vec<_>, Vec<_>) = found.into_iter().partition(Difference::breaks);
            if !breaking.is_empty() {
                return Err(MigrateError::ChangedByHand { what: in_words(&breaking) });
            }
            let (tables, columns): (Vec<_>, Vec<_>) = others
                .into_iter()
                .filter(Difference::is_mended)
                .partition(|difference| matches!(difference, Difference::MissingTable { .. }));
            match extent {
                Extent::Create => {}
                Extent::Columns => {
                    add_columns(&transaction, schema, &columns).await?;
                    make_views_anew(&transaction, schema, &columns).await?;
                    make_function_anew(&transaction, schema).await?;
                    done = Mended { mended: columns, lacks_tables: !tables.is_empty() };
                }
                Extent::Tables => {
                    add_tables(&transaction, schema, &tables).await?;
                    done.mended = tables;
                }
            }
        }
    }
    transaction.commit().await.map_err(failed("committing the schema"))?;
    Ok(done)
}

/// What differs, the views' definitions included.
async fn all_differences(
    transaction: &mut Transaction<'_>,
    schema: &Schema<'_>,
    there: &Declared,
) -> Result<Vec<Difference>, MigrateError> {
    let mut found = Catalog::read(transaction, schema).await?.differences(schema, there);
    for view in other_views(transaction, schema).await? {
        if !found.contains(&view) {
            found.push(view);
        }
    }
    Ok(found)
}

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
            // The domain's own tables are looked at only once it is known to be the same domain.
            declared.check(schema.domain, None)?;
            let later = schema.later_relations();
            if wanted.iter().all(|name| has(name) || later.contains(name)) {
                return Ok(Present::Schema(declared));
            }
        }
        let [_, schema] = whereabouts(transaction).await?;
        let absent = wanted.iter().filter(|name| !has(name)).map(String::as_str).collect::<Vec<_>>();
        let absent =
            if absent.is_empty() { "a row in citytide_database".to_owned() } else { absent.join(", ") };
        Err(MigrateError::HalfMade { schema, present: present.join(", "), absent })
    }
}

/// Gives tables the names they have now, and their indexes.
async fn rename_tables(transaction: &Transaction<'_>, schema: &Schema<'_>) -> Result<(), MigrateError> {
    let attempted = "renaming a table";
    for table in schema.tables() {
        let Some(formerly) = table.formerly else { continue };
        let renames = transaction
            .query(
                "select format('alter index %I rename to %I', i.relname, $2 || substr(i.relname, length($1) + 1))
                 from pg_class as t join pg_index on indrelid = t.oid join pg_class as i on i.oid = indexrelid
                 where t.oid = to_regclass($1) and t.relkind = 'r' and starts_with(i.relname, $1)
                 union all select format('alter table %I rename to %I', $1, $2)
                 from pg_class where oid = to_regclass($1) and relkind = 'r'",
                &[&formerly, &table.name],
            )
            .await
            .map_err(failed(attempted))?;
        for rename in renames {
            run(transaction, attempted, rename.get(0)).await?;
        }
    }
    Ok(())
}

/// Adds columns that came later, and those of further metrics.
async fn add_columns(
    transaction: &Transaction<'_>,
    schema: &Schema<'_>,
    missing: &[Difference],
) -> Result<(), MigrateError> {
    let is_missing = |of: &str, name: &str| {
        missing.iter().any(|difference| {
            matches!(difference, Difference::MissingColumn { relation, column, .. } if relation == of && column == name)
        })
    };
    let mut script = String::new();
    for table in schema.tables() {
        let columns = table.columns.into_iter().filter(|column| is_missing(&table.name, &column.name));
        let columns: Vec<Column> = columns.collect();
        for column in &columns {
            script +=
                &format!("alter table {} add column {} {};\n", table.name, column.name, column.definition);
        }
        script += &schema::comments(&table.name, &columns);
    }
    Ok(run(transaction, "adding columns", &script).await?)
}

/// Makes the views anew that no longer show what the domain says.
async fn make_views_anew(
    transaction: &Transaction<'_>,
    schema: &Schema<'_>,
    others: &[Difference],
) -> Result<(), MigrateError> {
    for view in schema.views() {
        if others.contains(&Difference::OtherView { view: view.name.clone() }) {
            make_anew(transaction, &view).await?;
        }
    }
    Ok(())
}

/// Makes `latest_readings` where it is missing, or lists other columns.
async fn make_function_anew(transaction: &Transaction<'_>, schema: &Schema<'_>) -> Result<(), MigrateError> {
    let sql = "select proargnames from pg_proc where oid = to_regprocedure($1)";
    let there = transaction.query_opt(sql, &[&schema::LATEST_READINGS]).await;
    let there = there.map_err(failed("looking for latest_readings"))?;
    let names = there.and_then(|row| row.get::<_, Option<Vec<String>>>(0));
    if names.as_ref() != Some(&schema::latest_names(schema.domain)) {
        let anew = format!(
            "drop function if exists {}; {}",
            schema::LATEST_READINGS,
            schema::create_latest(schema.domain)
        );
        run(transaction, "making latest_readings", &anew).await?;
    }
    Ok(())
}

/// Makes tables that came later. A live view's gets the rows that it would have, had it been there from the start.
async fn add_tables(
    transaction: &Transaction<'_>,
    schema: &Schema<'_>,
    missing: &[Difference],
) -> Result<(), MigrateError> {
    let is_missing = |name: &str| missing.contains(&Difference::MissingTable { table: name.to_owned() });
    for table in schema.tables().iter().filter(|table| is_missing(&table.name)) {
        run(transaction, "adding a table", &table.render()).await?;
    }
    for view in schema.views().iter().filter(|view| is_missing(&view.name)) {
        run(transaction, "adding a view", &view.render()).await?;
        let stands_for = |table: &Table| table.formerly.is_some_and(|formerly| formerly == view.name);
        if let Some(table) = schema.tables().iter().find(|table| stands_for(table)) {
            let rights = rights_on(transaction, &table.name, &view.name).await?;
            grant(transaction, &rights).await?;
        }
    }
    for (live, table) in schema.live.iter().zip(schema.live_tables()) {
        if let Some(comparison) = live.comparison.filter(|_| is_missing(&table.name)) {
            let as_of = AsOf::read(transaction).await?;
            let columns = table.columns.iter().filter(|column| column.name != EPOCH);
            let columns: Vec<String> = columns.map(|column| quoted(&column.name)).collect();
            let fill = format!(
                "with {given}\ninsert into {name} ({columns}, {EPOCH}) select {columns}, {epoch} from expected",
                epoch = as_of.epoch.unwrap_or(0),
                given = comparison(&as_of, schema.domain).given,
                name = table.name,
                columns = columns.join(", "),
            );
            run(transaction, "filling the table of a new live view", &fill).await?;
        }
    }
    Ok(())
}

/// Drops and creates a view: its columns cannot be reordered otherwise. The rights on it come back.
async fn make_anew(transaction: &Transaction<'_>, view: &schema::View) -> Result<(), MigrateError> {
    let rights = rights_on(transaction, &view.name, &view.name).await?;
    let drop =
        run(transaction, "dropping a view to create it again", &format!("drop view {}", view.name)).await;
    drop.map_err(|error| match error {
        DatabaseError::Statement { reason, sqlstate: Some(state), .. } if state == "2BP01" => {
            MigrateError::Dependents { reason }
        }
        error => error.into(),
    })?;
    run(transaction, "making a view anew", &view.render()).await?;
    grant(transaction, &rights).await
}

/// The statements that grant on `to` what others than its owner may do with `on`.
async fn rights_on(transaction: &Transaction<'_>, on: &str, to: &str) -> Result<Vec<String>, MigrateError> {
    let rights = transaction
        .query(
            "select format('grant %s on %I to %s%s', privilege_type, $2::text, \
                    case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end, \
                    case when is_grantable then ' with grant option' else '' end) \
             from pg_class, aclexplode(relacl) where oid = to_regclass($1) and grantee <> relowner",
            &[&on, &to],
        )
        .await
        .map_err(failed("reading the rights on a relation"))?;
    Ok(rights.iter().map(|right| right.get(0)).collect())
}

async fn grant(transaction: &Transaction<'_>, rights: &[String]) -> Result<(), MigrateError> {
    for right in rights {
        run(transaction, "granting again what was granted", right).await?;
    }
    Ok(())
}

async fn run(
    transaction: &Transaction<'_>,
    attempted: &'static str,
    script: &str,
) -> Result<(), DatabaseError> {
    transaction.batch_execute(script).await.map_err(|error| DatabaseError::statement(attempted, &error))
}

/// Role and schema of this session.
async fn whereabouts(client: &impl tokio_postgres::GenericClient) -> Result<[String; 2], MigrateError> {
    let row = client
        .query_one(
            "select current_user::text, coalesce(current_schema()::text, '(none of the search path)')",
            &[],
        )
        .await
        .map_err(failed("asking for this session's role and schema"))?;
    Ok([row.get(0), row.get(1)])
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> MigrateError {
    move |error| DatabaseError::statement(attempted, &error).into()
}

//! The statements of a migration: renames tables, adds columns and tables, and replaces views.

use tokio_postgres::Transaction;

use super::{Difference, MigrateError, failed};
use crate::compare::AsOf;
use crate::postgres::DatabaseError;
use crate::schema::{self, Column, EPOCH, Schema, Table, quoted};

/// Renames tables and their indexes to their current names.
pub(super) async fn rename_tables(
    transaction: &Transaction<'_>,
    schema: &Schema<'_>,
) -> Result<(), MigrateError> {
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

/// Adds the columns of later versions, and those of new metrics.
pub(super) async fn add_columns(
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

/// Replaces the views whose definition differs.
pub(super) async fn replace_views(
    transaction: &Transaction<'_>,
    schema: &Schema<'_>,
    differences: &[Difference],
) -> Result<(), MigrateError> {
    for view in schema.views() {
        if differences.contains(&Difference::OtherView { view: view.name.clone() }) {
            replace_view(transaction, &view).await?;
        }
    }
    Ok(())
}

/// Creates `latest_readings` if it is missing or returns other columns.
pub(super) async fn replace_latest_readings(
    transaction: &Transaction<'_>,
    schema: &Schema<'_>,
) -> Result<(), MigrateError> {
    let sql = "select proargnames from pg_proc where oid = to_regprocedure($1)";
    let there = transaction.query_opt(sql, &[&schema::LATEST_READINGS]).await;
    let there = there.map_err(failed("looking for latest_readings"))?;
    let names = there.and_then(|row| row.get::<_, Option<Vec<String>>>(0));
    if names.as_ref() != Some(&schema::latest_names(schema.domain)) {
        let replace = format!(
            "drop function if exists {}; {}",
            schema::LATEST_READINGS,
            schema::create_latest(schema.domain)
        );
        run(transaction, "creating latest_readings", &replace).await?;
    }
    Ok(())
}

/// Creates the tables and views of later versions. Fills the table of a live view with the rows that it would have if
/// it had existed from the start.
pub(super) async fn add_tables(
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
        let had_this_name = |table: &Table| table.formerly.is_some_and(|formerly| formerly == view.name);
        if let Some(table) = schema.tables().iter().find(|table| had_this_name(table)) {
            let grants = grants_on(transaction, &table.name, &view.name).await?;
            grant(transaction, &grants).await?;
        }
    }
    let windows = schema::windows_json(schema.domain);
    let declare = "update citytide_database set windows = $1::text::jsonb where windows <> $1::text::jsonb";
    transaction.execute(declare, &[&windows]).await.map_err(failed("declaring the added session windows"))?;
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

/// Drops a view, creates it again and restores the privileges on it. CREATE OR REPLACE cannot reorder columns.
async fn replace_view(transaction: &Transaction<'_>, view: &schema::View) -> Result<(), MigrateError> {
    let grants = grants_on(transaction, &view.name, &view.name).await?;
    let drop =
        run(transaction, "dropping a view to create it again", &format!("drop view {}", view.name)).await;
    drop.map_err(|error| match error {
        DatabaseError::Statement { reason, sqlstate: Some(state), .. } if state == "2BP01" => {
            MigrateError::Dependents { reason }
        }
        error => error.into(),
    })?;
    run(transaction, "creating a view again", &view.render()).await?;
    grant(transaction, &grants).await
}

/// Returns GRANT statements that give on the relation `to` the privileges that others than the owner have on `on`.
async fn grants_on(transaction: &Transaction<'_>, on: &str, to: &str) -> Result<Vec<String>, MigrateError> {
    let grants = transaction
        .query(
            "select format('grant %s on %I to %s%s', privilege_type, $2::text, \
                    case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end, \
                    case when is_grantable then ' with grant option' else '' end) \
             from pg_class, aclexplode(relacl) where oid = to_regclass($1) and grantee <> relowner",
            &[&on, &to],
        )
        .await
        .map_err(failed("reading the privileges on a relation"))?;
    Ok(grants.iter().map(|grant| grant.get(0)).collect())
}

async fn grant(transaction: &Transaction<'_>, grants: &[String]) -> Result<(), MigrateError> {
    for grant in grants {
        run(transaction, "restoring privileges", grant).await?;
    }
    Ok(())
}

pub(super) async fn run(
    transaction: &Transaction<'_>,
    attempted: &'static str,
    script: &str,
) -> Result<(), DatabaseError> {
    transaction.batch_execute(script).await.map_err(|error| DatabaseError::statement(attempted, &error))
}

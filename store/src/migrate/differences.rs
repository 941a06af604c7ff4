//! Compares the catalog with the schema of a domain: tables, columns, keys, the function of the fence, and views.
//!
//! [`super::MigrateError::HalfMade`] reports relations that every version has and the database has not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tokio_postgres::{GenericClient, Transaction};

use super::Declared;
use crate::postgres::DatabaseError;
use crate::schema::{Schema, Table, View};

/// A difference between the database and the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A table, a view or a function is missing.
    Missing { relation: String },
    /// A table that a later version has added is missing; a start creates it.
    MissingTable { table: String },
    /// A column of a table or view is missing.
    MissingColumn {
        relation: String,
        column: String,
        type_name: String,
        /// Whether a start adds it.
        is_added: bool,
    },
    /// A column has another type.
    OtherType {
        relation: String,
        column: String,
        /// Its type in the database.
        there: String,
        /// Its type in the schema.
        wanted: String,
    },
    /// The schema does not have this column.
    ExtraColumn {
        relation: String,
        column: String,
        /// Whether it is not null and has no default.
        is_required: bool,
    },
    /// A column is not null and should be nullable, or the other way round.
    OtherNulls {
        relation: String,
        column: String,
        /// Whether it is not null in the database.
        refuses: bool,
    },
    /// A unique key is missing.
    MissingKey { relation: String, columns: String },
    /// A view has another definition.
    OtherView { view: String },
}

impl Difference {
    /// Whether a run would fail or write wrong rows.
    pub fn breaks(&self) -> bool {
        match self {
            Difference::Missing { .. } | Difference::OtherType { .. } | Difference::MissingKey { .. } => true,
            Difference::MissingColumn { is_added, .. } => !is_added,
            Difference::ExtraColumn { is_required, .. } => *is_required,
            Difference::OtherNulls { refuses, .. } => *refuses,
            Difference::OtherView { .. } | Difference::MissingTable { .. } => false,
        }
    }

    /// Whether a start removes the difference.
    pub fn is_migrated(&self) -> bool {
        matches!(
            self,
            Difference::MissingColumn { is_added: true, .. }
                | Difference::MissingTable { .. }
                | Difference::OtherView { .. }
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing { relation: name } | Difference::MissingTable { table: name } => {
                write!(f, "{name} is missing")
            }
            Difference::MissingColumn { relation, column, type_name, .. } => {
                write!(f, "{relation}.{column} is missing ({type_name})")
            }
            Difference::OtherType { relation, column, there, wanted } => {
                write!(f, "{relation}.{column} is {there}, not {wanted}")
            }
            Difference::ExtraColumn { relation, column, is_required: true } => {
                write!(
                    f,
                    "{relation}.{column} is not a column of citytide and refuses rows without a value for it"
                )
            }
            Difference::ExtraColumn { relation, column, is_required: false } => {
                write!(f, "{relation}.{column} is not a column of citytide")
            }
            Difference::OtherNulls { relation, column, refuses: true } => {
                write!(f, "{relation}.{column} refuses nulls, but must accept them")
            }
            Difference::OtherNulls { relation, column, refuses: false } => {
                write!(f, "{relation}.{column} accepts nulls, but should refuse them")
            }
            Difference::MissingKey { relation, columns } => {
                write!(f, "{relation} has no unique key ({columns})")
            }
            Difference::OtherView { view } => write!(f, "the view {view} has another definition"),
        }
    }
}

/// Joins differences for a message.
pub fn in_words(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// A column of the database.
#[derive(Debug, Clone)]
struct ActualColumn {
    name: String,
    type_name: String,
    refuses_nulls: bool,
    has_default: bool,
}

/// The catalog's entries for the relations of a schema.
#[derive(Debug, Default)]
pub struct Catalog {
    columns: BTreeMap<String, Vec<ActualColumn>>,
    /// The columns of each unique index, sorted, by table.
    keys: Vec<(String, Vec<String>)>,
    has_fence: bool,
}

impl Catalog {
    /// Reads the catalog for the relations of `schema` in the database's current schema.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn read(client: &impl GenericClient, schema: &Schema<'_>) -> Result<Catalog, DatabaseError> {
        let failed = |error| DatabaseError::statement("reading the tables' columns", &error);
        let wanted = schema.relations();
        let rows = client
            .query(
                "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                        a.atthasdef or a.attidentity <> ''
                 from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                 where c.relnamespace = current_schema()::regnamespace and c.relname = any($1)
                 order by c.relname, a.attnum",
                &[&wanted],
            )
            .await
            .map_err(failed)?;
        let mut catalog = Catalog::default();
        for row in rows {
            catalog.columns.entry(row.get(0)).or_default().push(ActualColumn {
                name: row.get(1),
                type_name: row.get::<_, String>(2).replace("timestamp with time zone", "timestamptz"),
                refuses_nulls: row.get(3),
                has_default: row.get(4),
            });
        }
        let rows = client
            .query(
                "select c.relname::text,
                        array(select a.attname::text from pg_attribute a
                              where a.attrelid = c.oid and a.attnum = any(i.indkey::int2[]) order by 1)
                 from pg_index i join pg_class c on c.oid = i.indrelid
                 where i.indisunique and i.indisvalid and i.indpred is null
                   and c.relnamespace = current_schema()::regnamespace and c.relname = any($1)",
                &[&wanted],
            )
            .await
            .map_err(failed)?;
        catalog.keys = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let row = client
            .query_one("select to_regprocedure('citytide_fence(bigint)') is not null", &[])
            .await
            .map_err(failed)?;
        catalog.has_fence = row.get(0);
        Ok(catalog)
    }

    /// Returns the differences from the schema, tables first. Compares views only by their columns and order; see
    /// [`other_views`] for their definitions.
    pub fn differences(&self, schema: &Schema<'_>, declared: &Declared) -> Vec<Difference> {
        let mut found = Vec::new();
        let later = schema.later_relations();
        let later_columns = schema.later_columns(|metric| !declared.has(&metric.name));
        for table in schema.tables() {
            if !self.columns.contains_key(&table.name) && later.contains(&table.name) {
                found.push(Difference::MissingTable { table: table.name });
            } else {
                self.compare_table(&table, &later_columns, &mut found);
            }
        }
        if !self.has_fence {
            found.push(Difference::Missing { relation: "citytide_fence(bigint)".to_owned() });
        }
        for view in schema.views() {
            let Some(there) = self.columns.get(&view.name) else {
                found.push(match later.contains(&view.name) {
                    true => Difference::MissingTable { table: view.name },
                    false => Difference::Missing { relation: view.name },
                });
                continue;
            };
            let listed = there.iter().map(|column| column.name.as_str());
            if !listed.eq(view.columns.iter().map(|column| column.name.as_str())) {
                found.push(Difference::OtherView { view: view.name });
            }
        }
        found
    }

    fn compare_table(&self, table: &Table, later: &BTreeSet<(String, String)>, found: &mut Vec<Difference>) {
        let relation = || table.name.clone();
        let Some(there) = self.columns.get(&table.name) else {
            found.push(Difference::Missing { relation: relation() });
            return;
        };
        for wanted in &table.columns {
            let column = || wanted.name.clone();
            let Some(there) = there.iter().find(|there| there.name == wanted.name) else {
                let is_added = later.contains(&(relation(), column()));
                let type_name = wanted.type_name().to_owned();
                found.push(Difference::MissingColumn {
                    relation: relation(),
                    column: column(),
                    type_name,
                    is_added,
                });
                continue;
            };
            if there.type_name != wanted.type_name() {
                let (there, wanted) = (there.type_name.clone(), wanted.type_name().to_owned());
                found.push(Difference::OtherType { relation: relation(), column: column(), there, wanted });
            } else if there.refuses_nulls == wanted.takes_nulls() {
                let refuses = there.refuses_nulls;
                found.push(Difference::OtherNulls { relation: relation(), column: column(), refuses });
            }
        }
        for extra in
            there.iter().filter(|there| !table.columns.iter().any(|wanted| wanted.name == there.name))
        {
            let is_required = extra.refuses_nulls && !extra.has_default;
            found.push(Difference::ExtraColumn {
                relation: relation(),
                column: extra.name.clone(),
                is_required,
            });
        }
        for key in table.keys() {
            let mut sorted: Vec<&str> = key.split(", ").collect();
            sorted.sort_unstable();
            if !self.keys.iter().any(|(of, columns)| *of == table.name && columns.iter().eq(&sorted)) {
                found.push(Difference::MissingKey { relation: relation(), columns: key.to_owned() });
            }
        }
    }
}

/// Returns the views whose definition differs from the schema's. PostgreSQL stores definitions in its own form, so this
/// creates a temporary view with the expected definition, compares both texts and rolls back. A view that cannot be
/// created, because a column or the privilege for temporary relations is missing, is not compared.
///
/// # Errors
///
/// When the server fails.
pub async fn other_views(
    transaction: &mut Transaction<'_>,
    schema: &Schema<'_>,
) -> Result<Vec<Difference>, DatabaseError> {
    let failed = |error| DatabaseError::statement("comparing the views", &error);
    let mut found = Vec::new();
    for view in schema.views() {
        let attempt = transaction.transaction().await.map_err(failed)?;
        let made = attempt.batch_execute(&create_temporary(&view)).await;
        let differs = match made {
            Err(error) if error.as_db_error().is_some() => false,
            Err(error) => return Err(failed(error)),
            Ok(()) => attempt
                .query_one(
                    "select pg_get_viewdef('citytide_wanted'::regclass) <> pg_get_viewdef(to_regclass($1))",
                    &[&view.name],
                )
                .await
                .map_err(failed)?
                .get::<_, Option<bool>>(0)
                .unwrap_or(false),
        };
        attempt.rollback().await.map_err(failed)?;
        if differs {
            found.push(Difference::OtherView { view: view.name });
        }
    }
    Ok(found)
}

fn create_temporary(view: &View) -> String {
    format!("create temporary view citytide_wanted as\n{}", view.select())
}

//! What a database has that the domain file does not ask for, and the other way round. Reading aside, pure.
//!
//! Relations that are missing altogether are another matter (see `HalfMade`): here are columns, keys, the fence's
//! function and the views.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tokio_postgres::{GenericClient, Transaction};

use super::Declared;
use crate::postgres::DatabaseError;
use crate::schema::{Schema, Table, View};

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A table, a view or a function is not there.
    Missing {
        /// Its name.
        relation: String,
    },
    /// A table that came later is not there: a start makes it.
    MissingTable {
        /// Its name.
        table: String,
    },
    /// A column is not there.
    MissingColumn {
        /// The table or view.
        relation: String,
        column: String,
        /// Its type.
        type_name: String,
        /// Whether a start adds it.
        is_added: bool,
    },
    /// A column has another type.
    OtherType {
        /// The table.
        relation: String,
        column: String,
        /// Its type there.
        there: String,
        /// The type that is written.
        wanted: String,
    },
    /// A column that is not declared.
    ExtraColumn {
        /// The table.
        relation: String,
        column: String,
        /// Whether it wants a value in each row.
        is_required: bool,
    },
    /// A column takes nulls that should not, or the other way round.
    OtherNulls {
        /// The table.
        relation: String,
        column: String,
        /// Whether it refuses nulls.
        refuses: bool,
    },
    /// A key is not there.
    MissingKey {
        /// The table.
        relation: String,
        columns: String,
    },
    /// A view shows something else.
    OtherView { view: String },
}

impl Difference {
    /// Whether a run would fail, or write wrong rows.
    pub fn breaks(&self) -> bool {
        match self {
            Difference::Missing { .. } | Difference::OtherType { .. } | Difference::MissingKey { .. } => true,
            Difference::MissingColumn { is_added, .. } => !is_added,
            Difference::ExtraColumn { is_required, .. } => *is_required,
            Difference::OtherNulls { refuses, .. } => *refuses,
            Difference::OtherView { .. } | Difference::MissingTable { .. } => false,
        }
    }

    /// Whether a start mends it.
    pub fn is_mended(&self) -> bool {
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
                write!(f, "{relation}.{column} is not of citytide and refuses rows without a value of it")
            }
            Difference::ExtraColumn { relation, column, is_required: false } => {
                write!(f, "{relation}.{column} is not of citytide")
            }
            Difference::OtherNulls { relation, column, refuses: true } => {
                write!(f, "{relation}.{column} refuses nulls, which it must take")
            }
            Difference::OtherNulls { relation, column, refuses: false } => {
                write!(f, "{relation}.{column} takes nulls, which it should refuse")
            }
            Difference::MissingKey { relation, columns } => {
                write!(f, "{relation} has no unique key ({columns})")
            }
            Difference::OtherView { view } => write!(f, "the view {view} is defined otherwise"),
        }
    }
}

/// Several differences, for a sentence.
pub fn in_words(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// A column as the server has it.
#[derive(Debug, Clone)]
struct There {
    name: String,
    type_name: String,
    refuses_nulls: bool,
    has_default: bool,
}

/// What the server has of the relations that a domain asks for.
#[derive(Debug, Default)]
pub struct Catalog {
    columns: BTreeMap<String, Vec<There>>,
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
            catalog.columns.entry(row.get(0)).or_default().push(There {
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

    /// What differs from the schema, tables first; of the views only which columns they list, in which order.
    pub fn differences(&self, schema: &Schema<'_>, declared: &Declared) -> Vec<Difference> {
        let mut found = Vec::new();
        let later = schema.later_relations();
        let later_columns = schema.later_columns(|metric| !declared.has(&metric.name));
        for table in schema.tables() {
            if !self.columns.contains_key(&table.name) && later.contains(&table.name) {
                found.push(Difference::MissingTable { table: table.name });
            } else {
                self.of_table(&table, &later_columns, &mut found);
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

    fn of_table(&self, table: &Table, later: &BTreeSet<(String, String)>, found: &mut Vec<Difference>) {
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

/// The views whose definition is not what the domain asks for. The server itself says how it would keep what is asked
/// for, so both texts are its own; for that it makes a temporary view, which goes with the transaction.
///
/// # Errors
///
/// When the server fails. A view that cannot be made, for want of a column or of the right to make temporary
/// relations, is not compared.
pub async fn other_views(
    transaction: &mut Transaction<'_>,
    schema: &Schema<'_>,
) -> Result<Vec<Difference>, DatabaseError> {
    let failed = |error| DatabaseError::statement("comparing the views", &error);
    let mut found = Vec::new();
    for view in schema.views() {
        let attempt = transaction.transaction().await.map_err(failed)?;
        let made = attempt.batch_execute(&in_temporary(&view)).await;
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

fn in_temporary(view: &View) -> String {
    format!("create temporary view citytide_wanted as\n{}", view.select())
}

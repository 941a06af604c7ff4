//! Finds the tables to follow in the catalog: those with a primary key and, outside of it, a column `epoch`, the commit
//! that last wrote the row. So a follower also reads views that are newer than itself.

use std::sync::Arc;

use tokio_postgres::Client;

use super::{Want, failed};
use crate::postgres::DatabaseError;
use crate::row::Value;
use crate::schema::quoted;

/// A table to follow.
#[derive(Debug, PartialEq, Eq)]
pub struct Followed {
    pub name: String,
    /// Its columns, in the order of a row's values.
    pub columns: Vec<String>,
    /// The columns of its primary key.
    pub key: Vec<String>,
    /// Whether `window_start` is part of its key: a table of windows, or of counts by zone and time.
    pub is_window: bool,
    select: String,
}

impl Followed {
    /// A table with these columns and no key, which has no queries.
    pub fn of_columns(name: &str, columns: &[&str]) -> Followed {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Followed { name: name.to_owned(), columns, key: Vec::new(), is_window: false, select: String::new() }
    }

    /// The key of a row in the form of `changes.key`: a JSON object of names and values.
    pub fn key(&self, row: &[Value]) -> serde_json::Value {
        let values = self.columns.iter().zip(row).filter(|(column, _)| self.key.contains(column));
        serde_json::Value::Object(values.map(|(column, value)| (column.clone(), json(value))).collect())
    }

    /// The query for all rows.
    pub(super) fn all(&self) -> String {
        format!("select {} from {}", self.select, quoted(&self.name))
    }

    /// The query for the rows that commits above epoch $1 wrote. For a table of windows, $2 is the earliest start,
    /// which the primary key can use.
    pub(super) fn since(&self) -> String {
        let start = if self.is_window { " and window_start >= $2" } else { "" };
        format!("{} where epoch > $1{start}", self.all())
    }
}

/// The metrics and tables that a follower reads.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) metrics: Vec<String>,
    pub(super) tables: Vec<Arc<Followed>>,
    /// Whether the table `changes` exists, which records deletions.
    pub(super) has_changes: bool,
}

const METRICS: &str = "select attname::text from pg_attribute where attrelid = 'sensor_data'::regclass \
     and atttypid = 'float8'::regtype and attnum > 0 and not attisdropped order by attnum";

const TABLES: &str = "select t.relname::text, \
            array_agg(a.attname::text order by a.attnum), \
            array_agg(format_type(a.atttypid, null) order by a.attnum), \
            array_agg(a.attname::text order by array_position(i.indkey::int2[], a.attnum)) \
                filter (where a.attnum = any (i.indkey::int2[])), \
            bool_or(a.attname = 'window_start' and a.attnum = any (i.indkey::int2[])) \
     from pg_class t \
     join pg_index i on i.indrelid = t.oid and i.indisprimary \
     join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped \
     where t.relnamespace = current_schema()::regnamespace and t.relkind = 'r' and not t.relispartition \
       and t.relname <> 'followers' \
       and t.relowner = (select relowner from pg_class where oid = 'citytide_database'::regclass) \
       and exists (select from pg_attribute e where e.attrelid = t.oid and e.attname = 'epoch' \
                   and e.atttypid = 'int8'::regtype and e.attnum <> all (i.indkey::int2[])) \
     group by t.oid, t.relname order by t.relname";

impl Columns {
    pub(super) async fn read(client: &Client, want: &Want) -> Result<Columns, DatabaseError> {
        let attempted = "reading which tables can be followed";
        let metrics = client.query(METRICS, &[]).await.map_err(failed(attempted))?;
        let tables = client.query(TABLES, &[]).await.map_err(failed(attempted))?;
        let changes = client.query_one("select to_regclass('changes') is not null", &[]).await;
        let tables = tables.iter().map(followed);
        let is_named = |table: &Followed| want.only_views.is_empty() || want.only_views.contains(&table.name);
        let wanted =
            |table: &Followed| if table.is_window { want.windows } else { want.views && is_named(table) };
        Ok(Columns {
            metrics: metrics.iter().map(|row| row.get(0)).collect(),
            tables: tables.filter(wanted).map(Arc::new).collect(),
            has_changes: changes.map_err(failed(attempted))?.get(0),
        })
    }
}

fn followed(row: &tokio_postgres::Row) -> Followed {
    let (columns, types): (Vec<String>, Vec<String>) = (row.get(1), row.get(2));
    let select: Vec<String> = columns.iter().zip(&types).map(|(name, ty)| selected(name, ty)).collect();
    Followed { name: row.get(0), key: row.get(3), is_window: row.get(4), select: select.join(", "), columns }
}

/// Selects a column in a type that [`crate::row::Value`] can hold: as text if it has no variant for the type.
fn selected(name: &str, ty: &str) -> String {
    let name = quoted(name);
    match ty {
        "boolean" | "integer" | "bigint" | "double precision" | "timestamp with time zone" | "text" => name,
        "real" => format!("{name}::double precision"),
        _ => format!("{name}::text"),
    }
}

/// A value in the JSON form of `to_jsonb`; times are RFC 3339 in UTC.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(bits) => f64::from_bits(*bits).into(),
        Value::Exact(number) => number.to_string().into(),
        Value::Time(at_us) => {
            chrono::DateTime::from_timestamp_micros(*at_us).map(|at| at.to_rfc3339()).into()
        }
        Value::Text(text) => (&**text).into(),
    }
}

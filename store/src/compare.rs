//! Compares the rows of a table with rows that SQL recomputes, and formats the differences as text.
//!
//! `citytide verify` runs the comparisons. Migration fills the table of a new live view with the rows that the view's
//! comparison expects.

use citytide_domain::Domain;
use tokio_postgres::GenericClient;

use crate::postgres::DatabaseError;

/// Maximum number of differences that are listed, over all checks; all are counted.
pub const SHOWN_MAX: usize = 100;

/// The commit as of which the database is compared.
#[derive(Debug, Clone, Copy)]
pub struct AsOf {
    /// The epoch of the newest commit; `None` before the first.
    pub epoch: Option<i64>,
    /// W, microseconds.
    pub watermark_us: Option<i64>,
    /// The retention horizon, an epoch; 0 when retention has hidden nothing.
    pub horizon: i64,
}

impl AsOf {
    /// Reads the newest commit and the horizon.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn read(client: &impl GenericClient) -> Result<AsOf, DatabaseError> {
        let row = client
            .query_one(
                "select horizon_epoch, epoch, (extract(epoch from watermark) * 1000000)::bigint \
                 from citytide_database left join \
                 (select epoch, watermark from commits order by epoch desc limit 1) as newest on true",
                &[],
            )
            .await
            .map_err(|error| DatabaseError::statement("reading the newest commit", &error))?;
        Ok(AsOf { horizon: row.get(0), epoch: row.get(1), watermark_us: row.get(2) })
    }

    /// W as an SQL expression; null before the first reading.
    pub fn watermark(&self) -> String {
        self.watermark_us.map_or("null::timestamptz".to_owned(), at)
    }

    /// W less the retention of windows as an SQL expression: windows that start earlier may have been deleted. `None`
    /// without W or without a retention.
    pub fn kept_from(&self, domain: &Domain) -> Option<String> {
        Some(at(self.watermark_us? - domain.retention.windows_us?))
    }
}

/// A point in time, microseconds of the Unix epoch, as an SQL expression.
fn at(us: i64) -> String {
    format!("(timestamptz 'epoch' + {})", interval(us))
}

/// A duration in microseconds as an SQL expression.
pub fn interval(us: i64) -> String {
    format!("interval '{us} microseconds'")
}

/// A grid of times is counted from here, a hundred years before the Unix epoch or less: `date_bin` rounds times
/// before its origin the wrong way on some servers.
const ORIGIN_US: i64 = 3_155_760_000_000_000;

/// A time on the grid of multiples of `step_us`, as SQL.
pub fn grid(time: &str, step_us: i64) -> String {
    let origin_us = ORIGIN_US - ORIGIN_US % step_us;
    format!("date_bin({}, {time}, timestamptz 'epoch' - {})", interval(step_us), interval(origin_us))
}

/// The result of one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The table or the property that was compared.
    pub name: String,
    /// The noun for its rows, in the plural.
    pub rows: &'static str,
    /// Number of compared rows.
    pub compared: u64,
    /// Number of rows that differ.
    pub differing: u64,
    /// The first differing rows: one line for the row's key, then one line per column that differs.
    pub shown: Vec<String>,
    /// Why some or all rows could not be compared.
    pub not_compared: Option<String>,
}

/// A query that compares stored rows with recomputed ones.
#[derive(Debug)]
pub struct Comparison {
    /// The table or the property that is compared.
    pub name: String,
    /// The noun for its rows, in the plural.
    pub rows: &'static str,
    /// Common table expressions before the comparison, without `with`; may be empty. A live view's last one is
    /// `expected`, with every column of its table.
    pub given: String,
    /// A query of (`place text`, `difference text`) with one row per compared row; '' or null means no difference.
    pub compared: String,
}

impl Comparison {
    fn sql(&self) -> String {
        let given = if self.given.is_empty() { String::new() } else { format!("{},\n", self.given) };
        format!(
            "with {given}compared (place, difference) as materialized (\n{}\n)\n\
             select count(*), count(*) filter (where difference <> ''),\n  \
             (select array_agg(line) from (select place || E'\\n' || difference as line from compared\n    \
             where difference <> '' order by place limit {SHOWN_MAX}) as first)\nfrom compared",
            self.compared
        )
    }

    /// Runs the query. Differences are a result, not an error.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn run(&self, client: &impl GenericClient) -> Result<Check, DatabaseError> {
        let row = client
            .query_one(&self.sql(), &[])
            .await
            .map_err(|error| DatabaseError::statement(format!("recomputing {}", self.name), &error))?;
        Ok(Check {
            name: self.name.clone(),
            rows: self.rows,
            compared: row.get::<_, i64>(0) as u64,
            differing: row.get::<_, i64>(1) as u64,
            shown: row.get::<_, Option<Vec<String>>>(2).unwrap_or_default(),
            not_compared: None,
        })
    }
}

/// SQL for the differences of a row: joins `columns`, the texts of [`exactly`], [`nearly`] or [`unless`], or says that
/// the row is missing on one side. `key` is a column that is null only where the row is missing.
pub fn differences(key: &str, columns: &[String]) -> String {
    format!(
        "case when actual.{key} is null then 'missing' when expected.{key} is null then 'unexpected'\n    \
         else concat_ws(E'\\n',\n      {}) end",
        columns.join(",\n      ")
    )
}

/// SQL for the difference of a column that must equal the expected one; null when it does.
pub fn exactly(column: &str) -> String {
    unless(&format!("actual.{column} is not distinct from expected.{column}"), column)
}

/// SQL for the difference of a column that must equal the expected one within 10⁻⁹, relative to the greatest of both
/// values and `expected.<scale>`. The scale covers the rounding of SQL's own sum.
pub fn nearly(column: &str, scale: &str) -> String {
    let agrees = format!(
        "coalesce(abs(actual.{column} - expected.{column}) <= 1e-9 * greatest(abs(actual.{column}), \
         abs(expected.{column}), expected.{scale}), actual.{column} is null and expected.{column} is null)"
    );
    unless(&agrees, column)
}

/// SQL for the difference of a column; null when the condition `agrees` holds, which must never be null itself.
pub fn unless(agrees: &str, column: &str) -> String {
    format!(
        "case when not ({agrees}) then format('{column} is %s, recomputed %s', \
         coalesce(actual.{column}::text, 'null'), coalesce(expected.{column}::text, 'null')) end"
    )
}

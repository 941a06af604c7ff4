//! A comparison as SQL: what is expected beside what is there, and the differences as text. `citytide verify` runs
//! them; a live view that is new in a database is filled with what its own comparison expects.

use citytide_domain::Domain;
use tokio_postgres::GenericClient;

use crate::postgres::DatabaseError;

/// How many differences are listed, over all checks; all are counted.
pub const SHOWN_MAX: usize = 100;

/// The state of the database that is compared: as of which commit.
#[derive(Debug, Clone, Copy)]
pub struct AsOf {
    /// The newest commit.
    pub epoch: Option<i64>,
    /// W, microseconds.
    pub watermark_us: Option<i64>,
    /// The retention horizon; 0 when nothing lies behind it.
    pub horizon: i64,
}

impl AsOf {
    /// Reads it.
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

    /// W as SQL, null before the first reading.
    pub fn watermark(&self) -> String {
        self.watermark_us.map_or("null::timestamptz".to_owned(), at)
    }

    /// W less the retention of windows as SQL, when there are both: what starts earlier may be deleted.
    pub fn kept_from(&self, domain: &Domain) -> Option<String> {
        Some(at(self.watermark_us? - domain.retention.windows_us?))
    }
}

/// A time as SQL.
fn at(us: i64) -> String {
    format!("(timestamptz 'epoch' + {})", interval(us))
}

/// A duration as SQL.
pub fn interval(us: i64) -> String {
    format!("interval '{us} microseconds'")
}

/// What came of one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was compared, a table as a rule.
    pub name: String,
    /// What its rows are, in the plural.
    pub rows: &'static str,
    /// How many were compared.
    pub compared: u64,
    /// How many of them differ.
    pub differing: u64,
    /// The first of these: which row, and below it what differs, a line per column.
    pub shown: Vec<String>,
    /// Why some rows, or all, could not be compared.
    pub not_compared: Option<String>,
}

/// Two ways to say the same rows, and where they differ.
#[derive(Debug)]
pub struct Comparison {
    /// What is compared.
    pub name: String,
    /// What its rows are, in the plural.
    pub rows: &'static str,
    /// Common table expressions before the comparison, without `with`; may be empty. A live view's last one is
    /// `expected`, with every column of its table.
    pub given: String,
    /// A query of (`place text`, `difference text`) with a row for each compared one; no difference is '' or null.
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

    /// Compares.
    ///
    /// # Errors
    ///
    /// When the server fails. A difference is no error.
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

/// The differences of a row, as SQL: `actual` and `expected` are its two sides, `there` a column that is never null.
pub fn differences(there: &str, columns: &[String]) -> String {
    format!(
        "case when actual.{there} is null then 'missing' when expected.{there} is null then 'unexpected'\n    \
         else concat_ws(E'\\n',\n      {}) end",
        columns.join(",\n      ")
    )
}

/// A column that must be exactly as expected: SQL of the difference, null when there is none.
pub fn exactly(column: &str) -> String {
    unless(&format!("actual.{column} is not distinct from expected.{column}"), column)
}

/// A column that must be as expected within 10⁻⁹ of the greatest of both and `expected.<scale>`, which covers the
/// rounding of SQL's own sum.
pub fn nearly(column: &str, scale: &str) -> String {
    let agrees = format!(
        "coalesce(abs(actual.{column} - expected.{column}) <= 1e-9 * greatest(abs(actual.{column}), \
         abs(expected.{column}), expected.{scale}), actual.{column} is null and expected.{column} is null)"
    );
    unless(&agrees, column)
}

/// SQL of a column's difference, unless a condition (never null) holds.
pub fn unless(agrees: &str, column: &str) -> String {
    format!(
        "case when not ({agrees}) then format('{column} is %s, recomputed %s', \
         coalesce(actual.{column}::text, 'null'), coalesce(expected.{column}::text, 'null')) end"
    )
}

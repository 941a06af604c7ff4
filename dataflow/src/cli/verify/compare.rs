//! A comparison as SQL: what is expected beside what is there, and the differences as text.

use citytide_domain::Domain;
use citytide_store::postgres::DatabaseError;
use tokio_postgres::Transaction;

use super::report::{Check, SHOWN_MAX};
use super::{ledger, live, windows};

/// A grid of times is counted from here, a hundred years before the Unix epoch or less: `date_bin` rounds times
/// before its origin the wrong way on some servers.
const ORIGIN_US: i64 = 3_155_760_000_000_000;

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
    pub async fn read(transaction: &Transaction<'_>) -> Result<AsOf, DatabaseError> {
        let row = transaction
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

    /// Every comparison for a domain.
    pub fn comparisons(&self, domain: &Domain) -> Vec<Comparison> {
        let windows = domain.windows.iter().map(|window| windows::window(self, domain, window));
        let mut comparisons: Vec<Comparison> = windows.collect();
        comparisons.push(windows::panes(self, domain));
        comparisons.push(ledger::conservation(self));
        comparisons.push(ledger::chain());
        comparisons.push(live::hot_sensors(self, domain));
        comparisons.push(live::zone_status(self, domain));
        comparisons
    }

    /// W as SQL, null before the first reading.
    pub fn watermark(&self) -> String {
        self.watermark_us.map_or("null::timestamptz".to_owned(), at)
    }

    /// W less the retention of windows as SQL, when there are both: what starts earlier may be deleted.
    pub fn kept_from(&self, domain: &Domain) -> Option<String> {
        Some(at(self.watermark_us? - domain.retention.windows_us?))
    }

    /// The start of the five minutes before W, as SQL.
    pub fn recent_from(&self) -> String {
        format!("({} - interval '5 minutes')", self.watermark())
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

/// `recorded_at` on the grid of multiples of `step_us`, as SQL.
pub fn on_grid(step_us: i64) -> String {
    let origin_us = ORIGIN_US - ORIGIN_US % step_us;
    format!("date_bin({}, recorded_at, timestamptz 'epoch' - {})", interval(step_us), interval(origin_us))
}

/// Two ways to say the same rows, and where they differ.
#[derive(Debug)]
pub struct Comparison {
    /// What is compared.
    pub name: String,
    /// What its rows are, in the plural.
    pub rows: &'static str,
    /// Common table expressions before the comparison, without `with`; may be empty.
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
    pub async fn run(&self, transaction: &Transaction<'_>) -> Result<Check, DatabaseError> {
        let row = transaction
            .query_one(&self.sql(), &[])
            .await
            .map_err(|error| DatabaseError::statement(format!("recomputing {}", self.name), &error))?;
        Ok(Check {
            name: self.name.clone(),
            rows: self.rows,
            compared: row.get::<_, i64>(0) as u64,
            differing: row.get::<_, i64>(1) as u64,
            shown: row.get::<_, Option<Vec<String>>>(2).unwrap_or_default(),
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

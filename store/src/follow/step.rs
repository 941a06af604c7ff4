//! Reads one step: the new rows of one snapshot, in pages.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Portal, Transaction};

use super::letter::{self, DeadLetter, PAGE_LETTERS_MAX};
use super::reading::{Reading, query, reading, reasons_filter};
use super::tables::{Columns, Followed};
use super::{FollowError, Position, STEP_COMMITS_MAX, Want, Wanted, failed};
use crate::postgres::DatabaseError;
use crate::row::{Row, Value};
use crate::time::{Timestamp, micros};

/// A deleted row.
#[derive(Debug, Clone, PartialEq)]
pub struct Deleted {
    pub table: String,
    /// Its key, from `changes.key`.
    pub key: serde_json::Value,
}

/// At most [`Want::page_rows`] rows of one kind.
#[derive(Debug)]
pub enum Page {
    Deleted(Vec<Deleted>),
    /// New or changed rows, to upsert by key.
    Rows(Arc<Followed>, Vec<Row>),
    Readings(Vec<Reading>),
    DeadLetters(Vec<DeadLetter>),
}

/// A part of a step that is still to be read.
enum Part {
    Deleted,
    Rows(Arc<Followed>),
    Readings,
    DeadLetters,
}

/// A step with its open transaction. If it is dropped before [`Step::finish`], the next step repeats it.
pub struct Step<'a> {
    transaction: Transaction<'a>,
    want: &'a Want,
    columns: &'a Columns,
    position: &'a mut Position,
    bounds: Bounds,
    parts: VecDeque<Part>,
    open: Option<(Part, Portal)>,
}

/// The epochs of a step.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The readings: epochs in (above, until].
    above: i64,
    until: i64,
    /// The newest committed epoch, as of which the tables are read.
    newest: i64,
    /// The start of the earliest new or changed window, microseconds; `None` when there is none.
    windows_from_us: Option<i64>,
}

impl<'a> Step<'a> {
    pub(super) async fn begin(
        transaction: Transaction<'a>,
        want: &'a Want,
        columns: &'a Columns,
        position: &'a mut Position,
    ) -> Result<Option<Step<'a>>, FollowError> {
        let Some(bounds) = Bounds::read(&transaction, want, columns, position).await? else {
            transaction.rollback().await.map_err(failed("ending a look at what is new"))?;
            return Ok(None);
        };
        let mut parts = VecDeque::new();
        if position.tables != Some(bounds.newest) {
            if want.deletions && columns.has_changes && position.tables.is_some() {
                parts.push_back(Part::Deleted);
            }
            let may_have_changed = |table: &&Arc<Followed>| {
                !table.is_window || position.tables.is_none() || bounds.windows_from_us.is_some()
            };
            parts.extend(columns.tables.iter().filter(may_have_changed).cloned().map(Part::Rows));
        }
        if want.readings != Wanted::None {
            parts.push_back(Part::Readings);
        }
        if want.dead_letters {
            parts.push_back(Part::DeadLetters);
        }
        Ok(Some(Step { transaction, want, columns, position, bounds, parts, open: None }))
    }

    /// The position after this step: the highest epoch of its readings.
    pub fn epoch(&self) -> i64 {
        self.bounds.until
    }

    /// The epoch as of which the tables' rows are read: the newest committed one.
    pub fn tables_epoch(&self) -> i64 {
        self.bounds.newest
    }

    /// Whether the readings reach the epoch of the tables. After such a step a copy equals the database at that epoch.
    pub fn is_current(&self) -> bool {
        self.bounds.until == self.bounds.newest
    }

    /// Reads the next page; `None` at the end of the step.
    pub async fn page(&mut self) -> Result<Option<Page>, FollowError> {
        loop {
            if self.open.is_none() {
                let Some(part) = self.parts.pop_front() else { return Ok(None) };
                let portal = self.portal(&part).await.map_err(failed(format!("querying {}", part.what())))?;
                self.open = Some((part, portal));
            }
            let (part, portal) = self.open.as_ref().expect("opened above");
            let rows_max = match part {
                Part::DeadLetters => self.want.page_rows.min(PAGE_LETTERS_MAX),
                _ => self.want.page_rows,
            };
            let rows = self.transaction.query_portal(portal, rows_max).await;
            let rows = rows.map_err(failed(format!("reading {}", part.what())))?;
            let is_last = rows.len() < rows_max as usize;
            let page = (!rows.is_empty()).then(|| part.page(&rows, self.columns.metrics.len()));
            if is_last {
                self.open = None;
            }
            if page.is_some() {
                return Ok(page);
            }
        }
    }

    /// Ends the step, so that the next one continues after it. Returns the position to store, after or together with
    /// the rows.
    ///
    /// # Panics
    ///
    /// When pages are left.
    pub async fn finish(self) -> Result<i64, FollowError> {
        assert!(self.parts.is_empty() && self.open.is_none(), "a step is finished after its last page");
        self.transaction.rollback().await.map_err(failed("ending a look at what is new"))?;
        *self.position = Position { readings: Some(self.bounds.until), tables: Some(self.bounds.newest) };
        Ok(self.bounds.until)
    }

    async fn portal(&self, part: &Part) -> Result<Portal, tokio_postgres::Error> {
        let Bounds { above, until, newest, windows_from_us } = self.bounds;
        let from = windows_from_us.map(Timestamp);
        let since = self.position.tables;
        let followed: Vec<&str> = self.columns.tables.iter().map(|table| table.name.as_str()).collect();
        let metric = reasons_filter(&self.want.only);
        let (sql, arguments): (String, Vec<&(dyn ToSql + Sync)>) = match part {
            Part::Deleted => {
                let sql = "select table_name, key::text from changes \
                           where epoch > $1 and epoch <= $2 and table_name = any ($3) order by epoch";
                (sql.to_owned(), vec![&since, &newest, &followed])
            }
            Part::Rows(table) => match since {
                None => (table.all(), vec![]),
                Some(_) if table.is_window => (table.since(), vec![&since, &from]),
                Some(_) => (table.since(), vec![&since]),
            },
            Part::Readings => {
                let only = &self.want.only;
                let sql = query(&self.columns.metrics, self.want.readings, only);
                let mut arguments: Vec<&(dyn ToSql + Sync)> =
                    vec![&above, &until, &only.zones, &only.sensors];
                if metric.is_some() {
                    arguments.push(&metric);
                }
                (sql, arguments)
            }
            Part::DeadLetters => (letter::query(), vec![&above, &until]),
        };
        let statement = self.transaction.prepare(&sql).await?;
        self.transaction.bind(&statement, &arguments).await
    }
}

impl Part {
    fn what(&self) -> &str {
        match self {
            Part::Deleted => "changes",
            Part::Rows(table) => &table.name,
            Part::Readings => "sensor_data",
            Part::DeadLetters => "dead_letters",
        }
    }

    fn page(&self, rows: &[tokio_postgres::Row], metrics: usize) -> Page {
        let deleted = |row: &tokio_postgres::Row| Deleted {
            table: row.get(0),
            key: serde_json::from_str(row.get(1)).expect("the column is JSON"),
        };
        let values = |row: &tokio_postgres::Row| (0..row.len()).map(|column| row.get(column)).collect();
        match self {
            Part::Deleted => Page::Deleted(rows.iter().map(deleted).collect()),
            Part::Rows(table) => {
                Page::Rows(table.clone(), rows.iter().map(values).collect::<Vec<Vec<Value>>>())
            }
            Part::Readings => Page::Readings(rows.iter().map(|row| reading(row, metrics)).collect()),
            Part::DeadLetters => Page::DeadLetters(rows.iter().map(DeadLetter::of).collect()),
        }
    }
}

impl Bounds {
    /// Reads the bounds of the next step in the snapshot; `None` when nothing is new.
    async fn read(
        transaction: &Transaction<'_>,
        want: &Want,
        columns: &Columns,
        position: &Position,
    ) -> Result<Option<Bounds>, FollowError> {
        let attempted = "looking for commits above the follower's epoch";
        let ledger = "select coalesce((select max(epoch) from commits), 0), (select horizon_epoch from citytide_database)";
        let row = transaction.query_one(ledger, &[]).await.map_err(failed(attempted))?;
        let (newest, horizon): (i64, i64) = (row.get(0), row.get(1));
        let above = position.readings.unwrap_or(horizon);
        if above > newest {
            return Err(FollowError::Ahead { epoch: above, newest });
        }
        if above < horizon {
            let readings_gone = count_hidden(transaction, horizon).await?;
            return Err(FollowError::BehindHorizon { epoch: above, horizon, readings_gone });
        }
        if position.readings == Some(newest) || newest == 0 {
            return Ok(None);
        }
        let until = match want.readings {
            Wanted::None if !want.dead_letters => newest,
            // As many of the next commits as have at most `step_readings_max` readings together; at least one.
            _ => {
                let sql = "select max(epoch) from ( \
                               select epoch, sum(readings) over (order by epoch) as readings, row_number() over (order by epoch) as number \
                               from (select epoch, readings from commits where epoch > $1 order by epoch limit $3) as next \
                           ) as next where readings <= $2::bigint or number = 1";
                let bound = [&above as &(dyn ToSql + Sync), &want.step_readings_max, &STEP_COMMITS_MAX];
                let row = transaction.query_one(sql, &bound).await.map_err(failed(attempted))?;
                // All remaining commits may be below the horizon: then the step has tables but no readings.
                row.get::<_, Option<i64>>(0).unwrap_or(newest)
            }
        };
        let has_windows = columns.tables.iter().any(|table| table.is_window);
        let windows_from_us = match position.tables {
            Some(tables) if has_windows => {
                let sql = "select min(windows_from) from commits where epoch > $1";
                let row = transaction.query_one(sql, &[&tables]).await.map_err(failed(attempted))?;
                micros(&row, 0)
            }
            _ => None,
        };
        Ok(Some(Bounds { above, until, newest, windows_from_us }))
    }
}

/// Counts the readings below the horizon: all readings less those of the commits above it.
async fn count_hidden(transaction: &Transaction<'_>, horizon: i64) -> Result<i64, DatabaseError> {
    let sql = "select (coalesce((select sum(accepted + late) from ingest_progress), 0) \
                       - coalesce((select sum(readings) from commits where epoch > $1), 0))::bigint";
    let row = transaction.query_one(sql, &[&horizon]).await;
    Ok(row.map_err(failed("counting the readings below the horizon"))?.get(0))
}

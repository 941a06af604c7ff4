//! Follows the committed epochs: reads the rows that are new since an epoch, in pages of bounded size.
//!
//! ```text
//!  commits     ──●────●────●────●────●   newest committed epoch c
//!                e                   │
//!  readings      └── (e, c'] ──┐     │   c' = c, or less when more than step_readings_max readings are new
//!  tables        (t, c] ───────┼─────┘   rows as they are at c; t ≥ e
//!                              ▼
//!  a step: deletions, rows of tables, readings ─▶ the consumer ─▶ finish ─▶ position c'
//! ```
//!
//! A step reads one snapshot (REPEATABLE READ, read only), so its rows are consistent. The consumer reads the pages and
//! stores the position that [`Step::finish`] returns, with the rows or after them, in a place of its choice:
//! [`crate::followers::advance`] stores it in this database.
//!
//! Invariants:
//! 1. a step returns every committed reading above the position, in the order (epoch, partition, offset), then the
//!    dead letters of the same epochs in the same order;
//! 2. in every step the tables are at the newest committed epoch. Behind a backlog the readings may be at an older one;
//!    if [`Step::is_current`], they are not, and a copy by key equals the database at that epoch;
//! 3. no table row below the position of the readings is ever left out. So a consumer stores a single epoch; if it
//!    fails inside a step, or before it has stored the position, it repeats the step: it reads some rows twice, with
//!    the same keys, and misses none;
//! 4. deletions come first: for a key that was deleted and written again, the deletion and then the row;
//! 5. a page bounds the memory, a step bounds the server's transaction; a step never splits a commit.
//!
//! Windows that retention removes are returned as deletions; readings that retention hides are not. After a change of
//! the domain's metrics or views, open a new `Follow`.

mod letter;
mod notice;
mod reading;
mod step;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Client, IsolationLevel};

use crate::postgres::{Database, DatabaseError};

pub use letter::{COLUMNS as LETTER_COLUMNS, DeadLetter};
pub use notice::{CHANNEL, NOTIFY, Notice, Notices, payload};
pub use reading::Reading;
pub use step::{Deleted, Page, Step};
pub use tables::Followed;

use tables::Columns;

/// Default number of rows per page.
pub const PAGE_ROWS: i32 = 5_000;
/// Default maximum of readings per step; a step has at least one commit.
pub const STEP_READINGS_MAX: i64 = 200_000;
/// Maximum number of commits per step.
pub(crate) const STEP_COMMITS_MAX: i64 = 10_000;

/// Which readings a step returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    All,
    Anomalies,
    Late,
    /// Readings that are anomalous or late.
    AnomaliesAndLate,
    None,
}

/// Filters the readings on the server. An empty or `None` field does not filter.
#[derive(Debug, Clone, Default)]
pub struct Only {
    pub zones: Vec<String>,
    pub sensors: Vec<String>,
    /// Readings with a value of this metric or a reason that names it; of anomalies, those with such a reason.
    pub metric: Option<String>,
}

/// What a step returns.
#[derive(Debug, Clone)]
pub struct Want {
    pub readings: Wanted,
    pub only: Only,
    /// Records that could not be decoded.
    pub dead_letters: bool,
    /// Rows of the domain's window tables.
    pub windows: bool,
    /// Rows of the live views, that is, of every other table with a column `epoch`.
    pub views: bool,
    /// Restricts `views` to these names; empty for all.
    pub only_views: Vec<String>,
    /// Keys of rows that were deleted from these tables.
    pub deletions: bool,
    /// Maximum number of rows per page.
    pub page_rows: i32,
    /// Maximum number of readings per step; a single commit may have more.
    pub step_readings_max: i64,
}

impl Default for Want {
    /// Everything except dead letters.
    fn default() -> Want {
        Want {
            readings: Wanted::All,
            only: Only::default(),
            dead_letters: false,
            windows: true,
            views: true,
            only_views: Vec::new(),
            deletions: true,
            page_rows: PAGE_ROWS,
            step_readings_max: STEP_READINGS_MAX,
        }
    }
}

/// Where a follower starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After an epoch that the consumer has read completely; 0 for the first one.
    Above(i64),
    /// With every row of the tables and every reading that retention has left, for a consumer without a copy.
    Everything,
}

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error(
        "cannot follow from epoch {epoch}: retention has removed the readings up to epoch {horizon}, at most \
         {readings_gone} of them after epoch {epoch}; start from {horizon} without them, or empty the copy and start \
         with everything that is left"
    )]
    BehindHorizon { epoch: i64, horizon: i64, readings_gone: i64 },
    #[error(
        "cannot follow from epoch {epoch}: the newest commit of this database is {newest}, so the position belongs to \
         another database, or this one was restored from an older backup; empty the copy and start with everything"
    )]
    Ahead { epoch: i64, newest: i64 },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The position of a follower; see invariant 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// All readings up to this epoch were returned; `None` to start at the horizon.
    readings: Option<i64>,
    /// All changes of the tables up to this epoch were returned; `None` to return all rows. Never stored.
    tables: Option<i64>,
}

/// A database session that follows the committed epochs.
pub struct Follow {
    client: Client,
    notices: Arc<Notices>,
    want: Want,
    position: Position,
    columns: Columns,
}

impl Follow {
    /// Opens a session named `application_name` in `pg_stat_activity`.
    pub async fn open(
        database: &Database,
        application_name: &str,
        start: Start,
        want: Want,
    ) -> Result<Follow, FollowError> {
        let (client, notices) = database.connect_listening(application_name).await?;
        // Plans made for the actual epochs prune partitions and estimate ranges; generic plans cannot.
        let set = format!("listen {CHANNEL}; set plan_cache_mode = force_custom_plan");
        client.batch_execute(&set).await.map_err(failed("setting up the session of a follower"))?;
        let columns = Columns::read(&client, &want).await?;
        let position = match start {
            Start::Above(epoch) => Position { readings: Some(epoch), tables: (epoch > 0).then_some(epoch) },
            Start::Everything => Position { readings: None, tables: None },
        };
        Ok(Follow { client, notices, want, position, columns })
    }

    /// The names of the metrics, in the order of [`Reading::values`].
    pub fn metrics(&self) -> &[String] {
        &self.columns.metrics
    }

    /// The tables whose rows are returned.
    pub fn tables(&self) -> &[Arc<Followed>] {
        &self.columns.tables
    }

    /// Begins the next step; `None` when nothing is new.
    pub async fn step(&mut self) -> Result<Option<Step<'_>>, FollowError> {
        let Follow { client, want, position, columns, .. } = self;
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await
            .map_err(failed("beginning to read what is new"))?;
        Step::begin(transaction, want, columns, position).await
    }

    /// Waits until a commit notifies or `patience` ends; returns the notifications since the last call, merged. Call
    /// [`Follow::step`] in either case: a notification can be missed.
    pub async fn wait(&self, patience: Duration) -> Option<Notice> {
        self.notices.wait(patience).await
    }
}

fn failed(attempted: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

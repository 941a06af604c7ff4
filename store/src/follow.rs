//! Follows the committed epochs: what is new in the database since an epoch, in pages of bounded size.
//!
//! ```text
//!  commits     ──●────●────●────●────●   newest committed epoch c
//!                e                   │
//!  readings      └── (e, c'] ──┐     │   c' = c, unless more than step_readings_max wait
//!  tables        (t, c] ───────┼─────┘   rows as they are at c; t ≥ e
//!                              ▼
//!  a step: deletions, rows of tables, readings ─▶ the consumer ─▶ finish ─▶ position c'
//! ```
//!
//! A step reads one snapshot (REPEATABLE READ, read only), so everything in it belongs together. The consumer takes its
//! pages, and stores the position that [`Step::finish`] returns with them, or after them, wherever it likes:
//! [`crate::followers::advance`] keeps it in this database.
//!
//! Invariants:
//! 1. readings come in the order of (epoch, partition, offset), and every committed one above the position comes; dead
//!    letters of the same epochs follow the step's readings, in the same order;
//! 2. the tables are at the newest committed epoch in every step. Readings may be behind them, when many wait:
//!    [`Step::is_current`] says whether they are not. Then a copy by key equals the database at that epoch;
//! 3. rows of tables were never left out below the position of the readings. So one epoch is all that a consumer
//!    stores, and a consumer that dies inside a step, or before it has stored the position, begins the step again: it
//!    sees rows twice, with the same keys, and misses none;
//! 4. deletions come first: a key that was deleted and written again comes as both, in this order;
//! 5. memory is bounded by a page, the server's transaction by a step; a single commit is never divided into steps.
//!
//! Windows that retention removes come as deletions; readings that go behind the horizon do not. A change of the
//! domain's metrics or views needs a new `Follow`.

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

/// Rows of a page, unless the consumer wants another number.
pub const PAGE_ROWS: i32 = 5_000;
/// Readings of a step, unless the consumer wants another number; a step has one commit at least.
pub const STEP_READINGS_MAX: i64 = 200_000;
/// Commits that one step passes at most.
pub(crate) const STEP_COMMITS_MAX: i64 = 10_000;

/// Which readings are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    All,
    Anomalies,
    Late,
    /// Those that are one or the other.
    AnomaliesAndLate,
    None,
}

/// Restricts the wanted readings; what is empty or `None` restricts nothing. The server sorts out, so that the rest is not
/// sent.
#[derive(Debug, Clone, Default)]
pub struct Only {
    pub zones: Vec<String>,
    pub sensors: Vec<String>,
    /// With a value of this metric, or a reason that names it; of anomalies, with such a reason.
    pub metric: Option<String>,
}

/// What a consumer wants to see.
#[derive(Debug, Clone)]
pub struct Want {
    pub readings: Wanted,
    pub only: Only,
    /// Records that are no readings.
    pub dead_letters: bool,
    /// The tables of the domain's windows.
    pub windows: bool,
    /// Every other table whose rows carry the epoch that wrote them: the live views.
    pub views: bool,
    /// Of these the ones with these names alone; all of them when it is empty.
    pub only_views: Vec<String>,
    /// Rows that left these tables.
    pub deletions: bool,
    /// Rows of a page.
    pub page_rows: i32,
    /// Readings of a step; a single commit may have more.
    pub step_readings_max: i64,
}

impl Default for Want {
    /// Everything that is a reading or follows from one: all but dead letters.
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

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Above an epoch that was taken completely; 0 for the very beginning.
    Above(i64),
    /// With all that is there: every row of the tables and every reading that retention has left. For a consumer whose
    /// copy is empty.
    Everything,
}

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error(
        "cannot follow from epoch {epoch}: retention has removed the readings up to epoch {horizon}, {readings_gone} of \
         them at most after that epoch; start from {horizon} and do without them, or empty the copy and start with \
         everything that is left"
    )]
    BehindHorizon { epoch: i64, horizon: i64, readings_gone: i64 },
    #[error(
        "cannot follow from epoch {epoch}: the newest commit of this database is {newest}; the position is that of \
         another database, or of a state after the one that was restored: empty the copy and start with everything"
    )]
    Ahead { epoch: i64, newest: i64 },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Where a follower stands: see invariant 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// Every reading up to here was taken; `None`: begin at the horizon.
    readings: Option<i64>,
    /// Every change of the tables up to here was taken; `None`: take all rows. Known to this process alone.
    tables: Option<i64>,
}

/// A session that follows.
pub struct Follow {
    client: Client,
    notices: Arc<Notices>,
    want: Want,
    position: Position,
    columns: Columns,
}

impl Follow {
    /// Opens a session that calls itself `application_name`.
    pub async fn open(
        database: &Database,
        application_name: &str,
        start: Start,
        want: Want,
    ) -> Result<Follow, FollowError> {
        let (client, notices) = database.connect_listening(application_name).await?;
        // Plans for the epochs that are asked for, not for any: days are pruned and ranges estimated.
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

    /// The tables whose rows come.
    pub fn tables(&self) -> &[Arc<Followed>] {
        &self.columns.tables
    }

    /// What is new; `None` when nothing is.
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

    /// Waits until a commit notifies or `patience` ends; returns what was told since the last call. A notification is
    /// a reason to look, not the only one: look in any case.
    pub async fn wait(&self, patience: Duration) -> Option<Notice> {
        self.notices.wait(patience).await
    }
}

fn failed(attempted: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

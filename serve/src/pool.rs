//! A few sessions for requests. Each request reads one snapshot, within bounded time.

use std::sync::Mutex;
use std::time::Duration;

use axum::http::StatusCode;
use citytide_store::postgres::{Database, DatabaseError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::problem::Problem;

/// Sessions at most: what the page may ask of the server at once.
const SESSIONS_MAX: usize = 4;
/// How long a request waits for a session.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time limit of a statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);

/// The settings of a session of the page. Compiling a plan would take longer than most of its queries.
pub fn session_settings(statement_timeout: Duration) -> String {
    format!(
        "set statement_timeout = {}; set lock_timeout = '2s'; set jit = off; set plan_cache_mode = force_custom_plan",
        statement_timeout.as_millis()
    )
}

/// Opens sessions as they are needed, and keeps them.
pub struct Pool {
    database: Database,
    idle: Mutex<Vec<Client>>,
    permits: Semaphore,
}

/// A session that is in use. It goes back when [`Session::give_back`] is called; one that failed does not.
pub struct Session<'a> {
    pub client: Client,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub fn new(database: Database) -> Pool {
        Pool { database, idle: Mutex::default(), permits: Semaphore::new(SESSIONS_MAX) }
    }

    /// A session, as soon as there is one.
    pub async fn session(&self) -> Result<Session<'_>, Problem> {
        let permit = tokio::time::timeout(PATIENCE, self.permits.acquire()).await.map_err(|_| {
            let detail = format!("{SESSIONS_MAX} other requests are being answered; try again");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        let permit = permit.expect("never closed");
        let kept = loop {
            match self.idle.lock().expect("no holder panics").pop() {
                Some(client) if client.is_closed() => {}
                kept => break kept,
            }
        };
        let client = match kept {
            Some(client) => client,
            None => open(&self.database, "citytide:api").await?,
        };
        Ok(Session { client, pool: self, _permit: permit })
    }
}

impl Session<'_> {
    pub fn give_back(self) {
        self.pool.idle.lock().expect("no holder panics").push(self.client);
    }
}

/// Opens a session with bounds.
pub async fn open(database: &Database, name: &str) -> Result<Client, DatabaseError> {
    let client = database.connect(name).await?;
    let set = client.batch_execute(&session_settings(STATEMENT_TIMEOUT)).await;
    set.map_err(|error| DatabaseError::statement("setting up a session of the page", &error))?;
    Ok(client)
}

/// One state of the database for all that is asked of it.
pub async fn snapshot(client: &mut Client) -> Result<Transaction<'_>, DatabaseError> {
    let begun =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
    begun.await.map_err(|error| DatabaseError::statement("beginning a snapshot", &error))
}

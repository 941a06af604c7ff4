//! Runs the notifier: files notifications, and starts the tasks that deliver them.
//!
//! A lost session ends it. The caller starts it again, and it continues from the database.

use std::sync::Arc;
use std::time::Duration;

use citytide_store::clock::{instant, wall_ms};
use citytide_store::follow::CHANNEL;
use citytide_store::incidents::shown;
use citytide_store::notifications::{self, Candidates, Filing};
use citytide_store::postgres::{Database, DatabaseError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::decide::decide;
use crate::deliver::{Signal, deliver};
use crate::routes::Route;
use crate::send::{Sender, SenderError};

/// How often all open incidents are checked. Commits wake the notifier only for changes of incidents; this finds the
/// effects of users' actions and of time.
const CHECK_ALL_EVERY: Duration = Duration::from_secs(10);
/// How often a request to stop is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long messages that are being sent may take after a request to stop. Unfinished ones are sent again later.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often old notifications are deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// The table whose change wakes the notifier.
const TABLE: &str = "incident_transitions";

/// When the notifier ends.
pub struct Ends {
    /// Once all notifications are filed and delivered or given up.
    pub until_caught_up: bool,
    /// When this returns true; messages that are being sent are finished.
    pub stop: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Why the notifier failed.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error("another notifier uses this database, and there can be only one; stop it first")]
    Held,
    #[error(
        "this database has no notifications yet; citytide schema apply creates their tables, and so does the next start \
         of citytide run"
    )]
    NoTables,
    #[error("route {route}: {error}")]
    Route { route: String, error: SenderError },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Runs the notifier until it `ends`.
///
/// # Errors
///
/// See [`NotifyError`].
pub async fn run(database: &Database, routes: Vec<Route>, ends: &Ends) -> Result<(), NotifyError> {
    let (mut filing, notices) = database.connect_listening("citytide:notify").await?;
    if !are_kept(&filing).await? {
        return Err(NotifyError::NoTables);
    }
    if !notifications::try_lock(&filing).await? {
        return Err(NotifyError::Held);
    }
    let listen = format!("listen {CHANNEL}; set plan_cache_mode = force_custom_plan; set jit = off");
    filing.batch_execute(&listen).await.map_err(failed("setting up the session of the notifier"))?;
    let sending = Arc::new(database.connect("citytide:notify:outbox").await?);
    let candidates: Vec<Candidates> = routes.iter().map(Route::candidates).collect();
    let routes: Arc<[Route]> = routes.into();
    let (signal, _) = watch::channel(Signal::default());
    let mut tasks = JoinSet::new();
    for (at, route) in routes.iter().enumerate() {
        let sender =
            Sender::new(route).map_err(|error| NotifyError::Route { route: route.name.clone(), error })?;
        let (routes, client, signal) = (routes.clone(), sending.clone(), signal.subscribe());
        tasks.spawn(async move { deliver(&client, &routes[at], &sender, signal).await });
    }
    let mut pruned = None;
    let mut checked_all = None;
    loop {
        let now = instant();
        if pruned.is_none_or(|at| now.saturating_duration_since(at) >= PRUNE_EVERY) {
            let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
            notifications::prune(&filing, &names).await?;
            pruned = Some(now);
        }
        let all_open = checked_all.is_none_or(|at| now.saturating_duration_since(at) >= CHECK_ALL_EVERY);
        let is_current = file(&mut filing, &routes, &candidates, all_open, &signal).await?;
        if all_open {
            checked_all = Some(now);
        }
        if !is_current {
            continue;
        }
        if ends.until_caught_up {
            signal.send_modify(|signal| signal.is_all = true);
            break;
        }
        if !wait(&notices, ends, &mut tasks).await? {
            break;
        }
    }
    let mut stopped = None;
    loop {
        if (ends.stop)() && stopped.is_none() {
            signal.send_modify(|signal| signal.stop = true);
            stopped = Some(instant());
        }
        if stopped.is_some_and(|at| instant().saturating_duration_since(at) >= STOP_PATIENCE) {
            // Dropping the tasks ends them.
            return Ok(());
        }
        match tokio::time::timeout(POLL_INTERVAL, tasks.join_next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(ended)) => ended.expect("the tasks do not panic")?,
            Err(_) => {}
        }
    }
}

async fn are_kept(client: &Client) -> Result<bool, DatabaseError> {
    let sql = "select to_regclass('notification_failures') is not null";
    let row = client.query_one(sql, &[]).await.map_err(failed("looking for notifications"))?;
    Ok(row.get::<_, bool>(0) && shown::are_kept(client).await?)
}

/// Files the notifications of new changes. Returns whether there is no newer commit.
async fn file(
    client: &mut Client,
    routes: &[Route],
    candidates: &[Candidates],
    all_open: bool,
    signal: &watch::Sender<Signal>,
) -> Result<bool, DatabaseError> {
    let filing = Filing::read(client, candidates, all_open).await?;
    let now_ms = wall_ms();
    let mut filed = Vec::new();
    for route in routes {
        let position = filing.positions.get(&route.name).copied().unwrap_or(i64::MAX);
        for incident in &filing.incidents {
            let changes = filing.changes.get(&incident.incident_id).map_or(&[][..], Vec::as_slice);
            let new: Vec<_> = changes.iter().filter(|change| change.epoch > position).cloned().collect();
            let last = filing.last.get(&(route.name.clone(), incident.incident_id.clone()));
            filed.extend(decide(route, incident, &new, last, now_ms));
        }
    }
    let is_current = filing.is_current;
    filing.file(candidates, &filed).await?;
    if !filed.is_empty() {
        signal.send_modify(|signal| signal.filed += 1);
    }
    Ok(is_current)
}

/// Waits until incidents have changed or all are to be checked. Returns false when the notifier is to stop.
async fn wait(
    notices: &citytide_store::follow::Notices,
    ends: &Ends,
    tasks: &mut JoinSet<Result<(), DatabaseError>>,
) -> Result<bool, DatabaseError> {
    let began = instant();
    loop {
        if (ends.stop)() {
            return Ok(false);
        }
        // A task ends early only when its session is lost.
        if let Some(ended) = tasks.try_join_next() {
            ended.expect("the tasks do not panic")?;
        }
        let notice = notices.wait(POLL_INTERVAL).await;
        let has_changes =
            notice.is_some_and(|notice| notice.changed.is_none_or(|tables| tables.contains(TABLE)));
        if has_changes || instant().saturating_duration_since(began) >= CHECK_ALL_EVERY {
            return Ok(true);
        }
    }
}

fn failed(attempted: &str) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

//! One life of the notifier: files what is to be told, and has the routes deliver it.
//!
//! A lost session ends it, as everywhere: whoever runs it starts another life, which goes on from the database.

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

/// A commit notifies; without one that concerns incidents everything is looked at so often. What people do, and what
/// time brings, shows then.
const LOOK_AT_ALL: Duration = Duration::from_secs(10);
/// How soon a request to stop is noticed.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long what is being sent may take after a request to stop; after that it is sent again by the next life.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Time between two removals of what is old.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// The table whose change is a reason to look.
const TABLE: &str = "incident_transitions";

/// When a life ends.
pub struct Ends {
    /// Once everything is filed and delivered, or given up.
    pub until_caught_up: bool,
    /// When somebody asks for it: what is being sent is sent, nothing more.
    pub stop: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Why a life ended.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error("another program notifies from this database already; there can be one")]
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

/// Notifies until it is to end.
///
/// # Errors
///
/// When somebody else notifies, a route cannot be used, or the server fails.
pub async fn run(database: &Database, routes: Vec<Route>, ends: &Ends) -> Result<(), NotifyError> {
    let (mut filing, notices) = database.connect_listening("citytide:notify").await?;
    if !are_kept(&filing).await? {
        return Err(NotifyError::NoTables);
    }
    if !notifications::hold(&filing).await? {
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
        let (routes, client, told) = (routes.clone(), sending.clone(), signal.subscribe());
        tasks.spawn(async move { deliver(&client, &routes[at], &sender, told).await });
    }
    let mut pruned = None;
    let mut looked_at_all = None;
    loop {
        let now = instant();
        if pruned.is_none_or(|at| now.saturating_duration_since(at) >= PRUNE_EVERY) {
            let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
            notifications::prune(&filing, &names).await?;
            pruned = Some(now);
        }
        let looks_at_all = looked_at_all.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_AT_ALL);
        let is_current = file(&mut filing, &routes, &candidates, looks_at_all, &signal).await?;
        if looks_at_all {
            looked_at_all = Some(now);
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

/// Looks once, and files what is to be told; whether nothing newer is committed.
async fn file(
    client: &mut Client,
    routes: &[Route],
    candidates: &[Candidates],
    looks_at_all: bool,
    signal: &watch::Sender<Signal>,
) -> Result<bool, DatabaseError> {
    let filing = Filing::read(client, candidates, looks_at_all).await?;
    let now_ms = wall_ms();
    let mut filed = Vec::new();
    for route in routes {
        let place = filing.places.get(&route.name).copied().unwrap_or(i64::MAX);
        for incident in &filing.incidents {
            let seen = filing.changes.get(&incident.incident_id).map_or(&[][..], Vec::as_slice);
            let new: Vec<_> = seen.iter().filter(|change| change.epoch > place).cloned().collect();
            let told = filing.told.get(&(route.name.clone(), incident.incident_id.clone()));
            filed.extend(decide(route, incident, &new, told, now_ms));
        }
    }
    let is_current = filing.is_current;
    filing.file(candidates, &filed).await?;
    if !filed.is_empty() {
        signal.send_modify(|signal| signal.filed += 1);
    }
    Ok(is_current)
}

/// Waits for a reason to look: whether there is one, and this is not the end.
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
        // A task ends early only because its session is lost.
        if let Some(ended) = tasks.try_join_next() {
            ended.expect("the tasks do not panic")?;
        }
        let notice = notices.wait(POLL_INTERVAL).await;
        let concerns_us =
            notice.is_some_and(|notice| notice.changed.is_none_or(|tables| tables.contains(TABLE)));
        if concerns_us || instant().saturating_duration_since(began) >= LOOK_AT_ALL {
            return Ok(true);
        }
    }
}

fn failed(attempted: &str) -> impl FnOnce(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

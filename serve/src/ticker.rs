//! One snapshot per tick, shared by all that look: two hundred open pages cost the database what one does.
//!
//! ```text
//!  commit ─ NOTIFY ─▶ ticker ─ one snapshot ─▶ State (watch) ─┬─▶ stream of page 1
//!                       ▲ nobody looks: it sleeps             └─▶ stream of page 2 …
//! ```
//!
//! Invariants:
//! 1. a State is of one snapshot: every section in it is of the same epoch;
//! 2. a page that is slow finds the newest State when it comes back, and nothing waits for it;
//! 3. the server is asked at most once in [`TICK_MIN`], and not at all while nobody looks;
//! 4. a server that is away costs an attempt in [`RETRY`]; what was last read stays, and says as of when it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use citytide_domain::Domain;
use citytide_store::clock;
use citytide_store::follow::{CHANNEL, Notices};
use citytide_store::postgres::{Database, DatabaseError};
use tokio::sync::{Notify, watch};
use tokio_postgres::Client;

use crate::metrics::Metrics;
use crate::now::{self, Kept, failed};
use crate::pool::{session_settings, snapshot};

/// Time between two snapshots at least.
const TICK_MIN: Duration = Duration::from_secs(1);
/// How long a snapshot may be without a successor: the clock goes on where nothing is committed.
const TICK_MAX: Duration = Duration::from_secs(2);
/// Time between two attempts to reach a server that is away.
const RETRY: Duration = Duration::from_secs(3);
/// Time limit of a tick's statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// A section of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The tick that last changed it.
    pub changed: u64,
    /// Its JSON.
    pub json: Arc<str>,
}

/// What the page shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Counts from 1; 0: nothing was read yet.
    pub tick: u64,
    pub as_of: i64,
    pub sections: BTreeMap<&'static str, Section>,
}

impl State {
    /// The state after this one: what has not changed keeps its tick.
    fn next(&self, as_of: i64, read: now::Sections) -> State {
        let tick = self.tick + 1;
        let mut sections = self.sections.clone();
        for (name, json) in read {
            if sections.get(name).is_none_or(|before| *before.json != *json) {
                sections.insert(name, Section { changed: tick, json: json.into() });
            }
        }
        State { tick, as_of, sections }
    }
}

/// Where pages look.
#[derive(Clone)]
pub struct Ticks {
    states: watch::Sender<Arc<State>>,
    looked: Arc<Notify>,
}

impl Ticks {
    /// Begins to look; wakes the ticker when nobody did before.
    pub fn look(&self) -> watch::Receiver<Arc<State>> {
        let states = self.states.subscribe();
        self.looked.notify_one();
        states
    }

    /// Who looks.
    pub fn lookers(&self) -> usize {
        self.states.receiver_count()
    }

    /// Waits for somebody who looks.
    async fn wanted(&self) {
        while self.lookers() == 0 {
            self.looked.notified().await;
        }
    }
}

/// Starts the ticker on the current runtime.
pub fn start(database: Database, domain: Arc<Domain>, metrics: Arc<Metrics>) -> Ticks {
    let ticks = Ticks { states: watch::Sender::new(Arc::default()), looked: Arc::default() };
    let told = ticks.clone();
    tokio::spawn(async move {
        let mut kept = Kept::default();
        loop {
            told.wanted().await;
            let Err(error) = follow(&database, &domain, &told, &mut kept, &metrics).await;
            metrics.away();
            tracing::warn!("the page cannot read the database: {error}");
            let state = told.states.borrow().clone();
            let away = serde_json::json!({
                "since_ms": metrics.away_since_ms(),
                "reason": error.to_string(),
                "retry_s": RETRY.as_secs(),
            });
            let next = state.next(state.as_of, BTreeMap::from([("away", away.to_string())]));
            told.states.send_replace(Arc::new(next));
            tokio::time::sleep(RETRY).await;
        }
    });
    ticks
}

/// Reads a snapshot per tick, until the server fails.
async fn follow(
    database: &Database,
    domain: &Domain,
    ticks: &Ticks,
    kept: &mut Kept,
    metrics: &Metrics,
) -> Result<std::convert::Infallible, DatabaseError> {
    let (mut client, notices) = open(database).await?;
    loop {
        let begun = clock::instant();
        let (as_of, mut sections) = tick(&mut client, domain, kept).await?;
        metrics.ticked(begun.elapsed());
        sections.insert("away", "null".to_owned());
        let next = ticks.states.borrow().next(as_of, sections);
        ticks.states.send_replace(Arc::new(next));
        ticks.wanted().await;
        let left = TICK_MIN.saturating_sub(begun.elapsed());
        tokio::time::sleep(left).await;
        notices.wait(TICK_MAX - TICK_MIN).await;
    }
}

async fn open(database: &Database) -> Result<(Client, Arc<Notices>), DatabaseError> {
    let (client, notices) = database.connect_listening("citytide:page").await?;
    let settings = session_settings(STATEMENT_TIMEOUT);
    let set = client.batch_execute(&format!("{settings}; listen {CHANNEL}")).await;
    set.map_err(failed("setting up the session of the page"))?;
    Ok((client, notices))
}

async fn tick(
    client: &mut Client,
    domain: &Domain,
    kept: &mut Kept,
) -> Result<(i64, now::Sections), DatabaseError> {
    let snapshot = snapshot(client).await?;
    let read = now::read(&snapshot, domain, kept).await?;
    snapshot.commit().await.map_err(failed("ending a snapshot"))?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_that_stays_the_same_keeps_its_tick() {
        let read = |status: &str, zones: &str| {
            BTreeMap::from([("status", status.to_owned()), ("zones", zones.to_owned())])
        };
        let first = State::default().next(50, read("1", "a"));
        let second = first.next(100, read("2", "a"));
        assert_eq!((second.tick, second.as_of), (2, 100));
        assert_eq!((second.sections["status"].changed, second.sections["zones"].changed), (2, 1));
    }
}

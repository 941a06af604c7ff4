//! The commit: one transaction per plan, on the session that took the run over.
//!
//! ```text
//!  begin · fence ─▶ commits (epoch, previous) · windows · panes · progress · zones · views · models ─▶ commit ─▶ acknowledge
//! ```
//!
//! Invariants:
//! 1. the session is older than every COPY of the run and is never opened again: the synchronous commit here makes
//!    the asynchronous ones of the raw rows durable, unless the server restarts in between;
//! 2. the transaction takes the fence first; every plan names its predecessor, which is unique, so that no two
//!    runs can both follow the same epoch;
//! 3. a plan is acknowledged after its COMMIT was answered. No statement is repeated.

use std::sync::Arc;
use std::time::Duration;

use citytide_domain::Domain;
use citytide_store::clock;
use citytide_store::follow::{NOTIFY, payload};
use citytide_store::postgres::DatabaseError;
use citytide_store::schema::Table;
use citytide_store::session::{OnFailure, Session, Wake};
use citytide_store::time::Timestamp;
use crossbeam_channel::Sender;
use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::faults::{FailAt, Point, pass};
use super::plan::Plan;
use super::statements::{self, Arrays};

/// What the committer needs to know.
#[derive(Clone)]
pub struct CommitterSettings {
    pub domain: Arc<Domain>,
    /// The tables of the live views, in the order of the plan's.
    pub live: Arc<[Table]>,
    /// The run that the fence knows.
    pub run_id: i64,
    /// The epoch that this run goes on from; 0 when there is none.
    pub committed_epoch: i64,
    /// What `ingest_progress.source` calls a partition.
    pub partition_name: Arc<dyn Fn(i32) -> String + Send + Sync>,
    /// Where to die, in tests.
    pub fail_at: Option<FailAt>,
}

/// What a transaction has committed.
pub struct Committed {
    pub epoch: u64,
    /// The plan itself, for those who tell of it.
    pub plan: Plan,
    /// How long the transaction took.
    pub took: Duration,
}

struct Prepared {
    commit: Statement,
    /// By window: the table, and its upsert.
    windows: Vec<(String, Statement)>,
    panes: Statement,
    progress: Statement,
    zones: Statement,
    usual_ranges: Statement,
    views: Vec<PreparedView>,
    lifts: Statement,
    judges: Statement,
    promotions: Statement,
    model_changes: Statement,
    models: Statement,
    requests: Statement,
    disagreements: Statement,
    notify: Statement,
}

struct PreparedView {
    table: String,
    delete: Statement,
    upsert: Statement,
}

const INSERT_COMMIT: &str = "insert into commits (epoch, previous_epoch, run_id, committed_at, watermark, readings, \
     windows_from) values ($1, $2, $3, now(), $4, $5, $6)";

/// Starts the committing session on an open connection, the one that took the run over. `client` must be driven by
/// `runtime`.
pub fn spawn(
    client: Client,
    runtime: tokio::runtime::Runtime,
    settings: CommitterSettings,
    committed: Sender<Committed>,
    wake: Wake,
    on_failure: OnFailure,
) -> Session<Plan> {
    Session::spawn_on(runtime, "commit".to_owned(), on_failure, async move |mut plans| {
        let mut committer = Committer::open(client, settings).await?;
        while let Some(plan) = plans.recv().await {
            let began = clock::instant();
            committer.commit(&plan).await?;
            let took = clock::instant().saturating_duration_since(began);
            let _ = committed.send(Committed { epoch: plan.epoch, plan, took });
            wake();
        }
        Ok(())
    })
}

async fn prepare(client: &Client, domain: &Domain, live: &[Table]) -> Result<Prepared, DatabaseError> {
    let prepare = async |sql: String| {
        let statement = client.prepare(&sql).await;
        statement.map_err(|error| DatabaseError::statement("preparing the commit", &error))
    };
    let mut windows = Vec::new();
    for (index, window) in domain.windows.iter().enumerate() {
        windows.push((window.table(), prepare(statements::upsert_window(domain, index)).await?));
    }
    let mut views = Vec::new();
    for table in live {
        views.push(PreparedView {
            delete: prepare(statements::delete_from_view(table)).await?,
            upsert: prepare(statements::upsert_view(table)).await?,
            table: table.name.clone(),
        });
    }
    Ok(Prepared {
        commit: prepare(INSERT_COMMIT.to_owned()).await?,
        windows,
        panes: prepare(statements::upsert_panes(domain)).await?,
        progress: prepare(statements::upsert_progress()).await?,
        zones: prepare(statements::INSERT_ZONES.to_owned()).await?,
        usual_ranges: prepare(statements::INSERT_USUAL_RANGES.to_owned()).await?,
        views,
        lifts: prepare(statements::UPSERT_LIFTS.to_owned()).await?,
        judges: prepare(statements::INSERT_JUDGES.to_owned()).await?,
        promotions: prepare(statements::INSERT_PROMOTIONS.to_owned()).await?,
        model_changes: prepare(statements::INSERT_MODEL_CHANGES.to_owned()).await?,
        models: prepare(statements::UPDATE_MODELS.to_owned()).await?,
        requests: prepare(statements::DELETE_REQUESTS.to_owned()).await?,
        disagreements: prepare(statements::ADD_DISAGREEMENTS.to_owned()).await?,
        notify: prepare(NOTIFY.to_owned()).await?,
    })
}

/// The session that commits, and what it has prepared.
pub struct Committer {
    pub client: Client,
    prepared: Prepared,
    settings: CommitterSettings,
    /// The epoch of the last commit.
    previous: i64,
    /// Whether the metrics' usual ranges are noted: the first commit of a run does it.
    has_noted_ranges: bool,
}

impl Committer {
    pub async fn open(client: Client, settings: CommitterSettings) -> Result<Committer, DatabaseError> {
        let prepared = prepare(&client, &settings.domain, &settings.live).await?;
        let previous = settings.committed_epoch;
        Ok(Committer { previous, has_noted_ranges: false, client, prepared, settings })
    }

    async fn commit(&mut self, plan: &Plan) -> Result<(), DatabaseError> {
        // Commits of progress alone have no raw rows to be between.
        if plan.readings > 0 {
            pass(self.settings.fail_at.as_ref(), Point::BetweenCopyAndCommit);
        }
        self.begin().await?;
        self.finish(plan).await?;
        pass(self.settings.fail_at.as_ref(), Point::AfterCommit);
        Ok(())
    }

    /// Begins the transaction, behind the fence.
    pub async fn begin(&self) -> Result<(), DatabaseError> {
        let begin = format!("begin; select citytide_fence({})", self.settings.run_id);
        let taken = self.client.batch_execute(&begin).await;
        taken.map_err(|error| DatabaseError::statement("taking the fence for a commit", &error))
    }

    /// Writes the plan and commits.
    pub async fn finish(&mut self, plan: &Plan) -> Result<(), DatabaseError> {
        self.write(plan).await?;
        let ended = self.client.batch_execute("commit").await;
        ended
            .map_err(|error| DatabaseError::statement(format!("committing epoch {}", plan.epoch), &error))?;
        self.previous = plan.epoch as i64;
        self.has_noted_ranges = true;
        Ok(())
    }

    /// Sends every statement at once; the server works them off in this order.
    async fn write(&mut self, plan: &Plan) -> Result<(), DatabaseError> {
        let metrics = self.settings.domain.metrics.len();
        let prepared = &self.prepared;
        let commit: Arrays = vec![
            Box::new(plan.epoch as i64),
            Box::new(self.previous),
            Box::new(self.settings.run_id),
            Box::new(Timestamp::watermark(plan.low_us)),
            Box::new(plan.readings),
            Box::new(plan.windows_from_us().map(Timestamp)),
        ];
        let source = |partition: i32| (self.settings.partition_name)(partition);
        let mut work: Vec<(&str, &Statement, Option<Arrays>)> =
            vec![("commits", &prepared.commit, Some(commit))];
        for (window, (table, statement)) in prepared.windows.iter().enumerate() {
            work.push((table, statement, statements::window_arrays(plan, window, metrics)));
        }
        work.extend([
            ("panes", &prepared.panes, statements::pane_arrays(plan, metrics)),
            ("ingest_progress", &prepared.progress, statements::progress_arrays(plan, source)),
            ("partition_zones", &prepared.zones, statements::zone_arrays(plan)),
        ]);
        let ranges = || statements::usual_range_arrays(&self.settings.domain, self.previous);
        work.push(("usual_ranges", &prepared.usual_ranges, (!self.has_noted_ranges).then(ranges)));
        for (view, PreparedView { table, delete, upsert }) in prepared.views.iter().enumerate() {
            work.push((table, delete, statements::gone_arrays(plan, view)));
            work.push((table, upsert, statements::view_arrays(plan, view)));
            for parts in plan.parts.of_view(view) {
                work.push((table, upsert, statements::part_arrays(plan, parts)));
            }
        }
        work.extend([
            ("detector_lifts", &prepared.lifts, statements::lift_arrays(plan)),
            ("detector_models", &prepared.judges, statements::judge_arrays(plan)),
            ("detector_promotions", &prepared.promotions, statements::promotion_arrays(plan)),
            ("model_changes", &prepared.model_changes, statements::model_change(plan)),
            ("models", &prepared.models, statements::model_change(plan)),
            ("model_requests", &prepared.requests, statements::request_arrays(plan)),
            ("model_disagreements", &prepared.disagreements, statements::disagreement_arrays(plan)),
        ]);
        let readings = (plan.readings > 0).then_some("sensor_data");
        let changed = work.iter().filter(|(_, _, arrays)| arrays.is_some()).map(|(table, ..)| *table);
        let told = payload(plan.epoch, readings.into_iter().chain(changed));
        work.push(("the notification", &prepared.notify, Some(vec![Box::new(told)])));
        let client = &self.client;
        try_join_all(work.iter().filter_map(|(table, statement, arrays)| {
            let arrays = arrays.as_ref()?;
            Some(async move {
                let arguments: Vec<&(dyn ToSql + Sync)> =
                    arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect();
                let written = client.execute(*statement, &arguments).await;
                written.map_err(|error| DatabaseError::statement(format!("writing {table}"), &error))
            })
        }))
        .await?;
        Ok(())
    }
}

//! Training, on a thread of its own: a model is fitted, stored as `shadow`, and told to the workers, who name the epoch
//! from which it judges; the commit of that epoch puts it in force. A crash in between leaves the old one in force.

use std::sync::Arc;
use std::time::Duration;

use citytide_detector::{Layout, Model, Sample};
use crossbeam_channel::Sender;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::Client;

use crate::commit::postgres::{Database, DatabaseError};
use crate::commit::schema::{LOCK_MODELS, LOCK_SPACE};
use crate::commit::session::{OnFailure, Session, Wake};
use crate::commit::statements::Timestamp;
use crate::detect::{Ready, TrainAnswer, TrainJob};
use crate::telemetry;

/// How often requests are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// What the thread needs to know.
pub struct TrainingSettings {
    /// Where models are stored.
    pub database: Database,
    /// The run that the fence knows.
    pub run_id: i64,
    /// The metrics, and how a forest is grown.
    pub layout: Arc<Layout>,
    /// Where trainings are told.
    pub telemetry: Arc<telemetry::Run>,
}

/// Starts the thread.
pub fn spawn(
    settings: TrainingSettings,
    answers: Sender<TrainAnswer>,
    wake: Wake,
    on_failure: OnFailure,
) -> Session<TrainJob> {
    Session::spawn("train".to_owned(), on_failure, async move |jobs| {
        let client = settings.database.connect(&format!("citytide:{}:train", settings.run_id)).await?;
        Trainer { client, settings, answers, wake, asked: None }.run(jobs).await
    })
}

struct Trainer {
    client: Client,
    settings: TrainingSettings,
    answers: Sender<TrainAnswer>,
    wake: Wake,
    /// The last request that was passed on.
    asked: Option<i64>,
}

impl Trainer {
    async fn run(mut self, mut jobs: UnboundedReceiver<TrainJob>) -> Result<(), DatabaseError> {
        loop {
            match tokio::time::timeout(LOOK, jobs.recv()).await {
                Ok(None) => return Ok(()),
                Ok(Some(job)) => self.train(&job).await?,
                Err(_) => self.requests().await?,
            }
        }
    }

    fn answer(&self, answer: TrainAnswer) {
        // Nobody listens any more when the run ends.
        let _ = self.answers.send(answer);
        (self.wake)();
    }

    async fn train(&self, job: &TrainJob) -> Result<(), DatabaseError> {
        let TrainingSettings { layout, run_id, telemetry, .. } = &self.settings;
        let fence = format!("begin; select citytide_fence({run_id})");
        self.client.batch_execute(&fence).await.map_err(failed("taking the fence for a model"))?;
        let trained = store(&self.client, layout, &job.sample, job.until_us).await?;
        self.client.batch_execute("commit").await.map_err(failed("storing a model"))?;
        match trained {
            Ok(model) => {
                tracing::info!("model {} trained on {} readings", model.version(), model.about().rows);
                telemetry.trained(Ok(()));
                let bytes = Arc::new(model.to_bytes(layout));
                self.answer(TrainAnswer::Ready(Ready { version: model.version(), bytes }));
            }
            Err(why) => {
                tracing::warn!("{why}");
                telemetry.trained(Err(why));
            }
        }
        self.answer(TrainAnswer::Ended);
        Ok(())
    }

    /// Passes on the model that was last asked for by hand.
    async fn requests(&mut self) -> Result<(), DatabaseError> {
        let sql = "select request, version, model from model_requests join models using (version) \
                   order by request desc limit 1";
        let row =
            self.client.query_opt(sql, &[]).await.map_err(failed("looking for models that are asked for"))?;
        let Some(row) = row.filter(|row| Some(row.get::<_, i64>(0)) != self.asked) else { return Ok(()) };
        self.asked = Some(row.get(0));
        let (version, bytes): (i32, Vec<u8>) = (row.get(1), row.get(2));
        match Model::from_bytes(version, &self.settings.layout, &bytes) {
            Ok(_) => self.answer(TrainAnswer::Ready(Ready { version, bytes: Arc::new(bytes) })),
            Err(error) => tracing::error!("{error}"),
        }
        Ok(())
    }
}

/// Trains a model and stores it as `shadow`, in the transaction that is open; the reason when it cannot be trained.
///
/// # Errors
///
/// When the server fails.
pub async fn store(
    client: &Client,
    layout: &Layout,
    sample: &Sample,
    until_us: i64,
) -> Result<Result<Model, String>, DatabaseError> {
    // Two that train at once must not take the same number. Not a lock of the table: no commit may wait for a training.
    let alone = format!("select pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_MODELS})");
    client.batch_execute(&alone).await.map_err(failed("numbering a model"))?;
    let number = "select coalesce(max(version), 0) + 1 from models";
    let version: i32 = client.query_one(number, &[]).await.map_err(failed("numbering a model"))?.get(0);
    let model = match Model::train(version, layout, sample, until_us) {
        Ok(model) => model,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let about = model.about();
    let parameters = serde_json::json!({
        "trees": about.trees,
        "rows_per_tree": about.rows_per_tree,
        "extension": about.extension,
        "metrics": layout.fingerprint(),
    });
    let scores = sample.rows(until_us).into_iter().map(|row| model.forest().score_one(&row.features));
    let mut scores: Vec<f32> = scores.collect();
    scores.sort_by(f32::total_cmp);
    let quantile = |share: f64| scores.get((share * (scores.len() - 1) as f64) as usize).copied();
    let figures = serde_json::json!({
        "sampled": sample.len(),
        "left_out": sample.len() - about.rows.min(sample.len()),
        "score_median": quantile(0.5),
        "score_p95": quantile(0.95),
        "score_p99": quantile(0.99),
    });
    let sql = "insert into models (version, status, fitted_from, fitted_until, rows, parameters, figures, model) \
               values ($1, 'shadow', $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7)";
    client
        .execute(
            sql,
            &[
                &version,
                &Timestamp(about.fitted_from_us),
                &Timestamp(about.fitted_until_us),
                &(about.rows as i64),
                &parameters.to_string(),
                &figures.to_string(),
                &model.to_bytes(layout),
            ],
        )
        .await
        .map_err(failed("storing a model"))?;
    Ok(Ok(model))
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

//! Training, on a thread of its own: a model is fitted, stored as `shadow`, and told to the workers; the commit of the
//! first readings that it judges puts it in force. After a crash in between it is trained again, to the same bits.

use std::sync::Arc;
use std::time::Duration;

use citytide_core::detect::{StoredModel, TrainJob};
use citytide_detector::{Layout, Model};
use citytide_store::postgres::{Database, DatabaseError};
use citytide_store::session::{OnFailure, Session, Wake};
use crossbeam_channel::Sender;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::{Client, Statement};

use super::TrainAnswer;
use crate::telemetry;

/// How often requests are looked for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The model that was last asked for by hand.
const REQUESTS: &str = "select request, version, model from model_requests join models using (version) \
     order by request desc limit 1";

/// What the thread needs to know.
pub struct TrainingSettings {
    /// Where models are stored.
    pub database: Database,
    /// The run that the fence knows.
    pub run_id: i64,
    /// The metrics, and how a forest is grown.
    pub layout: Arc<Layout>,
    /// Where trainings are told.
    pub telemetry: Arc<telemetry::Telemetry>,
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
        let requests = client.prepare(REQUESTS).await;
        let requests = requests.map_err(failed("preparing to look for models that are asked for"))?;
        Trainer { client, requests, settings, answers, wake, asked: None }.run(jobs).await
    })
}

struct Trainer {
    client: Client,
    requests: Statement,
    settings: TrainingSettings,
    answers: Sender<TrainAnswer>,
    wake: Wake,
    /// The last request that was passed on.
    asked: Option<i64>,
}

impl Trainer {
    async fn run(mut self, mut jobs: UnboundedReceiver<TrainJob>) -> Result<(), DatabaseError> {
        loop {
            match tokio::time::timeout(POLL_INTERVAL, jobs.recv()).await {
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
        let trained =
            citytide_store::detector::store(&self.client, layout, &job.sample, job.until_us, true).await?;
        self.client.batch_execute("commit").await.map_err(failed("storing a model"))?;
        let model = match trained {
            Ok(model) => {
                tracing::info!("model {} trained on {} readings", model.version(), model.about().rows);
                telemetry.trained(Ok(()));
                let bytes = Arc::new(model.to_bytes(layout));
                Some(StoredModel { version: model.version(), bytes })
            }
            Err(why) => {
                tracing::warn!("{why}");
                telemetry.trained(Err(why));
                None
            }
        };
        self.answer(TrainAnswer::Trained { from: job.from, model });
        Ok(())
    }

    /// Passes on the model that was last asked for by hand.
    async fn requests(&mut self) -> Result<(), DatabaseError> {
        let row = self
            .client
            .query_opt(&self.requests, &[])
            .await
            .map_err(failed("looking for models that are asked for"))?;
        let Some(row) = row.filter(|row| Some(row.get::<_, i64>(0)) != self.asked) else { return Ok(()) };
        self.asked = Some(row.get(0));
        let (version, bytes): (i32, Vec<u8>) = (row.get(1), row.get(2));
        match Model::from_bytes(version, &self.settings.layout, &bytes) {
            Ok(_) => self.answer(TrainAnswer::Asked(StoredModel { version, bytes: Arc::new(bytes) })),
            Err(error) => tracing::error!("{error}"),
        }
        Ok(())
    }
}

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

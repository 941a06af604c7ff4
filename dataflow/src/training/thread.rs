//! Training, on a thread of its own: a model is fitted, stored as `shadow`, and told to the workers, who name the epoch
//! from which it judges; the commit of that epoch puts it in force. A crash in between leaves the old one in force.

use std::sync::Arc;
use std::time::Duration;

use citytide_detector::{Layout, Model};
use citytide_store::postgres::{Database, DatabaseError};
use citytide_store::session::{OnFailure, Session, Wake};
use crossbeam_channel::Sender;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::Client;

use super::{Ready, TrainAnswer, TrainJob};
use crate::telemetry;

/// How often requests are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

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
            citytide_store::detector::store(&self.client, layout, &job.sample, job.until_us).await?;
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

fn failed(attempted: &'static str) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
    move |error| DatabaseError::statement(attempted, &error)
}

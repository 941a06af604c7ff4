//! `citytide train`: trains a model by hand, from the rows that runs have sampled, and compares its verdicts.
//!
//! ```text
//!  one snapshot: detector_state, what was committed since, the last hour's readings ─▶ Memory, batches
//!  sample ─▶ model, stored as shadow          batches ─▶ judged under both models ─▶ who flags what, and how far apart
//! ```
//!
//! 1. Nothing that a run depends on is written: a shadow model changes no verdict. So there is no fence to pass, and a
//!    run may be active meanwhile; what it commits after the snapshot is not learnt from.
//! 2. The readings are judged by what the detector knows of zones and sensors now. They are older than what it has
//!    seen, so the verdicts are not those of their time; both models are treated alike, and what differs is theirs.

mod print;

use std::sync::Arc;

use citytide_core::batch::Batch;
use citytide_core::detect::{Comparison, ScoringState};
use citytide_detector::{Layout, Model, ModelError};
use citytide_domain::Domain;
use citytide_store::detector::models::PromoteError;
use citytide_store::detector::{Loaded, load, recent, store};
use citytide_store::postgres::DatabaseError;
use citytide_store::session;
use citytide_store::time::micros;
use tokio_postgres::Client;

use super::exit_error::ExitError;
use super::models;
use super::tables::TablesArgs;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use print::Report;

/// Event time before W that the models are compared on.
const COMPARED_US: i64 = 3_600_000_000;
/// Readings that they are compared on at most, the newest ones.
const COMPARED_MAX: usize = 200_000;

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "The model is stored as shadow: it decides nothing until it is promoted.\n\n\
    Examples:\n  citytide train\n  citytide train --promote")]
pub struct Args {
    /// Put the model into force: an active run does so with its next commit, else the next start
    #[arg(long)]
    promote: bool,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tables: TablesArgs,
}

/// Trains a model and prints the comparison; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    session::runtime().block_on(execute(args))?;
    Ok(Exit::Done.code())
}

async fn execute(args: &Args) -> Result<(), ExitError> {
    let (domain, database) = args.tables.read()?;
    let client = models::connect(&database, &domain, "citytide:train").await?;
    let layout = Arc::new(Layout::new(&domain));
    let known = known(&client, &domain, &layout).await?;
    let model = train(&client, &layout, &known).await?;
    let version = model.version();
    let stored = citytide_store::detector::models::list(&client).await?;
    let stored = stored.into_iter().find(|stored| stored.version == version);
    let stored = stored.ok_or(PromoteError::Missing { version })?;
    let is_cut = known.is_cut;
    let refused = known.refused.as_ref().map(ToString::to_string);
    let comparison = compare(known, model);
    let report = Report { stored: &stored, comparison: &comparison, is_cut, refused };
    if !args.json {
        output::print(report.text());
        if args.promote {
            return models::promote(&client, &layout, version).await;
        }
        output::print_line(format_args!("\ncitytide models promote {version} puts it in force"));
        return Ok(());
    }
    let mut object = report.json();
    if args.promote {
        let promoted = citytide_store::detector::models::promote(&client, &layout, version).await?;
        object["promoted"] = models::print::promoted(version, promoted).into();
    }
    output::print_line(&object);
    Ok(())
}

/// What one snapshot of the database says.
struct Known {
    loaded: Loaded,
    /// W.
    watermark_us: i64,
    /// The newest readings, and whether there were more in that hour.
    batches: Vec<Batch>,
    is_cut: bool,
    /// Why the model in force cannot be used, if so: then rules alone judge.
    refused: Option<ModelError>,
}

async fn known(client: &Client, domain: &Domain, layout: &Arc<Layout>) -> Result<Known, ExitError> {
    let failed = |error| DatabaseError::statement("reading the detector's state", &error);
    client.batch_execute("begin isolation level repeatable read, read only").await.map_err(failed)?;
    let newest = "select epoch, watermark from commits order by epoch desc limit 1";
    let newest = client.query_opt(newest, &[]).await.map_err(failed)?;
    let newest = newest.and_then(|row| Some((row.get::<_, i64>(0), micros(&row, 1)?)));
    let Some((committed_epoch, watermark_us)) = newest else {
        let why =
            "cannot train a model: nothing is committed yet to learn from; let citytide run read for a while";
        return Err(ExitError::new(Exit::Config, why));
    };
    let partitions =
        client.query("select kafka_partition from ingest_progress", &[]).await.map_err(failed)?;
    let partitions: Vec<i32> = partitions.iter().map(|row| row.get(0)).collect();
    let loaded = load(client, domain, layout, committed_epoch, &partitions).await?;
    let (batches, is_cut) = recent(client, domain, watermark_us - COMPARED_US, COMPARED_MAX).await?;
    let in_force = "select version, model from models where status = 'in_force'";
    let in_force = client.query_opt(in_force, &[]).await.map_err(failed)?;
    let refused = in_force.and_then(|row| Model::from_bytes(row.get(0), layout, row.get(1)).err());
    client.batch_execute("commit").await.map_err(failed)?;
    Ok(Known { loaded, watermark_us, batches, is_cut, refused })
}

/// Trains a model on the sample, and stores it.
async fn train(client: &Client, layout: &Layout, known: &Known) -> Result<Model, ExitError> {
    let failed = |error| DatabaseError::statement("storing a model", &error);
    client.batch_execute("begin").await.map_err(failed)?;
    let trained =
        store(client, layout, known.loaded.detector.schedule.sample(), known.watermark_us, false).await?;
    let model = trained.map_err(|why| ExitError::new(Exit::Config, why))?;
    client.batch_execute("commit").await.map_err(failed)?;
    Ok(model)
}

/// Judges the readings by the model in force and by another one.
fn compare(known: Known, other: Model) -> Comparison {
    let Known { loaded, mut batches, .. } = known;
    let mut scoring: ScoringState = loaded.detector.scoring;
    let mut comparison = Comparison::new(&mut scoring, Arc::new(other));
    batches.iter_mut().for_each(|batch| comparison.score(&mut scoring, batch));
    comparison
}

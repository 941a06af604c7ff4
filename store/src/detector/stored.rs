//! Trains a model and stores it under the next free version.

use citytide_detector::{Layout, Model, Sample};
use tokio_postgres::Client;

use crate::postgres::DatabaseError;
use crate::schema::{LOCK_MODELS, LOCK_SPACE};
use crate::time::Timestamp;

/// Trains a model and stores it with the status `shadow`, in the caller's transaction. Returns the reason when it
/// cannot be trained. With `is_of_a_run`, returns the last stored model instead of storing an equal one, so that a run
/// that crashed after training does not store it twice.
///
/// # Errors
///
/// When the server fails.
pub async fn store(
    client: &Client,
    layout: &Layout,
    sample: &Sample,
    until_us: i64,
    is_of_a_run: bool,
) -> Result<Result<Model, String>, DatabaseError> {
    // Serialises the choice of the version. Not a table lock: commits must not wait for a training.
    let lock = format!("select pg_advisory_xact_lock({LOCK_SPACE}, {LOCK_MODELS})");
    client.batch_execute(&lock).await.map_err(failed("numbering a model"))?;
    let number = "select coalesce(max(version), 0) + 1 from models";
    let version: i32 = client.query_one(number, &[]).await.map_err(failed("numbering a model"))?.get(0);
    let model = match Model::train(version, layout, sample, until_us) {
        Ok(model) => model,
        Err(error) => return Ok(Err(error.to_string())),
    };
    // A model that was trained before a crash and never came into force equals this one.
    let last = "select version, model from models order by version desc limit 1";
    let last = client.query_opt(last, &[]).await.map_err(failed("looking for the last model"))?;
    if let Some(row) = last.filter(|_| is_of_a_run)
        && let Ok(known) = Model::from_bytes(row.get(0), layout, row.get(1))
        && (known.about(), known.forest()) == (model.about(), model.forest())
    {
        return Ok(Ok(known));
    }
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

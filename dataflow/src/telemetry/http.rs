//! What a run answers over HTTP: `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use citytide_serve::listen::Purpose;

use super::exposition::{CONTENT_TYPE, Exposition};
use super::{Telemetry, health};

/// Connections that are served at once.
pub const CONNECTIONS_MAX: usize = 32;
/// What a run listens for.
pub const PURPOSE: Purpose = Purpose { what: "metrics and health", flag: "--listen" };

/// What a run answers.
pub fn routes(run: Arc<Telemetry>) -> Router {
    let metrics = Arc::new(Exposition::new(run.clone()));
    Router::new()
        .route(
            "/metrics",
            get(async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text()).into_response()),
        )
        .route(
            "/healthz",
            get(async |State(run): State<Arc<Telemetry>>| answer(health::lives(&run.snapshot()))),
        )
        .route(
            "/readyz",
            get(async |State(run): State<Arc<Telemetry>>| answer(health::ready(&run.snapshot()))),
        )
        .with_state(run)
}

fn answer(verdict: Result<String, String>) -> (StatusCode, String) {
    match verdict {
        Ok(how) => (StatusCode::OK, how + "\n"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

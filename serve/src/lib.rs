//! The page and the API: what citytide's tables say, for a browser and for programs. It reads PostgreSQL only, and knows
//! neither Kafka nor the engine: the manifest keeps them out.
//!
//! ```text
//!  commits ─ NOTIFY ─▶ ticker ─ a snapshot per tick ─▶ stream ──▶ pages       (one for all of them)
//!                      pool ── a snapshot per request ─▶ api ───▶ programs, pages
//!  guard: who may ask · assets: the page itself · acting: what people do with incidents
//! ```
//!
//! Invariants:
//! 1. everything in one answer, and everything on the page Now, is as of one commit;
//! 2. nothing here writes but the functions `citytide_incident_…`;
//! 3. every list is bounded: in rows, in time, in what the server may take for it;
//! 4. text from data is text: it is never markup, and in CSV never a formula;
//! 5. a run that serves the page cannot be held up by it: it has a thread and sessions of its own.

mod acting;
mod api;
mod asked;
mod assets;
mod cell;
mod guard;
pub mod listen;
mod listing;
mod metrics;
mod now;
mod one;
mod openapi;
mod pool;
mod problem;
mod resources;
mod status;
mod stream;
mod ticker;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use citytide_domain::Domain;
use citytide_store::clock;
use citytide_store::postgres::Database;
use tokio::sync::Mutex;

use api::Api;
use guard::Guard;
use listen::Purpose;
use metrics::Metrics;
use pool::Pool;

pub use guard::Token;

/// What the page listens for, with the flag of the command that serves it.
pub const fn purpose(flag: &'static str) -> Purpose {
    Purpose { what: "the page", flag }
}

/// Where the page is by default.
pub const ADDRESS: &str = "127.0.0.1:8501";
/// Connections at once; each open page holds one.
const CONNECTIONS_MAX: usize = 512;
/// Bytes of a request's body at most.
const BODY_MAX: usize = 16 * 1024;

/// Serves the page for ever, on the current runtime.
pub async fn serve(
    listener: std::net::TcpListener,
    database: Database,
    domain: Domain,
    token: Option<Token>,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let domain = Arc::new(domain);
    let metrics = Arc::new(Metrics::default());
    let api = Arc::new(Api {
        ticks: ticker::start(database.clone(), domain.clone(), metrics.clone()),
        pool: Pool::new(database),
        domain,
        metrics: metrics.clone(),
        start: clock::wall_ms(),
    });
    let guard = Arc::new(Guard { token, metrics, wrong: Mutex::default() });
    listen::accept(listener, routes(api, guard), CONNECTIONS_MAX).await;
    Ok(())
}

fn routes(api: Arc<Api>, guard: Arc<Guard>) -> Router {
    let login = Router::new().route("/login", get(guard::form).post(guard::login)).with_state(guard.clone());
    Router::new()
        .route("/livez", get(api::lives))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(api::metrics))
        .route("/api/v1/openapi.json", get(api::document))
        .route("/api/v1/domain", get(api::domain))
        .route("/api/v1/stream", get(api::events))
        .route("/api/v1/incidents/{id}", get(one::incident))
        .route("/api/v1/incidents/{id}/{action}", post(acting::post))
        .route("/api/v1/sensors/{id}", get(one::sensor))
        .route("/api/v1/{list}", get(api::list))
        .with_state(api)
        .merge(login)
        .fallback(async |request: Request| -> Response {
            assets::answer(request.uri().path(), request.headers())
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(guard, guard::guard))
}

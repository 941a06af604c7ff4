//! The routes: what can be asked, and how an answer is made of a snapshot.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use citytide_domain::Domain;
use serde_json::json;

use crate::asked::Asked;
use crate::listing::{AsOf, Listing};
use crate::metrics::Metrics;
use crate::pool::{Pool, snapshot};
use crate::problem::Problem;
use crate::resources::LISTINGS;
use crate::ticker::Ticks;
use crate::{openapi, stream};

/// Lists with rows that change without a commit: their tag is a digest of what is in them.
const BETWEEN_COMMITS: [&str; 6] =
    ["incidents", "alarm-load", "models", "model-disagreements", "runs", "followers"];

/// What requests are answered from.
pub struct Api {
    pub pool: Pool,
    pub domain: Arc<Domain>,
    pub ticks: Ticks,
    pub metrics: Arc<Metrics>,
    /// Tells one start of this server from another.
    pub start: u64,
}

/// JSON that was asked for.
pub fn answer(json: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}

fn asked(query: RawQuery) -> Result<Asked, Problem> {
    Asked::parse(&query.0.unwrap_or_default())
}

/// `GET /api/v1/LIST`
pub async fn list(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(listing) = LISTINGS.iter().find(|listing| listing.name == name) else {
        let names: Vec<&str> = LISTINGS.iter().map(|listing| listing.name).collect();
        return Err(Problem::missing(format!("no list {name}; there are {}", names.join(", "))));
    };
    let asked = asked(query)?;
    let is_csv = is_csv(&asked, &headers)?;
    let mut session = api.pool.session().await?;
    let snapshot = snapshot(&mut session.client).await?;
    let as_of = AsOf::read(&snapshot).await?;
    let by_epoch = (!BETWEEN_COMMITS.contains(&listing.name))
        .then(|| format!("\"{}.{}{}\"", as_of.epoch, as_of.horizon, if is_csv { "c" } else { "" }));
    if by_epoch.as_ref().is_some_and(|tag| is_known(&headers, tag)) {
        snapshot.commit().await.map_err(|error| Problem::of_statement("ending a snapshot", &error))?;
        session.give_back();
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), &by_epoch.unwrap_or_default(), as_of));
    }
    let rows = listing.read(&snapshot, &api.domain, as_of, &asked).await?;
    snapshot.commit().await.map_err(|error| Problem::of_statement("ending a snapshot", &error))?;
    session.give_back();
    let next = rows.next.clone();
    let body = if is_csv { rows.csv() } else { rows.json(as_of).to_string() };
    let tag = by_epoch.unwrap_or_else(|| format!("\"{}.{}\"", as_of.epoch, digest(&body)));
    if is_known(&headers, &tag) {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), &tag, as_of));
    }
    let mut response = match is_csv {
        true => csv(listing, body),
        false => answer(body),
    };
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&encoded(&next)).ok()) {
        response.headers_mut().insert("x-next-cursor", next);
    }
    Ok(tagged(response, &tag, as_of))
}

/// As a part of a query string.
fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn csv(listing: &Listing, body: String) -> Response {
    let file = format!("attachment; filename=\"{}.csv\"", listing.name);
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, &file)];
    (headers, body).into_response()
}

fn is_csv(asked: &Asked, headers: &HeaderMap) -> Result<bool, Problem> {
    Ok(match asked.word("format", &["json", "csv"])? {
        Some(format) => format == "csv",
        None => {
            let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            accept.is_some_and(|accept| accept.starts_with("text/csv"))
        }
    })
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag))
}

fn tagged(mut response: Response, tag: &str, as_of: AsOf) -> Response {
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert("x-as-of", as_of.epoch.into());
    response
}

/// A short digest of a body.
pub fn digest(body: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `GET /api/v1/stream`
pub async fn events(
    State(api): State<Arc<Api>>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    stream::answer(api.ticks.look(), api.start, &headers, &asked(query)?)
}

/// `GET /api/v1/domain`: what the page has to know of the domain file.
pub async fn domain(State(api): State<Arc<Api>>) -> Response {
    let domain = &api.domain;
    let metrics = domain.metrics.iter().map(|metric| {
        json!({
            "name": metric.name, "unit": metric.unit, "decimals": metric.decimals, "usual": metric.usual,
            "below": metric.below, "above": metric.above,
        })
    });
    let zones = domain.zones.iter().map(|zone| json!({ "name": zone.name, "map": zone.map }));
    let windows = domain.windows.iter().map(|window| {
        json!({ "name": window.name, "size_ms": window.size_us / 1000, "slide_ms": window.slide_us / 1000 })
    });
    answer(
        json!({
            "name": domain.name,
            "topic": domain.topic,
            "version": env!("CARGO_PKG_VERSION"),
            "allowed_lateness_ms": domain.time.allowed_lateness_us / 1000,
            "shelve_max_minutes": domain.incidents.shelve_max_us / 60_000_000,
            "metrics": metrics.collect::<Vec<_>>(),
            "zones": zones.collect::<Vec<_>>(),
            "windows": windows.collect::<Vec<_>>(),
            "now_window": crate::now::now_window(domain).name,
            "series_window": crate::now::series_window(domain).name,
        })
        .to_string(),
    )
}

/// `GET /api/v1/openapi.json`
pub async fn document(State(api): State<Arc<Api>>) -> Response {
    answer(openapi::document(&api.domain).to_string())
}

/// `GET /livez`: the process answers.
pub async fn lives() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the database answers.
pub async fn ready(State(api): State<Arc<Api>>) -> Response {
    let answered = async {
        let session = api.pool.session().await?;
        let asked = session.client.query_one("select 1", &[]).await;
        asked.map_err(|error| Problem::of_statement("asking the database", &error))?;
        session.give_back();
        Ok::<_, Problem>(())
    };
    match answered.await {
        Ok(()) => "ready\n".into_response(),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem.detail + "\n").into_response(),
    }
}

/// `GET /metrics`
pub async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.metrics.text(api.ticks.lookers())).into_response()
}

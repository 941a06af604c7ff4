//! `/api/v1/stream`: server-sent events. The first one is a snapshot, each later one holds the sections that changed.
//!
//! An event's id is `<start of this server>-<tick>`. A page that comes back with it in `Last-Event-ID` gets what has
//! changed since that tick, or, from another start, everything. Between two events a page that is slow misses states,
//! never sections: what is sent is always the difference to what it last got.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch;

use crate::asked::Asked;
use crate::problem::Problem;
use crate::ticker::State;

/// Time between two events that needs no waiting here: the ticker's own.
const SOONEST: Duration = Duration::from_secs(1);
/// Seconds between two events at most that can be asked for.
const EVERY_MAX_S: i64 = 60;

/// An event with everything that changed after tick `since`.
fn event(state: &State, start: u64, since: u64) -> String {
    let name = if since == 0 { "snapshot" } else { "changes" };
    let changed = state.sections.iter().filter(|(_, section)| section.changed > since);
    let sections: Vec<String> =
        changed.map(|(name, section)| format!("\"{name}\":{}", section.json)).collect();
    format!(
        "event: {name}\nid: {start}-{}\ndata: {{\"as_of\":{},\"sections\":{{{}}}}}\n\n",
        state.tick,
        state.as_of,
        sections.join(",")
    )
}

/// The tick after which a page that comes back wants changes.
fn resumed(headers: &HeaderMap, start: u64) -> u64 {
    let id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let tick = id.and_then(|id| id.strip_prefix(&format!("{start}-"))?.parse().ok());
    tick.unwrap_or(0)
}

/// Answers with a stream of events.
pub fn answer(
    states: watch::Receiver<Arc<State>>,
    start: u64,
    headers: &HeaderMap,
    asked: &Asked,
) -> Result<Response, Problem> {
    asked.only(&["every"])?;
    let every = Duration::from_secs(asked.number("every", 1, EVERY_MAX_S)?.unwrap_or(1) as u64);
    let since = resumed(headers, start);
    let first = "retry: 2000\n\n".to_owned();
    let events = stream::unfold((states, since, Some(first)), move |(mut states, since, first)| async move {
        if let Some(first) = first {
            return Some((Ok::<Bytes, Infallible>(first.into()), (states, since, None)));
        }
        if since > 0 {
            tokio::time::sleep(every - SOONEST).await;
        }
        let state = loop {
            let state = states.borrow_and_update().clone();
            if state.tick > since {
                break state;
            }
            states.changed().await.ok()?;
        };
        Some((Ok(Bytes::from(event(&state, start, since))), (states, state.tick, None)))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events)).into_response())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ticker::Section;

    fn state() -> State {
        let section = |changed, json: &str| Section { changed, json: json.into() };
        let sections = BTreeMap::from([("status", section(3, "{\"a\":1}")), ("zones", section(2, "[]"))]);
        State { tick: 3, as_of: 150, sections }
    }

    #[test]
    fn the_first_event_holds_everything_and_a_later_one_what_changed() {
        assert_eq!(
            event(&state(), 7, 0),
            "event: snapshot\nid: 7-3\ndata: {\"as_of\":150,\"sections\":{\"status\":{\"a\":1},\"zones\":[]}}\n\n"
        );
        assert_eq!(
            event(&state(), 7, 2),
            "event: changes\nid: 7-3\ndata: {\"as_of\":150,\"sections\":{\"status\":{\"a\":1}}}\n\n"
        );
    }

    #[test]
    fn a_page_resumes_where_it_was_unless_the_server_was_started_again() {
        let with = |id: &str| HeaderMap::from_iter([("last-event-id".parse().unwrap(), id.parse().unwrap())]);
        assert_eq!(resumed(&with("7-2"), 7), 2);
        assert_eq!(resumed(&with("6-2"), 7), 0);
        assert_eq!(resumed(&with("x"), 7), 0);
        assert_eq!(resumed(&HeaderMap::new(), 7), 0);
    }
}

//! What goes wrong with a request, as the client sees it: problem details (RFC 9457). Nothing secret is in them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use citytide_store::postgres::{DatabaseError, INSUFFICIENT_PRIVILEGE};
use serde_json::json;

/// A request that cannot be answered as asked: what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into() }
    }

    /// The request is wrong.
    pub fn asked(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such thing.
    pub fn missing(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// A statement that failed: what the request says, the time that it takes, or the server.
    pub fn of_statement(attempted: &str, error: &tokio_postgres::Error) -> Problem {
        let said = error.as_db_error().map(|error| error.message().to_owned());
        match (error.code().map(|code| code.code()), said) {
            (Some(code), Some(said)) if code.starts_with("22") => {
                Problem::asked(format!("a parameter cannot be understood: {said}"))
            }
            (Some("57014"), _) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{attempted} takes too long; ask for a shorter range or fewer zones"),
            ),
            _ => DatabaseError::statement(attempted, error).into(),
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Problem {
        match &error {
            DatabaseError::Statement { sqlstate: Some(state), .. } if state == INSUFFICIENT_PRIVILEGE => {
                let detail =
                    format!("{error}; grant the role that serves the page citytide_reader of sql/roles.sql");
                Problem::new(StatusCode::FORBIDDEN, detail)
            }
            _ => {
                tracing::warn!("a request is answered with an error: {error}");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let kind = HeaderValue::from_static("application/problem+json");
        (self.status, [(header::CONTENT_TYPE, kind)], body.to_string()).into_response()
    }
}

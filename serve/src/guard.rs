//! Who may ask, and what every answer carries.
//!
//! 1. Without a token the page is for this machine: the listener is on the loopback interface, and only the names of
//!    that interface are served, so that another site's name cannot be pointed here (DNS rebinding).
//! 2. With a token every request shows it, as a bearer or by the cookie that the login form sets. The cookie is signed
//!    with the token: another token ends all sessions.
//! 3. What changes something carries a header that a form of another site cannot send, and comes from this origin.
//! 4. Every answer forbids scripts and styles that are not ours, and being framed. Nothing is fetched from elsewhere.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use citytide_store::clock::wall_ms;
use percent_encoding::percent_decode_str;
use ring::hmac;
use tokio::sync::Mutex;

use crate::metrics::Metrics;
use crate::problem::Problem;

/// The cookie that a login sets.
const COOKIE: &str = "citytide";
/// How long it is good for, seconds.
const SESSION_S: u64 = 12 * 3600;
/// Bytes of a token at least.
const TOKEN_BYTES_MIN: usize = 16;
/// What a wrong token costs.
const WRONG_TOKEN: Duration = Duration::from_secs(1);
/// The header that acting needs; its value does not matter.
const ACTS: &str = "x-citytide";
/// The names of the loopback interface.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What lets a client in.
pub struct Token {
    key: hmac::Key,
    text: String,
}

impl Token {
    /// A token as a file holds it: its first line.
    ///
    /// # Errors
    ///
    /// When it is too short to be secret.
    pub fn new(text: &str) -> Result<Token, String> {
        let text = text.lines().next().unwrap_or_default().trim().to_owned();
        if text.len() < TOKEN_BYTES_MIN {
            return Err(format!(
                "the token in its first line is shorter than {TOKEN_BYTES_MIN} bytes; make one with: openssl rand -hex 24"
            ));
        }
        Ok(Token { key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()), text })
    }

    /// Whether it is this one, in a time that does not depend on where they differ.
    fn is(&self, given: &str) -> bool {
        let tag = hmac::sign(&self.key, given.as_bytes());
        hmac::verify(&self.key, self.text.as_bytes(), tag.as_ref()).is_ok()
    }

    fn cookie(&self, until_s: u64) -> String {
        let tag = hmac::sign(&self.key, format!("session until {until_s}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{until_s}.{hex}")
    }

    fn admits(&self, cookie: &str, now_s: u64) -> bool {
        let until_s = cookie.split_once('.').and_then(|(until_s, _)| until_s.parse().ok());
        // Both are compared as tags: equal texts have equal ones.
        let tag = hmac::sign(&self.key, cookie.as_bytes());
        until_s.is_some_and(|until_s: u64| {
            until_s > now_s && hmac::verify(&self.key, self.cookie(until_s).as_bytes(), tag.as_ref()).is_ok()
        })
    }
}

/// What requests are held against.
pub struct Guard {
    pub token: Option<Token>,
    pub metrics: Arc<Metrics>,
    /// Held by whoever waits for having given a wrong token: guesses come one by one.
    pub wrong: Mutex<()>,
}

/// Lets a request through or not, and adds to its answer what every answer carries.
pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut answer = match guard.refusal(request.method(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(refusal) => refusal,
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    guard.metrics.answered(answer.status().as_u16());
    answer
}

impl Guard {
    /// Why a request is not answered; `None`: it is.
    fn refusal(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
        let host = text(headers, &header::HOST).unwrap_or_default();
        if self.token.is_none() && !is_loopback(host) {
            let detail = format!(
                "this page answers to localhost, not to {host}; to serve it under another name, start it with --token-file"
            );
            return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response());
        }
        if *method != Method::GET && *method != Method::HEAD && !is_of_this_origin(uri, headers, host) {
            let detail = "the request comes from another site, or lacks the header X-Citytide";
            return Some(Problem::new(StatusCode::FORBIDDEN, detail).into_response());
        }
        let path = uri.path();
        let is_public = ["/livez", "/readyz", "/login"].contains(&path) || path.starts_with("/assets/");
        if is_public || self.admits(headers) {
            return None;
        }
        if path.starts_with("/api/") || path == "/metrics" {
            let detail = "give the token: Authorization: Bearer …, or log in at /login";
            let mut answer = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return Some(answer);
        }
        Some(Redirect::to("/login").into_response())
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        if let Some(given) = text(headers, &header::AUTHORIZATION) {
            return given.strip_prefix("Bearer ").is_some_and(|given| token.is(given.trim()));
        }
        let cookies = text(headers, &header::COOKIE).unwrap_or_default();
        let mut named = cookies.split(';').filter_map(|cookie| cookie.trim().split_once('='));
        named.any(|(name, value)| name == COOKIE && token.admits(value, wall_ms() / 1000))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a Host header names the loopback interface, with any port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    LOOPBACK.contains(&name)
}

/// Whether a request that changes something comes from this page, or from a program.
fn is_of_this_origin(uri: &Uri, headers: &HeaderMap, host: &str) -> bool {
    let origin = text(headers, &header::ORIGIN);
    let same = origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, name)| name == host));
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let same_site = site.is_none_or(|site| ["same-origin", "none"].contains(&site));
    same && same_site && (uri.path() == "/login" || headers.contains_key(ACTS))
}

const LOGIN: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>citytide</title>\
    <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
    <link rel=\"stylesheet\" href=\"/assets/page.css\"></head><body><main class=\"login\"><h1>citytide</h1>\
    <form method=\"post\" action=\"/login\"><label for=\"token\">Token</label>\
    <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus>\
    <button class=\"btn\">Log in</button></form>SAID</main></body></html>";

/// The form.
pub async fn form() -> Html<String> {
    Html(LOGIN.replace("SAID", ""))
}

/// What the form sends.
pub async fn login(State(guard): State<Arc<Guard>>, body: Bytes) -> Response {
    let Some(token) = &guard.token else { return Redirect::to("/").into_response() };
    let text = String::from_utf8_lossy(&body).replace('+', " ");
    let given = text.strip_prefix("token=").map(|given| percent_decode_str(given).decode_utf8_lossy());
    if !given.is_some_and(|given| token.is(&given)) {
        let _held = guard.wrong.lock().await;
        tokio::time::sleep(WRONG_TOKEN).await;
        let said = "<p role=\"alert\">This is not the token.</p>";
        return (StatusCode::FORBIDDEN, Html(LOGIN.replace("SAID", said))).into_response();
    }
    let cookie = token.cookie(wall_ms() / 1000 + SESSION_S);
    let set = format!("{COOKIE}={cookie}; HttpOnly; SameSite=Strict; Path=/; Max-Age={SESSION_S}");
    ([(header::SET_COOKIE, set)], Redirect::to("/")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn guard(token: Option<&str>) -> Guard {
        let token = token.map(|token| Token::new(token).unwrap_or_else(|why| panic!("{why}")));
        Guard { token, metrics: Arc::default(), wrong: Mutex::default() }
    }

    fn refused(guard: &Guard, method: Method, path: &'static str, headers: &[(&str, &str)]) -> Option<u16> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let answer = guard.refusal(&method, &Uri::from_static(path), &HeaderMap::from_iter(headers));
        answer.map(|answer| answer.status().as_u16())
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_answered() {
        let guard = guard(None);
        for host in ["localhost:8501", "127.0.0.1:8501", "[::1]:8501", "localhost", "127.0.0.1:9"] {
            assert_eq!(refused(&guard, Method::GET, "/", &[("host", host)]), None, "{host}");
        }
        for host in ["evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example:8501", ""] {
            assert_eq!(refused(&guard, Method::GET, "/", &[("host", host)]), Some(421), "{host}");
        }
    }

    #[test]
    fn an_action_needs_our_header_and_this_origin() {
        let guard = guard(None);
        let acts = |more: &[(&str, &str)]| {
            let headers: Vec<_> = [("host", "localhost:8501")].iter().chain(more).copied().collect();
            refused(&guard, Method::POST, "/api/v1/incidents/a/ack", &headers)
        };
        assert_eq!(acts(&[]), Some(403), "a form of another site can do this");
        assert_eq!(acts(&[("x-citytide", "1")]), None, "a program");
        assert_eq!(acts(&[("x-citytide", "1"), ("origin", "http://localhost:8501")]), None);
        assert_eq!(acts(&[("x-citytide", "1"), ("origin", "http://evil.example")]), Some(403));
        assert_eq!(acts(&[("x-citytide", "1"), ("origin", "null")]), Some(403));
        assert_eq!(acts(&[("x-citytide", "1"), ("sec-fetch-site", "cross-site")]), Some(403));
    }

    #[test]
    fn with_a_token_nothing_is_shown_without_it_but_health_and_the_login() {
        let guard = guard(Some(SECRET));
        let host = ("host", "city.example");
        let bearer = format!("Bearer {SECRET}");
        assert_eq!(refused(&guard, Method::GET, "/", &[host]), Some(303));
        assert_eq!(refused(&guard, Method::GET, "/api/v1/zones", &[host]), Some(401));
        assert_eq!(refused(&guard, Method::GET, "/metrics", &[host]), Some(401));
        for path in ["/livez", "/readyz", "/login", "/assets/page.css"] {
            assert_eq!(refused(&guard, Method::GET, path, &[host]), None, "{path}");
        }
        assert_eq!(refused(&guard, Method::GET, "/", &[host, ("authorization", &bearer)]), None);
        assert_eq!(
            refused(
                &guard,
                Method::GET,
                "/api/v1/zones",
                &[host, ("authorization", "Bearer 0123456789abcdeF")]
            ),
            Some(401)
        );
    }

    #[test]
    fn a_cookie_admits_until_it_expires_and_only_as_it_was_signed() {
        let token = Token::new(SECRET).unwrap_or_else(|why| panic!("{why}"));
        let cookie = token.cookie(1_000);
        assert!(token.admits(&cookie, 999) && !token.admits(&cookie, 1_000));
        let later = cookie.replacen("1000", "2000", 1);
        assert!(!token.admits(&later, 999), "another end with the old signature");
        let other = Token::new("another-token-of-16").unwrap_or_else(|why| panic!("{why}"));
        assert!(!other.admits(&cookie, 999));
        for wrong in ["", ".", "1000", "1000.", "1000.zz"] {
            assert!(!token.admits(wrong, 1), "{wrong}");
        }
        assert!(Token::new("short").is_err());
    }
}

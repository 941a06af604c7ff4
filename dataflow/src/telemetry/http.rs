//! HTTP: `/metrics`, `/healthz` and `/readyz`, on a thread of their own that touches no worker.
//!
//! ```text
//!  listener ─ at most CONNECTIONS_MAX at once ─▶ connection ─ at most IDLE_MAX of silence ─▶ routes ─▶ Run
//! ```
//!
//! Further pages join by [`Router::merge`]: [`serve`] takes any routes.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::exposition::{CONTENT_TYPE, Exposition};
use super::{Run, health};
use crate::commit::session;
use crate::launch::clock;

/// Connections that are served at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 32;
/// A connection on which nothing passes for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Distance of two attempts to listen.
const AGAIN: Duration = Duration::from_millis(100);

/// Where to listen: `HOST:PORT`, or `PORT` on the loopback interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(typed: &str) -> Result<ListenAddress, String> {
        let (host, port) = typed.rsplit_once(':').unwrap_or(("127.0.0.1", typed));
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port > 0);
        match port {
            Some(port) if !bare.is_empty() && (bare == host) != host.contains(':') => {
                Ok(ListenAddress { host: bare.to_owned(), port })
            }
            _ => {
                Err("expected PORT or HOST:PORT, as 9464, 127.0.0.1:9464 or 0.0.0.0:9464 for all interfaces"
                    .to_owned())
            }
        }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// That an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics and health: {reason}; choose another address with --listen")]
pub struct ListenError {
    address: ListenAddress,
    reason: io::Error,
}

impl ListenError {
    /// Whether somebody else has the address, which may pass.
    pub fn is_taken(&self) -> bool {
        self.reason.kind() == io::ErrorKind::AddrInUse
    }
}

/// Listens on an address. One that is taken is tried for `patience`: a run that was taken over needs a moment to go.
pub fn listen(address: &ListenAddress, patience: Duration) -> Result<std::net::TcpListener, ListenError> {
    let since = clock::instant();
    let failed = |reason| ListenError { address: address.clone(), reason };
    let addresses: Vec<SocketAddr> =
        (address.host.as_str(), address.port).to_socket_addrs().map_err(failed)?.collect();
    loop {
        match std::net::TcpListener::bind(&addresses[..]) {
            Ok(listener) => return Ok(listener),
            Err(reason)
                if reason.kind() == io::ErrorKind::AddrInUse
                    && clock::instant().saturating_duration_since(since) < patience =>
            {
                std::thread::sleep(AGAIN);
            }
            Err(reason) => return Err(failed(reason)),
        }
    }
}

/// What a run answers.
pub fn routes(run: Arc<Run>) -> Router {
    let metrics = Arc::new(Exposition::new(run.clone()));
    Router::new()
        .route(
            "/metrics",
            get(async move || ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.text()).into_response()),
        )
        .route("/healthz", get(async |State(run): State<Arc<Run>>| answer(health::lives(&run.snapshot()))))
        .route("/readyz", get(async |State(run): State<Arc<Run>>| answer(health::ready(&run.snapshot()))))
        .with_state(run)
}

fn answer(verdict: Result<String, String>) -> (StatusCode, String) {
    match verdict {
        Ok(how) => (StatusCode::OK, how + "\n"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

/// Serves `routes` until the process ends.
pub fn serve(listener: std::net::TcpListener, routes: Router) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        session::runtime().block_on(async {
            let listener = TcpListener::from_std(listener).expect("it does not block");
            let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            // It never returns: what goes wrong with a connection ends that connection.
            let _ = axum::serve(Bounded { listener, permits }, routes).await;
        });
    })?;
    Ok(())
}

/// Accepts a bounded number of connections.
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.permits.clone().acquire_owned().await.expect("never closed");
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (Connection { stream, idle: Box::pin(tokio::time::sleep(IDLE_MAX)), _permit: permit }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that does not stay for nothing.
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Passes on what was done; when nothing can be done, only for so long.
    fn within<T>(&mut self, done: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.idle.as_mut().reset((clock::instant() + IDLE_MAX).into());
            return done;
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.within(done, context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within(done, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &str) -> Result<String, String> {
        typed.parse::<ListenAddress>().map(|address| address.to_string())
    }

    #[test]
    fn a_port_alone_is_on_the_loopback_interface() {
        assert_eq!(parsed("9464").as_deref(), Ok("127.0.0.1:9464"));
        for typed in ["127.0.0.1:9464", "localhost:80", "0.0.0.0:1", "[::1]:9464"] {
            assert_eq!(parsed(typed).as_deref(), Ok(typed));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_examples() {
        for typed in ["", ":9464", "host:", "host:0", "0", "host:65536", "::1:9464", "[]:1", "[host]:1", "x"]
        {
            let why = parsed(typed).expect_err(typed);
            assert!(why.contains("127.0.0.1:9464"), "{typed}: {why}");
        }
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address").to_string();
        let error = listen(&address.parse().expect("an address"), Duration::ZERO).expect_err("it is taken");
        let why = error.to_string();
        assert!(why.contains(&address) && why.contains("in use") && why.contains("--listen"), "{why}");
    }

    #[test]
    fn an_address_that_becomes_free_within_the_patience_is_had() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address: ListenAddress =
            taken.local_addr().expect("one").to_string().parse().expect("an address");
        let waiting = std::thread::spawn(move || listen(&address, Duration::from_secs(60)).is_ok());
        drop(taken);
        assert!(waiting.join().expect("no panic"));
    }
}

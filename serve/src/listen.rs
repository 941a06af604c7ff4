//! Listening for HTTP, on a thread of its own that touches no worker: what the page and the metrics of a run share.
//!
//! ```text
//!  listener ─ at most so many connections at once ─▶ connection ─ IDLE_MAX to ask, and to take the answer ─▶ routes
//! ```

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use citytide_store::clock;
use citytide_store::session;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

/// A connection that does not ask for so long, or takes nothing of an answer, is closed.
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

impl ListenAddress {
    /// Whether only programs of this machine reach it.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
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

/// What somebody listens for, and the flag that says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose {
    pub what: &'static str,
    pub flag: &'static str,
}

/// That an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {}: {reason}; choose another address with {}", .purpose.what, .purpose.flag)]
pub struct ListenError {
    address: ListenAddress,
    purpose: Purpose,
    reason: io::Error,
}

impl ListenError {
    /// Whether somebody else has the address, which may pass.
    pub fn is_taken(&self) -> bool {
        self.reason.kind() == io::ErrorKind::AddrInUse
    }
}

/// Listens on an address. One that is taken is tried for `patience`: a run that was taken over needs a moment to go.
pub fn listen(
    address: &ListenAddress,
    purpose: Purpose,
    patience: Duration,
) -> Result<std::net::TcpListener, ListenError> {
    let since = clock::instant();
    let failed = |reason| ListenError { address: address.clone(), purpose, reason };
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

/// Serves `routes` until the process ends, at most `connections_max` connections at once; more wait in the system's
/// queue.
pub fn serve(listener: std::net::TcpListener, routes: Router, connections_max: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let http = std::thread::Builder::new().name("http".to_owned());
    http.spawn(move || session::runtime().block_on(accept(listener, routes, connections_max)))?;
    Ok(())
}

/// Accepts connections for ever, on the current runtime. The listener does not block.
pub async fn accept(listener: std::net::TcpListener, routes: Router, connections_max: usize) {
    let mut listener = TcpListener::from_std(listener).expect("it does not block");
    let permits = Arc::new(Semaphore::new(connections_max));
    loop {
        let permit = permits.clone().acquire_owned().await.expect("never closed");
        let (stream, _) = Listener::accept(&mut listener).await;
        let connection = connection(stream, routes.clone());
        tokio::spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

/// Answers what a connection asks until it ends. What goes wrong with a connection ends that connection.
async fn connection(stream: impl AsyncRead + AsyncWrite, routes: Router) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(IDLE_MAX));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX);
    let stream = TokioIo::new(Box::pin(stream));
    let _ = server.serve_connection(stream, TowerToHyperService::new(routes)).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const PURPOSE: Purpose = Purpose { what: "a test", flag: "--listen" };

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
        let error =
            listen(&address.parse().expect("an address"), PURPOSE, Duration::ZERO).expect_err("it is taken");
        let why = error.to_string();
        assert!(why.contains(&address) && why.contains("in use") && why.contains("--listen"), "{why}");
    }

    #[test]
    fn an_address_that_becomes_free_within_the_patience_is_had() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address: ListenAddress =
            taken.local_addr().expect("one").to_string().parse().expect("an address");
        let waiting = std::thread::spawn(move || listen(&address, PURPOSE, Duration::from_secs(60)).is_ok());
        drop(taken);
        assert!(waiting.join().expect("no panic"));
    }

    /// Waits until the connection is closed, on a clock that jumps to the next timer.
    fn ends(connection: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(connection);
    }

    #[test]
    fn a_connection_that_asks_nothing_is_closed() {
        let (client, server) = tokio::io::duplex(64);
        ends(connection(server, Router::new()));
        drop(client);
    }

    #[test]
    fn a_connection_that_does_not_take_its_answer_is_closed() {
        let (mut client, server) = tokio::io::duplex(64);
        let routes = Router::new().route("/", axum::routing::get(async || "x".repeat(1 << 20)));
        ends(async {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("room");
            connection(server, routes).await;
        });
    }
}

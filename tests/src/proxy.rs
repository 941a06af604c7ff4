//! A line to PostgreSQL that can be cut or held: what a failing network does to a commit.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Forwards connections to a server.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Both ends of every connection.
    lines: Mutex<Vec<TcpStream>>,
    /// Nothing passes.
    held: AtomicBool,
    /// New connections are refused.
    refused: AtomicBool,
    ended: AtomicBool,
}

impl Proxy {
    /// A proxy for the server of a database address.
    pub fn to(database_url: &str) -> Proxy {
        let server =
            host_of(database_url).to_socket_addrs().expect("the server's address").next().expect("one");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                if shared.refused.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                let mut lines = shared.lines.lock().expect("the lines");
                for (from, to) in [(&client, &server), (&server, &client)] {
                    lines.push(from.try_clone().expect("a socket"));
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let shared = shared.clone();
                    std::thread::spawn(move || forward(from, to, &shared));
                }
            }
        });
        Proxy { address, state }
    }

    /// A database address by way of this proxy.
    pub fn url(&self, database_url: &str) -> String {
        database_url.replacen(&host_of(database_url), &self.address.to_string(), 1)
    }

    /// Cuts every connection there is, wherever it stands.
    pub fn cut(&self) {
        for line in self.state.lines.lock().expect("the lines").drain(..) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }

    /// Holds everything back, or lets it go on.
    pub fn hold(&self, held: bool) {
        self.state.held.store(held, Ordering::SeqCst);
    }

    /// Refuses new connections, or takes them again.
    pub fn refuse(&self, refused: bool) {
        self.state.refused.store(refused, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length) = from.read(&mut bytes)
        && length > 0
    {
        while state.held.load(Ordering::SeqCst) && !state.ended.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// `host:port` of a database address.
fn host_of(database_url: &str) -> String {
    let (_, rest) = database_url.split_once("://").expect("DATABASE_URL is a URL");
    let rest = rest.split_once('@').map_or(rest, |(_, after)| after);
    rest.split(['/', '?']).next().expect("a host").to_owned()
}

//! The accepting side of the mesh: peers with higher indices are let in, all other connections are refused.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use citytide_store::clock::instant;
use citytide_store::epoch_clock::least_ahead_ms;

use super::hello::{APART, GO, Hello, LENGTH};
use super::{ATTEMPT_MAX, JoinError, Mesh, POLL_INTERVAL, PeerSocket, apart, hello, would_block};

/// Connections whose hello is awaited at the same time; beyond that the oldest is dropped.
const PENDING_MAX: usize = 64;

/// Refusals that are remembered so as not to be reported again.
const REPORTED_MAX: usize = 64;

/// A connection whose hello or go has not come yet.
struct Pending {
    socket: TcpStream,
    from: SocketAddr,
    since: Instant,
    bytes: Vec<u8>,
    /// The index it has said and been answered.
    peer: Option<usize>,
    /// About how far its clock is ahead.
    ahead_ms: i64,
}

/// What became of a pending connection.
enum Step {
    Wait,
    Refuse(String),
    Joined(usize),
}

/// Accepts the peers above this process until all have come, `deadline` has, or `give_up` is set. No connection holds
/// up another.
pub(super) fn accept(
    settings: &Mesh,
    listener: &TcpListener,
    deadline: Instant,
    give_up: &AtomicBool,
) -> Vec<PeerSocket> {
    let first = settings.process + 1;
    let mut peers: Vec<PeerSocket> = (first..settings.addresses.len())
        .map(|_| Err(JoinError::NotYet("it never connected".to_owned())))
        .collect();
    // Whoever is refused comes again and again: each reason is reported once for each machine.
    let mut reported: Vec<(IpAddr, String)> = Vec::new();
    let mut report = |from: SocketAddr, why: &str| {
        if reported.iter().all(|known| (known.0, known.1.as_str()) != (from.ip(), why)) {
            tracing::warn!("rejected {from}: {why}");
            reported.truncate(REPORTED_MAX - 1);
            reported.push((from.ip(), why.to_owned()));
        }
    };
    let mut pending: Vec<Pending> = Vec::new();
    while peers.iter().any(Result::is_err) && instant() < deadline && !give_up.load(Ordering::Relaxed) {
        while let Ok((socket, from)) = listener.accept() {
            if pending.len() == PENDING_MAX {
                pending.remove(0);
            }
            if socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)).is_ok() {
                pending.push(Pending {
                    socket,
                    from,
                    since: instant(),
                    bytes: Vec::new(),
                    peer: None,
                    ahead_ms: 0,
                });
            }
        }
        let mut waiting = Vec::with_capacity(pending.len());
        for mut connection in pending {
            match connection.step(settings, first) {
                Step::Wait if instant() < connection.since + ATTEMPT_MAX => waiting.push(connection),
                Step::Wait => report(connection.from, "it sent nothing in time"),
                Step::Refuse(why) => {
                    report(connection.from, &why);
                    if let Some(Err(last)) = connection.peer.and_then(|peer| peers.get_mut(peer - first)) {
                        *last = JoinError::NotYet(why);
                    }
                }
                Step::Joined(peer) => peers[peer - first] = Ok(connection.socket),
            }
        }
        pending = waiting;
        std::thread::sleep(POLL_INTERVAL);
    }
    // Blocking again; timely expects it so.
    for peer in &mut peers {
        if let Err(reason) = peer.as_ref().map_or(Ok(()), |socket| socket.set_nonblocking(false)) {
            *peer = Err(JoinError::NotYet(reason.to_string()));
        }
    }
    peers
}

impl Pending {
    /// Reads what has come, answers a hello, and recognises go.
    fn step(&mut self, settings: &Mesh, first: usize) -> Step {
        let mut byte = [0; LENGTH];
        loop {
            let wanted = if self.peer.is_some() { 1 } else { LENGTH - self.bytes.len() };
            let read = match self.socket.read(&mut byte[..wanted]) {
                Ok(0) => return Step::Refuse("it closed the connection".to_owned()),
                Ok(read) => read,
                Err(reason) if would_block(&reason) => return Step::Wait,
                Err(reason) => return Step::Refuse(reason.to_string()),
            };
            if let Some(peer) = self.peer {
                return match byte[0] {
                    GO => Step::Joined(peer),
                    APART => Step::Refuse(format!(
                        "its clock is about {} that of process {}, this one; set the clocks of both machines by NTP",
                        apart(self.ahead_ms),
                        settings.process
                    )),
                    _ => Step::Refuse("it said no go".to_owned()),
                };
            }
            self.bytes.extend_from_slice(&byte[..read]);
            if !Hello::can_begin_with(&self.bytes) {
                let said = self.bytes[..self.bytes.len().min(16)].escape_ascii();
                return Step::Refuse(format!("it is not a citytide process: it began with `{said}`"));
            }
            if let Ok(bytes) = <&[u8; LENGTH]>::try_from(self.bytes.as_slice())
                && let Err(why) = self.answer(bytes.to_owned(), settings, first)
            {
                return Step::Refuse(why);
            }
        }
    }

    /// Answers a whole hello, also one that is refused, so that the other side can say why.
    fn answer(&mut self, bytes: [u8; LENGTH], settings: &Mesh, first: usize) -> Result<(), String> {
        let mine = hello(settings);
        let other = Hello::from_bytes(&bytes);
        // A fresh socket takes these few bytes at once; one that does not is as good as closed.
        self.socket.write_all(&mine.to_bytes()).map_err(|reason| reason.to_string())?;
        let other = other?;
        let index = other.process as usize;
        let awaited = index >= first && index < mine.processes as usize;
        if awaited {
            self.peer = Some(index);
        }
        // What it said is a little older than this: for words only, the connecting side decides.
        self.ahead_ms = least_ahead_ms(mine.clock_ms, other.clock_ms, mine.clock_ms);
        match mine.refuse(&other) {
            Some(refusal) => Err(refusal),
            None if !awaited => {
                Err(format!("process {index} is not one that connects to process {}", mine.process))
            }
            None => Ok(()),
        }
    }
}

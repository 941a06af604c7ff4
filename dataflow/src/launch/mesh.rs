//! The mesh: the processes of one run find each other, and nobody else gets in.
//!
//! ```text
//!  process i ── connects to ──▶ every j < i        hello ──▶
//!  process i ◀── accepts ────── every j > i              ◀── hello, when the first one fits
//!                                                  go    ──▶
//! ```
//!
//! timely trusts whoever connects: a health check on its port makes it panic, and a process of an earlier
//! generation would be let in. So the sockets are made here and handed to timely only when
//! 1. both sides have said the same magic, protocol, run, `-n`, `-w` and `-z`, and the expected index (a connector
//!    that reaches its own port by TCP's self-connect is refused by that);
//! 2. the accepting side has seen `go`: a connector that gave up in between does not count;
//! 3. of two connections of one index the later one counts: a connector repeats only what it has given up.
//!
//! A stranger, another run or other `-w` is refused and logged and does not end the wait. The wait is bounded.
//! What happens to sockets later is timely's and the watchdog's business.

use std::any::Any;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::thread::ThreadBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::{AllocatorBuilder, Hooks};

use super::clock::instant;
use super::hello::{GO, Hello, LENGTH};

/// How long one attempt to connect, and then each side's hello, may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);
/// The first and the longest pause between two attempts to connect.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How often the accepting side looks at its sockets.
const LOOK: Duration = Duration::from_millis(5);
/// Connections whose hello is awaited at the same time; beyond that the oldest is dropped.
const PENDING_MAX: usize = 64;

/// What a process knows about its run when it joins the others.
#[derive(Debug, Clone)]
pub struct Mesh {
    /// The index of this process, from 0.
    pub process: usize,
    /// Where each process listens, by index; one address means one process and no sockets.
    pub addresses: Vec<String>,
    /// The run that all of them have joined in the database.
    pub run_id: i64,
    /// Worker threads per process.
    pub workers: usize,
    /// Whether workers of one process exchange bytes, as between processes.
    pub zerocopy: bool,
    /// How long to wait for all peers.
    pub patience: Duration,
}

/// Why the processes did not come together.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// This process cannot listen on its own address.
    #[error(
        "cannot listen on {address} for the other processes of the run: {reason}; is the address this machine's, and is another process using the port?"
    )]
    Listen {
        /// The address.
        address: String,
        /// The system's words.
        reason: std::io::Error,
    },
    /// A peer never came.
    #[error("process {process} ({address}) did not join run {run_id} within {} s: {why}", waited.as_secs_f32())]
    PeerMissing {
        /// The peer's index.
        process: usize,
        /// Its address.
        address: String,
        /// The run.
        run_id: i64,
        /// How long it was awaited.
        waited: Duration,
        /// What was seen of it last.
        why: String,
    },
    /// The settings contradict themselves.
    #[error(
        "process {process} of {processes} cannot run with {workers} workers; count processes from 0 and workers from 1"
    )]
    Impossible {
        /// The index.
        process: usize,
        /// The number of processes.
        processes: usize,
        /// The number of workers.
        workers: usize,
    },
    /// timely could not take over the sockets.
    #[error("cannot hand the connections between the processes to timely: {0}")]
    HandOver(std::io::Error),
}

/// timely's builders, one per local worker, and what must live as long as the workers.
pub type Joined = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

/// Joins the processes of the run; returns when all are connected.
pub fn join(settings: &Mesh) -> Result<Joined, MeshError> {
    let Mesh { process, workers, zerocopy, .. } = *settings;
    let processes = settings.addresses.len();
    if process >= processes || workers == 0 {
        return Err(MeshError::Impossible { process, processes, workers });
    }
    if processes == 1 && workers == 1 && !zerocopy {
        return Ok((vec![AllocatorBuilder::Thread(ThreadBuilder)], Box::new(())));
    }
    let hooks = Hooks::default();
    let local = match zerocopy {
        true => ProcessBuilder::new_bytes_vector(workers, hooks.refill.clone(), None),
        false => ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None),
    };
    if processes == 1 {
        return Ok((local.into_iter().map(AllocatorBuilder::Process).collect(), Box::new(())));
    }
    let sockets = connect_all(settings)?;
    let (builders, guard) = initialize_networking_from_sockets(local, sockets, process, workers, hooks)
        .map_err(MeshError::HandOver)?;
    Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
}

/// The sockets alone, as [`join`] hands them to timely: one per peer, by index, none for this process itself.
pub fn connect_all(settings: &Mesh) -> Result<Vec<Option<TcpStream>>, MeshError> {
    let own = &settings.addresses[settings.process];
    let listen = |reason| MeshError::Listen { address: own.clone(), reason };
    let deadline = instant() + settings.patience;
    // The standard library sets SO_REUSEADDR: connections of an earlier generation in TIME_WAIT are no hindrance.
    let listener = TcpListener::bind(own.as_str()).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;

    let found: Vec<Found> = std::thread::scope(|scope| {
        let connecting: Vec<_> = (0..settings.process)
            .map(|peer| scope.spawn(move || connect(settings, peer, deadline)))
            .collect();
        let accepted = accept(settings, &listener, deadline);
        let connected = connecting.into_iter().map(|thread| thread.join().expect("connecting never panics"));
        connected.chain(accepted).collect()
    });

    let mut sockets = Vec::with_capacity(settings.addresses.len());
    for found in found {
        if sockets.len() == settings.process {
            sockets.push(None);
        }
        let process = sockets.len();
        let socket = found.map_err(|why| MeshError::PeerMissing {
            process,
            address: settings.addresses[process].clone(),
            run_id: settings.run_id,
            waited: settings.patience,
            why,
        })?;
        sockets.push(Some(socket));
    }
    // The last process has nobody behind it.
    sockets.resize_with(settings.addresses.len(), || None);
    Ok(sockets)
}

/// The socket of one peer, or what was seen of it last.
type Found = Result<TcpStream, String>;

/// What this process says.
fn hello(settings: &Mesh) -> Hello {
    let small = |count: usize| u32::try_from(count).expect("a count of processes or threads");
    Hello {
        run_id: settings.run_id,
        process: small(settings.process),
        processes: small(settings.addresses.len()),
        workers: small(settings.workers),
        zerocopy: settings.zerocopy,
    }
}

/// Connects to `peer`, again and again until `deadline`.
fn connect(settings: &Mesh, peer: usize, deadline: Instant) -> Found {
    let address = &settings.addresses[peer];
    let mut pause = BACK_OFF.0;
    let mut why = String::new();
    loop {
        match attempt(settings, peer, deadline) {
            Ok(socket) => return Ok(socket),
            Err(now) => {
                if now != why {
                    tracing::info!("not yet connected to process {peer} ({address}): {now}");
                }
                why = now;
            }
        }
        let left = deadline.saturating_duration_since(instant());
        if left.is_zero() {
            return Err(why);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(BACK_OFF.1);
    }
}

/// One attempt: connect, hello, hello, go.
fn attempt(settings: &Mesh, peer: usize, deadline: Instant) -> Found {
    let said = |reason: std::io::Error| reason.to_string();
    let most = || deadline.saturating_duration_since(instant()).clamp(LOOK, ATTEMPT_MAX);
    let mut socket = Err("its name resolves to no address".to_owned());
    for address in settings.addresses[peer].to_socket_addrs().map_err(said)? {
        socket = TcpStream::connect_timeout(&address, most()).map_err(said);
        if socket.is_ok() {
            break;
        }
    }
    let mut socket = socket?;
    let mine = hello(settings);
    socket.set_nodelay(true).map_err(said)?;
    socket.write_all(&mine.to_bytes()).map_err(said)?;
    let mut bytes = [0; LENGTH];
    read_until(&mut socket, &mut bytes, instant() + most())?;
    let other = Hello::from_bytes(&bytes)?;
    if let Some(refusal) = mine.refuse(&other) {
        return Err(refusal);
    }
    if other.process as usize != peer {
        return Err(format!("process {} answers there", other.process));
    }
    socket.write_all(&[GO]).map_err(said)?;
    socket.set_read_timeout(None).map_err(said)?;
    Ok(socket)
}

/// Fills `bytes`, or says why it cannot by `until`.
fn read_until(socket: &mut TcpStream, bytes: &mut [u8], until: Instant) -> Result<(), String> {
    let mut filled = 0;
    while filled < bytes.len() {
        let left = until.saturating_duration_since(instant());
        if left.is_zero() {
            return Err("it accepts connections but does not answer".to_owned());
        }
        socket.set_read_timeout(Some(left)).map_err(|reason| reason.to_string())?;
        match socket.read(&mut bytes[filled..]) {
            Ok(0) => return Err("it closed the connection before it answered".to_owned()),
            Ok(read) => filled += read,
            Err(reason) if waits(&reason) => {}
            Err(reason) => return Err(reason.to_string()),
        }
    }
    Ok(())
}

/// Whether a socket merely has nothing to say yet.
fn waits(reason: &std::io::Error) -> bool {
    matches!(reason.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A connection whose hello or go has not come yet.
struct Pending {
    socket: TcpStream,
    from: SocketAddr,
    since: Instant,
    bytes: Vec<u8>,
    /// The index it has said and been answered.
    peer: Option<usize>,
}

/// What became of a pending connection.
enum Step {
    Wait,
    Refuse(String),
    Joined(usize),
}

/// Accepts the peers above this process until all have come or `deadline` has. No connection holds up another.
fn accept(settings: &Mesh, listener: &TcpListener, deadline: Instant) -> Vec<Found> {
    let mine = hello(settings);
    let first = settings.process + 1;
    let mut peers: Vec<Found> =
        (first..settings.addresses.len()).map(|_| Err("it never connected".to_owned())).collect();
    let mut pending: Vec<Pending> = Vec::new();
    while peers.iter().any(Result::is_err) && instant() < deadline {
        while let Ok((socket, from)) = listener.accept() {
            if pending.len() == PENDING_MAX {
                pending.remove(0);
            }
            if socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)).is_ok() {
                pending.push(Pending { socket, from, since: instant(), bytes: Vec::new(), peer: None });
            }
        }
        let mut waiting = Vec::with_capacity(pending.len());
        for mut connection in pending {
            match connection.step(&mine, first) {
                Step::Wait if instant() < connection.since + ATTEMPT_MAX => waiting.push(connection),
                Step::Wait => tracing::warn!("refused {}: it said nothing for too long", connection.from),
                Step::Refuse(why) => {
                    tracing::warn!("refused {}: {why}", connection.from);
                    if let Some(Err(last)) = connection.peer.and_then(|peer| peers.get_mut(peer - first)) {
                        *last = why;
                    }
                }
                Step::Joined(peer) => peers[peer - first] = Ok(connection.socket),
            }
        }
        pending = waiting;
        std::thread::sleep(LOOK);
    }
    // Blocking again; timely expects it so.
    for peer in &mut peers {
        if let Err(reason) = peer.as_ref().map_or(Ok(()), |socket| socket.set_nonblocking(false)) {
            *peer = Err(reason.to_string());
        }
    }
    peers
}

impl Pending {
    /// Reads what has come, answers a hello, and recognises go.
    fn step(&mut self, mine: &Hello, first: usize) -> Step {
        let mut byte = [0; LENGTH];
        loop {
            let wanted = if self.peer.is_some() { 1 } else { LENGTH - self.bytes.len() };
            let read = match self.socket.read(&mut byte[..wanted]) {
                Ok(0) => return Step::Refuse("it closed the connection".to_owned()),
                Ok(read) => read,
                Err(reason) if waits(&reason) => return Step::Wait,
                Err(reason) => return Step::Refuse(reason.to_string()),
            };
            if let Some(peer) = self.peer {
                return if byte[0] == GO {
                    Step::Joined(peer)
                } else {
                    Step::Refuse("it said no go".to_owned())
                };
            }
            self.bytes.extend_from_slice(&byte[..read]);
            if !Hello::can_begin_with(&self.bytes) {
                let said = self.bytes[..self.bytes.len().min(16)].escape_ascii();
                return Step::Refuse(format!("it is no citytide process: it began with `{said}`"));
            }
            if let Ok(bytes) = <&[u8; LENGTH]>::try_from(self.bytes.as_slice()) {
                if let Err(why) = self.answer(bytes.to_owned(), mine, first) {
                    return Step::Refuse(why);
                }
            }
        }
    }

    /// Answers a whole hello, also one that is refused, so that the other side can say why.
    fn answer(&mut self, bytes: [u8; LENGTH], mine: &Hello, first: usize) -> Result<(), String> {
        let other = Hello::from_bytes(&bytes);
        // A fresh socket takes these few bytes at once; one that does not is as good as closed.
        self.socket.write_all(&mine.to_bytes()).map_err(|reason| reason.to_string())?;
        let other = other?;
        let index = other.process as usize;
        let awaited = index >= first && index < mine.processes as usize;
        if awaited {
            self.peer = Some(index);
        }
        match mine.refuse(&other) {
            Some(refusal) => Err(refusal),
            None if !awaited => {
                Err(format!("process {index} is not one that connects to process {}", mine.process))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;

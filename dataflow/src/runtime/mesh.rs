//! The mesh: connects the processes of one run to each other, and refuses all other connections.
//!
//! ```text
//!  process i ── connects to ──▶ every j < i        hello ──▶
//!  process i ◀── accepts ────── every j > i              ◀── hello, when the first one fits
//!                                                  go    ──▶
//! ```
//!
//! A hello says what its process's clock of epochs shows. The connecting side holds the answer against its own clock
//! before and after, and says go only if the two can be within [`CLOCKS_APART_MAX_MS`]: commits come as late as the
//! slowest clock says.
//!
//! timely trusts whoever connects: a health check on its port makes it panic, and a process of an earlier
//! generation would be let in. So the sockets are made here and handed to timely only when
//! 1. both sides have said the same magic, protocol, run, `-n`, `-w` and `-z`, and the expected index (a connector
//!    that reaches its own port by TCP's self-connect is refused by that);
//! 2. the accepting side has seen `go`: a connector that gave up in between does not count;
//! 3. of two connections of one index the later one counts: a connector repeats only what it has given up.
//!
//! A stranger, another run or other `-w` is refused, logged once, and does not end the wait of the accepting side; a
//! connecting process that meets other numbers ends, because waiting does not help. The wait is bounded.
//! What happens to sockets later is timely's and the watchdog's business.

mod accept;
mod connect;
mod hello;

use std::any::Any;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use citytide_store::clock::instant;
use citytide_store::epoch_clock::EpochClock;
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::thread::ThreadBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::{AllocatorBuilder, Hooks};

use accept::accept;
use connect::connect;
use hello::Hello;

/// How long one attempt to connect, and then each side's hello, may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);
/// How long a port that is taken is tried.
const TAKEN_MAX: Duration = Duration::from_secs(2);
/// How often the accepting side polls its sockets.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Clocks that are further apart do not belong to one run, milliseconds.
const CLOCKS_APART_MAX_MS: u64 = 1_000;
/// A difference above this is told, milliseconds.
const CLOCKS_APART_TOLD_MS: u64 = 100;

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
    /// What this process makes epochs of.
    pub clock: EpochClock,
    /// How long to wait for all peers.
    pub patience: Duration,
}

impl Mesh {
    fn now_ms(&self) -> u64 {
        self.clock.at_ms(instant())
    }
}

/// Why the processes did not come together.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// This process cannot listen on its own address.
    #[error(
        "cannot listen on {address} for the other processes of the run: {reason}; is the address this machine's, and is another process using the port?"
    )]
    Listen {
        address: String,
        /// The system's words.
        reason: std::io::Error,
    },
    /// A peer never came.
    #[error("process {process} ({address}) did not join run {run_id} within {} s: {why}", waited.as_secs_f32())]
    PeerMissing {
        /// The peer's index.
        process: usize,
        address: String,
        /// The run.
        run_id: i64,
        /// How long it was awaited.
        waited: Duration,
        /// What was seen of it last.
        why: String,
    },
    /// A peer of the same run was started with other numbers.
    #[error("cannot join run {run_id}: {why}; give every process of a run the same -n, -w and -z")]
    Mismatch {
        /// The run.
        run_id: i64,
        /// What differs.
        why: String,
    },
    /// The clocks of two processes differ too much.
    #[error(
        "cannot join run {run_id}: the clock of process {peer} ({peer_address}) is {} that of process {process} \
         ({address}), this one; at most {} s are allowed: set the clocks of both machines by NTP and start again",
        apart(*ahead_ms), CLOCKS_APART_MAX_MS as f64 / 1_000.0
    )]
    ClocksApart {
        /// The run.
        run_id: i64,
        /// The peer's index.
        peer: usize,
        /// Its address.
        peer_address: String,
        /// The index of this process.
        process: usize,
        /// Its address.
        address: String,
        /// How far the peer's clock is ahead, at least; negative: behind.
        ahead_ms: i64,
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
    let listener = listen_on(own, deadline).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;

    // Set once this process can no longer join, so that it stops waiting for the others.
    let give_up = AtomicBool::new(false);
    let found: Vec<PeerSocket> = std::thread::scope(|scope| {
        let give_up = &give_up;
        let connecting: Vec<_> = (0..settings.process)
            .map(|peer| {
                scope.spawn(move || {
                    let found = connect(settings, peer, deadline);
                    give_up.fetch_or(matches!(found, Err(JoinError::Never(_))), Ordering::Relaxed);
                    found
                })
            })
            .collect();
        let accepted = accept(settings, &listener, deadline, give_up);
        let connected = connecting.into_iter().map(|thread| thread.join().expect("connecting never panics"));
        connected.chain(accepted).collect()
    });

    let mut sockets = Vec::with_capacity(settings.addresses.len());
    for found in found {
        if sockets.len() == settings.process {
            sockets.push(None);
        }
        let process = sockets.len();
        let run_id = settings.run_id;
        let socket = found.map_err(|missing| match missing {
            JoinError::Never(why) => why,
            JoinError::NotYet(why) => MeshError::PeerMissing {
                process,
                address: settings.addresses[process].clone(),
                run_id,
                waited: settings.patience,
                why,
            },
        })?;
        sockets.push(Some(socket));
    }
    // No process connects to the last one.
    sockets.resize_with(settings.addresses.len(), || None);
    Ok(sockets)
}

/// Listens; a port that is taken may be that of a process of the last generation that is just ending.
fn listen_on(address: &str, deadline: Instant) -> std::io::Result<TcpListener> {
    let until = deadline.min(instant() + TAKEN_MAX);
    loop {
        // The standard library sets SO_REUSEADDR: connections that are left in TIME_WAIT are no hindrance.
        match TcpListener::bind(address) {
            Err(reason) if reason.kind() == ErrorKind::AddrInUse && instant() < until => {
                std::thread::sleep(POLL_INTERVAL)
            }
            listener => return listener,
        }
    }
}

/// The socket of one peer, or why there is none.
type PeerSocket = Result<TcpStream, JoinError>;

/// Why there is no socket to a peer.
#[derive(Debug)]
enum JoinError {
    /// It may come yet: what was seen of it last.
    NotYet(String),
    /// It is there, and does not fit to this process: waiting does not help.
    Never(MeshError),
}

/// `ahead_ms` in words, to be followed by the other clock.
fn apart(ahead_ms: i64) -> String {
    let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
    format!("{:.1} s {side}", ahead_ms.unsigned_abs() as f64 / 1_000.0)
}

/// What this process says now.
fn hello(settings: &Mesh) -> Hello {
    let small = |count: usize| u32::try_from(count).expect("a count of processes or threads");
    Hello {
        run_id: settings.run_id,
        process: small(settings.process),
        processes: small(settings.addresses.len()),
        workers: small(settings.workers),
        zerocopy: settings.zerocopy,
        clock_ms: settings.now_ms(),
    }
}

/// Whether a socket merely has nothing to say yet.
fn would_block(reason: &std::io::Error) -> bool {
    matches!(reason.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;

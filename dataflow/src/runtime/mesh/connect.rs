//! The connecting side of the mesh: one peer with a lower index, tried again and again.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use citytide_store::clock::instant;
use citytide_store::epoch_clock::least_ahead_ms;

use super::hello::{APART, GO, Hello, LENGTH};
use super::{
    ATTEMPT_MAX, CLOCKS_APART_MAX_MS, CLOCKS_APART_TOLD_MS, JoinError, Mesh, MeshError, POLL_INTERVAL,
    PeerSocket, apart, hello, would_block,
};

/// The first and the longest pause between two attempts to connect.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Connects to `peer`, again and again until `deadline`; at once it gives up on one that was started otherwise.
pub(super) fn connect(settings: &Mesh, peer: usize, deadline: Instant) -> PeerSocket {
    let address = &settings.addresses[peer];
    let mut pause = BACK_OFF.0;
    let mut why = String::new();
    loop {
        match attempt(settings, peer, deadline) {
            Ok(socket) => return Ok(socket),
            Err(JoinError::Never(why)) => return Err(JoinError::Never(why)),
            Err(JoinError::NotYet(now)) => {
                if now != why {
                    tracing::info!("not yet connected to process {peer} ({address}): {now}");
                }
                why = now;
            }
        }
        let left = deadline.saturating_duration_since(instant());
        if left.is_zero() {
            return Err(JoinError::NotYet(why));
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(BACK_OFF.1);
    }
}

/// One attempt: connect, hello, hello, go, if the clocks allow it.
fn attempt(settings: &Mesh, peer: usize, deadline: Instant) -> PeerSocket {
    let failed = |reason: std::io::Error| JoinError::NotYet(reason.to_string());
    let most = || deadline.saturating_duration_since(instant()).clamp(POLL_INTERVAL, ATTEMPT_MAX);
    let mut socket = Err(JoinError::NotYet("its name resolves to no address".to_owned()));
    for address in settings.addresses[peer].to_socket_addrs().map_err(failed)? {
        socket = TcpStream::connect_timeout(&address, most()).map_err(failed);
        if socket.is_ok() {
            break;
        }
    }
    let mut socket = socket?;
    let mine = hello(settings);
    socket.set_nodelay(true).map_err(failed)?;
    socket.write_all(&mine.to_bytes()).map_err(failed)?;
    let mut bytes = [0; LENGTH];
    read_until(&mut socket, &mut bytes, instant() + most()).map_err(JoinError::NotYet)?;
    let other = Hello::from_bytes(&bytes).map_err(JoinError::NotYet)?;
    if let Some(refusal) = mine.refuse(&other) {
        let is_final = mine.is_permanent_mismatch(&other);
        let mismatch = MeshError::Mismatch { run_id: settings.run_id, why: refusal.clone() };
        return Err(if is_final { JoinError::Never(mismatch) } else { JoinError::NotYet(refusal) });
    }
    if other.process as usize != peer {
        return Err(JoinError::NotYet(format!("process {} answers there", other.process)));
    }
    let ahead_ms = least_ahead_ms(mine.clock_ms, other.clock_ms, settings.now_ms());
    if let Err(apart) = compare_clocks(settings, peer, ahead_ms) {
        // The peer tells it too. Neither clock changes while its process lives.
        let _ = socket.write_all(&[APART]);
        return Err(JoinError::Never(apart));
    }
    socket.write_all(&[GO]).map_err(failed)?;
    socket.set_read_timeout(None).map_err(failed)?;
    Ok(socket)
}

/// Whether a peer's clock, which is ahead by at least so much, goes with this process's. Tells a difference that slows
/// the run down.
fn compare_clocks(settings: &Mesh, peer: usize, ahead_ms: i64) -> Result<(), MeshError> {
    let process = settings.process;
    let address = |process: usize| settings.addresses[process].clone();
    if ahead_ms.unsigned_abs() > CLOCKS_APART_MAX_MS {
        return Err(MeshError::ClocksApart {
            run_id: settings.run_id,
            peer,
            peer_address: address(peer),
            process,
            address: address(process),
            ahead_ms,
        });
    }
    if ahead_ms.unsigned_abs() > CLOCKS_APART_TOLD_MS {
        tracing::warn!(
            "the clock of process {peer} ({}) is {} that of process {process} ({}), this one: commits come later by so \
             much; set both by NTP",
            address(peer),
            apart(ahead_ms),
            address(process),
        );
    }
    Ok(())
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
            Err(reason) if would_block(&reason) => {}
            Err(reason) => return Err(reason.to_string()),
        }
    }
    Ok(())
}

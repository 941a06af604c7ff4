//! The mesh over loopback: processes are threads here, strangers included.

use std::io::{Read, Write};
use std::sync::{Arc, OnceLock, mpsc};

use timely::communication::initialize::initialize_from;

use super::*;
use crate::runtime::exit::Exit;
use crate::runtime::hosts::free_loopback;

const LONG: Duration = Duration::from_secs(60);

fn mesh(process: usize, addresses: &[String], run_id: i64, patience: Duration) -> Mesh {
    let (addresses, clock) = (addresses.to_vec(), clock_ahead_by(0));
    Mesh { process, addresses, run_id, workers: 2, zerocopy: false, clock, patience }
}

/// A clock that is ahead of that of the others by so much.
fn clock_ahead_by(ahead_ms: i64) -> EpochClock {
    static SINCE: OnceLock<Instant> = OnceLock::new();
    EpochClock::starting(1_795_262_400_000_u64.saturating_add_signed(ahead_ms), *SINCE.get_or_init(instant))
}

/// The number of workers that a worker of the joined process sees.
fn peers_of(joined: Joined) -> usize {
    let (sender, receiver) = mpsc::channel();
    let sender = Arc::new(std::sync::Mutex::new(sender));
    let guards = initialize_from(joined.0, joined.1, move |mut allocator| {
        // Each worker sends one message to every worker of every process and awaits as many.
        let (mut pushers, mut puller) = allocator.allocate::<timely::Bincode<u64>>(0);
        for pusher in &mut pushers {
            use timely::communication::Push;
            pusher.send(timely::Bincode { payload: 1 });
            pusher.done();
        }
        let (mut seen, peers) = (0, allocator.peers());
        while seen < peers {
            use timely::communication::Pull;
            allocator.receive();
            while puller.recv().is_some() {
                seen += 1;
            }
            allocator.release();
        }
        sender.lock().expect("no panic").send(seen).expect("a listener");
    })
    .expect("workers");
    for result in guards.join() {
        result.expect("a worker that ends well");
    }
    receiver.try_iter().max().unwrap_or(0)
}

/// Joins all `meshes` on threads of their own and exchanges messages between all their workers.
fn join_all(meshes: Vec<Mesh>) -> Vec<usize> {
    let threads: Vec<_> = meshes
        .into_iter()
        .map(|mesh| std::thread::spawn(move || peers_of(join(&mesh).expect("joined"))))
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}

/// Connects to `address` as soon as somebody listens there.
fn visit(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address) {
            Ok(socket) => return socket,
            Err(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

#[test]
fn one_process_needs_no_sockets() {
    for (workers, zerocopy) in [(1, false), (1, true), (3, false), (3, true)] {
        let one = Mesh { workers, zerocopy, ..mesh(0, &["nowhere:1".to_owned()], 1, LONG) };
        assert_eq!(peers_of(join(&one).expect("joined")), workers);
    }
}

#[test]
fn three_processes_join_and_exchange_between_all_workers() {
    let addresses = free_loopback(3).expect("ports");
    assert_eq!(join_all((0..3).map(|p| mesh(p, &addresses, 5, LONG)).collect()), [6, 6, 6]);
}

#[test]
fn strangers_are_refused_and_do_not_end_or_hold_up_the_wait() {
    let addresses = free_loopback(2).expect("ports");
    let first = std::thread::spawn({
        let addresses = addresses.clone();
        move || peers_of(join(&mesh(0, &addresses, 5, LONG)).expect("joined"))
    });
    // A health check is turned away, a port scan closes at once, and one says nothing for ever.
    let mut check = visit(&addresses[0]);
    check.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").expect("sent");
    let _ = check.set_read_timeout(Some(LONG));
    assert!(matches!(check.read(&mut [0; 64]), Ok(0) | Err(_)), "a stranger is told nothing");
    drop(visit(&addresses[0]));
    let silent = visit(&addresses[0]);
    assert_eq!(peers_of(join(&mesh(1, &addresses, 5, LONG)).expect("joined")), 4);
    assert_eq!(first.join().expect("no panic"), 4);
    drop(silent);
}

#[test]
fn a_peer_of_another_run_or_with_other_workers_is_refused_and_the_right_one_is_awaited() {
    let addresses = free_loopback(2).expect("ports");
    let first = std::thread::spawn({
        let addresses = addresses.clone();
        move || peers_of(join(&mesh(0, &addresses, 5, LONG)).expect("joined"))
    });
    let short = Duration::from_millis(300);
    let other_run = join(&mesh(1, &addresses, 4, short)).err().expect("refused").to_string();
    assert!(other_run.starts_with("process 0 (127.0.0.1:"), "{other_run}");
    // Told at once, however long it would wait.
    let other_workers = join(&Mesh { workers: 1, ..mesh(1, &addresses, 5, LONG) }).err().expect("refused");
    assert_eq!(
        other_workers.to_string(),
        "cannot join run 5: process 0 was started with -n 2 -w 2, this process with -n 2 -w 1; give every process \
         of a run the same -n, -w and -z"
    );
    assert_eq!(Exit::from(&other_workers), Exit::Config);
    assert_eq!(peers_of(join(&mesh(1, &addresses, 5, LONG)).expect("joined")), 4);
    assert_eq!(first.join().expect("no panic"), 4);
}

#[test]
fn a_process_that_was_started_otherwise_does_not_wait_for_those_behind_it() {
    let addresses = free_loopback(3).expect("ports");
    let first = std::thread::spawn({
        let addresses = addresses.clone();
        move || join(&mesh(0, &addresses, 5, Duration::from_millis(500))).err().expect("nobody fits")
    });
    let middle = join(&Mesh { zerocopy: true, ..mesh(1, &addresses, 5, LONG) }).err().expect("refused");
    assert!(middle.to_string().contains("differ in -z"), "{middle}");
    assert!(matches!(first.join().expect("no panic"), MeshError::PeerMissing { process: 1, .. }));
}

#[test]
fn a_peer_that_never_comes_is_named() {
    let addresses = free_loopback(3).expect("ports");
    let short = Duration::from_millis(50);
    let above = join(&mesh(0, &addresses, 5, short)).err().expect("nobody there").to_string();
    let said = format!("process 1 ({}) did not join run 5 within 0.05 s: it never connected", addresses[1]);
    assert_eq!(above, said);
    let below = join(&mesh(2, &addresses, 5, short)).err().expect("nobody there").to_string();
    assert!(below.starts_with(&format!("process 0 ({}) did not join run 5", addresses[0])), "{below}");
}

#[test]
fn an_address_that_stays_taken_is_named_and_one_that_becomes_free_is_used() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let nobody = [address.clone(), "127.0.0.1:9".to_owned()];
    let said = join(&mesh(0, &nobody, 5, Duration::from_millis(50))).err().expect("taken").to_string();
    assert!(said.starts_with(&format!("cannot listen on {address}")), "{said}");
    let waiting = std::thread::spawn(move || listen_on(&address, instant() + LONG));
    std::thread::sleep(POLL_INTERVAL);
    drop(taken);
    waiting.join().expect("no panic").expect("free by now");
}

/// What the two processes of a run say when the clock of the second one is ahead by so much: the second one first.
fn joined_ahead_by(ahead_ms: i64, patience: Duration) -> [Result<usize, MeshError>; 2] {
    let addresses = free_loopback(2).expect("ports");
    let first = std::thread::spawn({
        let addresses = addresses.clone();
        move || join(&mesh(0, &addresses, 5, patience)).map(peers_of)
    });
    let second = Mesh { clock: clock_ahead_by(ahead_ms), ..mesh(1, &addresses, 5, LONG) };
    [join(&second).map(peers_of), first.join().expect("no panic")]
}

fn refused_ahead_by(ahead_ms: i64) -> [String; 2] {
    let [second, first] = joined_ahead_by(ahead_ms, Duration::from_secs(5));
    let second = second.expect_err("refused");
    assert_eq!(Exit::from(&second), Exit::Config, "a restart does not help before a clock is set");
    [second.to_string(), first.expect_err("nobody came").to_string()]
}

#[test]
fn processes_whose_clocks_are_more_than_a_second_apart_do_not_join_and_say_whose_is_ahead() {
    let behind = std::thread::spawn(|| refused_ahead_by(-3_600_000));
    for ([second, first], its, mine) in [
        (refused_ahead_by(3_600_000), "ahead of", "behind"),
        (behind.join().expect("no panic"), "behind", "ahead of"),
    ] {
        assert!(second.starts_with("cannot join run 5: the clock of process 0 (127.0.0.1:"), "{second}");
        assert!(second.contains(&format!(" s {mine} that of process 1 (127.0.0.1:")), "{second}");
        assert!(second.ends_with("set the clocks of both machines by NTP and start again"), "{second}");
        // The one that waited knows why nobody came.
        assert!(first.starts_with("process 1 (127.0.0.1:"), "{first}");
        assert!(first.contains("its clock is about "), "{first}");
        assert!(first.contains(&format!(" s {its} that of process 0, this one")), "{first}");
    }
}

#[test]
fn processes_whose_clocks_are_less_than_a_second_apart_join() {
    // However slow this machine is: a delay does not count as a difference.
    for ahead_ms in [900, -900] {
        let [second, first] = joined_ahead_by(ahead_ms, LONG);
        assert_eq!((second.expect("joined"), first.expect("joined")), (4, 4));
    }
}

//! How a process of citytide ends, seen from outside: panics, signals, the watchdog, and the supervisor's death.
//!
//! The processes are this test program itself, started once more for one of the ignored tests below.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use citytide::runtime::backoff::Backoff;
use citytide::runtime::supervisor::{DRAIN_MAX, Supervision, supervise};
use citytide::runtime::{panic, signals, watchdog};
use citytide_store::clock::instant;
use citytide_store::epoch_clock::EpochClock;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGABRT, SIGINT, SIGKILL, SIGTERM};

/// What a process says when its handlers are in place.
const READY: &str = "ready";

/// A process that runs one ignored test of this file; killed when the test that started it fails.
struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(test: &str) -> Process {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["--exact", test, "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program, again");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Process { child, lines }
    }

    /// What the process says after `word` in the first line that has it.
    fn says(&mut self, word: &str) -> String {
        let line = self.lines.by_ref().map(|line| line.expect("text")).find(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("it never said {word}"));
        line.split_once(word).expect("found above").1.trim().to_owned()
    }

    fn signal(&self, signal: i32) {
        send(self.child.id() as i32, signal);
    }

    fn end(&mut self) -> ExitStatus {
        self.child.wait().expect("its end")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(pid: i32, signal: i32) {
    let (pid, signal) = (Pid::from_raw(pid).expect("not 0"), Signal::from_named_raw(signal));
    kill_process(pid, signal.expect("a known signal")).expect("the process is there");
}

fn say(words: &str) {
    println!("{words}");
    std::io::stdout().flush().expect("a reader");
}

/// Longer than any test waits, and no longer: nothing of a test stays for ever.
fn hang() -> ! {
    std::thread::sleep(Duration::from_secs(120));
    std::process::exit(99);
}

#[test]
fn a_panic_on_any_thread_aborts_the_process() {
    assert_eq!(Process::start("process_whose_thread_panics").end().signal(), Some(SIGABRT));
}

#[test]
#[ignore = "a process of a_panic_on_any_thread_aborts_the_process"]
fn process_whose_thread_panics() {
    panic::end_process_on_panic();
    std::thread::spawn(|| panic!("on purpose"));
    hang();
}

#[test]
fn a_lost_peer_ends_the_process_with_its_own_code() {
    assert_eq!(Process::start("process_that_loses_a_peer").end().code(), Some(74));
}

#[test]
#[ignore = "a process of a_lost_peer_ends_the_process_with_its_own_code"]
fn process_that_loses_a_peer() {
    panic::end_process_on_panic();
    // Real sockets and timely's real words, so that a change of them shows.
    let addresses = citytide::runtime::hosts::free_loopback(2).expect("ports");
    let clock = EpochClock::starting(1_795_262_400_000, instant());
    let mesh = |process| citytide::runtime::mesh::Mesh {
        process,
        addresses: addresses.clone(),
        run_id: 1,
        workers: 1,
        zerocopy: false,
        clock,
        patience: Duration::from_secs(60),
    };
    let (first, second) = (mesh(0), mesh(1));
    // The peer goes without a word: its sockets are closed before timely has said goodbye on them.
    let peer = std::thread::spawn(move || citytide::runtime::mesh::connect_all(&second).expect("joined"));
    let joined = citytide::runtime::mesh::join(&first).expect("joined");
    drop(peer.join().expect("no panic"));
    let _guards = timely::communication::initialize::initialize_from(joined.0, joined.1, |_| hang());
    hang();
}

#[test]
fn the_first_signal_drains_and_the_second_one_ends_at_once() {
    for (second, code) in [(SIGTERM, 143), (SIGINT, 130)] {
        let mut process = Process::start("process_that_drains_for_ever");
        process.says(READY);
        process.signal(SIGTERM);
        process.says("draining");
        process.says("asked long ago");
        process.signal(second);
        assert_eq!(process.end().code(), Some(code));
    }
}

#[test]
fn signals_close_together_are_one() {
    let mut process = Process::start("process_that_drains_for_ever");
    process.says(READY);
    process.signal(SIGTERM);
    process.signal(SIGTERM);
    process.signal(SIGINT);
    process.says("draining");
    // Had the later ones counted, it would have ended before it says this.
    process.says("asked long ago");
    process.signal(SIGTERM);
    assert_eq!(process.end().code(), Some(143));
}

#[test]
#[ignore = "a process of the_first_signal_drains_and_the_second_one_ends_at_once"]
fn process_that_drains_for_ever() {
    let drain = Arc::new(AtomicBool::new(false));
    signals::drain_on_signal(drain.clone()).expect("handlers");
    say(READY);
    while !drain.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
    }
    say("draining");
    std::thread::sleep(Duration::from_secs(1));
    say("asked long ago");
    hang();
}

#[test]
fn a_frontier_that_stands_still_ends_the_process() {
    assert_eq!(Process::start("process_that_stalls").end().code(), Some(75));
}

#[test]
#[ignore = "a process of a_frontier_that_stands_still_ends_the_process"]
fn process_that_stalls() {
    let committed = Arc::new(AtomicU64::new(50));
    watchdog::watch("committed", &committed, Duration::ZERO).expect("a thread");
    hang();
}

#[test]
fn children_die_with_a_supervisor_that_is_killed() {
    let mut process = Process::start("process_that_supervises");
    let child = process.says("child");
    process.signal(SIGKILL);
    assert_eq!(process.end().signal(), Some(SIGKILL));
    assert!(gone(&child), "process {child} lives on");
}

#[test]
fn a_supervisor_hands_its_first_signal_on_and_ends_as_its_children_do() {
    let mut process = Process::start("process_that_supervises");
    let child = process.says("child");
    process.signal(SIGINT);
    process.says("drained");
    assert_eq!(process.end().code(), Some(0));
    assert!(gone(&child), "process {child} lives on");
}

#[test]
#[ignore = "a process of children_die_with_a_supervisor_that_is_killed"]
fn process_that_supervises() {
    // The harness runs each test on a thread of its own, which is the one that starts the children.
    let script = "trap 'echo drained; exit 0' TERM; echo child $$; while :; do sleep 0.01; done";
    let arguments = |_| Ok(vec![vec!["-c".into(), script.into()]]);
    let executable = "/bin/sh".into();
    let plan = Supervision {
        executable,
        environment: Vec::new(),
        on_line: None,
        arguments: &arguments,
        backoff: Backoff::default(),
        drain_max: DRAIN_MAX,
        reader_is_gone: &|| false,
    };
    std::process::exit(supervise(&plan));
}

/// Whether a process is gone before long; the kernel's signal to it is not waited for by anybody.
fn gone(pid: &str) -> bool {
    let stat = format!("/proc/{pid}/stat");
    (0..1_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}

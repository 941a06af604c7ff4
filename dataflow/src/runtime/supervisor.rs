//! The supervisor: `citytide run` without `--no-supervise` watches over the processes that do the work.
//!
//! ```text
//!  start generation ──▶ running ── all ended with 0 ──────────────────────────────▶ 0
//!        ▲                │ ├───── one ended with a code that a restart cannot help ─▶ that code
//!        │                │ └───── first SIGTERM or SIGINT ──▶ draining ─────────────▶ 0, or the worst code
//!        └── back-off ◀───┘ one ended otherwise: all others are killed at once
//! ```
//!
//! 1. A generation starts and ends as a whole: timely cannot take back a single process, and partial restarts
//!    crash each other in a loop.
//! 2. No child outlives a generation, and no generation the supervisor (see `children`).
//! 3. It keeps starting generations for as long as a dependency is away; only the delay between generations is bounded.
//!    After a bug it tries again until [`BUGS_MAX`] generations have met one, for it will most likely meet the bug
//!    again.
//! 4. A second SIGTERM or SIGINT kills everything at once.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use citytide_store::clock::instant;
use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals;

use super::backoff::Backoff;
use super::children::{ChildExit, Children, OnLine};
use super::exit::Exit;

/// How often the supervisor checks its children and signals.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long children may take to end on SIGTERM after one of them has failed.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// A child that lost a peer may be seen to end before that peer: how long to wait for the peer.
const CAUSE_DELAY: Duration = Duration::from_millis(100);
/// The exit of a child that lost a peer.
const PEER_LOST: ChildExit = ChildExit::Code(Exit::PeerLost as i32);
/// The exit of a child that met a bug.
const BUG: ChildExit = ChildExit::Code(Exit::Bug as i32);
/// The exit of a child that SIGTERM reached before it listened for signals.
const KILLED_BEFORE_LISTENING: ChildExit = ChildExit::Signal(SIGTERM);
/// Generations in a row that may end with a bug before no further one is started.
const BUGS_MAX: u32 = 5;
/// A generation that ran for so long begins a new row.
const BUGS_FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// How long a drain may take, unless set otherwise.
pub const DRAIN_MAX: Duration = Duration::from_secs(60);

/// What to supervise, and how patiently.
pub struct Supervision<'a> {
    /// The program of every child; `std::env::current_exe()` for the real one.
    pub executable: PathBuf,
    /// What is added to the environment of every child.
    pub environment: Vec<(OsString, OsString)>,
    /// Takes what the children write, when this process has the terminal to itself.
    pub on_line: Option<OnLine>,
    /// The arguments of each child of generation N, counted from 1. Asked anew for each generation, so that each
    /// can be given ports that are free then.
    pub arguments: &'a dyn Fn(u64) -> std::io::Result<Vec<Vec<OsString>>>,
    /// Whether whoever read what the children print has gone: then they drain, as after a signal.
    pub reader_is_gone: &'a dyn Fn() -> bool,
    /// The delays between generations.
    pub backoff: Backoff,
    /// How long a drain may take before the children are killed.
    pub drain_max: Duration,
}

/// Supervises until there is nothing left to do; returns the exit code of the whole. Call it on the main thread:
/// the children die with the thread that started them.
///
/// - 0: all children ended with 0, or a signal came while none was running. A child that the drain's SIGTERM
///   killed did not yet listen for it, hence had nothing to drain: that is as good as 0;
/// - a child's own code when a restart cannot help (see [`Exit::restart_helps`]);
/// - after a drain in which a child failed: the most informative code (see [`worst_code`]);
/// - 128 + signal after the second signal.
pub fn supervise(plan: &Supervision<'_>) -> i32 {
    match Signals::new([SIGTERM, SIGINT]) {
        Ok(mut signals) => {
            let mut is_gone = false;
            run(plan, &mut move || {
                let signal = signals.pending().next();
                // Once, for a second signal kills.
                if signal.is_none() && !is_gone && (plan.reader_is_gone)() {
                    is_gone = true;
                    return Some(SIGPIPE);
                }
                signal
            })
        }
        Err(reason) => {
            tracing::error!("cannot listen to signals: {reason}");
            Exit::Bug.code()
        }
    }
}

/// How a generation ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The supervisor ends with this code.
    Over(i32),
    /// A new generation may help; what ended this one.
    Failed(String),
    /// The same, after a bug: a new generation may help, but not for ever.
    Bug(String),
}

/// `supervise`, with the signals that `signal` returns.
fn run(plan: &Supervision<'_>, signal: &mut dyn FnMut() -> Option<i32>) -> i32 {
    let mut backoff = plan.backoff.clone();
    let mut generation = 1;
    let mut bugs = 0;
    loop {
        let started = instant();
        let outcome = run_generation(plan, generation, signal);
        let ran = instant().saturating_duration_since(started);
        if ran >= BUGS_FORGOTTEN_AFTER {
            bugs = 0;
        }
        let what = match outcome {
            Outcome::Over(code) => return code,
            Outcome::Failed(what) => what,
            Outcome::Bug(what) => {
                bugs += 1;
                if bugs >= BUGS_MAX {
                    tracing::error!(
                        "generation {generation} ended: {what}, as {BUGS_MAX} have: a restart does not help"
                    );
                    return Exit::Bug.code();
                }
                what
            }
        };
        let delay = backoff.after(ran);
        let next = generation + 1;
        tracing::warn!("generation {generation} ended: {what}; starting generation {next} in {delay:?}");
        if wait(delay, signal).is_some() {
            tracing::info!(
                "stopped by a signal between two generations: no process is running, nothing to drain"
            );
            return Exit::Done.code();
        }
        generation = next;
    }
}

/// Waits for `delay`, or less when a signal comes.
fn wait(delay: Duration, signal: &mut dyn FnMut() -> Option<i32>) -> Option<i32> {
    let until = instant() + delay;
    loop {
        let came = signal();
        let left = until.saturating_duration_since(instant());
        if came.is_some() || left.is_zero() {
            return came;
        }
        std::thread::sleep(POLL_INTERVAL.min(left));
    }
}

/// Starts one generation and watches it until it ends.
fn run_generation(
    plan: &Supervision<'_>,
    generation: u64,
    signal: &mut dyn FnMut() -> Option<i32>,
) -> Outcome {
    let started = (plan.arguments)(generation).and_then(|lists| {
        Children::start(&plan.executable, &plan.environment, &lists, plan.on_line.as_ref())
    });
    let mut children = match started {
        Ok(children) => children,
        Err(reason) => {
            let what = format!("cannot start {}: {reason}", plan.executable.display());
            let helps =
                !matches!(reason.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied);
            if helps {
                return Outcome::Failed(what);
            }
            tracing::error!("{what}");
            return Outcome::Over(Exit::Config.code());
        }
    };
    loop {
        if let Some(signal_number) = signal() {
            return Outcome::Over(drain(plan, &mut children, signal_number, signal));
        }
        if let Some((index, exit)) = failure(&mut children) {
            let what = format!("process {index} ({exit})");
            if Exit::restart_helps(exit.code()) {
                children.kill();
                return match exit == BUG {
                    true => Outcome::Bug(what),
                    false => Outcome::Failed(what),
                };
            }
            tracing::error!("{what}: a restart does not help");
            children.signal(Signal::TERM);
            return Outcome::Over(wait_or_kill(&mut children, GRACE_PERIOD, signal).unwrap_or(exit.status()));
        }
        if children.exits().is_some() {
            return Outcome::Over(Exit::Done.code());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// The most informative failure, if a child has failed. A process that ends because it lost another may be seen first:
/// the other one gets [`CAUSE_DELAY`] to be seen too.
fn failure(children: &mut Children) -> Option<(usize, ChildExit)> {
    let failed = |children: &mut Children| {
        let mut failed = reap(children);
        failed.retain(|(_, exit)| *exit != ChildExit::Code(0));
        failed
    };
    let mut failures = failed(children);
    if failures.iter().all(|(_, exit)| *exit == PEER_LOST) && !failures.is_empty() {
        std::thread::sleep(CAUSE_DELAY);
        failures.extend(failed(children));
    }
    failures.into_iter().rev().max_by_key(|(_, exit)| severity(*exit))
}

/// The children that have ended since the last call. That children cannot be waited for is a broken invariant.
fn reap(children: &mut Children) -> Vec<(usize, ChildExit)> {
    children.reap().expect("a child that was started and not yet reaped can be waited for")
}

/// Waits until all have ended, killing what is left after `patience`; a signal kills at once and gives its code.
fn wait_or_kill(
    children: &mut Children,
    patience: Duration,
    signal: &mut dyn FnMut() -> Option<i32>,
) -> Option<i32> {
    let until = instant() + patience;
    loop {
        reap(children);
        if children.exits().is_some() {
            return None;
        }
        let came = signal();
        if came.is_some() || instant() >= until {
            children.kill();
            return came.map(|signal| 128 + signal);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// After the first signal: all drain, within the plan's patience. When one fails the others cannot finish, for an
/// epoch needs all of them: they get a short grace only.
fn drain(
    plan: &Supervision<'_>,
    children: &mut Children,
    first: i32,
    signal: &mut dyn FnMut() -> Option<i32>,
) -> i32 {
    let why = match first {
        SIGPIPE => "standard output was closed".to_owned(),
        signal => format!("signal {signal}"),
    };
    tracing::info!("{why}: draining, for {} s at most", plan.drain_max.as_secs());
    children.signal(Signal::TERM);
    let mut until: Instant = instant() + plan.drain_max;
    loop {
        for (index, exit) in reap(children) {
            if severity(exit) > 0 {
                tracing::error!("process {index} failed while draining ({exit})");
                until = until.min(instant() + GRACE_PERIOD);
            }
        }
        if let Some(exits) = children.exits() {
            return worst_code(&exits);
        }
        if let Some(second) = signal() {
            tracing::warn!("signal {second}: killing all processes");
            children.kill();
            return 128 + second;
        }
        if instant() >= until {
            tracing::error!("the drain took too long: killing all processes");
            children.kill();
            return worst_code(&children.exits().unwrap_or_default());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// The most informative code of a generation that failed.
fn worst_code(exits: &[ChildExit]) -> i32 {
    // The first of equals, so that the answer does not depend on who was reaped last.
    let worst = exits.iter().rev().max_by_key(|exit| severity(**exit));
    worst.filter(|exit| severity(**exit) > 0).map_or(0, |exit| exit.status())
}

/// How informative an exit is: most a code that a restart cannot help, then a cause that a process named, then
/// death by a signal, and least a lost peer, which only follows from another exit.
fn severity(exit: ChildExit) -> u8 {
    match exit {
        ChildExit::Code(0) | KILLED_BEFORE_LISTENING => 0,
        PEER_LOST => 1,
        ChildExit::Signal(_) => 2,
        ChildExit::Code(code) if Exit::restart_helps(Some(code)) => 3,
        ChildExit::Code(_) => 4,
    }
}

#[cfg(test)]
mod tests;

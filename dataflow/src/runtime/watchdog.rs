//! The watchdog: ends a run whose committed frontier does not advance, because it is stuck.
//!
//! timely has no keepalive: when a peer's machine disappears without closing its sockets, or a thread waits for
//! something that never comes, nothing fails and nothing moves. Epochs advance on every grid point, with data or
//! without, and so does the frontier below which everything is committed (also when there was nothing to commit and
//! hence no transaction). So the frontier alone is enough, whether there is lag or not.
//!
//! Time in which this process itself did not run (stopped, or a machine that slept) does not count.
//!
//! The same thread reports steps of the wall clock, which the epochs do not follow ([`WallClock`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use citytide_store::clock::{instant, wall_ms};
use citytide_store::epoch_clock::WallClock;

use super::exit::Exit;
use super::output;

/// How long a frontier may stand still before the run ends, unless set otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often the thread looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Longer than this between two looks, and it was this process that stood still.
const GAP_MAX: Duration = Duration::from_secs(5);

/// What an observation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The frontier has moved since the last observation.
    Moving,
    /// It has stood still for so long, within the patience.
    Standing(Duration),
    /// It has stood still for longer than the patience: the run is stuck.
    Stuck(Duration),
}

/// The pure part: remembers when the frontier last moved.
#[derive(Debug)]
pub struct Watchdog {
    patience: Duration,
    last_frontier: u64,
    since: Instant,
    last_look: Instant,
}

impl Watchdog {
    /// Starts watching a frontier that is at `frontier` at `now`.
    pub fn new(patience: Duration, frontier: u64, now: Instant) -> Watchdog {
        Watchdog { patience, last_frontier: frontier, since: now, last_look: now }
    }

    /// Judges the frontier as seen at `now`; `now` never goes back.
    pub fn observe(&mut self, frontier: u64, now: Instant) -> Verdict {
        let gap = now.saturating_duration_since(self.last_look);
        self.last_look = now;
        if frontier != self.last_frontier {
            self.last_frontier = frontier;
            self.since = now;
            return Verdict::Moving;
        }
        if gap > GAP_MAX {
            self.since += gap;
        }
        let still = now.saturating_duration_since(self.since);
        if still > self.patience { Verdict::Stuck(still) } else { Verdict::Standing(still) }
    }
}

/// Watches `committed`, the frontier (an epoch) below which everything is committed, on a thread of its own, and
/// ends the process with [`Exit::Stalled`] when it stands still for `patience`. `name` says which frontier it is.
/// The thread ends when all other owners have dropped `committed`.
pub fn watch(name: &str, committed: &Arc<AtomicU64>, patience: Duration) -> std::io::Result<()> {
    let name = name.to_owned();
    let committed: Weak<AtomicU64> = Arc::downgrade(committed);
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        let mut watchdog: Option<Watchdog> = None;
        let mut wall_clock = WallClock::new(wall_ms(), instant());
        while let Some(frontier) = committed.upgrade().map(|committed| committed.load(Ordering::Relaxed)) {
            let before = instant();
            let (wall_ms, now) = (wall_ms(), instant());
            if let Some(step) = wall_clock.sample(before, wall_ms, now) {
                tracing::warn!("{step}");
            }
            let watchdog = watchdog.get_or_insert_with(|| Watchdog::new(patience, frontier, now));
            if let Verdict::Stuck(still) = watchdog.observe(frontier, now) {
                tracing::error!(
                    "the {name} frontier has stood at epoch {frontier} for {} s: the run is stuck and ends",
                    still.as_secs()
                );
                output::flush();
                signal_hook::low_level::exit(Exit::Stalled.code());
            }
            std::thread::sleep(INTERVAL);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Looks every second from `from` to `to` and returns the last verdict.
    fn look(watchdog: &mut Watchdog, frontier: u64, start: Instant, from: u64, to: u64) -> Verdict {
        (from..=to).map(|at| watchdog.observe(frontier, start + seconds(at))).last().expect("a look")
    }

    #[test]
    fn a_frontier_that_stands_still_beyond_the_patience_is_stuck() {
        let start = instant();
        let mut watchdog = Watchdog::new(seconds(60), 100, start);
        assert_eq!(look(&mut watchdog, 100, start, 1, 60), Verdict::Standing(seconds(60)));
        assert_eq!(watchdog.observe(100, start + seconds(61)), Verdict::Stuck(seconds(61)));
    }

    #[test]
    fn a_frontier_that_moves_starts_the_patience_anew() {
        let start = instant();
        let mut watchdog = Watchdog::new(seconds(60), 100, start);
        look(&mut watchdog, 100, start, 1, 59);
        assert_eq!(watchdog.observe(150, start + seconds(60)), Verdict::Moving);
        assert_eq!(look(&mut watchdog, 150, start, 61, 120), Verdict::Standing(seconds(60)));
        assert_eq!(look(&mut watchdog, 150, start, 121, 121), Verdict::Stuck(seconds(61)));
    }

    #[test]
    fn time_in_which_the_process_itself_stood_still_does_not_count() {
        let start = instant();
        let mut watchdog = Watchdog::new(seconds(60), 100, start);
        look(&mut watchdog, 100, start, 1, 30);
        assert_eq!(watchdog.observe(100, start + seconds(3_600)), Verdict::Standing(seconds(30)));
        assert_eq!(look(&mut watchdog, 100, start, 3_601, 3_630), Verdict::Standing(seconds(60)));
        assert_eq!(look(&mut watchdog, 100, start, 3_631, 3_631), Verdict::Stuck(seconds(61)));
    }
}

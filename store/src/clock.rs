//! The one file that asks the clock. Everything else is told the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "this file is the clock")]
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

/// A point of the monotonic clock, for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "this file is the clock")]
pub fn instant() -> Instant {
    Instant::now()
}

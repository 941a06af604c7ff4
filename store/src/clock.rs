//! Reads the clock. All other files take the time as an argument (`clippy.toml` enforces it).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock, milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "this file is the clock")]
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

/// The monotonic clock, for measuring durations.
#[expect(clippy::disallowed_methods, reason = "this file is the clock")]
pub fn instant() -> Instant {
    Instant::now()
}

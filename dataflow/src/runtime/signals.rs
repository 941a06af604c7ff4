//! Signals of a process that does the work: the first asks it to drain, the second ends it.
//!
//! The second signal acts inside the signal handler, so that it also ends a process whose threads all hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// Signals this close together are one: a service manager signals every process of a service, and the supervisor
/// passes the signal on to its children as well.
const SAME: Duration = Duration::from_millis(500);

/// Sets `drain` on the first SIGTERM or SIGINT; a second one, later than [`SAME`], ends the process at once with 128 +
/// its number. Fails when the system refuses to install a handler.
pub fn drain_on_signal(drain: Arc<AtomicBool>) -> std::io::Result<()> {
    // Not `drain` itself: who else sets that must not turn the first signal into the second one.
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 128 + signal, asked.clone())?;
        flag::register(signal, drain.clone())?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            tracing::info!("draining…; a second signal ends the process at once");
            std::thread::sleep(SAME);
            asked.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(())
}

//! One panic hook for all threads: what a panic means for the process.
//!
//! timely hangs when one thread of it panics: the other workers wait for progress that never comes. So a panic
//! on any thread ends the whole process, at once and without unwinding:
//! 1. a panic that says that a peer's socket broke ends with [`Exit::PeerLost`]: it is the peer's failure;
//! 2. a panic on a thread that the run does not need ([`ALONE`]) ends nothing but what it was doing;
//! 3. every other panic is a bug here and aborts (SIGABRT), which leaves a core where the system wants one.

use std::panic::PanicHookInfo;

use super::exit::Exit;
use super::output;

/// The names of threads that no worker waits for: the page's, and that of who notifies. They unwind.
pub const PAGE: &str = "page";
pub const NOTIFY: &str = "notify";
const ALONE: [&str; 2] = [PAGE, NOTIFY];

/// How timely's network threads begin what they say when a peer's socket breaks; its sources promise to keep it.
const PEER_LOST: &str = "timely communication error:";

/// Installs the hook. From here on no thread of this process can panic and leave the others waiting.
pub fn end_process_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        let message = message(info);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("(unnamed)");
        if ALONE.contains(&thread) {
            tracing::error!(thread, "panicked; the run goes on: {message}");
            return;
        }
        if message.starts_with(PEER_LOST) {
            tracing::error!(thread, "a peer was lost; this process ends: {message}");
        } else {
            let location = info.location().map_or_else(|| "(unknown)".to_owned(), ToString::to_string);
            let backtrace = std::backtrace::Backtrace::capture();
            tracing::error!(thread, %location, "panicked; this process ends: {message}\n{backtrace}");
        }
        output::flush();
        if message.starts_with(PEER_LOST) {
            signal_hook::low_level::exit(Exit::PeerLost.code());
        }
        std::process::abort();
    }));
}

/// What the panic said.
fn message(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(a payload that is no text)".to_owned())
}

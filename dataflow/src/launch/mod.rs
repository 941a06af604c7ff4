//! Launching: supervisor, timely's workers and processes, panic hook, watchdog, exit codes.
pub mod clock;
pub mod exit;

//! Launching: supervisor, timely's workers and processes, panic hook, watchdog, exit codes.
pub mod backoff;
pub mod children;
pub mod exit;
pub mod hosts;
pub mod mesh;
pub mod output;
pub mod panic;
pub mod signals;
pub mod supervisor;
pub mod watchdog;

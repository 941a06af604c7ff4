//! Telemetry: what a run tells of itself while it runs: to a person at a terminal, to a log, to Prometheus.
//!
//! ```text
//!  operators ── batches timed ──▶ stages (atomics) ────────┐
//!  worker 0 ─── marks, commits ─▶ figures (a mutex) ───────┼─▶ Snapshot ─▶ status: a block at a terminal, or a line
//!          └─── frontier moved ─▶ (an atomic) ─────────────┤           └─▶ exposition ─▶ /metrics
//!  chunks ───── receive times ──▶ latency (a mutex) ───────┘              health ─────▶ /healthz, /readyz
//! ```
//!
//! Invariants:
//! 1. whoever asks cannot hold a worker up: a lock is held for as long as it takes to copy figures;
//! 2. process 0 tells of the whole run, for it sees every mark and every commit. Stage times and latency are those
//!    of its own workers;
//! 3. nothing here decides anything: without it the same rows are written.

mod exposition;
mod health;
mod http;
mod last_hour;
mod latency;
mod run;
mod snapshot;
mod stages;

pub use exposition::Exposition;
pub use health::{lives, ready};
pub use http::{ListenAddress, ListenError, listen, routes, serve};
pub use latency::{Latency, Observed};
pub use run::Run;
pub use snapshot::{Counts, DetectorFigures, LastCommit, PartitionFigures, Phase, Snapshot};
pub use stages::{Stage, StageTimes, Stages};

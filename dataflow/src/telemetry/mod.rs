//! Telemetry: the figures of a run while it runs: for a person at a terminal, for a log, for Prometheus.
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
//! 2. process 0 has the figures of the whole run, because it sees every mark and every commit. Stage times and latency
//!    are those of its own workers;
//! 3. nothing here decides anything: without it the same rows are written.

mod dropped_lines;
mod exposition;
mod health;
mod http;
mod last_hour;
mod latency;
mod shared;
mod snapshot;
mod stages;

pub use dropped_lines::DroppedLines;
pub use exposition::Exposition;
pub use health::{lives, ready};
pub use http::{CONNECTIONS_MAX, PURPOSE, routes};
pub use latency::{Latency, Observed};
pub use shared::Telemetry;
pub use snapshot::{DetectorFigures, LOW_HELD_MAX_MS, LastCommit, PartitionFigures, Phase, Snapshot};
pub use stages::{Stage, StageTimes, Stages};

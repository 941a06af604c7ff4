//! citytide: from a Kafka topic of sensor readings to PostgreSQL tables that can be trusted.
//!
//! ```text
//!  Kafka partitions ─ reader threads ─ bounded queues
//!         │  (partition p is read by worker p mod workers)
//!      decode      bytes → readings in batches, or dead letters with the reason
//!         │
//!      score       rules decide is_anomaly, severity and reasons; the model's version is stamped
//!         │
//!      place       lateness, pane; per-(zone, pane) partial sums on this worker
//!         │  exchange of partials only: a few rows per epoch, whatever the rate
//!      window      panes → tumbling and sliding windows; early, final and corrected rows
//!         │
//!      commit      raw rows: COPY BINARY, per worker, tagged with the epoch
//!                  windows, panes, offsets, watermarks, views: one transaction per epoch
//! ```
//!
//! The promises, each with its tests in `tests/`:
//! 1. One commit, one frontier: in any SQL snapshot the window tables equal what SQL computes from
//!    `sensor_data where not is_late`.
//! 2. Lateness is decided once, by the reading's own partition, in log order.
//! 3. Nothing vanishes: next offset − first offset = accepted + late + dead + lost + gaps, per partition.
//! 4. PostgreSQL is the recovery point: no checkpoints, no Kafka offsets, any `-w`/`-n` after a restart.
//! 5. A verdict can be explained, and a restart changes none.
//!
//! Rooms; arrows point downwards only: [`cli`] → [`runtime`], [`pipeline`], [`replay`] → [`detect`], [`plumbing`] →
//! [`views`] → [`operators`] → [`commit`], [`training`], [`sources`] → [`telemetry`]. What is done with readings is the
//! crate `citytide-core`, what the database is `citytide-store`: neither knows this one.

// Commands print through `runtime::output` alone: these macros panic when the stream is closed.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod commit;
pub mod detect;
pub mod operators;
pub mod pipeline;
pub mod plumbing;
pub mod replay;
pub mod runtime;
mod share;
pub mod sources;
pub mod telemetry;
pub mod training;
pub mod views;

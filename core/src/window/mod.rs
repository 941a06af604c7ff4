//! Event time: lateness, panes, windows, watermarks. Plain structs: no timely, no tokio, no clock.
//!
//! ```text
//!  batches ─▶ Lateness (one per worker) ── per partition: late or accepted, watermark, counts, idle ──▶ Mark
//!  scored ──▶ EpochPartials (one per worker and epoch) ── per (zone, pane): PaneSums ──▶ partials
//!  marks ───▶ Watermarks: W, the least watermark of the active partitions, never falling
//!  batches ─▶ parts of sessions;  parts, W ─▶ Sessions (the zones of one worker) ──▶ rows of session windows
//!  partials, W ─▶ Windows (the zones of one worker) ──▶ window rows, panes, what became final
//! ```

mod exact;
mod lateness;
mod pane;
mod place;
mod recent;
mod sessions;
mod watermarks;
mod windows;

pub use exact::ExactSum;
pub use lateness::{Lateness, LatenessRule};
pub use pane::{MetricSums, PaneSums};
pub use place::{EpochPartials, Partial, RecentAnomaly};
pub use recent::{AHEAD_MAX, RECENT_US, ReadBack, Recent, SensorAnomalies};
pub use sessions::{Session, SessionRange, SessionRow, Sessions, SessionsOf, parts_of};
pub use watermarks::{Progress, Watermarks};
pub use windows::{Applied, PaneRange, PaneState, WindowRow, Windows, ZoneFact};

//! Event time: lateness, panes, windows, watermarks. Plain structs: no timely, no tokio, no clock.
//!
//! ```text
//!  batches ─▶ Lateness (one per worker) ── per partition: watermark, late or accepted
//!  scored ──▶ Placer (one per worker) ── per partition: watermark, counts ──▶ Mark
//!                  └── per (zone, pane): PaneSums, merged over all batches of an epoch ──▶ partials
//!  marks ───▶ Watermarks: W, the least watermark of the active partitions, never falling
//!  partials, W ─▶ Windows (the zones of one worker) ──▶ window rows, panes, what became final
//! ```

mod exact;
mod pane;
mod place;
mod recent;
mod watermarks;
mod windows;

pub use exact::ExactSum;
pub use pane::{MetricSums, PaneSums};
pub use place::{EpochPartials, Lateness, Partial, Placer, RecentAnomaly};
pub use recent::{RECENT_US, Recent};
pub use watermarks::{Mark, Watermarks};
pub use windows::{Applied, PaneRange, PaneState, WindowRow, Windows, ZoneFact};

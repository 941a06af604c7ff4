//! What the detector is worth on labelled readings, beside reference detectors on the same rows: `citytide evaluate`.
//!
//! ```text
//!  CSV with a column of labels ──┐                             ┌─▶ text: tables for people
//!                                ├─▶ Table ─▶ Evaluation ──────┼─▶ Report: one line of JSON
//!  JSON lines and their truth ───┘                             ├─▶ scores: a line per row
//!                                                              └─▶ page: HTML with pictures
//! ```
//!
//! Nothing here opens a file or reads a clock.
//!
//! 1. The rows of each partition are scored in the order of its log, rows without a partition in the order of their
//!    event times, by the code that a run scores with, starting from nothing; what is not a stream is scored as a table,
//!    and the report says so. Only the oracle sees labels.
//! 2. Nothing is point-adjusted: a flag counts for its own row. Recall by event stands beside the other figures.
//! 3. The figures are those of the scores that [`scores`] writes.

#![forbid(unsafe_code)]

mod covariance;
mod csv;
mod error;
mod evaluation;
mod event_figures;
mod figures;
pub mod metrics;
pub mod nab;
pub mod page;
mod recording;
mod reference;
mod report;
mod score;
pub mod scores;
mod sentinel;
mod series;
mod stream;
mod summary;
mod table;
#[cfg(test)]
mod testing;
pub mod text;
mod time;
mod vus;

pub use csv::{Columns, read_csv};
pub use error::TableError;
pub use evaluation::Evaluation;
pub use event_figures::{EventFigures, NabFigures, NabSeries};
pub use figures::{AblationFigures, Figures, KindFigures, ZoneFigures};
pub use reference::Reference;
pub use report::Report;
pub use score::{AsTable, Scored, score_table};
pub use sentinel::Sentinel;
pub use series::{Series, SeriesVerdict};
pub use stream::score_stream;
pub use summary::Summary;
pub use table::{Row, Table, TableBuilder, VALUE_MAX};
pub use time::{TimeFormat, time_us};

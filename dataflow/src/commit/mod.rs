//! The commit: what is written to PostgreSQL, and the one door to it.
//!
//! ```text
//!  placed batches ─▶ copy (encoding) ─▶ writer, one session per worker: COPY, a transaction per epoch
//!                                           │ acknowledged
//!  windows, marks, views ─▶ plan ───────────▼──▶ committer, one session per run: one transaction per plan
//! ```
//!
//! Pure: [`copy`], [`plan`], [`statements`]. What the database is, and how it is reached, is the crate
//! `citytide-store`.

pub mod committer;
pub mod copy;
pub mod faults;
pub mod plan;
pub mod statements;
pub mod writer;

//! The commit: what is written to PostgreSQL, and the one door to it.
//!
//! ```text
//!  placed batches ─▶ copy (encoding) ─▶ writer, one session per worker: COPY, a transaction per epoch
//!                                           │ acknowledged
//!  windows, marks, views ─▶ plan ───────────▼──▶ committer, one session per run: one transaction per plan
//! ```
//!
//! Pure: [`copy`], [`plan`], [`schema`], [`statements`]. Everything else goes through [`postgres`].

pub mod committer;
pub mod copy;
pub mod detector;
pub mod faults;
pub mod ledger;
pub mod migrate;
pub mod origin;
pub mod panes;
pub mod plan;
pub mod postgres;
pub mod replay;
pub mod schema;
pub mod session;
pub mod statements;
pub mod takeover;
pub mod upkeep;
pub mod writer;

//! Who is told of incidents: routes of the configuration file, an outbox in the database, and a task for each receiver.
//!
//! ```text
//!  commits notify ─▶ filing ── decide, per route and incident ──▶ notifications (PostgreSQL)
//!                                                                   │ claim, one message of a route at a time
//!                       a task per route:  message ─ send ─ mark ◀──┘
//!                                            └▶ webhook · chat · email · sms
//! ```
//!
//! Invariants:
//! 1. nothing is lost and nothing filed twice: see [`citytide_store::notifications`]. A message is sent twice only when a
//!    crash, or a lost answer, leaves unknown whether the receiver has it; then with the same identity and content;
//! 2. a receiver that hangs, or is away, holds up nobody but itself: each route has its task, which sends one message at
//!    a time, each try with a bound;
//! 3. what waits is in the database: memory holds a message per route;
//! 4. secrets come from the environment or from files, and are shown nowhere.
//!
//! This crate knows no engine and no Kafka. [`routes`], [`decide`], [`message`] and [`retry`] are pure.

pub mod decide;
mod deliver;
pub mod message;
pub mod retry;
pub mod routes;
mod run;
pub mod send;

pub use run::{Ends, NotifyError, run};
pub use send::test;

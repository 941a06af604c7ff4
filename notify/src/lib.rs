//! Notifies receivers of incidents: routes in the configuration file, an outbox in the database, a task per route.
//!
//! ```text
//!  commits notify ─▶ filing ── decide, per route and incident ──▶ notifications (PostgreSQL)
//!                                                                   │ claim, one message of a route at a time
//!                       a task per route:  message ─ send ─ mark ◀──┘
//!                                            └▶ webhook · chat · email · sms
//! ```
//!
//! Invariants:
//! 1. no notification is lost or filed twice: see [`citytide_store::notifications`]. A message is sent twice only after
//!    a crash or a lost answer, when it is unknown whether the receiver has it; it then has the same identity and
//!    content;
//! 2. a receiver that hangs or is unreachable delays only its own route: each route has a task, which sends one message
//!    at a time, and each try has a time limit;
//! 3. waiting notifications are in the database; memory holds one message per route;
//! 4. secrets come from the environment or from files, and are never shown.
//!
//! This crate links neither the engine nor Kafka. [`routes`], [`decide`], [`message`] and [`retry`] do no I/O.

pub mod decide;
mod deliver;
pub mod message;
pub mod retry;
pub mod routes;
mod run;
pub mod send;

pub use run::{Ends, NotifyError, run};
pub use send::test;

//! Who is told of incidents, in the database: what is to be said, what was, and what could not be.
//!
//! ```text
//!  incident_transitions ─┐                          one transaction                claim · send · mark
//!  incidents (as it is) ─┴─ Filing::read ─ decide ─ Filing::file ─▶ notifications ─▶ Outbox ─▶ receiver
//!                                                   and the place                        └──▶ notification_failures
//! ```
//!
//! Invariants:
//! 1. filing notifications and moving the place of the routes are one transaction: nothing is lost or filed twice;
//! 2. a notification is (route, incident, revision, repetition). It belongs to one message from its first claim on, so
//!    that a message that is sent again, after a crash between sending and marking, has the same identity and content;
//! 3. a session holds an advisory lock while it notifies: two of them never claim from the same database;
//! 4. the messages of a route are claimed in the order of filing, one at a time.

mod filing;
mod outbox;
mod prune;
mod summary;
mod tables;

pub use filing::{Candidates, Change, Filed, Filing, Told, hold};
pub use outbox::{Claim, Message, Notification, Outbox};
pub use prune::prune;
pub use summary::{Summary, summary};
pub use tables::tables;

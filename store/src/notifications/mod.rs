//! The outbox of notifications about incidents: files them, claims them for sending, and records the results.
//!
//! ```text
//!  incident_transitions ─┐                          one transaction                claim · send · mark
//!  incidents (as it is) ─┴─ Filing::read ─ decide ─ Filing::file ─▶ notifications ─▶ Outbox ─▶ receiver
//!                                                   and positions                        └──▶ notification_failures
//! ```
//!
//! Invariants:
//! 1. one transaction files notifications and advances the positions of the routes: none is lost or filed twice;
//! 2. (route, incident, revision, repetition) identifies a notification. From its first claim on it belongs to one
//!    message, so that a message that is sent again after a crash has the same identity and content;
//! 3. the session of a notifier holds an advisory lock: a database has one notifier at a time;
//! 4. the messages of a route are claimed one at a time, in the order of filing.

mod filing;
mod outbox;
mod prune;
mod summary;
mod tables;

pub use filing::{Candidates, Change, Filing, LastNotification, NewNotification, try_lock};
pub use outbox::{Claim, Message, Notification, Outbox};
pub use prune::prune;
pub use summary::{Summary, summary};
pub use tables::tables;

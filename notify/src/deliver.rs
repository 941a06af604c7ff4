//! The task of a route: claims its messages one by one, sends each, and marks the result.

use std::time::Duration;

use citytide_store::notifications::{Claim, Message, Outbox};
use citytide_store::postgres::DatabaseError;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::retry::{Outcome, pause};
use crate::routes::Route;
use crate::send::Sender;

/// How often to check an empty outbox without a signal.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// The signal to the tasks of all routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signal {
    /// Counts the transactions that filed notifications.
    pub filed: u64,
    /// No more notifications will be filed: a task ends when its outbox is empty.
    pub is_all: bool,
    /// A task ends before its next message.
    pub stop: bool,
}

/// Sends the messages of a route until the signal ends the task.
///
/// # Errors
///
/// When the database fails; failures of the receiver are recorded in the outbox.
pub async fn deliver(
    client: &Client,
    route: &Route,
    sender: &Sender,
    mut signal: watch::Receiver<Signal>,
) -> Result<(), DatabaseError> {
    let outbox = Outbox { client, route: &route.name };
    loop {
        let current = *signal.borrow_and_update();
        if current.stop {
            return Ok(());
        }
        let patience = match outbox.claim(route.pace.group_max).await? {
            Claim::Message(message) => {
                attempt(&outbox, route, sender, &message).await?;
                continue;
            }
            Claim::Nothing if current.is_all => return Ok(()),
            Claim::Nothing => POLL_INTERVAL,
            Claim::Later(later) => later.min(POLL_INTERVAL),
        };
        // Claim again after a signal as well as after the time-out.
        let _ = tokio::time::timeout(patience, signal.changed()).await;
    }
}

/// Sends a message once and marks the result.
async fn attempt(
    outbox: &Outbox<'_>,
    route: &Route,
    sender: &Sender,
    message: &Message,
) -> Result<(), DatabaseError> {
    let Message { message_id, tries, notifications, .. } = message;
    let answer = sender.send(route, message).await;
    let reason = &answer.reason;
    match answer.outcome {
        Outcome::Sent => {
            tracing::debug!("route {}: sent {message_id} ({}): {reason}", route.name, notifications.len());
            outbox.sent(message).await
        }
        Outcome::Retry { not_before } if *tries < route.pace.tries_max => {
            let pause = pause(*tries, not_before, random(message));
            tracing::warn!(
                "route {}: {message_id} failed {tries} times: {reason}; trying again in {:.1} s",
                route.name,
                pause.as_secs_f64()
            );
            outbox.retry(message, pause, reason).await
        }
        Outcome::Retry { .. } | Outcome::Rejected => {
            tracing::error!(
                "route {}: gave up {message_id} after {tries} tries: {reason}; the table notification_failures has it",
                route.name
            );
            outbox.give_up(message, reason).await
        }
    }
}

/// A number that differs by message and try, to spread the retries of messages that failed together.
fn random(message: &Message) -> u64 {
    let digest = Sha256::digest(format!("{} {}", message.message_id, message.tries));
    u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"))
}

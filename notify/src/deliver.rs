//! The task of a route: claims its messages one by one, sends each, and marks what became of it.

use std::time::Duration;

use citytide_store::notifications::{Claim, Message, Outbox};
use citytide_store::postgres::DatabaseError;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::retry::{Outcome, pause};
use crate::routes::Route;
use crate::send::Sender;

/// How long an empty outbox is left alone when nothing wakes its task.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What the tasks are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signal {
    /// How often something was filed.
    pub filed: u64,
    /// Everything that there is is filed: who has nothing more to send ends.
    pub is_all: bool,
    /// Send nothing more.
    pub stop: bool,
}

/// Sends what is filed for a route until it is told to stop, or everything is done.
pub async fn deliver(
    client: &Client,
    route: &Route,
    sender: &Sender,
    mut signal: watch::Receiver<Signal>,
) -> Result<(), DatabaseError> {
    let outbox = Outbox { client, route: &route.name };
    loop {
        let told = *signal.borrow_and_update();
        if told.stop {
            return Ok(());
        }
        let patience = match outbox.claim(route.pace.group_max).await? {
            Claim::Message(message) => {
                attempt(&outbox, route, sender, &message).await?;
                continue;
            }
            Claim::Nothing if told.is_all => return Ok(()),
            Claim::Nothing => LOOK_AGAIN,
            Claim::Later(later) => later.min(LOOK_AGAIN),
        };
        // The end of the patience and a signal are the same: look again.
        let _ = tokio::time::timeout(patience, signal.changed()).await;
    }
}

/// Tries a message once.
async fn attempt(
    outbox: &Outbox<'_>,
    route: &Route,
    sender: &Sender,
    message: &Message,
) -> Result<(), DatabaseError> {
    let Message { message_id, tries, notifications, .. } = message;
    let answer = sender.send(route, message).await;
    let said = &answer.said;
    match answer.outcome {
        Outcome::Sent => {
            tracing::debug!("route {}: sent {message_id} ({}): {said}", route.name, notifications.len());
            outbox.sent(message).await
        }
        Outcome::Again { not_before } if *tries < route.pace.tries_max => {
            let pause = pause(*tries, not_before, random(message));
            tracing::warn!(
                "route {}: {message_id} failed {tries} times: {said}; trying again in {:.1} s",
                route.name,
                pause.as_secs_f64()
            );
            outbox.again(message, pause, said).await
        }
        Outcome::Again { .. } | Outcome::Never => {
            tracing::error!(
                "route {}: gave up {message_id} after {tries} tries: {said}; the table notification_failures has it",
                route.name
            );
            outbox.give_up(message, said).await
        }
    }
}

/// What spreads the pauses of messages that failed together: it differs by message and try.
fn random(message: &Message) -> u64 {
    let digest = Sha256::digest(format!("{} {}", message.message_id, message.tries));
    u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"))
}

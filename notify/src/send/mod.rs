//! Sends a message once, and returns the receiver's answer.

mod http;
mod mail;
mod sign;

use citytide_store::clock::wall_ms;
use citytide_store::notifications::Message;

use crate::message::test_message;
use crate::retry::{Answer, Outcome};
use crate::routes::{Receiver, Route};
use http::Http;
use mail::Mail;

/// The client for the receiver of a route.
pub enum Sender {
    Http(Http),
    Mail(Box<Mail>),
}

/// Why a route cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct SenderError {
    pub reason: String,
}

impl SenderError {
    fn new(reason: impl ToString) -> SenderError {
        SenderError { reason: reason.to_string() }
    }
}

impl Sender {
    /// Creates the client; sends nothing yet.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or an address is invalid.
    pub fn new(route: &Route) -> Result<Sender, SenderError> {
        match &route.receiver {
            Receiver::Email(email) => Ok(Sender::Mail(Box::new(Mail::new(email, route.pace.timeout)?))),
            receiver => Ok(Sender::Http(Http::new(receiver)?)),
        }
    }

    /// Sends a message once, with the time-out of the route.
    pub async fn send(&self, route: &Route, message: &Message) -> Answer {
        let now_ms = wall_ms();
        let sent = async {
            match self {
                Sender::Http(http) => http.send(&route.receiver, message, now_ms).await,
                Sender::Mail(mail) => mail.send(message, now_ms).await,
            }
        };
        tokio::time::timeout(route.pace.timeout, sent).await.unwrap_or_else(|_| Answer {
            outcome: Outcome::Retry { not_before: None },
            reason: format!("no answer within {} s", route.pace.timeout.as_secs()),
        })
    }
}

/// Sends a test message once.
///
/// # Errors
///
/// When the route cannot be used.
pub async fn test(route: &Route) -> Result<Answer, SenderError> {
    Ok(Sender::new(route)?.send(route, &test_message(&route.name, wall_ms())).await)
}

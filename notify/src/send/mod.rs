//! Sending a message: one try, and what became of it.

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

/// What sends the messages of a route.
pub enum Sender {
    Http(Http),
    Mail(Box<Mail>),
}

/// Why a route cannot be used at all.
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
    /// Gets ready; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or an address cannot be used.
    pub fn new(route: &Route) -> Result<Sender, SenderError> {
        match &route.receiver {
            Receiver::Email(email) => Ok(Sender::Mail(Box::new(Mail::new(email, route.pace.timeout)?))),
            receiver => Ok(Sender::Http(Http::new(receiver)?)),
        }
    }

    /// Tries to send a message once. However long the receiver takes, this ends with the route's time-out.
    pub async fn send(&self, route: &Route, message: &Message) -> Answer {
        let now_ms = wall_ms();
        let sent = async {
            match self {
                Sender::Http(http) => http.send(&route.receiver, message, now_ms).await,
                Sender::Mail(mail) => mail.send(message, now_ms).await,
            }
        };
        tokio::time::timeout(route.pace.timeout, sent).await.unwrap_or_else(|_| Answer {
            outcome: Outcome::Again { not_before: None },
            said: format!("no answer within {} s", route.pace.timeout.as_secs()),
        })
    }
}

/// Sends one test message by a route, once.
///
/// # Errors
///
/// When the route cannot be used.
pub async fn test(route: &Route) -> Result<Answer, SenderError> {
    Ok(Sender::new(route)?.send(route, &test_message(&route.name, wall_ms())).await)
}

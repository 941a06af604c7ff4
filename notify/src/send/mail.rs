//! Sends messages as mail by SMTP.

use std::time::Duration;

use citytide_store::notifications::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use sha2::{Digest, Sha256};

use super::SenderError;
use crate::message::{mail_text, title};
use crate::retry::{Answer, Outcome};
use crate::routes::{Email, Encryption};

/// Maximum length of a subject, characters.
const SUBJECT_MAX: usize = 150;

/// The client for a mail server.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    pub fn new(email: &Email, timeout: Duration) -> Result<Mail, SenderError> {
        let mut parameters = TlsParameters::builder(email.server.clone());
        if let Some(path) = &email.ca_file {
            let wrong = |why: &dyn std::fmt::Display| {
                SenderError::new(format!("cannot read certificates from {}: {why}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|why| wrong(&why))?;
            parameters =
                parameters.add_root_certificate(Certificate::from_pem(&pem).map_err(|why| wrong(&why))?);
        }
        let parameters = parameters.build_rustls().map_err(SenderError::new)?;
        let tls = match email.encryption {
            Encryption::Tls => Tls::Wrapper(parameters),
            Encryption::StartTls => Tls::Required(parameters),
            Encryption::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.server)
            .port(email.port)
            .tls(tls)
            .timeout(Some(timeout));
        if let (Some(user), Some(password)) = (&email.user, &email.password) {
            transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(SenderError::new);
        Ok(Mail {
            transport: transport.build(),
            from: mailbox(&email.from)?,
            to: email.to.iter().map(mailbox).collect::<Result<_, _>>()?,
        })
    }

    pub async fn send(&self, message: &Message, now_ms: u64) -> Answer {
        let rejected = |reason: String| Answer { outcome: Outcome::Rejected, reason };
        let mail = match self.write(message, now_ms) {
            Ok(mail) => mail,
            Err(error) => return rejected(format!("this mail cannot be written: {error}")),
        };
        match self.transport.send(mail).await {
            Ok(response) => {
                let words: Vec<&str> = response.message().collect();
                Answer { outcome: Outcome::Sent, reason: format!("{} {}", response.code(), words.join(" ")) }
            }
            Err(error) if error.is_permanent() => rejected(chain(&error)),
            Err(error) => Answer { outcome: Outcome::Retry { not_before: None }, reason: chain(&error) },
        }
    }

    fn write(&self, message: &Message, now_ms: u64) -> Result<lettre::Message, lettre::error::Error> {
        // The same Message-ID for each try, so that mailboxes detect duplicates.
        let digest = Sha256::digest(message.message_id.as_bytes());
        let identity: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let subject: String = title(message).chars().take(SUBJECT_MAX).collect();
        let date = std::time::UNIX_EPOCH + Duration::from_millis(now_ms);
        let mut builder: MessageBuilder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .date(date)
            .message_id(Some(format!("<{identity}@{}>", self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder.body(mail_text(message))
    }
}

/// The message of an error with those of its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text += &format!(": {words}");
        }
        cause = deeper.source();
    }
    text
}

//! What librdkafka says of a broker that it cannot talk to, sorted by what can be done about it.
//!
//! librdkafka's error codes say little (`Local: Broker transport failure`); its words say more, but only in its log.
//! So [`Witness`] keeps the words of the last failed connection, and [`Trouble::of`] knows the phrases: each of them
//! is held by a test against a real broker (`tests/tests/security.rs`).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What is wrong between this program and a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody listens, or it does not answer.
    Unanswered,
    /// The host's name has no address.
    Unresolved,
    /// The listener speaks another security protocol.
    OtherProtocol,
    /// Somebody listens and hangs up: a broker that starts or ends, or a listener of another security protocol.
    HungUp,
    /// Something answers that is no broker.
    NotKafka,
    /// The broker's certificate is not to be trusted.
    Untrusted,
    /// The broker does not take the client's certificate, or misses it.
    CertificateRefused,
    /// The broker does not take user, password or mechanism.
    CredentialsRefused,
}

/// A failed connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}; {}", self.advice())]
pub struct Trouble {
    /// What is wrong.
    pub kind: Kind,
    /// librdkafka's words.
    pub said: String,
}

impl Trouble {
    /// Understands librdkafka's code and words.
    pub fn of(code: Option<RDKafkaErrorCode>, said: &str) -> Trouble {
        let has = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
        let kind = match code {
            // A broker that ends in the middle of an authentication has not refused anybody.
            _ if has(&["failed: Local: "]) => Kind::Unanswered,
            // A listener without SASL says so in the words of a failed authentication.
            _ if has(&["not valid in current SASL state"]) => Kind::OtherProtocol,
            _ if has(&["Invalid response size"]) => Kind::NotKafka,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                Kind::CredentialsRefused
            }
            Some(RDKafkaErrorCode::Resolve) => Kind::Unresolved,
            _ if has(&["certificate verify failed", "certificate could not be verified"]) => Kind::Untrusted,
            _ if has(&["SASL authentication error", "Unsupported SASL mechanism"]) => {
                Kind::CredentialsRefused
            }
            _ if has(&["alert certificate required", "alert bad certificate", "alert unknown ca"]) => {
                Kind::CertificateRefused
            }
            _ if has(&["alert number 116", "alert number 42", "alert number 48"]) => Kind::CertificateRefused,
            _ if has(&[
                "SSL listener?",
                "PLAINTEXT broker listener?",
                "wrong version number",
                "might require SASL authentication",
            ]) =>
            {
                Kind::OtherProtocol
            }
            _ if has(&["Failed to resolve"]) => Kind::Unresolved,
            _ if has(&["Disconnected"]) => Kind::HungUp,
            _ => Kind::Unanswered,
        };
        Trouble { kind, said: plain(said).to_owned() }
    }

    /// Whether waiting and trying again is in vain.
    pub fn is_final(&self) -> bool {
        matches!(self.kind, Kind::Untrusted | Kind::CertificateRefused | Kind::CredentialsRefused)
    }

    fn advice(&self) -> &'static str {
        match self.kind {
            Kind::Unanswered => "is it running, and are host and port right?",
            Kind::Unresolved => "is the host's name right, and does this machine resolve it?",
            Kind::OtherProtocol => {
                "does the listener at this port use this security.protocol (plaintext, ssl, sasl_plaintext, \
                 sasl_ssl)? Set another one with --kafka-property security.protocol=…"
            }
            Kind::HungUp => {
                "it may be starting or ending; else, does the listener at this port use this security.protocol \
                 (plaintext, ssl, sasl_plaintext, sasl_ssl)? Set another one with --kafka-property security.protocol=…"
            }
            Kind::NotKafka => "something other than Kafka answers there; is the port right?",
            Kind::Untrusted => {
                "name the certificate of the authority that signed the broker's certificate with --kafka-property \
                 ssl.ca.location=FILE, and use a broker name that its certificate contains"
            }
            Kind::CertificateRefused => {
                "the broker wants a client certificate that it trusts: name one with --kafka-property \
                 ssl.certificate.location=FILE and ssl.key.location=FILE"
            }
            Kind::CredentialsRefused => {
                "check sasl.username, sasl.mechanism, and the password in --kafka-password-file or \
                 KAFKA_SASL_PASSWORD"
            }
        }
    }
}

/// librdkafka's words without its thread, and without how long it took to fail.
fn plain(said: &str) -> &str {
    let said = match said.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => said,
    };
    said.rfind(" (after ").map_or(said, |at| &said[..at]).trim()
}

/// A client's context that remembers the last failed connection.
#[derive(Debug, Default)]
pub struct Witness {
    last: Mutex<Option<Trouble>>,
    all_down: AtomicBool,
}

impl Witness {
    /// The most telling failed connection so far: one that waiting does not help outlives others.
    pub fn trouble(&self) -> Option<Trouble> {
        self.last.lock().expect("no holder panics").clone()
    }

    /// The same, and forgets it.
    pub fn take(&self) -> Option<Trouble> {
        self.last.lock().expect("no holder panics").take()
    }

    /// Whether every broker that is known was out of reach at once.
    pub fn all_down(&self) -> bool {
        self.all_down.load(Ordering::Relaxed)
    }

    /// Forgets what was seen: a broker answers.
    pub fn forget(&self) {
        *self.last.lock().expect("no holder panics") = None;
        self.all_down.store(false, Ordering::Relaxed);
    }

    fn saw(&self, trouble: Trouble) {
        let mut last = self.last.lock().expect("no holder panics");
        // That nobody answers is also said after the reason was.
        let keeps = last.as_ref().is_some_and(|last| last.is_final() || last.kind != Kind::Unanswered);
        if !keeps || trouble.is_final() {
            *last = Some(trouble);
        }
    }
}

impl ClientContext for Witness {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
        // A client-wide error is in the log too, where nobody asks for it as an event.
        if ["FAIL", "ERROR"].contains(&facility) && !message.ends_with("brokers are down") {
            self.saw(Trouble::of(None, message));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.all_down.store(true, Ordering::Relaxed),
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            code => self.saw(Trouble::of(code, reason)),
        }
    }
}

impl ConsumerContext for Witness {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_what_helps_nobody() {
        let said = "[thrd:localhost:9/bootstrap]: localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection \
                    refused (after 0ms in state CONNECT)";
        let trouble = Trouble::of(Some(RDKafkaErrorCode::BrokerTransportFailure), said);
        assert_eq!(
            trouble.to_string(),
            "localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused; is it running, and are host \
             and port right?"
        );
    }

    #[test]
    fn the_reason_outlives_that_nobody_answers() {
        let witness = Witness::default();
        witness.log(RDKafkaLogLevel::Info, "FAIL", "x: Disconnected: connecting to a SSL listener?");
        witness.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        witness.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "x: Connection refused");
        assert_eq!(witness.trouble().map(|trouble| trouble.kind), Some(Kind::OtherProtocol));
        assert!(witness.all_down());
        witness.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "x: SASL authentication error");
        assert_eq!(witness.trouble().map(|trouble| trouble.kind), Some(Kind::CredentialsRefused));
        witness.forget();
        assert_eq!((witness.trouble(), witness.all_down()), (None, false));
    }
}

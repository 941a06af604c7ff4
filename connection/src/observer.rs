//! Why a connection to a broker failed, and what to do about it.
//!
//! librdkafka's error codes say little (`Local: Broker transport failure`); its log says more. [`ErrorObserver`] keeps
//! the message of the last failed connection, and [`BrokerError::of`] recognises the phrases. `tests/tests/brokers.rs`
//! tests each of them against a real broker.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerErrorKind {
    /// Nothing listens, or it does not answer.
    Unanswered,
    /// The host's name has no address.
    Unresolved,
    /// The listener uses another security protocol.
    OtherProtocol,
    /// The connection was closed: the broker starts or stops, or the listener uses another security protocol.
    HungUp,
    /// What answers is not a broker.
    NotKafka,
    /// The broker's certificate is not trusted.
    Untrusted,
    /// The broker rejects the client's certificate, or requires one.
    CertificateRefused,
    /// The broker rejects user, password or mechanism.
    CredentialsRefused,
}

/// A failed connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {}", self.advice())]
pub struct BrokerError {
    pub kind: BrokerErrorKind,
    /// From librdkafka.
    pub message: String,
}

impl BrokerError {
    /// Classifies an error by librdkafka's code and message.
    pub fn of(code: Option<RDKafkaErrorCode>, message: &str) -> BrokerError {
        let has = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
        let kind = match code {
            // A broker that stops during authentication has not rejected the client.
            _ if has(&["failed: Local: "]) => BrokerErrorKind::Unanswered,
            // A listener without SASL reports this as a failed authentication.
            _ if has(&["not valid in current SASL state"]) => BrokerErrorKind::OtherProtocol,
            _ if has(&["Invalid response size"]) => BrokerErrorKind::NotKafka,
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                BrokerErrorKind::CredentialsRefused
            }
            Some(RDKafkaErrorCode::Resolve) => BrokerErrorKind::Unresolved,
            _ if has(&["certificate verify failed", "certificate could not be verified"]) => {
                BrokerErrorKind::Untrusted
            }
            _ if has(&["SASL authentication error", "Unsupported SASL mechanism"]) => {
                BrokerErrorKind::CredentialsRefused
            }
            _ if has(&["alert certificate required", "alert bad certificate", "alert unknown ca"]) => {
                BrokerErrorKind::CertificateRefused
            }
            _ if has(&["alert number 116", "alert number 42", "alert number 48"]) => {
                BrokerErrorKind::CertificateRefused
            }
            _ if has(&[
                "SSL listener?",
                "PLAINTEXT broker listener?",
                "wrong version number",
                "might require SASL authentication",
            ]) =>
            {
                BrokerErrorKind::OtherProtocol
            }
            _ if has(&["Failed to resolve"]) => BrokerErrorKind::Unresolved,
            _ if has(&["Disconnected"]) => BrokerErrorKind::HungUp,
            _ => BrokerErrorKind::Unanswered,
        };
        BrokerError { kind, message: plain(message).to_owned() }
    }

    /// Whether a retry cannot help.
    pub fn is_final(&self) -> bool {
        matches!(
            self.kind,
            BrokerErrorKind::Untrusted
                | BrokerErrorKind::CertificateRefused
                | BrokerErrorKind::CredentialsRefused
        )
    }

    fn advice(&self) -> &'static str {
        match self.kind {
            BrokerErrorKind::Unanswered => "is it running, and are host and port right?",
            BrokerErrorKind::Unresolved => "is the host's name right, and does this machine resolve it?",
            BrokerErrorKind::OtherProtocol => {
                "does the listener at this port use this security.protocol (plaintext, ssl, sasl_plaintext, \
                 sasl_ssl)? Set another one with --kafka-property security.protocol=…"
            }
            BrokerErrorKind::HungUp => {
                "it may be starting or ending; else, does the listener at this port use this security.protocol \
                 (plaintext, ssl, sasl_plaintext, sasl_ssl)? Set another one with --kafka-property security.protocol=…"
            }
            BrokerErrorKind::NotKafka => "something other than Kafka answers there; is the port right?",
            BrokerErrorKind::Untrusted => {
                "name the certificate of the authority that signed the broker's certificate with --kafka-property \
                 ssl.ca.location=FILE, and use a broker name that its certificate contains"
            }
            BrokerErrorKind::CertificateRefused => {
                "the broker wants a client certificate that it trusts: name one with --kafka-property \
                 ssl.certificate.location=FILE and ssl.key.location=FILE"
            }
            BrokerErrorKind::CredentialsRefused => {
                "check sasl.username, sasl.mechanism, and the password in --kafka-password-file or \
                 KAFKA_SASL_PASSWORD"
            }
        }
    }
}

/// librdkafka's message without its thread and the time until the failure.
fn plain(message: &str) -> &str {
    let message = match message.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => message,
    };
    message.rfind(" (after ").map_or(message, |at| &message[..at]).trim()
}

/// A client context that remembers the last failed connection.
#[derive(Debug, Default)]
pub struct ErrorObserver {
    last: Mutex<Option<BrokerError>>,
    all_down: AtomicBool,
}

impl ErrorObserver {
    /// The last failed connection; a final error is not replaced by others.
    pub fn last(&self) -> Option<BrokerError> {
        self.last.lock().expect("no holder panics").clone()
    }

    /// Like [`ErrorObserver::last`], and clears it.
    pub fn take(&self) -> Option<BrokerError> {
        self.last.lock().expect("no holder panics").take()
    }

    /// Whether all known brokers were unreachable at once.
    pub fn all_down(&self) -> bool {
        self.all_down.load(Ordering::Relaxed)
    }

    /// Forgets earlier errors: a broker has answered.
    pub fn clear(&self) {
        *self.last.lock().expect("no holder panics") = None;
        self.all_down.store(false, Ordering::Relaxed);
    }

    fn record(&self, error: BrokerError) {
        let mut last = self.last.lock().expect("no holder panics");
        // "No answer" is also reported after the reason, and must not replace it.
        let keeps =
            last.as_ref().is_some_and(|last| last.is_final() || last.kind != BrokerErrorKind::Unanswered);
        if !keeps || error.is_final() {
            *last = Some(error);
        }
    }
}

impl ClientContext for ErrorObserver {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
        // The log also has client-wide errors, which may never be polled as events.
        if ["FAIL", "ERROR"].contains(&facility) && !message.ends_with("brokers are down") {
            self.record(BrokerError::of(None, message));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.all_down.store(true, Ordering::Relaxed),
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            code => self.record(BrokerError::of(code, reason)),
        }
    }
}

impl ConsumerContext for ErrorObserver {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_no_thread_and_no_duration() {
        let message = "[thrd:localhost:9/bootstrap]: localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection \
                    refused (after 0ms in state CONNECT)";
        let error = BrokerError::of(Some(RDKafkaErrorCode::BrokerTransportFailure), message);
        assert_eq!(
            error.to_string(),
            "localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused; is it running, and are host \
             and port right?"
        );
    }

    #[test]
    fn the_reason_outlives_that_nobody_answers() {
        let observer = ErrorObserver::default();
        observer.log(RDKafkaLogLevel::Info, "FAIL", "x: Disconnected: connecting to a SSL listener?");
        observer.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        observer.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "x: Connection refused");
        assert_eq!(observer.last().map(|error| error.kind), Some(BrokerErrorKind::OtherProtocol));
        assert!(observer.all_down());
        observer.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "x: SASL authentication error");
        assert_eq!(observer.last().map(|error| error.kind), Some(BrokerErrorKind::CredentialsRefused));
        observer.clear();
        assert_eq!((observer.last(), observer.all_down()), (None, false));
    }
}

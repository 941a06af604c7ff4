//! Mistakes in the options of the connection.

use std::path::PathBuf;

/// A mistake in the options of the connection, found before connecting. No text contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("cannot reach Kafka at \"{entry}\": {reason}; write brokers as host:port, separated by commas")]
    Brokers { entry: String, reason: &'static str },
    /// A property that the programs set themselves.
    #[error("Kafka property {property} cannot be set: {reason}")]
    Owned { property: String, reason: &'static str },
    /// A password among the properties.
    #[error(
        "Kafka property {property} is a secret, and anyone who lists this machine's processes or opens the file \
         could read it; {instead}"
    )]
    Typed {
        property: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// A property that librdkafka refuses.
    #[error(
        "Kafka property {property} is not accepted: {reason}; all properties are listed at \
         https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md"
    )]
    Refused {
        property: String,
        /// From librdkafka.
        reason: String,
    },
    #[error("Kafka properties do not fit each other: {reason}")]
    Combination { reason: String },
    /// An authentication mechanism that is not built in.
    #[error(
        "Kafka property sasl.mechanism is {mechanism}, which this program does not support; it supports PLAIN, \
         SCRAM-SHA-256 and SCRAM-SHA-512, and client certificates with security.protocol=ssl"
    )]
    Mechanism { mechanism: String },
    #[error("cannot read the password in {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },
    #[error("the password file {} is empty; it should hold the password on its first line", path.display())]
    Empty { path: PathBuf },
}

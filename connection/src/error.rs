//! Why a connection cannot be described, each with what to do.

use std::path::PathBuf;

/// A mistake in how Kafka is to be reached; nothing was connected. None of the texts holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// A bootstrap server that is no address.
    #[error("cannot reach Kafka at \"{entry}\": {reason}; write brokers as host:port, separated by commas")]
    Brokers {
        /// One of the servers.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A property that the programs set themselves.
    #[error("Kafka property {property} cannot be set: {reason}")]
    Owned {
        /// The property.
        property: String,
        /// Why.
        reason: &'static str,
    },
    /// A password among the properties.
    #[error(
        "Kafka property {property} is a secret, and anyone who lists this machine's processes or opens the file \
         could read it; {instead}"
    )]
    Typed {
        /// The property.
        property: String,
        /// Where it belongs.
        instead: &'static str,
    },
    /// A property that librdkafka refuses.
    #[error(
        "Kafka property {property} is not accepted: {reason}; all properties are listed at \
         https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md"
    )]
    Refused {
        /// The property.
        property: String,
        /// librdkafka's words.
        reason: String,
    },
    /// Properties that do not fit each other.
    #[error("Kafka properties do not fit each other: {reason}")]
    Combination {
        /// What does not fit, and what to do.
        reason: String,
    },
    /// A way to authenticate that is not built in.
    #[error(
        "Kafka property sasl.mechanism is {mechanism}, which this program does not support; it supports PLAIN, \
         SCRAM-SHA-256 and SCRAM-SHA-512, and client certificates with security.protocol=ssl"
    )]
    Mechanism {
        /// What was asked for.
        mechanism: String,
    },
    /// A password file that cannot be read.
    #[error("cannot read the password in {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A password file without a password.
    #[error("the password file {} is empty; it should hold the password on its first line", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

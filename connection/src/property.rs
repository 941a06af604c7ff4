//! librdkafka properties: which a user may not set, which are secrets, and which have two names.
//!
//! Names and meaning: <https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>.

use std::fmt;
use std::str::FromStr;

use crate::ConnectionError;

/// A property, typed as `KEY=VALUE`. `Debug` does not show the value of a secret one.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
}

impl FromStr for Property {
    type Err = String;

    fn from_str(text: &str) -> Result<Property, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Property { key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("write it as KEY=VALUE, for example security.protocol=ssl".to_owned()),
        }
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if secret(&self.key).is_some() { "(not shown)" } else { &self.value };
        write!(f, "{}={value}", self.key)
    }
}

/// Properties that cannot be set, and why.
const OWNED: &[(&str, &str)] = &[
    ("metadata.broker.list", "it is given by --brokers"),
    ("group.id", "it is given by --consumer-group, and serves lag tools only"),
    ("group.instance.id", "partitions are assigned by citytide; no group is joined"),
    ("group.protocol", "partitions are assigned by citytide; no group is joined"),
    ("group.remote.assignor", "partitions are assigned by citytide; no group is joined"),
    ("partition.assignment.strategy", "partitions are assigned by citytide; no group is joined"),
    ("enable.auto.commit", "PostgreSQL holds the offsets, in the transaction that holds the results"),
    ("auto.commit.enable", "PostgreSQL holds the offsets, in the transaction that holds the results"),
    ("auto.commit.interval.ms", "PostgreSQL holds the offsets, in the transaction that holds the results"),
    ("enable.auto.offset.store", "PostgreSQL holds the offsets, in the transaction that holds the results"),
    ("offset.store.method", "PostgreSQL holds the offsets, in the transaction that holds the results"),
    ("auto.offset.reset", "deleted offsets are counted as lost, never skipped"),
    ("enable.partition.eof", "the end of a partition is needed to count offsets without a record"),
    ("isolation.level", "records of aborted transactions are not readings"),
    ("allow.auto.create.topics", "topics are never created by reading or writing"),
    ("enable.idempotence", "a reading is delivered once and in order"),
    ("request.required.acks", "a reading counts once all in-sync replicas have it"),
    ("message.timeout.ms", "--patience bounds the wait; a reading dropped before later ones would be a gap"),
    ("transactional.id", "readings are delivered without transactions"),
];

const KEY_INSTEAD: &str = "put the private key into a file and name it with ssl.key.location";

/// Properties that hold a secret, and where it belongs instead.
const SECRET: &[(&str, &str)] = &[
    ("sasl.password", "put it into a file for --kafka-password-file, or into KAFKA_SASL_PASSWORD"),
    ("ssl.key.password", "put it into a file for --kafka-key-password-file, or into KAFKA_SSL_KEY_PASSWORD"),
    (
        "ssl.keystore.password",
        "use PEM files (ssl.certificate.location, ssl.key.location), with the key's password in a file for \
         --kafka-key-password-file, or in KAFKA_SSL_KEY_PASSWORD",
    ),
    ("ssl.key.pem", KEY_INSTEAD),
    ("ssl_key", KEY_INSTEAD),
    ("sasl.oauthbearer.client.secret", "OAUTHBEARER is not supported"),
    ("sasl.oauthbearer.config", "OAUTHBEARER is not supported"),
    ("sasl.oauthbearer.assertion.private.key.passphrase", "OAUTHBEARER is not supported"),
    ("sasl.oauthbearer.assertion.private.key.pem", "OAUTHBEARER is not supported"),
];

/// Aliases and the canonical name: of a property set under both names, an arbitrary one would count.
const ALIASES: &[(&str, &str)] = &[
    ("bootstrap.servers", "metadata.broker.list"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("retries", "message.send.max.retries"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("compression.type", "compression.codec"),
    ("acks", "request.required.acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
];

pub fn canonical(key: &str) -> &str {
    named(ALIASES, key).unwrap_or(key)
}

/// What to do instead of setting a secret property; `None` if it is not a secret.
pub fn secret(key: &str) -> Option<&'static str> {
    named(SECRET, key)
}

/// Whether a user may set the property.
pub fn permitted(key: &str) -> Result<(), ConnectionError> {
    if let Some(reason) = named(OWNED, canonical(key)) {
        return Err(ConnectionError::Owned { property: key.to_owned(), reason });
    }
    if let Some(instead) = secret(key) {
        return Err(ConnectionError::Typed { property: key.to_owned(), instead });
    }
    Ok(())
}

fn named(table: &'static [(&str, &str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(name, _)| *name == key).map(|(_, says)| *says)
}

//! A connection: brokers, properties and secrets, checked together.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, ProducerContext};

use crate::property::{canonical, permitted};
use crate::{ConnectionError, Property, Secret, Secrets};

/// Brokers, properties and secrets. `Debug` and `Display` show no secret.
#[derive(Debug, Clone)]
pub struct Connection {
    brokers: String,
    properties: BTreeMap<String, String>,
    secrets: Secrets,
}

impl Connection {
    /// A connection to `brokers` with librdkafka properties; of a repeated property the last value counts. librdkafka
    /// checks everything, including certificates, without connecting.
    ///
    /// # Errors
    ///
    /// See [`ConnectionError`].
    pub fn new(
        brokers: &str,
        properties: impl IntoIterator<Item = Property>,
        secrets: Secrets,
    ) -> Result<Connection, ConnectionError> {
        brokers.split(',').try_for_each(|entry| check_broker(entry.trim()))?;
        let mut held = BTreeMap::new();
        for Property { key, value } in properties {
            permitted(&key)?;
            let alone = ClientConfig::new().set(&key, &value).create_native_config().map(drop);
            alone
                .map_err(|error| ConnectionError::Refused { reason: words(error), property: key.clone() })?;
            held.insert(canonical(&key).to_owned(), value);
        }
        let connection = Connection { brokers: brokers.to_owned(), properties: held, secrets };
        connection.check_security()?;
        connection.check_together()?;
        Ok(connection)
    }

    /// host:port, separated by commas.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The configuration of a client. The user's properties override `settings`, which are the program's own.
    pub fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.without_brokers(settings);
        config.set("metadata.broker.list", &self.brokers);
        config
    }

    fn without_brokers(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // librdkafka logs why a connection failed at this level; see `ErrorObserver`.
        config.set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in settings {
            config.set(canonical(key), *value);
        }
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        let Secrets { sasl_password, key_password } = &self.secrets;
        if let Some(password) = sasl_password.as_ref().filter(|_| self.uses("sasl")) {
            config.set("sasl.password", password.expose());
        }
        if let Some(password) = key_password.as_ref().filter(|_| self.uses("ssl")) {
            config.set("ssl.key.password", password.expose());
        }
        config
    }

    /// `security.protocol` in lower case.
    pub fn protocol(&self) -> String {
        let protocol = self.properties.get("security.protocol").map_or("plaintext", String::as_str);
        protocol.to_lowercase()
    }

    fn uses(&self, layer: &str) -> bool {
        self.protocol().split('_').any(|part| part == layer)
    }

    /// Checks what librdkafka accepts silently: credentials that are never sent, and mechanisms that are not built in.
    fn check_security(&self) -> Result<(), ConnectionError> {
        for (layer, protocols) in [("sasl", "sasl_ssl or sasl_plaintext"), ("ssl", "ssl or sasl_ssl")] {
            let unused = self.properties.keys().find(|key| key.starts_with(&format!("{layer}.")));
            if let Some(key) = unused.filter(|_| !self.uses(layer)) {
                let protocol = self.protocol();
                return Err(ConnectionError::Combination {
                    reason: format!(
                        "{key} is set, but with security.protocol={protocol} it would not be used; set \
                         security.protocol to {protocols}"
                    ),
                });
            }
        }
        if !self.uses("sasl") {
            return Ok(());
        }
        let missing = |property: &str, how: &str| ConnectionError::Combination {
            reason: format!("security.protocol={} needs {property}; {how}", self.protocol()),
        };
        let mechanism = self.properties.get("sasl.mechanisms").ok_or_else(|| {
            missing(
                "sasl.mechanism",
                "set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, whichever the broker uses",
            )
        })?;
        if !["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&mechanism.to_uppercase().as_str()) {
            return Err(ConnectionError::Mechanism { mechanism: mechanism.clone() });
        }
        if !self.properties.contains_key("sasl.username") {
            return Err(missing("sasl.username", "set it to the user's name"));
        }
        if self.secrets.sasl_password.is_none() {
            return Err(missing(
                "a password",
                "put it into a file for --kafka-password-file, or into KAFKA_SASL_PASSWORD",
            ));
        }
        Ok(())
    }

    /// Creates a client without brokers: only then does librdkafka read certificates and compare properties.
    fn check_together(&self) -> Result<(), ConnectionError> {
        let made: Result<BaseProducer<Silent>, KafkaError> =
            self.without_brokers(&[]).create_with_context(Silent);
        made.map(drop).map_err(|error| ConnectionError::Combination { reason: words(error) })
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.brokers)?;
        match self.protocol().as_str() {
            "plaintext" => Ok(()),
            protocol => write!(f, " ({protocol})"),
        }
    }
}

impl Secrets {
    /// Passwords from files where one is named, else from `KAFKA_SASL_PASSWORD` and `KAFKA_SSL_KEY_PASSWORD`.
    ///
    /// # Errors
    ///
    /// See [`Secret::from_file`].
    pub fn read(
        password_file: Option<&std::path::Path>,
        key_password_file: Option<&std::path::Path>,
    ) -> Result<Secrets, ConnectionError> {
        let of = |file: Option<&std::path::Path>, variable| match file {
            Some(path) => Secret::from_file(path).map(Some),
            None => Ok(Secret::from_environment(variable)),
        };
        Ok(Secrets {
            sasl_password: of(password_file, "KAFKA_SASL_PASSWORD")?,
            key_password: of(key_password_file, "KAFKA_SSL_KEY_PASSWORD")?,
        })
    }
}

struct Silent;

impl ClientContext for Silent {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext for Silent {
    type DeliveryOpaque = ();
    fn delivery(&self, _result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {}
}

/// librdkafka's message without the value, which rdkafka adds and which may be a secret.
fn words(error: KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, _, _) | KafkaError::ClientCreation(reason) => reason,
        error => error.to_string(),
    }
}

fn check_broker(entry: &str) -> Result<(), ConnectionError> {
    let wrong = |reason| Err(ConnectionError::Brokers { entry: entry.to_owned(), reason });
    let address = entry.split_once("://").map_or(entry, |(_, address)| address);
    if address.is_empty() {
        return wrong("there is no host");
    }
    // A bare IPv6 address has colons but no port.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    if host.is_empty() {
        return wrong("there is no host");
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        _ => wrong("the port is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests;

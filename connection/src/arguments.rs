//! The command-line options, to be flattened into those of a program.

use std::path::PathBuf;

use clap::Args;

use crate::{Connection, ConnectionError, Property, Secrets};

/// The options of the Kafka connection.
#[derive(Debug, Clone, Args)]
pub struct KafkaArgs {
    /// Connect to these bootstrap servers of Kafka, host:port, separated by commas
    #[arg(long, env = "KAFKA_BROKERS", default_value = "localhost:9092", value_name = "HOST:PORT")]
    #[arg(help_heading = "Kafka")]
    pub brokers: String,
    /// Set a property of librdkafka, such as security.protocol=sasl_ssl; may be repeated
    #[arg(long = "kafka-property", value_name = "KEY=VALUE", hide_env_values = true, help_heading = "Kafka")]
    pub kafka_properties: Vec<Property>,
    /// Read sasl.password from this file; by default from KAFKA_SASL_PASSWORD in the environment
    #[arg(long, value_name = "FILE", help_heading = "Kafka")]
    pub kafka_password_file: Option<PathBuf>,
    /// Read ssl.key.password from this file; by default from KAFKA_SSL_KEY_PASSWORD in the environment
    #[arg(long, value_name = "FILE", help_heading = "Kafka")]
    pub kafka_key_password_file: Option<PathBuf>,
}

impl KafkaArgs {
    /// # Errors
    ///
    /// See [`ConnectionError`].
    pub fn connection(&self) -> Result<Connection, ConnectionError> {
        let secrets =
            Secrets::read(self.kafka_password_file.as_deref(), self.kafka_key_password_file.as_deref())?;
        Connection::new(&self.brokers, self.kafka_properties.iter().cloned(), secrets)
    }
}

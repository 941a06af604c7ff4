//! The connection to Kafka, for every program of the workspace: brokers, librdkafka properties, credentials.
//!
//! 1. A password comes from a file or the environment, never from the command line, which every user of the machine can
//!    read. No `Debug`, `Display` or error shows one.
//! 2. librdkafka checks names and values before anything connects; the error names the property.
//! 3. Properties that exactly-once or the programs themselves depend on cannot be set; the error says why.

mod arguments;
mod connection;
mod error;
mod observer;
mod property;
mod secret;

pub use arguments::KafkaArgs;
pub use connection::Connection;
pub use error::ConnectionError;
pub use observer::{BrokerError, BrokerErrorKind, ErrorObserver};
pub use property::Property;
pub use secret::{Secret, Secrets};

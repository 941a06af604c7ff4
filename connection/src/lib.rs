//! How Kafka is reached, for every program of the workspace: brokers, librdkafka properties, credentials.
//!
//! 1. A password is given in a file or in the environment, never on the command line, where every user of the machine
//!    can read it; and nothing here shows one, neither `Debug` nor `Display` nor an error.
//! 2. librdkafka judges names and values, with the property named, before anything is connected.
//! 3. Properties on which exactly-once or the programs' own settings rest cannot be set; the error says why.

mod arguments;
mod connection;
mod error;
mod property;
mod secret;
mod trouble;

pub use arguments::KafkaArgs;
pub use connection::Connection;
pub use error::ConnectionError;
pub use property::Property;
pub use secret::{Secret, Secrets};
pub use trouble::{Kind, Trouble, Witness};

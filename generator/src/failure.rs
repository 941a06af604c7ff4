//! Why the generator ends early: what was attempted, on what, and what to do. Exit codes as the dataflow's.

use std::path::PathBuf;

use citytide_domain::Mistakes;
use citytide_generator::SettingsError;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The domain file cannot be read.
    #[error("error: cannot read the domain file {}: {reason}", file.display())]
    DomainFile {
        /// The file.
        file: PathBuf,
        /// The system's words.
        reason: std::io::Error,
    },
    /// The domain file is wrong; the mistakes show themselves.
    #[error("{0}")]
    Domain(Mistakes),
    /// The settings make no city.
    #[error("error: {0}")]
    Settings(#[from] SettingsError),
    /// Event time would begin in the future.
    #[error("error: --start {0} lies in the future; readings from there would be dead letters")]
    StartInTheFuture(String),
    /// librdkafka does not take the settings.
    #[error(
        "error: cannot set up a producer for {brokers}: {reason}; --brokers takes host:port, separated by commas"
    )]
    Brokers {
        /// As typed.
        brokers: String,
        /// librdkafka's words.
        reason: String,
    },
    /// No broker answers.
    #[error(
        "error: no Kafka broker answers at {brokers}: {reason}; is it running, and are host and port right?"
    )]
    Away {
        /// As typed.
        brokers: String,
        /// librdkafka's words.
        reason: String,
    },
    /// The topic is not there.
    #[error("error: there is no topic {topic} at {brokers}; create it, as with scripts/topic {topic} 4")]
    NoTopic {
        /// The topic.
        topic: String,
        /// As typed.
        brokers: String,
    },
    /// Fewer partitions than asked for.
    #[error(
        "error: the topic {topic} has {there} partitions, fewer than --partitions {asked}; ask for {there} at most"
    )]
    Partitions {
        /// The topic.
        topic: String,
        /// What it has.
        there: u32,
        /// What was asked for.
        asked: u32,
    },
    /// Kafka does not take a reading.
    #[error("error: cannot send to {topic}: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// librdkafka's words.
        reason: String,
    },
    /// Readings that were sent and never acknowledged.
    #[error("error: {count} readings were not acknowledged by {brokers} ({reason}); the topic may lack them")]
    Undelivered {
        /// How many.
        count: u64,
        /// As typed.
        brokers: String,
        /// librdkafka's words for the first of them.
        reason: String,
    },
    /// Standard output cannot be written.
    #[error("error: cannot write to standard output: {0}")]
    Stdout(std::io::Error),
    /// The system does not let us handle signals.
    #[error("error: cannot listen for SIGINT and SIGTERM: {0}")]
    Signals(std::io::Error),
}

impl Failure {
    /// The process exit status: 69 where starting again can help, 78 where it cannot.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Away { .. } | Failure::Refused { .. } | Failure::Undelivered { .. } => 69,
            Failure::Stdout(_) | Failure::Signals(_) => 70,
            Failure::DomainFile { .. }
            | Failure::Domain(_)
            | Failure::Settings(_)
            | Failure::StartInTheFuture(_)
            | Failure::Brokers { .. }
            | Failure::NoTopic { .. }
            | Failure::Partitions { .. } => 78,
        }
    }
}

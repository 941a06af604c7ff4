//! Why the generator ends early: what was attempted, on what, and what to do. Exit codes as the dataflow's.

use std::path::PathBuf;

use citytide_connection::ConnectionError;
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
    /// Flags that do not fit together, or values out of their range.
    #[error("error: {}", .0.join("\nerror: "))]
    Relations(Vec<String>),
    /// How Kafka is to be reached is described wrongly.
    #[error("error: {0}")]
    Connection(#[from] ConnectionError),
    /// librdkafka makes no producer.
    #[error("error: cannot set up a producer for {brokers}: {reason}")]
    Producer {
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
    #[error(
        "error: there is no topic {topic} at {brokers}; create it, for example with scripts/topic {topic} 4"
    )]
    NoTopic {
        /// The topic.
        topic: String,
        /// As typed.
        brokers: String,
    },
    /// Fewer partitions than asked for.
    #[error(
        "error: the topic {topic} has {there} partitions, fewer than --partitions {asked}; give at most {there}"
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
    #[error(
        "error: cannot send to {topic}: {reason}; {delivered} readings were delivered; the same command continues \
         after them"
    )]
    Refused {
        /// The topic.
        topic: String,
        /// librdkafka's words.
        reason: String,
        /// How many came before it, over all partitions.
        delivered: u64,
    },
    /// Readings that were sent and never acknowledged.
    #[error(
        "error: Kafka at {brokers} acknowledged nothing for {seconds} s ({reason}); {delivered} of {sent} \
         readings were delivered, in order and without a gap, and the rest was dropped; start the broker, and the \
         same command continues after them"
    )]
    Undelivered {
        /// How many were acknowledged.
        delivered: u64,
        /// How many were handed over.
        sent: u64,
        /// As typed.
        brokers: String,
        /// For how long nothing was acknowledged.
        seconds: i64,
        /// librdkafka's last words.
        reason: String,
    },
    /// The truth cannot be written.
    #[error("error: cannot write the truth to {}: {reason}", file.display())]
    TruthFile {
        /// The file.
        file: PathBuf,
        /// The system's words.
        reason: std::io::Error,
    },
    /// The picture cannot be written.
    #[error("error: cannot write the picture to {}: {reason}", file.display())]
    Picture {
        /// The file.
        file: PathBuf,
        /// The system's words.
        reason: std::io::Error,
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
            Failure::Stdout(_)
            | Failure::TruthFile { .. }
            | Failure::Picture { .. }
            | Failure::Signals(_) => 70,
            Failure::DomainFile { .. }
            | Failure::Domain(_)
            | Failure::Settings(_)
            | Failure::Relations(_)
            | Failure::Connection(_)
            | Failure::Producer { .. }
            | Failure::NoTopic { .. }
            | Failure::Partitions { .. } => 78,
        }
    }
}

//! Errors of the generator and their exit codes, which are those of `citytide`.

use std::path::PathBuf;

use citytide_connection::ConnectionError;
use citytide_domain::Mistakes;
use citytide_generator::SettingsError;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("error: cannot read the domain file {}: {reason}", file.display())]
    DomainFile { file: PathBuf, reason: std::io::Error },
    #[error("{0}")]
    Domain(Mistakes),
    #[error("error: {0}")]
    Settings(#[from] SettingsError),
    /// Options that contradict each other or are out of range; one sentence each.
    #[error("error: {}", .0.join("\nerror: "))]
    Options(Vec<String>),
    #[error("error: {0}")]
    Connection(#[from] ConnectionError),
    #[error("error: cannot set up a producer for {brokers}: {reason}")]
    Producer {
        brokers: String,
        /// From librdkafka.
        reason: String,
    },
    #[error(
        "error: no Kafka broker answers at {brokers}: {reason}; is it running, and are host and port right?"
    )]
    Unreachable {
        brokers: String,
        /// From librdkafka.
        reason: String,
    },
    #[error(
        "error: there is no topic {topic} at {brokers}; create it, for example with scripts/topic {topic} 4"
    )]
    NoTopic { topic: String, brokers: String },
    #[error(
        "error: the topic {topic} has {there} partitions, fewer than --partitions {asked}; give at most {there}"
    )]
    Partitions { topic: String, there: u32, asked: u32 },
    #[error(
        "error: cannot send to {topic}: {reason}; {delivered} readings were delivered; the same command continues \
         after them"
    )]
    Refused {
        topic: String,
        /// From librdkafka.
        reason: String,
        delivered: u64,
    },
    #[error(
        "error: Kafka at {brokers} acknowledged nothing for {seconds} s ({reason}); {delivered} of {sent} \
         readings were delivered, in order and without a gap, and the rest was dropped; start the broker, and the \
         same command continues after them"
    )]
    Undelivered {
        delivered: u64,
        sent: u64,
        brokers: String,
        seconds: i64,
        /// The last error from librdkafka.
        reason: String,
    },
    #[error("error: cannot write the truth to {}: {reason}", file.display())]
    TruthFile { file: PathBuf, reason: std::io::Error },
    #[error("error: cannot write the picture to {}: {reason}", file.display())]
    Picture { file: PathBuf, reason: std::io::Error },
    #[error("error: cannot write to standard output: {0}")]
    Stdout(std::io::Error),
    #[error("error: cannot listen for SIGINT and SIGTERM: {0}")]
    Signals(std::io::Error),
}

impl Failure {
    /// The exit status: 69 if a restart can help, 78 if the configuration must change, 70 for other I/O errors.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Unreachable { .. } | Failure::Refused { .. } | Failure::Undelivered { .. } => 69,
            Failure::Stdout(_)
            | Failure::TruthFile { .. }
            | Failure::Picture { .. }
            | Failure::Signals(_) => 70,
            Failure::DomainFile { .. }
            | Failure::Domain(_)
            | Failure::Settings(_)
            | Failure::Options(_)
            | Failure::Connection(_)
            | Failure::Producer { .. }
            | Failure::NoTopic { .. }
            | Failure::Partitions { .. } => 78,
        }
    }
}

//! Errors of Kafka, by what can be done about them.

use citytide_connection::BrokerError;

/// A topic that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KafkaSourceError {
    /// A restart helps once it is back.
    #[error("cannot reach Kafka at {connection} while {attempted}: {reason}")]
    Away {
        connection: String,
        /// What was attempted.
        attempted: String,
        /// librdkafka's words, and what to look at.
        reason: String,
    },
    /// A restart does not help.
    #[error(
        "topic {topic} does not exist at {brokers}; create it with\n  citytide topics create --brokers {brokers} --topic {topic} --topic-partitions 4\nor with Kafka's own kafka-topics.sh --create, with message.timestamp.type=LogAppendTime"
    )]
    MissingTopic {
        /// The bootstrap servers.
        brokers: String,
        topic: String,
    },
    /// The topic is not the one that was read before.
    #[error(
        "partition {partition} of topic {topic} ends at offset {end_offset}, but the database has read it up to \
         {next_offset}: the topic was deleted and created again, or this is another cluster; use another \
         database, or another topic name"
    )]
    OtherTopic {
        topic: String,
        partition: i32,
        /// Where its log ends.
        end_offset: i64,
        /// Where the ledger is.
        next_offset: i64,
    },
    /// The topic of that name is another one than the one that is being read.
    #[error(
        "topic {topic} was deleted and created again while it was read (its id was {before} and is {now}); what \
         was read \
         is committed; use another database, or another topic name"
    )]
    Recreated {
        topic: String,
        /// Its id.
        before: String,
        /// The other one's.
        now: String,
    },
    /// Certificates that do not fit.
    #[error("cannot trust Kafka at {connection}: {error}")]
    Untrusted {
        connection: String,
        /// What librdkafka says.
        error: BrokerError,
    },
    /// Credentials that do not fit.
    #[error("Kafka at {connection} does not let this client in: {error}")]
    Denied {
        connection: String,
        /// What librdkafka says.
        error: BrokerError,
    },
    /// Rights that are missing.
    #[error(
        "Kafka at {connection} does not let this client read topic {topic}: {reason}; grant it DESCRIBE and READ"
    )]
    Forbidden {
        connection: String,
        topic: String,
        /// The broker's words.
        reason: String,
    },
    /// Settings that librdkafka refuses.
    #[error("cannot create a Kafka client for {connection}: {reason}")]
    Unusable {
        connection: String,
        /// librdkafka's words.
        reason: String,
    },
}

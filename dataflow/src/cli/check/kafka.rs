//! The checks of Kafka: whether it can be reached, the topic's settings, and whether the topic may be read.

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::Report;
use crate::cli::exit_error::ExitError;
use crate::cli::setup::Setup;
use crate::cli::topics::facts::{ANSWER_TIMEOUT, Facts, Quiet, refused};
use crate::runtime::exit::Exit;
use crate::sources::kafka::{KafkaSourceError, Topic};
use crate::sources::{Source, SourceError};

/// What is known of a topic that can be read.
pub struct Seen {
    pub topic: Topic,
    /// What it is.
    pub facts: Facts,
    /// Kafka's timestamp of the newest record of some partition, milliseconds.
    pub newest_ms: Option<i64>,
}

/// Asks Kafka; `None` when the topic cannot be read.
pub async fn examine(setup: &Setup, report: &mut Report) -> Option<Seen> {
    let Setup { connection, topic: name, .. } = setup;
    let topic = Topic::new(connection.clone(), name.clone(), false);
    let reached = format!("{}, {}", connection.brokers(), connection.protocol());
    match Source::Kafka(topic.clone()).look() {
        Ok(()) => report.ok("kafka", reached),
        Err(error @ SourceError::Kafka(KafkaSourceError::MissingTopic { .. })) => {
            report.ok("kafka", reached);
            report.failed("topic", &ExitError::of_source(error, false));
            report.skipped("reading", "topic");
            return None;
        }
        Err(error) => {
            report.failed("kafka", &ExitError::of_source(error, false));
            report.skipped("topic", "kafka");
            report.skipped("reading", "kafka");
            return None;
        }
    }
    let facts = match Facts::ask(connection, name).await {
        Ok(facts) => facts,
        Err(error) => {
            report.failed("topic", &error);
            report.skipped("reading", "topic");
            return None;
        }
    };
    about(&facts, name, report);
    match newest(setup, facts.partitions) {
        Ok(newest_ms) => {
            report.ok(
                "reading",
                match newest_ms {
                    Some(_) => "a record could be read",
                    None => "allowed; no partition holds a record yet",
                },
            );
            Some(Seen { topic, facts, newest_ms })
        }
        Err(error) => {
            report.failed("reading", &error);
            None
        }
    }
}

fn about(facts: &Facts, name: &str, report: &mut Report) {
    let mut warnings = Vec::new();
    if facts.setting("message.timestamp.type") == "CreateTime" {
        warnings.push(
            "CreateTime: the producer sets both timestamps, so only a device clock ahead of the reader's is detected; \
             set message.timestamp.type=LogAppendTime"
                .to_owned(),
        );
    }
    if facts.setting("cleanup.policy").contains("compact") {
        warnings.push(
            "cleanup.policy=compact: Kafka removes readings of a key before they are read; set it to delete"
                .to_owned(),
        );
    }
    if warnings.is_empty() {
        report.ok("topic", format!("{name}: {facts}"));
    } else {
        report.warning("topic", format!("{name}: {facts}; {}", warnings.join("; ")));
    }
}

/// The timestamp of the last record of the first partition that has one, read as a run would read it.
fn newest(setup: &Setup, partitions: usize) -> Result<Option<i64>, ExitError> {
    let Setup { connection, topic, .. } = setup;
    let config = connection.client(&[
        ("client.id", "citytide"),
        ("group.id", "citytide"),
        ("enable.auto.commit", "false"),
        ("enable.partition.eof", "true"),
    ]);
    let attempted = format!("reading topic {topic}");
    let failed = |error: KafkaError| refused(connection, &attempted, &error);
    let consumer = BaseConsumer::from_config_and_context(&config, Quiet).map_err(failed)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        list.add_partition_offset(topic, partition, Offset::OffsetTail(1)).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    for _ in 0..partitions {
        match consumer.poll(ANSWER_TIMEOUT) {
            Some(Ok(record)) => return Ok(record.timestamp().to_millis()),
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => {
                return Err(failed(error));
            }
            None => {
                let why = format!(
                    "{attempted} at {}: no answer within {} s",
                    connection.brokers(),
                    ANSWER_TIMEOUT.as_secs()
                );
                return Err(ExitError::new(Exit::Away, why));
            }
        }
    }
    Ok(None)
}

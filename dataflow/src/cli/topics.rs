//! `citytide topics create`: creates a topic as citytide needs it, or prints how an existing one differs.

pub mod facts;

use std::path::PathBuf;

use citytide_connection::KafkaArgs;
use citytide_store::session;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::exit_error::ExitError;
use super::tables::read_domain;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use crate::sources::kafka::{KafkaSourceError, Topic};
use crate::sources::{Source, SourceError};
use facts::{ANSWER_TIMEOUT, Facts, admin, refused};

/// What was typed.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example:\n  citytide topics create --topic-partitions 8 --retention-hours 168 --if-not-exists"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create the topic, or print how an existing one differs
    Create(Create),
}

#[derive(Debug, ClapArgs)]
struct Create {
    /// Create this topic; by default the domain's
    #[arg(long, help_heading = "Kafka")]
    topic: Option<String>,
    /// Use this domain file; by default the built-in smart-city
    #[arg(long, value_name = "FILE", help_heading = "Domain")]
    domain: Option<PathBuf>,
    /// Create this many partitions; at most as many workers have something to read
    #[arg(long = "topic-partitions", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    partitions: u16,
    /// Keep this many copies of each record; by default the broker's default.replication.factor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    replication_factor: Option<u16>,
    /// Choose the clock that stamps a record
    #[arg(long, value_enum, default_value_t = Stamps::Broker)]
    timestamps: Stamps,
    /// Keep records for this long; by default the broker's log.retention
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..))]
    retention_hours: Option<u32>,
    /// Accept an existing topic, however it differs
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    kafka: KafkaArgs,
}

/// Whose clock stamps a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stamps {
    /// The broker's, on arrival: LogAppendTime
    Broker,
    /// The sender's: CreateTime
    Sender,
}

impl Create {
    /// The settings that are asked for.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let stamps = if self.timestamps == Stamps::Broker { "LogAppendTime" } else { "CreateTime" };
        let mut settings = vec![("message.timestamp.type", stamps.to_owned())];
        let hours = self.retention_hours.map(|hours| (u64::from(hours) * 3_600_000).to_string());
        settings.extend(hours.map(|milliseconds| ("retention.ms", milliseconds)));
        settings
    }

    /// How a topic that is there differs.
    fn differences(&self, there: &Facts) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, there: &str, asked: &str| {
            if there != asked {
                found.push(format!("{what} is {there}, not {asked}"));
            }
        };
        compare("partitions", &there.partitions.to_string(), &self.partitions.to_string());
        if let Some(factor) = self.replication_factor {
            compare("replication factor", &there.replication.to_string(), &factor.to_string());
        }
        for (name, asked) in self.settings() {
            compare(name, there.setting(name), &asked);
        }
        found
    }
}

/// Does what was asked for; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    let Command::Create(create) = &args.command;
    session::runtime().block_on(execute(create)).map(Exit::code)
}

async fn execute(create: &Create) -> Result<Exit, ExitError> {
    let domain = read_domain(create.domain.as_deref())?;
    let name = create.topic.as_deref().unwrap_or(&domain.topic);
    let connection = create.kafka.connection()?;
    let topic = Topic::new(connection.clone(), name.to_owned(), false);
    let is_there = match Source::Kafka(topic).look() {
        Ok(()) => true,
        Err(SourceError::Kafka(KafkaSourceError::MissingTopic { .. })) => false,
        Err(error) => return Err(ExitError::of_source(error, false)),
    };
    if is_there {
        let there = Facts::ask(&connection, name).await?;
        let differences = create.differences(&there);
        let at = connection.brokers();
        return match (differences.as_slice(), create.if_not_exists) {
            ([], true) => {
                output::print_line(format_args!(
                    "✓ topic {name} already exists at {at}, as requested: {there}"
                ));
                Ok(Exit::Done)
            }
            (_, true) => {
                output::print_line(format_args!(
                    "! topic {name} already exists at {at} and differs: {}",
                    differences.join("; ")
                ));
                Ok(Exit::Done)
            }
            (_, false) => {
                let differs = if differences.is_empty() {
                    String::new()
                } else {
                    format!("; {}", differences.join("; "))
                };
                let why = format!(
                    "topic {name} already exists at {at}: {there}{differs}; choose another --topic, or accept \
                     this one with --if-not-exists"
                );
                Err(ExitError::new(Exit::Config, why))
            }
        };
    }
    let admin = admin(&connection)?;
    let settings = create.settings();
    let replication = create.replication_factor.map_or(-1, i32::from);
    let mut topic = NewTopic::new(name, i32::from(create.partitions), TopicReplication::Fixed(replication));
    for (key, value) in &settings {
        topic = topic.set(key, value);
    }
    let options =
        AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT)).request_timeout(Some(ANSWER_TIMEOUT));
    let attempted = format!("creating topic {name}");
    let created = admin
        .create_topics(&[topic], &options)
        .await
        .map_err(|error| refused(&connection, &attempted, &error))?;
    match created.into_iter().next() {
        Some(Ok(_)) => {}
        Some(Err((_, code))) => return Err(not_created(&attempted, connection.brokers(), code)),
        None => {
            return Err(ExitError::new(Exit::Bug, format!("{attempted}: Kafka did not report the result")));
        }
    }
    output::print_line(format_args!(
        "✓ topic {name} created at {}: {} partitions, {}",
        connection.brokers(),
        create.partitions,
        settings[0].1
    ));
    Ok(Exit::Done)
}

fn not_created(attempted: &str, brokers: &str, code: RDKafkaErrorCode) -> ExitError {
    let (exit, advice) = match code {
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            (Exit::Denied, "grant this client CREATE on the topic or the cluster")
        }
        RDKafkaErrorCode::InvalidReplicationFactor => {
            (Exit::Config, "give a --replication-factor that is not above the number of brokers")
        }
        RDKafkaErrorCode::InvalidTopic => {
            (Exit::Config, "a topic's name consists of letters, digits, dots, dashes and underscores")
        }
        RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut => {
            (Exit::Away, "try again, with --if-not-exists in case it was created")
        }
        _ => (Exit::Config, "see the broker's log"),
    };
    ExitError::new(exit, format!("{attempted} at {brokers} failed: {code}; {advice}"))
}

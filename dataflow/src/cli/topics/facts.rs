//! A topic's partitions, replicas, and the settings that matter to citytide.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use citytide_connection::Connection;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::cli::exit_error::ExitError;
use crate::runtime::exit::Exit;

/// How long the broker may take to answer a question.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// Where librdkafka's own words go while a command asks: what matters comes back as an error.
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for Quiet {}

/// What a topic is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Brokers of the cluster.
    pub brokers: usize,
    /// Partitions.
    pub partitions: usize,
    /// Copies of each record.
    pub replication: usize,
    /// Its settings, as far as they may be read.
    pub settings: BTreeMap<String, String>,
}

impl Facts {
    /// Asks for a topic that is there (see [`Source::look`](crate::sources::Source::look)).
    ///
    /// # Errors
    ///
    /// When Kafka does not answer. That its settings may not be read is no error.
    pub async fn ask(connection: &Connection, topic: &str) -> Result<Facts, ExitError> {
        let admin = admin(connection)?;
        let attempted = format!("asking for topic {topic}");
        let metadata = admin
            .inner()
            .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
            .map_err(|error| refused(connection, &attempted, &error))?;
        let partitions = metadata.topics().first().map_or(&[][..], |there| there.partitions());
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
        let described = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
        let resource = described.ok().and_then(|all| all.into_iter().next()).and_then(Result::ok);
        let settings = resource.map(|resource| resource.entries).unwrap_or_default();
        Ok(Facts {
            brokers: metadata.brokers().len(),
            partitions: partitions.len(),
            replication: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
            settings: settings.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect(),
        })
    }

    /// A setting; `?` when it may not be read.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("?", String::as_str)
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamps = self.setting("message.timestamp.type");
        let of =
            |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let partitions = of(self.partitions, "partition", "partitions");
        write!(f, "{partitions}, {}, {stamps}", of(self.replication, "copy", "copies"))
    }
}

/// A client that asks and creates.
pub fn admin(connection: &Connection) -> Result<AdminClient<Quiet>, ExitError> {
    let config = connection.client(&[("client.id", "citytide")]);
    AdminClient::from_config_and_context(&config, Quiet).map_err(|error| {
        ExitError::new(
            Exit::Config,
            format!("cannot create a Kafka client for {}: {error}", connection.brokers()),
        )
    })
}

/// What Kafka does not do although it answered before.
pub fn refused(connection: &Connection, attempted: &str, error: &KafkaError) -> ExitError {
    let brokers = connection.brokers();
    let denied = [
        RDKafkaErrorCode::TopicAuthorizationFailed,
        RDKafkaErrorCode::ClusterAuthorizationFailed,
        RDKafkaErrorCode::GroupAuthorizationFailed,
    ];
    match error.rdkafka_error_code().filter(|code| denied.contains(code)) {
        Some(code) => ExitError::new(
            Exit::Denied,
            format!("Kafka at {brokers} does not allow {attempted}: {code}; grant this client the right to"),
        ),
        None => ExitError::new(Exit::Away, format!("{attempted} at {brokers} failed: {error}; try again")),
    }
}

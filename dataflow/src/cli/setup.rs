//! The flags that `run`, `check` and `config show` share.

use citytide_connection::{Connection, KafkaArgs};
use citytide_domain::Domain;
use citytide_store::postgres::Database;

use super::exit_error::ExitError;
use super::source::{SourceArgs, SourceKind};
use super::tables::TablesArgs;

#[derive(Debug, Clone, clap::Args)]
pub struct SetupArgs {
    /// Read this topic; by default the domain's
    #[arg(long, help_heading = "Kafka")]
    topic: Option<String>,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    tables: TablesArgs,
    /// Use this many worker threads per process
    #[arg(short = 'w', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    #[arg(help_heading = "Run")]
    pub workers: u16,
    /// Use this many processes
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    #[arg(help_heading = "Run")]
    pub processes: u16,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// What a run is made of.
pub struct Setup {
    pub domain: Domain,
    pub connection: Connection,
    pub topic: String,
    pub database: Database,
    /// Whether the readings come from Kafka.
    pub is_kafka: bool,
    /// Workers of all processes.
    pub workers: u32,
}

impl SetupArgs {
    pub fn tables(&self) -> &TablesArgs {
        &self.tables
    }

    pub fn setup(&self) -> Result<Setup, ExitError> {
        let (domain, database) = self.tables.read()?;
        Ok(Setup {
            connection: self.kafka.connection()?,
            topic: self.topic.clone().unwrap_or_else(|| domain.topic.clone()),
            is_kafka: self.source.source == SourceKind::Kafka,
            workers: u32::from(self.workers) * u32::from(self.processes),
            domain,
            database,
        })
    }
}

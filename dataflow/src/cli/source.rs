//! What is typed about the source, and the source that follows from it.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::DateTime;
use citytide_domain::Domain;
use citytide_store::clock::wall_ms;
use clap::{Args, ValueEnum};

use super::exit_error::ExitError;
use crate::runtime::exit::Exit;
use crate::sources::files::Files;
use crate::sources::simulation::{Simulation, SimulationSettings};
use crate::sources::{Source, kafka};

/// The kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceKind {
    /// A Kafka topic
    Kafka,
    /// The generator's city inside, no broker
    Simulation,
    /// Files of JSON lines or CSV, plain or gzip
    Files,
}

/// Where the readings come from.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Where the readings come from
    #[arg(long, value_enum, default_value = "kafka", value_name = "KIND", help_heading = "Source")]
    pub source: SourceKind,
    /// Files, or directories of files: .json .jsonl .ndjson .csv, each also with .gz
    #[arg(value_name = "PATH", help_heading = "Source")]
    paths: Vec<PathBuf>,
    /// Go on with what is added to the files and to the directories
    #[arg(long, help_heading = "Source")]
    follow: bool,
    /// Another seed, another city
    #[arg(long, default_value_t = 42, help_heading = "Simulation")]
    seed: u64,
    /// How many sensors the simulated city has
    #[arg(long, default_value_t = 400, help_heading = "Simulation")]
    sensors: u32,
    /// Simulated partitions
    #[arg(long, default_value_t = 4, help_heading = "Simulation")]
    partitions: u32,
    /// Simulated readings per second of event time
    #[arg(long, default_value_t = 200.0, help_heading = "Simulation")]
    rate: f64,
    /// Share of anomalous readings, 0 to 1
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", help_heading = "Simulation")]
    anomalies: f64,
    /// Event time of the first simulated reading, in RFC 3339; by default that of the database, else now
    ///
    /// What lies between it and now is read as fast as it can be committed; then the simulation keeps up with the clock.
    #[arg(long, value_name = "TIME", value_parser = microseconds, help_heading = "Simulation")]
    start: Option<i64>,
    /// End the simulation after this many readings
    #[arg(long, help_heading = "Simulation")]
    count: Option<u64>,
    /// End the simulation after this much event time, in seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "count", help_heading = "Simulation")]
    duration: Option<u64>,
}

impl SourceArgs {
    /// Adds what does not fit together.
    pub fn check(&self, processes: u16, wrong: &mut Vec<String>) {
        let is_files = self.source == SourceKind::Files;
        if is_files && self.paths.is_empty() {
            wrong.push("--source files needs the files: --source files PATH…".to_owned());
        }
        if is_files && self.paths.iter().any(|path| path.as_os_str() == "-") {
            wrong.push(
                "standard input cannot be read exactly once: after a restart nobody can read it again; write it to a \
                 file first"
                    .to_owned(),
            );
        }
        if is_files && processes > 1 {
            wrong.push(format!(
                "-n {processes} with --source files: the files are read by one process, which sees them all at the \
                 same time; use -w for more workers"
            ));
        }
        if !is_files && (self.follow || !self.paths.is_empty()) {
            wrong.push("paths and --follow belong to --source files".to_owned());
        }
    }

    /// The source. `topic` is Kafka's; `declared` what the database says its readings come from, if it says so.
    /// `until_caught_up`: files are not followed.
    ///
    /// # Errors
    ///
    /// Settings that make no source.
    pub fn source(
        &self,
        domain: &Domain,
        topic: &kafka::Topic,
        declared: Option<&str>,
        until_caught_up: bool,
    ) -> Result<Source, ExitError> {
        match self.source {
            SourceKind::Kafka => Ok(Source::Kafka(topic.clone())),
            SourceKind::Files => {
                let follow = self.follow && !until_caught_up;
                let files = Files::new(Arc::new(domain.clone()), self.paths.clone(), follow);
                Ok(Source::Files(files.into()))
            }
            SourceKind::Simulation => {
                let settings = SimulationSettings {
                    seed: self.seed,
                    sensors: self.sensors,
                    partitions: self.partitions,
                    rate: self.rate,
                    anomalies: self.anomalies,
                    start_us: self.start,
                    count: self.count.or(self.duration.map(|seconds| (seconds as f64 * self.rate) as u64)),
                };
                let now_us = i64::try_from(wall_ms()).unwrap_or(i64::MAX / 1_000) * 1_000;
                let simulation = Simulation::new(domain, &settings, declared, now_us);
                let simulation = simulation.map_err(|error| ExitError::new(Exit::Config, error))?;
                Ok(Source::Simulation(simulation.into()))
            }
        }
    }
}

fn microseconds(text: &str) -> Result<i64, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_micros())
        .map_err(|error| format!("{error}; write it as 2026-11-21T05:26:00Z"))
}

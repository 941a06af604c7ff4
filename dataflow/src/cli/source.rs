//! The flags of the source, and the source that they describe.

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
    /// The generator's city, inside this process; needs no broker
    Simulation,
    /// Files of JSON lines or CSV, plain or gzip
    Files,
}

/// Where the readings come from.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Read from this kind of source
    #[arg(long, value_enum, default_value = "kafka", value_name = "KIND", help_heading = "Source")]
    pub source: SourceKind,
    /// Read these files or directories: .json .jsonl .ndjson .csv, each also with .gz
    #[arg(value_name = "PATH", help_heading = "Source")]
    paths: Vec<PathBuf>,
    /// Keep reading what is added to the files and directories
    #[arg(long, help_heading = "Source")]
    follow: bool,
    /// Simulate the city of this seed
    #[arg(long, default_value_t = 42, help_heading = "Simulation")]
    seed: u64,
    /// Simulate this many sensors
    #[arg(long, default_value_t = 400, help_heading = "Simulation")]
    sensors: u32,
    /// Simulate this many partitions
    #[arg(long, default_value_t = 4, help_heading = "Simulation")]
    partitions: u32,
    /// Simulate this many readings per second of event time
    #[arg(long, default_value_t = 200.0, help_heading = "Simulation")]
    rate: f64,
    /// Make this share of the readings anomalous, 0 to 1
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", help_heading = "Simulation")]
    anomalies: f64,
    /// Start at this event time, in RFC 3339; by default the start stored in the database, else now
    ///
    /// Readings up to now are committed as fast as possible; then the simulation follows the clock.
    #[arg(long, value_name = "TIME", value_parser = microseconds, help_heading = "Simulation")]
    start: Option<i64>,
    /// Begin this long before the start, with a reading a minute from each sensor: 12h, 3d
    #[arg(long, value_name = "TIME", value_parser = span, help_heading = "Simulation")]
    history: Option<i64>,
    /// Stop the simulation after this many readings, those of --history not counted
    #[arg(long, help_heading = "Simulation")]
    count: Option<u64>,
    /// Stop the simulation after this much event time, in seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "count", help_heading = "Simulation")]
    duration: Option<u64>,
}

impl SourceArgs {
    /// Adds what does not fit together.
    pub fn check(&self, processes: u16, wrong: &mut Vec<String>) {
        let is_files = self.source == SourceKind::Files;
        if is_files && self.paths.is_empty() {
            wrong.push("--source files needs at least one path: --source files PATH…".to_owned());
        }
        if is_files && self.paths.iter().any(|path| path.as_os_str() == "-") {
            wrong.push(
                "standard input cannot be read exactly once, because it cannot be read again after a restart; \
                 write it to a file first"
                    .to_owned(),
            );
        }
        if is_files && processes > 1 {
            wrong.push(format!(
                "-n {processes} does not work with --source files: one process reads all files; use -w for more \
                 workers"
            ));
        }
        if !is_files && (self.follow || !self.paths.is_empty()) {
            wrong.push("PATH and --follow need --source files".to_owned());
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
                    history_us: self.history,
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

fn span(text: &str) -> Result<i64, String> {
    match citytide_domain::parse_duration(text)? {
        0 => Err("the time must be longer than 0; write it as 3d".to_owned()),
        span_us => Ok(span_us),
    }
}

fn microseconds(text: &str) -> Result<i64, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_micros())
        .map_err(|error| format!("{error}; write it as 2026-11-21T05:26:00Z"))
}

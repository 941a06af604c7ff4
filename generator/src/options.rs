//! What was typed on the command line.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Parser;

/// Fills a Kafka topic with the readings of a synthetic city.
///
/// A reading is a function of (seed, partition, offset), so that any part can be made again. A topic that already
/// holds readings is continued at its end.
#[derive(Debug, Parser)]
#[command(
    name = "citytide-generator",
    version,
    after_help = "Exit codes: 0 done, 2 wrong usage, 69 the broker is away, 78 topic, domain or settings do not fit.\n\n\
                  Examples:\n  citytide-generator --brokers localhost:9092 --rate 1000\n  \
                  citytide-generator --stdout --rate 0 --count 10 --start 2026-11-21T05:00:00Z"
)]
pub struct Options {
    /// Kafka brokers, host:port separated by commas
    #[arg(long, env = "KAFKA_BROKERS", value_name = "LIST", required_unless_present = "stdout")]
    pub brokers: Option<String>,
    /// Topic to fill [default: the domain's]
    #[arg(long)]
    pub topic: Option<String>,
    /// Domain file to read instead of the built-in smart-city
    #[arg(long, value_name = "FILE")]
    pub domain: Option<PathBuf>,
    /// Readings per second, paced by the clock; 0 sends as fast as possible
    #[arg(long, default_value_t = 200)]
    pub rate: u32,
    /// How many sensors the city has
    #[arg(long, default_value_t = 400)]
    pub sensors: u32,
    /// How many of the topic's partitions are filled [default: all of them; 4 with --stdout]
    #[arg(long)]
    pub partitions: Option<u32>,
    /// End after this many readings [default: go on until stopped]
    #[arg(long)]
    pub count: Option<u64>,
    /// Another seed, another city
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Share of anomalous readings, 0 to 1
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    pub anomalies: f64,
    /// Event time of the first reading, in RFC 3339 [default: now, and event time keeps up with the clock]
    ///
    /// With --rate 0 event time advances by a second every 10,000 readings.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub start: Option<DateTime<Utc>>,
    /// Print lines of partition, tab and JSON instead of producing
    #[arg(long)]
    pub stdout: bool,
    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,
}

fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|error| format!("{error}; write it as 2026-11-21T05:26:00Z"))
}

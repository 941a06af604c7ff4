//! What was typed on the command line.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use citytide_connection::KafkaArgs;
use citytide_generator::Disorder;
use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  citytide-generator --brokers localhost:9092 --rate 1000
      a living city, 1,000 readings a second until Ctrl-C
  citytide-generator --brokers localhost:9092 --duration 7d --speed 10000 --truth truth.csv
      the week up to now in a minute, and the list of what is anomalous in it
  citytide-generator --brokers localhost:9092 --rate 0 --count 10000000 --duration 1d
      ten million readings spread over the day up to now, as fast as the broker takes them
  citytide-generator --stdout --rate 0 --count 10 --start 2026-11-21T05:00:00Z
      ten lines of partition, tab and JSON, the same ones each time
  citytide-generator plot --output city.svg
      a week of this city as a picture

The truth:
  An anomalous reading carries the Kafka header `truth`: its kind, a colon, and the metrics
  concerned, as `spike:temperature` or `zone_event:temperature aqi`. Payloads never tell.
  --truth writes CSV: partition, offset, kind, metrics, event, sensor. Lines of one event share its
  number. A line of kind `silence` names a sensor whose turn it was and that said nothing; the
  reading at that offset is another sensor's and normal.
  Kinds: spike, range, stuck, drift, dropout, contextual, correlation, zone_event.

Exit codes:
  0   done, or stopped by SIGINT or SIGTERM with everything delivered
  2   the command line is wrong
  69  Kafka is away, or took nothing for the time of --patience
  70  standard output or the file of --truth cannot be written
  78  topic, domain file or settings do not fit";

/// Fills a Kafka topic with the readings of a synthetic city.
///
/// A reading is a function of (seed, partition, offset) and of where event time begins, so that any part can be made
/// again. A topic that already holds readings is continued at its end.
#[derive(Debug, Parser)]
#[command(
    name = "citytide-generator",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true
)]
pub struct Options {
    /// Without a subcommand.
    #[command(flatten)]
    pub fill: Fill,
    /// What else it can do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the binary does beside filling a topic.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw days of this city, a small chart for each zone and metric, as SVG
    Plot(Plot),
}

/// Which city.
#[derive(Debug, Args)]
pub struct CityOptions {
    /// Domain file to read instead of the built-in smart-city
    #[arg(long, value_name = "FILE", help_heading = "The city")]
    pub domain: Option<PathBuf>,
    /// Another seed, another city
    #[arg(long, default_value_t = 42, help_heading = "The city")]
    pub seed: u64,
    /// How many sensors the city has
    #[arg(long, default_value_t = 400, value_name = "COUNT", help_heading = "The city")]
    pub sensors: u32,
    /// Share of anomalous readings, 0 to 1
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", help_heading = "The city")]
    pub anomalies: f64,
}

/// Filling a topic.
#[derive(Debug, Args)]
pub struct Fill {
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Topic to fill; it must exist [default: the domain's]
    #[arg(long, help_heading = "Kafka")]
    pub topic: Option<String>,
    /// How many of the topic's partitions are filled, from 0 on [default: all of them; 4 with --stdout]
    #[arg(long, value_name = "COUNT", help_heading = "Kafka")]
    pub partitions: Option<u32>,
    /// Print lines of partition, tab and JSON instead of producing
    #[arg(long, help_heading = "Kafka")]
    pub stdout: bool,
    /// How long Kafka may acknowledge nothing before the run ends with exit code 69, as 90s
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = patience, help_heading = "Kafka")]
    pub patience: i64,

    #[command(flatten)]
    pub city: CityOptions,
    /// Share of readings behind their place in the log, by less than the domain's out_of_orderness
    #[arg(long, default_value_t = 0.03, value_name = "SHARE", help_heading = "The city")]
    pub out_of_order: f64,
    /// Share of readings that come too late to be accepted
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", help_heading = "The city")]
    pub late: f64,
    /// Share of records whose payload is that of one a little before
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", help_heading = "The city")]
    pub duplicates: f64,
    /// Share of records that are no readings: cut short, of wrong types, not UTF-8, empty, …
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", help_heading = "The city")]
    pub malformed: f64,

    /// Readings per second, paced by the clock; 0 sends as fast as possible
    ///
    /// With 0 and --start event time advances by a second every 10,000 readings, unless --count and --duration say
    /// how densely they lie.
    #[arg(long, default_value_t = 200, help_heading = "When")]
    pub rate: u32,
    /// End after this many readings [default: go on until stopped]
    #[arg(long, help_heading = "When")]
    pub count: Option<u64>,
    /// End after this much event time: 250ms, 90s, 5m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "When")]
    pub duration: Option<i64>,
    /// How many times faster than real time event time goes; it ends at now
    ///
    /// --duration 7d --speed 10000 sends a week in a minute, at --rate readings per second of the clock.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, help_heading = "When")]
    pub speed: f64,
    /// Event time of the first reading, in RFC 3339 [default: now; faster than real time, now less the span]
    ///
    /// Event time beyond now is refused: such readings would be dead letters.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "When")]
    pub start: Option<DateTime<Utc>>,

    /// Write a CSV line for each anomalous reading: partition, offset, kind, metrics, event, sensor
    ///
    /// Appended to when a topic is continued, begun anew with --stdout.
    #[arg(long, value_name = "FILE", help_heading = "What is told")]
    pub truth: Option<PathBuf>,
    /// Most readings shown per second, 0 for none
    #[arg(long, default_value_t = 10, value_name = "COUNT", help_heading = "What is told")]
    pub show: u32,
    /// Print nothing but errors
    #[arg(long, help_heading = "What is told")]
    pub quiet: bool,
    /// No colours, which only a terminal gets anyway
    #[arg(long, env = "NO_COLOR", value_parser = is_set, help_heading = "What is told")]
    pub no_color: bool,
}

impl Fill {
    /// Shares that are none.
    pub fn wrong_shares(&self) -> Vec<String> {
        let most = Disorder::SHARE_MAX;
        [
            ("--anomalies", self.city.anomalies, 1.0),
            ("--out-of-order", self.out_of_order, most),
            ("--late", self.late, most),
            ("--duplicates", self.duplicates, most),
            ("--malformed", self.malformed, most),
        ]
        .into_iter()
        .filter(|(_, share, most)| !(0.0..=*most).contains(share))
        .map(|(flag, share, most)| format!("{flag} {share} is no share; give a number from 0 to {most}"))
        .collect()
    }
}

/// Drawing days of the city.
#[derive(Debug, Args)]
pub struct Plot {
    #[command(flatten)]
    pub city: CityOptions,
    /// How many days, 1 to 31
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=31))]
    pub days: u32,
    /// The day it begins with, as 2026-11-16 [default: so that it ends with today]
    #[arg(long, value_name = "DATE")]
    pub start: Option<chrono::NaiveDate>,
    /// The SVG file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|error| format!("{error}; write it as 2026-11-21T05:26:00Z"))
}

/// A span in microseconds that is longer than nothing.
fn duration(text: &str) -> Result<i64, String> {
    match citytide_domain::parse_duration(text)? {
        0 => Err("nothing happens in no time; give a longer one, as 90s".to_owned()),
        span_us => Ok(span_us),
    }
}

fn patience(text: &str) -> Result<i64, String> {
    duration(text).and_then(|span_us| match span_us {
        ..1_000_000 => Err("less than a second is less than a broker needs; give 1s or more".to_owned()),
        _ => Ok(span_us),
    })
}

/// `NO_COLOR` counts when it holds anything at all; `false` is what clap says for a flag that was not given.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a value parser")]
fn is_set(text: &str) -> Result<bool, String> {
    Ok(!matches!(text, "" | "false"))
}

//! The command line.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use citytide_connection::KafkaArgs;
use citytide_generator::Disorder;
use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  citytide-generator --brokers localhost:9092 --rate 1000
      a live city, 1,000 readings a second until Ctrl-C
  citytide-generator --brokers localhost:9092 --history 3d
      the last three days at a reading a minute from each sensor, then a live city
  citytide-generator --brokers localhost:9092 --duration 7d --speed 10000 --truth truth.csv
      the week up to now in a minute, and the list of its anomalies
  citytide-generator --brokers localhost:9092 --rate 0 --count 10000000 --duration 1d
      ten million readings of the past 24 hours, as fast as the broker accepts them
  citytide-generator --stdout --rate 0 --count 10 --start 2026-11-21T05:00:00Z
      ten lines of partition, tab and JSON, the same each time
  citytide-generator plot --output city.svg
      a picture of a week of this city

The truth:
  An anomalous reading carries the Kafka header `truth`: its kind, a colon, and the metrics
  concerned, as `spike:temperature` or `zone_event:temperature aqi`. Payloads never say it.
  --truth writes CSV: partition, offset, kind, metrics, event, sensor. Lines of one event share its
  number. A line of kind `silence` names a sensor that sent nothing at its turn; the reading at
  that offset comes from another sensor and is normal.
  Kinds: spike, range, stuck, drift, dropout, contextual, correlation, zone_event.

Exit codes:
  0   done, or stopped by SIGINT or SIGTERM with all readings delivered
  2   the command line is wrong
  69  Kafka is away, or acknowledged nothing for --patience
  70  standard output or the file of --truth cannot be written
  78  the topic, the domain file or an option is wrong";

/// Fill a Kafka topic with the readings of a synthetic city
///
/// A reading is a function of seed, partition, offset and the start of event time, so any part can be produced
/// again. If the topic already holds readings, the generator continues at its end.
#[derive(Debug, Parser)]
#[command(
    name = "citytide-generator",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true
)]
pub struct Options {
    #[command(flatten)]
    pub fill: Fill,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw some days of this city as SVG, a small chart for each zone and metric
    Plot(Plot),
}

#[derive(Debug, Args)]
pub struct CityOptions {
    /// Use this domain file instead of the built-in smart-city
    #[arg(long, value_name = "FILE", help_heading = "The city")]
    pub domain: Option<PathBuf>,
    /// Generate the city of this seed
    #[arg(long, default_value_t = 42, help_heading = "The city")]
    pub seed: u64,
    /// Generate this many sensors
    #[arg(long, default_value_t = 400, value_name = "COUNT", help_heading = "The city")]
    pub sensors: u32,
    /// Make this share of the readings anomalous, 0 to 1
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", help_heading = "The city")]
    pub anomalies: f64,
}

#[derive(Debug, Args)]
pub struct Fill {
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Fill this topic, which must exist [default: the domain's]
    #[arg(long, help_heading = "Kafka")]
    pub topic: Option<String>,
    /// Fill this many of the topic's partitions, from 0 on [default: all of them; 4 with --stdout]
    #[arg(long, value_name = "COUNT", help_heading = "Kafka")]
    pub partitions: Option<u32>,
    /// Print lines of partition, tab and JSON instead of sending to Kafka
    #[arg(long, help_heading = "Kafka")]
    pub stdout: bool,
    /// Exit with 69 when Kafka acknowledges nothing for this long, such as 90s
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = patience, help_heading = "Kafka")]
    pub patience: i64,

    #[command(flatten)]
    pub city: CityOptions,
    /// Send this share of the readings out of order, by less than the domain's out_of_orderness
    #[arg(long, default_value_t = 0.03, value_name = "SHARE", help_heading = "The city")]
    pub out_of_order: f64,
    /// Send this share of the readings too late to be accepted: behind the domain's allowed_lateness, a day by default
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", help_heading = "The city")]
    pub late: f64,
    /// Repeat the payload of a recent record in this share of the records
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", help_heading = "The city")]
    pub duplicates: f64,
    /// Damage this share of the records: cut short, wrong types, not UTF-8, empty, …
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", help_heading = "The city")]
    pub malformed: f64,

    /// Send this many readings per second of the clock; 0 sends as fast as possible
    ///
    /// With 0 and --start event time advances by a second every 10,000 readings, unless --count and --duration give
    /// their density.
    #[arg(long, default_value_t = 200, help_heading = "Time")]
    pub rate: u32,
    /// Stop after this many readings [default: run until stopped]
    #[arg(long, help_heading = "Time")]
    pub count: Option<u64>,
    /// Stop after this much event time: 250ms, 90s, 5m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Time")]
    pub duration: Option<i64>,
    /// Advance event time this many times faster than the clock, up to now
    ///
    /// --duration 7d --speed 10000 sends a week in a minute, at --rate readings per second of the clock.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, help_heading = "Time")]
    pub speed: f64,
    /// Start at this event time, in RFC 3339 [default: now; with --speed, now less the span]
    ///
    /// Event time beyond now is refused: those readings would be dead letters.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Time")]
    pub start: Option<DateTime<Utc>>,

    /// First send the readings of this much time before the start, a reading a minute from each sensor: 12h, 3d
    ///
    /// They are sent as fast as possible; --rate, --count and --duration apply to the readings after the start. If the
    /// topic already holds readings, only those behind its last ones are sent.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Time")]
    pub history: Option<i64>,

    /// Write a CSV line for each anomalous reading: partition, offset, kind, metrics, event, sensor
    ///
    /// The file is appended to when a topic is continued, and overwritten with --stdout.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub truth: Option<PathBuf>,
    /// Show at most this many readings per second, 0 for none
    #[arg(long, default_value_t = 10, value_name = "COUNT", help_heading = "Output")]
    pub show: u32,
    /// Print only errors
    #[arg(long, help_heading = "Output")]
    pub quiet: bool,
    /// Print no colours; only a terminal gets them anyway
    #[arg(long, env = "NO_COLOR", value_parser = is_set, help_heading = "Output")]
    pub no_color: bool,
}

impl Fill {
    /// Shares that are out of range.
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
        .map(|(flag, share, most)| format!("{flag} {share} is not a share; give a number from 0 to {most}"))
        .collect()
    }
}

impl Fill {
    /// A history that reaches further back than readings may.
    pub fn wrong_history(&self, max_age_us: i64) -> Option<String> {
        self.history.filter(|history_us| *history_us > max_age_us).map(|_| {
            format!(
                "--history reaches back beyond the domain's max_age of {} hours, and older readings would be dead \
                 letters; give a shorter time",
                max_age_us / citytide_domain::HOUR_US
            )
        })
    }
}

#[derive(Debug, Args)]
pub struct Plot {
    #[command(flatten)]
    pub city: CityOptions,
    /// Draw this many days, 1 to 31
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=31))]
    pub days: u32,
    /// Start with this day, such as 2026-11-16 [default: so that it ends today]
    #[arg(long, value_name = "DATE")]
    pub start: Option<chrono::NaiveDate>,
    /// Write this SVG file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|error| format!("{error}; write it as 2026-11-21T05:26:00Z"))
}

/// Microseconds, above 0.
fn duration(text: &str) -> Result<i64, String> {
    match citytide_domain::parse_duration(text)? {
        0 => Err("the time must be longer than 0; write it as 90s".to_owned()),
        span_us => Ok(span_us),
    }
}

fn patience(text: &str) -> Result<i64, String> {
    duration(text).and_then(|span_us| match span_us {
        ..1_000_000 => Err("a broker may need a second to answer; give 1s or more".to_owned()),
        _ => Ok(span_us),
    })
}

/// Any value of `NO_COLOR` counts; clap passes `false` if the flag is absent.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a value parser")]
fn is_set(text: &str) -> Result<bool, String> {
    Ok(!matches!(text, "" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_in_the_pages_and_in_the_help_is_taken_as_it_stands() {
        let pages =
            [EXAMPLES, include_str!("../../docs/generator.md"), include_str!("../../docs/domains.md")];
        let lines =
            pages.into_iter().flat_map(str::lines).map(|line| line.trim_start().trim_start_matches("$ "));
        let mut seen = 0;
        for line in lines.filter(|line| line.starts_with("citytide-generator -") || line.contains("r plot "))
        {
            let command = line.split(" #").next().unwrap_or_default().trim_end_matches(" &");
            Options::try_parse_from(command.split_whitespace())
                .unwrap_or_else(|error| panic!("{line}: {error}"));
            seen += 1;
        }
        assert!(seen > 10, "only {seen} commands were found");
    }
}

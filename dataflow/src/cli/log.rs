//! How the log looks, on standard error: `12:05:49 message key=value` for people, a JSON object per line for
//! machines. For people a level is named only where it is a warning or an error; colours only at a terminal, and
//! not where `NO_COLOR` is set.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use citytide_domain::nearest;
use citytide_store::clock;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::{screen, settings};

/// The levels, from none to all.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Flags of every command that concern the log.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// Log at this level: off, error, warn, info, debug, trace; also by module: info,citytide::commit=debug
    #[arg(long, alias = "log", global = true, default_value = "info", value_name = "LEVELS")]
    #[arg(help_heading = "Log")]
    log_level: Levels,
    /// Log in this format: a line for people, or a JSON object per line
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT", help_heading = "Log")]
    log_format: Format,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// What is logged: a level, and others for modules.
#[derive(Debug, Clone)]
struct Levels(Targets);

impl FromStr for Levels {
    type Err = String;

    fn from_str(text: &str) -> Result<Levels, String> {
        let mut targets = Targets::new().with_default(LevelFilter::INFO);
        for part in text.split(',').map(str::trim) {
            let (module, level) = match part.split_once('=') {
                Some((module, level)) => (Some(module), level),
                None => (None, part),
            };
            let filter = match LEVELS.contains(&level.to_lowercase().as_str()) {
                true => LevelFilter::from_str(level).map_err(|error| error.to_string())?,
                false => return Err(no_level(level)),
            };
            targets = match module {
                Some("") => {
                    return Err(format!("`{part}` has no module name; write it as citytide::commit=debug"));
                }
                Some(module) => targets.with_target(module, filter),
                None => targets.with_default(filter),
            };
        }
        Ok(Levels(targets))
    }
}

fn no_level(text: &str) -> String {
    match nearest(text, LEVELS) {
        Some(level) => format!("`{text}` is not a log level; did you mean {level}?"),
        None => format!("`{text}` is not a log level; it is one of {}", LEVELS.join(", ")),
    }
}

/// Where the log goes.
pub struct Started {
    /// Whether it is text at a terminal that can be drawn on.
    pub is_for_a_terminal: bool,
    /// Whether there may be colours.
    pub colours: bool,
    format: Format,
}

impl Started {
    /// The line of the log that says how many lines are missing where it stands.
    pub fn missing(&self) -> impl Fn(u64) -> String + Send + use<> {
        let (format, colours) = (self.format, self.colours);
        move |lines| missing(format, colours, lines, clock::wall_ms())
    }
}

fn missing(format: Format, colours: bool, lines: u64, at_ms: u64) -> String {
    let message = format!("{lines} lines of the log are missing here: they were read too slowly");
    match format {
        Format::Text => {
            let (on, off) = if colours { (YELLOW, "\x1b[0m") } else { ("", "") };
            format!("{} {on}warning: {off}{message}\n", time_of_day(at_ms))
        }
        Format::Json => {
            let object = json!({
                "timestamp": rfc3339(at_ms),
                "level": "warn",
                "target": module_path!(),
                "message": message,
                "fields": { "missing": lines },
            });
            format!("{object}\n")
        }
    }
}

const YELLOW: &str = "\x1b[33m";

/// `12:05:49`
fn time_of_day(at_ms: u64) -> String {
    let seconds = at_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn rfc3339(at_ms: u64) -> String {
    let at = DateTime::from_timestamp_millis(at_ms as i64).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Starts the log. `is_handed_over` says that standard error is read by a supervisor at a terminal.
pub fn start(args: &LogArgs, is_handed_over: bool) -> Started {
    let is_terminal = std::io::stderr().is_terminal();
    let colours = (is_terminal || is_handed_over)
        && settings::environment("NO_COLOR").is_none_or(|value| value.is_empty());
    let is_dumb = settings::environment("TERM").is_none_or(|value| value.is_empty() || value == "dumb");
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(|| screen::Log);
    let registry = tracing_subscriber::registry().with(args.log_level.0.clone());
    match args.log_format {
        Format::Text => registry.with(lines.event_format(Line)).init(),
        Format::Json => registry.with(lines.event_format(Object)).init(),
    }
    let format = args.log_format;
    Started { is_for_a_terminal: is_terminal && !is_dumb && format == Format::Text, colours, format }
}

/// A line for people.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "{} ", time_of_day(clock::wall_ms()))?;
        let (word, colour) = match *event.metadata().level() {
            Level::ERROR => ("error: ", "\x1b[31m"),
            Level::WARN => ("warning: ", YELLOW),
            Level::INFO => ("", ""),
            _ => ("debug: ", "\x1b[2m"),
        };
        match writer.has_ansi_escapes() && !colour.is_empty() {
            true => write!(writer, "{colour}{word}\x1b[0m")?,
            false => writer.write_str(word)?,
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// An object for machines: timestamp (RFC 3339), level, target, message, and the event's other fields.
struct Object;

impl<S, N> FormatEvent<S, N> for Object
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writeln!(writer, "{}", object(event, clock::wall_ms()))
    }
}

fn object(event: &Event<'_>, at_ms: u64) -> Value {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut object = json!({
        "timestamp": rfc3339(at_ms),
        "level": event.metadata().level().as_str().to_lowercase(),
        "target": event.metadata().target(),
        "message": fields.message,
    });
    if !fields.others.is_empty() {
        object["fields"] = Value::Object(fields.others);
    }
    object
}

/// The fields of an event.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => drop(self.others.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_by_module_and_a_slip_is_no_module() {
        let Levels(targets) = "warn, citytide::commit=debug".parse().expect("levels");
        assert!(targets.would_enable("citytide::commit::plan", &Level::DEBUG));
        assert!(!targets.would_enable("citytide::window", &Level::INFO));
        let only: Levels = "citytide::commit=trace".parse().expect("levels");
        assert!(only.0.would_enable("citytide::window", &Level::INFO), "the others stay at info");
        for (text, said) in [
            ("inof", "`inof` is not a log level; did you mean info?"),
            ("loud", "`loud` is not a log level; it is one of off, error, warn, info, debug, trace"),
            ("info,=debug", "`=debug` has no module name; write it as citytide::commit=debug"),
            ("info,", "`` is not a log level; it is one of off, error, warn, info, debug, trace"),
        ] {
            assert_eq!(text.parse::<Levels>().expect_err(text), said);
        }
    }

    #[test]
    fn a_gap_in_the_log_is_a_line_of_its_format() {
        let at_ms = 1_795_262_231_500;
        let said = "3 lines of the log are missing here: they were read too slowly";
        assert_eq!(missing(Format::Text, false, 3, at_ms), format!("11:57:11 warning: {said}\n"));
        let object: Value = serde_json::from_str(&missing(Format::Json, true, 3, at_ms)).expect("JSON");
        assert_eq!(object["message"], said);
        assert_eq!(object["timestamp"], "2026-11-21T11:57:11.500Z");
        assert_eq!(object["fields"]["missing"], 3);
    }

    #[test]
    fn an_event_is_one_object_with_its_fields() {
        #[derive(Clone, Default)]
        struct Seen(std::sync::Arc<std::sync::Mutex<Vec<Value>>>);
        impl<S: Subscriber> tracing_subscriber::Layer<S> for Seen {
            fn on_event(&self, event: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
                self.0.lock().expect("no panic").push(object(event, 1_795_262_231_500));
            }
        }
        let seen = Seen::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(seen.clone()), || {
            tracing::warn!(target: "citytide::commit", epoch = 7, "a \"quoted\"\nline of {}", 2);
        });
        let expected = json!({
            "timestamp": "2026-11-21T11:57:11.500Z", "level": "warn", "target": "citytide::commit",
            "message": "a \"quoted\"\nline of 2", "fields": { "epoch": 7 },
        });
        assert_eq!(*seen.0.lock().expect("no panic"), [expected]);
    }
}

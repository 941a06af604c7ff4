//! How the log looks: `12:05:49 message key=value`, on standard error. A level is named only where it is a warning or an
//! error; colours only at a terminal.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::launch::clock;

/// Starts the log.
pub fn start(filter: EnvFilter) {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .event_format(Line)
        .init();
}

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
        let seconds = clock::wall_ms() / 1000 % 86_400;
        write!(writer, "{:02}:{:02}:{:02} ", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        let (word, colour) = match *event.metadata().level() {
            Level::ERROR => ("error: ", "\x1b[31m"),
            Level::WARN => ("warning: ", "\x1b[33m"),
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

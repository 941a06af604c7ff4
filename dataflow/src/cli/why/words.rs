//! The answers in words, in lines of at most 80 columns.

mod reading;
mod window;

use chrono::DateTime;
use citytide_domain::Metric;

use super::facts::{AsOf, Commit};
use crate::cli::dead_letters::print::shown_payload;
use crate::cli::models::print::{COLUMNS, LABEL, when, wrapped};
use crate::cli::show::length;
use crate::cli::tap::print::escaped;

pub use reading::of_reading;
pub use window::of_window;

/// Windows, panes, reasons and sensors that are listed; the JSON has more.
const LISTED_MAX: usize = 12;
/// Characters of a dead letter that are printed.
const PAYLOAD_SHOWN_MAX: usize = 1_360;

/// Lines with labels.
#[derive(Default)]
struct Page(String);

impl Page {
    fn say(&mut self, label: &str, says: impl AsRef<str>) {
        wrapped(&mut self.0, label, &escaped(says.as_ref()));
    }

    /// The beginning of a record, in pieces of a line: it may have no space to break it at.
    fn bytes(&mut self, payload: &[u8]) {
        let payload = shown_payload(payload);
        let shown: Vec<char> = escaped(&payload).chars().take(PAYLOAD_SHOWN_MAX).collect();
        for piece in shown.chunks(COLUMNS - LABEL) {
            self.0 += &format!("{:LABEL$}{}\n", "", piece.iter().collect::<String>());
        }
    }

    /// One line each, the label at the first.
    fn list(&mut self, label: &str, lines: impl ExactSizeIterator<Item = String>) {
        let all = lines.len();
        for (at, line) in lines.take(LISTED_MAX).enumerate() {
            self.say(if at == 0 { label } else { "" }, line);
        }
        if all > LISTED_MAX {
            self.say("", format!("and {} more; --json lists them", all - LISTED_MAX));
        }
    }
}

/// A commit and its run.
fn by(commit: &Commit) -> String {
    let host = commit.host.as_ref().map_or(String::new(), |host| format!(" on {host}"));
    format!(
        "{} UTC at the latest, in commit {} of run {}{host}",
        when(commit.committed_us),
        commit.epoch,
        commit.run_id
    )
}

fn with_unit(metric: &Metric, value: f64) -> String {
    let decimals = usize::from(metric.decimals);
    format!("{value:.decimals$} {}", metric.unit).trim_end().to_owned()
}

fn told_as_of(page: &mut Page, as_of: &AsOf) {
    let watermark = as_of.watermark_us.map_or("none yet".to_owned(), |at_us| format!("{} UTC", when(at_us)));
    page.say("as of", format!("commit {}, W {watermark}", as_of.epoch));
}

fn length_of(us: i64) -> String {
    if us % 1_000_000 == 0 { length(us) } else { format!("{} ms", us / 1000) }
}

/// A time with as many decimals as it has.
fn exact(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us)
        .map_or_else(|| "unknown".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S%.f").to_string())
}

fn clock(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us)
        .map_or_else(|| "unknown".to_owned(), |at| at.format("%H:%M:%S%.f").to_string())
}

fn span(start_us: i64, end_us: i64) -> String {
    format!("{} – {}", clock(start_us), clock(end_us))
}

fn dated_span(start_us: i64, end_us: i64) -> String {
    format!("{} – {}", exact(start_us), clock(end_us))
}

#[cfg(test)]
mod tests;

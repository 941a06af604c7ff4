//! `--show`: readings, thinned out, and every window as it closes, one line each on standard output.
//!
//! ```text
//!  ✓ #123 Tech Hub · 21.5 °C · AQI 52 · traffic 115
//!  ✗ #77 Downtown · temperature > 40 · 44.0 °C · AQI 91 · traffic 240
//!  ✗ #8 Old Town · noise_level 96 dB, typical here at this hour 58 ± 6 · 21.0 °C · AQI 50 · traffic 110
//!  1 min · Downtown · 480 readings · avg 23.1 °C · avg AQI 81 · avg traffic 182 · 0 anomalies
//! ```

use std::time::{Duration, Instant};

use citytide_core::batch::Batch;
use citytide_domain::{Domain, Metric};
use serde::Deserialize;

use crate::commit::committer::Committed;

/// At most one reading in this time, normal and anomalous ones counted apart.
const THINNED: Duration = Duration::from_millis(250);
/// A line goes on with further reasons and values for as long as it is no wider.
const COLUMNS_MAX: usize = 110;

/// Picks the readings that are shown.
#[derive(Debug, Default)]
pub struct Sample {
    last: [Option<Instant>; 2],
}

impl Sample {
    /// The lines for a batch: none, one, or one of each kind.
    pub fn lines(&mut self, domain: &Domain, batch: &Batch, now: Instant) -> Vec<String> {
        let normal = (0..batch.rows()).find(|row| batch.anomalies.iter().all(|one| one.row as usize != *row));
        let anomalous = batch.anomalies.first().map(|anomaly| anomaly.row as usize);
        let picked = [normal, anomalous].into_iter().enumerate();
        let due = picked.filter_map(|(kind, row)| {
            let row = row?;
            if self.last[kind].is_some_and(|last| now.duration_since(last) < THINNED) {
                return None;
            }
            self.last[kind] = Some(now);
            Some(reading(domain, batch, row))
        });
        due.collect()
    }
}

fn reading(domain: &Domain, batch: &Batch, row: usize) -> String {
    let anomaly = batch.anomalies.iter().find(|anomaly| anomaly.row as usize == row);
    let told = Told {
        is_anomaly: anomaly.is_some(),
        sensor: &String::from_utf8_lossy(batch.sensor(row)),
        zone: batch.zone(row),
        notes: anomaly.map_or_else(Vec::new, |anomaly| reasons(&anomaly.reasons)),
    };
    let values = domain.metrics.iter().zip(&batch.metrics).map(|(metric, column)| (metric, column[row]));
    told.line(values.filter_map(|(metric, value)| shown(metric, value)), COLUMNS_MAX)
}

/// A reading as its line begins.
pub struct Told<'a> {
    pub is_anomaly: bool,
    pub sensor: &'a str,
    pub zone: &'a str,
    /// What comes before its values.
    pub notes: Vec<String>,
}

impl Told<'_> {
    /// The line, with as many notes and values as so many columns hold, one at least.
    pub fn line(self, values: impl Iterator<Item = String>, columns_max: usize) -> String {
        let mark = if self.is_anomaly { '✗' } else { '✓' };
        let mut line = format!("{mark} #{} {}", self.sensor, self.zone);
        for (index, part) in self.notes.into_iter().chain(values).enumerate() {
            let columns = line.chars().count() + 3 + part.chars().count();
            if index > 0 && columns > columns_max {
                break;
            }
            line += &format!(" · {part}");
        }
        line
    }
}

/// What `sensor_data.reasons` says to people: a broken rule as it is, for its value follows; what the model found as a
/// sentence.
fn reasons(json: &str) -> Vec<String> {
    let reasons: Vec<Reason> = serde_json::from_str(json).expect("reasons are written by this program");
    let text = |reason: Reason| match (reason.text, reason.rule) {
        (_, Some(rule)) => format!("{} {rule}", reason.metric),
        (Some(text), None) => text,
        (None, None) => reason.metric,
    };
    reasons.into_iter().map(text).collect()
}

#[derive(Deserialize)]
struct Reason {
    metric: String,
    rule: Option<String>,
    text: Option<String>,
}

/// The lines for the windows that a commit closed.
pub fn windows(domain: &Domain, committed: &Committed) -> Vec<String> {
    let mut rows: Vec<_> = committed.plan.windows.values().filter(|row| row.is_final).collect();
    rows.sort_by(|a, b| (a.end_us, a.window, &a.zone).cmp(&(b.end_us, b.window, &b.zone)));
    let line = |row: &&citytide_core::window::WindowRow| {
        let mut line = format!(
            "{} · {} · {} readings",
            length(domain.windows[row.window].size_us),
            row.zone,
            super::status::thousands(row.readings as i64)
        );
        for (metric, figures) in domain.metrics.iter().zip(&row.figures) {
            if let Some((average, _, _)) = figures
                && let Some(shown) = shown(metric, *average)
            {
                line += &format!(" · avg {shown}");
            }
        }
        line + &format!(" · {} anomalies", row.anomalies)
    };
    rows.iter().map(line).collect()
}

/// A value as the domain shows it; `None` where there is none, or the domain does not show the metric.
pub fn shown(metric: &Metric, value: f64) -> Option<String> {
    if value.is_nan() {
        return None;
    }
    let number = format!("{value:.decimals$}", decimals = usize::from(metric.decimals));
    metric.show.as_ref().map(|show| show.replace("{}", &number))
}

/// A length of time in the greatest unit that divides it.
pub fn length(us: i64) -> String {
    let seconds = us / 1_000_000;
    match seconds {
        _ if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        _ if seconds % 60 == 0 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests;

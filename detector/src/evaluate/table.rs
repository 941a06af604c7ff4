//! Labelled readings as a table: read from CSV, ordered by time, with the cadence that its own times show.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use crate::layout::{Layout, MetricLayout};
use crate::scorer::Rows;

/// Most decimals that are taken from the values themselves.
const DECIMALS_MAX: usize = 6;
/// Shortest and longest tick, microseconds.
const TICKS_US: (i64, i64) = (1_000_000, 3_600_000_000);
/// Steps between readings of a sensor from which the cadence is taken.
const STEPS_MAX: usize = 100_000;
/// A metric whose upper tenth is so many times its median, and that is never negative, is judged on a logarithmic scale.
const SKEWED: f64 = 8.0;

/// Which columns are no metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Event time: RFC 3339, with a space for the T and without offset too; or a number, as in readings.
    pub time: String,
    /// What is so: empty, `0`, `false` and `normal` are normal, anything else is the kind of anomaly.
    pub label: String,
    /// The sensor; one sensor without.
    pub sensor: Option<String>,
    /// The zone; one zone without.
    pub zone: Option<String>,
}

/// Why a table could not be read.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TableError {
    /// No such column.
    #[error("reading the table: it has no column `{0}`; its columns are {1}")]
    NoColumn(String, String),
    /// A line with more or fewer fields than the first.
    #[error("reading the table: line {line} has {found} fields, the first line {expected}")]
    Fields {
        /// The line, from 1.
        line: usize,
        /// Its fields.
        found: usize,
        /// Fields of the first line.
        expected: usize,
    },
    /// A time that is none.
    #[error(
        "reading the table: line {line}: \"{found}\" is no time; write it as 2026-11-21T05:26:00Z, in milliseconds or in seconds"
    )]
    Time {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// Nothing to score.
    #[error("reading the table: it has no rows or no numeric column beside time, label, sensor and zone")]
    Empty,
}

/// Labelled readings in the order of their times.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Names of the metrics.
    pub names: Vec<String>,
    /// Event times, microseconds.
    pub event_times_us: Vec<i64>,
    /// Zones, as indices into `zone_names`.
    pub zones: Vec<u32>,
    /// Names of the zones.
    pub zone_names: Vec<Arc<str>>,
    /// Sensor ids, one after the other, and their ends.
    pub sensors: Vec<u8>,
    /// Ends of the sensor ids.
    pub sensor_ends: Vec<u32>,
    /// Number of each row's sensor: rows of one are one series.
    pub series: Vec<u32>,
    /// Values by metric, then row; NaN where there is none.
    pub metrics: Vec<Vec<f64>>,
    /// Kind of anomaly by index into `kind_names`; `None` is normal.
    pub kinds: Vec<Option<u16>>,
    /// Names of the kinds.
    pub kind_names: Vec<String>,
    /// Each row's line in the file, from 1.
    pub lines: Vec<usize>,
    /// Rows as offsets.
    offsets: Vec<i64>,
}

impl Table {
    /// Reads CSV with a line of names. Fields may stand in double quotes, without line breaks in them.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its line.
    pub fn read(text: &str, columns: &Columns) -> Result<Table, TableError> {
        let mut lines = text.lines().enumerate();
        let Some((_, head)) = lines.next() else { return Err(TableError::Empty) };
        let names: Vec<String> = fields(head).map(|name| name.trim().to_owned()).collect();
        let place = |name: &String| {
            let found = names.iter().position(|known| known == name);
            found.ok_or_else(|| TableError::NoColumn(name.clone(), names.join(", ")))
        };
        let (time, label) = (place(&columns.time)?, place(&columns.label)?);
        let sensor = columns.sensor.as_ref().map(place).transpose()?;
        let zone = columns.zone.as_ref().map(place).transpose()?;
        let others: Vec<usize> = (0..names.len())
            .filter(|at| ![Some(time), Some(label), sensor, zone].contains(&Some(*at)))
            .collect();
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); others.len()];
        let mut rows: Vec<(i64, usize, u32, u32, Option<u16>)> = Vec::new();
        let (mut zones, mut sensors, mut kinds) = (Names::default(), Names::default(), Names::default());
        let mut row = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            row.clear();
            row.extend(fields(line));
            if row.len() != names.len() {
                return Err(TableError::Fields { line: number + 1, found: row.len(), expected: names.len() });
            }
            let at_us = time_us(row[time])
                .ok_or_else(|| TableError::Time { line: number + 1, found: row[time].to_owned() })?;
            let kind = match row[label].trim() {
                "" | "0" | "0.0" | "false" | "False" | "normal" => None,
                kind => Some(kinds.number(kind) as u16),
            };
            let zone = zones.number(zone.map_or("all", |at| row[at]));
            let sensor = sensors.number(sensor.map_or("all", |at| row[at]));
            for (column, at) in values.iter_mut().zip(&others) {
                let value = row[*at].trim().parse::<f64>().ok().filter(|value| value.is_finite());
                column.push(value.unwrap_or(f64::NAN));
            }
            rows.push((at_us, number + 1, zone, sensor, kind));
        }
        // A column in which nothing is a number is no metric.
        let is_metric: Vec<bool> =
            values.iter().map(|column| column.iter().any(|value| !value.is_nan())).collect();
        if rows.is_empty() || !is_metric.contains(&true) {
            return Err(TableError::Empty);
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|at| rows[*at].0);
        let mut table = Table { offsets: (0..rows.len() as i64).collect(), ..Table::default() };
        for ((at, column), _) in others.iter().zip(&values).zip(&is_metric).filter(|(_, is)| **is) {
            table.names.push(names[*at].clone());
            table.metrics.push(order.iter().map(|row| column[*row]).collect());
        }
        for (at_us, line, zone, sensor, kind) in order.into_iter().map(|at| rows[at]) {
            table.event_times_us.push(at_us);
            table.lines.push(line);
            table.zones.push(zone);
            table.sensors.extend_from_slice(sensors.names[sensor as usize].as_bytes());
            table.sensor_ends.push(table.sensors.len() as u32);
            table.series.push(sensor);
            table.kinds.push(kind);
        }
        table.zone_names = zones.names.iter().map(|name| Arc::from(name.as_str())).collect();
        table.kind_names = kinds.names;
        Ok(table)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.event_times_us.len()
    }

    /// Whether each row is anomalous.
    pub fn labels(&self) -> Vec<bool> {
        self.kinds.iter().map(Option::is_some).collect()
    }

    /// The kind of a row's anomaly.
    pub fn kind(&self, row: usize) -> Option<&str> {
        self.kinds[row].map(|kind| self.kind_names[usize::from(kind)].as_str())
    }

    /// Rows `from` … `to` as a batch; they must be of one run of the table.
    pub fn batch<'a>(&'a self, from: usize, to: usize, metrics: &'a mut Vec<Vec<f64>>) -> Rows<'a> {
        metrics.resize_with(self.metrics.len(), Vec::new);
        for (batch, column) in metrics.iter_mut().zip(&self.metrics) {
            batch.clear();
            batch.extend_from_slice(&column[from..to]);
        }
        let first = if from == 0 { 0 } else { self.sensor_ends[from - 1] };
        Rows {
            partition: 0,
            offsets: &self.offsets[from..to],
            event_times_us: &self.event_times_us[from..to],
            zones: &self.zones[from..to],
            zone_names: &self.zone_names,
            sensors: &self.sensors,
            sensors_from: first,
            sensor_ends: &self.sensor_ends[from..to],
            metrics,
            late: &[],
        }
    }

    /// A layout for what no domain file describes: decimals, range, scale and cadence from the values themselves.
    pub fn layout(&self) -> Layout {
        let metrics = self.names.iter().zip(&self.metrics).map(|(name, column)| {
            let mut sorted: Vec<f64> = column.iter().copied().filter(|value| !value.is_nan()).collect();
            sorted.sort_by(f64::total_cmp);
            let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
            let is_logarithmic = at(0.0) >= 0.0 && at(0.5) > 5.0 && at(0.9) > SKEWED * at(0.5);
            let decimals = sorted.iter().step_by(sorted.len().div_ceil(1000)).map(|v| decimals(*v)).max();
            MetricLayout::new(name, decimals.unwrap_or(0), (at(0.01), at(0.99)), is_logarithmic)
        });
        Layout { tick_us: self.cadence_us(), ..Layout::of_metrics(metrics.collect()) }
    }

    /// The median time between two readings of a sensor.
    pub fn cadence_us(&self) -> i64 {
        let mut last: HashMap<u32, i64> = HashMap::new();
        let mut steps = Vec::new();
        for (series, at_us) in self.series.iter().zip(&self.event_times_us) {
            if let Some(before) = last.insert(*series, *at_us)
                && *at_us > before
                && steps.len() < STEPS_MAX
            {
                steps.push(at_us - before);
            }
        }
        steps.sort_unstable();
        let median = steps.get(steps.len() / 2).copied().unwrap_or(crate::layout::MINUTE_US);
        // Jitter aside: whole seconds.
        let whole = (median + 500_000).div_euclid(1_000_000) * 1_000_000;
        whole.clamp(TICKS_US.0, TICKS_US.1)
    }
}

#[derive(Default)]
struct Names {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() as u32 - 1);
        self.names.len() as u32 - 1
    }
}

/// The fields of a line, quotes around a field taken off.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line.trim_end_matches('\r'));
    std::iter::from_fn(move || {
        let text = rest?;
        let end = match text.strip_prefix('"') {
            Some(quoted) => quoted.find('"').map_or(text.len(), |at| at + 2),
            None => text.find(',').unwrap_or(text.len()),
        };
        let field = &text[..end.min(text.len())];
        rest = text.get(end..).and_then(|text| text.strip_prefix(','));
        Some(field.trim_matches('"'))
    })
}

/// A time in microseconds: RFC 3339, or milliseconds, or seconds below 10¹¹.
pub fn time_us(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number.abs() < 1e11 { number } else { number / 1e3 };
        return (seconds.abs() < 1e12).then_some((seconds * 1e6).round() as i64);
    }
    let (date, clock) = text.split_once(['T', ' '])?;
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, ahead_s) = match clock.find(['Z', '+', '-']) {
        None => (clock, 0),
        Some(at) if &clock[at..] == "Z" => (&clock[..at], 0),
        Some(at) => {
            let (hours, minutes) = clock[at + 1..].split_once(':')?;
            let ahead = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            (&clock[..at], if clock[at..].starts_with('-') { -ahead } else { ahead })
        }
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let second = parts.next().map_or(Some(0.0), |part| part.parse::<f64>().ok())?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(0..24).contains(&hour) || minute > 59 {
        return None;
    }
    // Days since the epoch: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let whole_s = days * 86_400 + hour * 3_600 + minute * 60 - ahead_s;
    Some(whole_s * 1_000_000 + (second * 1e6).round() as i64)
}

/// Decimals that a value is written with.
fn decimals(value: f64) -> u8 {
    (0..DECIMALS_MAX)
        .find(|decimals| {
            let scaled = value * 10f64.powi(*decimals as i32);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1e-3)
        })
        .unwrap_or(DECIMALS_MAX) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns {
            time: "at".to_owned(),
            label: "kind".to_owned(),
            sensor: Some("who".to_owned()),
            zone: None,
        }
    }

    #[test]
    fn a_table_is_ordered_by_time_and_every_other_number_is_a_metric() {
        let text =
            "at,who,heat,note,kind\n2026-11-21T00:01:00Z,a,1.5,x,spike\n2026-11-21 00:00:00,\"b\",,y,0\n";
        let table = Table::read(text, &columns()).expect("it is one");
        assert_eq!(table.names, ["heat"]);
        assert!(table.metrics[0][0].is_nan() && table.metrics[0][1] == 1.5);
        assert_eq!((table.kind(0), table.kind(1)), (None, Some("spike")));
        assert_eq!(table.lines, [3, 2]);
        assert_eq!(table.event_times_us[1] - table.event_times_us[0], 60_000_000);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let wrong = |text: &str| Table::read(text, &columns()).unwrap_err().to_string();
        assert!(wrong("at,who,heat\n").contains("no column `kind`"));
        assert!(wrong("at,who,heat,kind\n1,a,2\n").contains("line 2 has 3 fields"));
        assert!(wrong("at,who,heat,kind\nsoon,a,2,0\n").contains("line 2: \"soon\" is no time"));
        assert!(wrong("at,who,heat,kind\n1,a,x,0\n").contains("no numeric column"));
    }

    #[test]
    fn times_are_read_as_in_readings() {
        assert_eq!(time_us("2026-11-21T05:26:00.5+02:00"), Some(1_795_231_560_500_000));
        assert_eq!(time_us("1795231560500"), Some(1_795_231_560_500_000));
        assert_eq!(time_us("12"), Some(12_000_000));
        assert_eq!(time_us("2026-13-01 00:00:00"), None);
    }

    #[test]
    fn the_cadence_is_the_median_step_of_a_sensor() {
        let mut text = "at,who,heat,kind\n".to_owned();
        for step in 0..50 {
            text += &format!("{},a,1,0\n{},b,1,0\n", step * 5, step * 5 + 2);
        }
        assert_eq!(Table::read(&text, &columns()).expect("it is one").cadence_us(), 5_000_000);
    }
}

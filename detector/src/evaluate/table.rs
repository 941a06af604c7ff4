//! Labelled readings as a table: gathered row by row, ordered by time, with the cadence that its own times show.

use std::collections::HashMap;
use std::sync::Arc;

use citytide_domain::Domain;
use thiserror::Error;

use crate::layout::{BLOCK, Layout, MetricLayout};
use crate::scorer::Rows;

/// Most decimals that are taken from the values themselves.
const DECIMALS_MAX: usize = 6;
/// Shortest and longest tick, microseconds.
const TICKS_US: (i64, i64) = (1_000_000, 3_600_000_000);
/// Steps between readings of a sensor from which the cadence is taken.
const STEPS_MAX: usize = 100_000;
/// A metric whose upper tenth is so many times its median, and that is never negative, is judged on a logarithmic scale.
const SKEWED: f64 = 8.0;
/// Most different labels; a column with more is no label.
const KINDS_MAX: usize = 1_000;
/// Most zones times blocks of eight metrics: each takes about 70 KB.
const ZONE_BLOCKS_MAX: usize = 4_000;
/// Greatest magnitude of a value: what lies beyond is taken as this, in a stream it would be a dead letter.
pub const VALUE_MAX: f64 = 1e12;

/// Why a table could not be read.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TableError {
    /// Bytes that are no text.
    #[error("reading the table: line {0} is not UTF-8; save it as UTF-8")]
    NotUtf8(usize),
    /// No such column.
    #[error("reading the table: it has no column `{0}`; its columns are {1}")]
    NoColumn(String, String),
    /// Two columns of one name.
    #[error("reading the table: two columns are named `{0}`; rename one of them")]
    Twice(String),
    /// One column for two things.
    #[error("reading the table: the column `{0}` is asked for as {1} and as {2}; name one column for each")]
    Both(String, &'static str, &'static str),
    /// A line with more or fewer fields than the first.
    #[error(
        "reading the table: line {line} has {found} fields, the first line {expected}; is there a quote that is not closed?"
    )]
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
        "reading the table: line {line}, column `{column}`: {found:?} is no time; write it as 2026-11-21T05:26:00Z, in milliseconds or in seconds"
    )]
    Time {
        /// The line, from 1.
        line: usize,
        /// The column.
        column: String,
        /// What stands there.
        found: String,
    },
    /// Text in a column of numbers.
    #[error(
        "reading the table: line {line}, column `{column}`: {found:?} is no number, though most of the column are; mend it, or leave it empty where nothing was measured"
    )]
    Number {
        /// The line, from 1.
        line: usize,
        /// The column.
        column: String,
        /// What stands there.
        found: String,
    },
    /// More labels than kinds of anomalies can be.
    #[error(
        "reading the table: line {line}: the {KINDS_MAX}th different label is {found:?}; is it the column of the labels?"
    )]
    TooManyKinds {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// More zones than there is room for.
    #[error(
        "reading the table: it has {0} zones, and with its metrics at most {1} can be told apart; name a column of districts as the zone, not one of sensors, or none"
    )]
    TooManyZones(usize, usize),
    /// Nothing to score.
    #[error("reading the table: it has no rows, or no column of numbers beside time, label, sensor and zone")]
    Empty,
}

/// A row on its way into a [`Table`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Its line in the file, from 1.
    pub line: usize,
    /// Event time, microseconds of the Unix epoch.
    pub at_us: i64,
    /// The zone.
    pub zone: &'a str,
    /// The sensor.
    pub sensor: &'a str,
    /// The kind of anomaly; `None` is normal.
    pub kind: Option<&'a str>,
}

/// Rows as they stand in a file.
#[derive(Debug, Default)]
pub struct Gathered {
    rows: Vec<Kept>,
    /// Values by column, then row.
    values: Vec<Vec<f64>>,
    zones: Names,
    sensors: Names,
    series: HashMap<(u32, u32), u32>,
    kinds: Names,
    events: HashMap<u64, u32>,
    clipped: usize,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    at_us: i64,
    line: usize,
    zone: u32,
    sensor: u32,
    series: u32,
    kind: Option<u16>,
    event: Option<u32>,
}

impl Gathered {
    /// Nothing yet, in so many columns.
    pub fn new(columns: usize) -> Gathered {
        Gathered { values: vec![Vec::new(); columns], ..Gathered::default() }
    }

    /// Adds a row with a value for each column, NaN where there is none.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyKinds`].
    pub fn push(&mut self, row: Row<'_>, values: impl Iterator<Item = f64>) -> Result<(), TableError> {
        for (column, value) in self.values.iter_mut().zip(values) {
            self.clipped += usize::from(value.abs() > VALUE_MAX);
            column.push(value.clamp(-VALUE_MAX, VALUE_MAX));
        }
        let kind = row.kind.map(|kind| self.kind(kind, row.line)).transpose()?;
        let (zone, sensor) = (self.zones.number(row.zone), self.sensors.number(row.sensor));
        let next = self.series.len() as u32;
        let series = *self.series.entry((zone, sensor)).or_insert(next);
        let (at_us, line) = (row.at_us, row.line);
        self.rows.push(Kept { at_us, line, zone, sensor, series, kind, event: None });
        Ok(())
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Says afterwards what befell a row, and in which event: rows of one event share its number. When no event is told
    /// of any row, runs of one kind are events.
    ///
    /// # Errors
    ///
    /// [`TableError::TooManyKinds`].
    pub fn label(&mut self, row: usize, kind: &str, event: u64) -> Result<(), TableError> {
        let kind = self.kind(kind, self.rows[row].line)?;
        let next = self.events.len() as u32;
        let event = *self.events.entry(event).or_insert(next);
        (self.rows[row].kind, self.rows[row].event) = (Some(kind), Some(event));
        Ok(())
    }

    fn kind(&mut self, kind: &str, line: usize) -> Result<u16, TableError> {
        match self.kinds.number(kind) as usize {
            number if number < KINDS_MAX => Ok(number as u16),
            _ => Err(TableError::TooManyKinds { line, found: kind.to_owned() }),
        }
    }

    /// Orders the rows by time; `names` has a name for each column that is a metric.
    ///
    /// # Errors
    ///
    /// [`TableError::Empty`], [`TableError::TooManyZones`].
    pub fn table(self, names: Vec<Option<String>>) -> Result<Table, TableError> {
        let metrics = names.iter().flatten().count();
        if self.rows.is_empty() || metrics == 0 {
            return Err(TableError::Empty);
        }
        let zones_max = ZONE_BLOCKS_MAX / metrics.div_ceil(BLOCK);
        if self.zones.names.len() > zones_max {
            return Err(TableError::TooManyZones(self.zones.names.len(), zones_max));
        }
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_by_key(|at| self.rows[*at as usize].at_us);
        let mut table = Table { offsets: (0..self.rows.len() as i64).collect(), ..Table::default() };
        for (name, column) in names.into_iter().zip(self.values) {
            let Some(name) = name else { continue };
            table.names.push(name);
            table.metrics.push(order.iter().map(|row| column[*row as usize]).collect());
        }
        let mut events = Vec::with_capacity(order.len());
        for row in order.iter().map(|at| self.rows[*at as usize]) {
            table.event_times_us.push(row.at_us);
            table.lines.push(row.line);
            table.zones.push(row.zone);
            table.sensors.extend_from_slice(self.sensors.names[row.sensor as usize].as_bytes());
            table.sensor_ends.push(table.sensors.len() as u32);
            table.series.push(row.series);
            table.kinds.push(row.kind);
            events.push(row.event);
        }
        table.places = order;
        table.zone_names = self.zones.names.iter().map(|name| Arc::from(name.as_str())).collect();
        table.kind_names = self.kinds.names;
        table.clipped = self.clipped;
        table.events = if self.events.is_empty() { table.runs() } else { events };
        Ok(table)
    }
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
    /// Number of each row's sensor in its zone: rows of one are one series.
    pub series: Vec<u32>,
    /// Values by metric, then row; NaN where there is none.
    pub metrics: Vec<Vec<f64>>,
    /// Kind of anomaly by index into `kind_names`; `None` is normal.
    pub kinds: Vec<Option<u16>>,
    /// Names of the kinds.
    pub kind_names: Vec<String>,
    /// Event that each anomalous row belongs to.
    pub events: Vec<Option<u32>>,
    /// Each row's line in the file, from 1.
    pub lines: Vec<usize>,
    /// Each row's place in the file among its rows, from 0.
    pub places: Vec<u32>,
    /// Values beyond [`VALUE_MAX`], taken as this.
    pub clipped: usize,
    /// Columns that are neither asked for nor numeric.
    pub ignored: Vec<String>,
    /// Rows as offsets.
    offsets: Vec<i64>,
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.event_times_us.len()
    }

    /// Number of sensors, each counted in each of its zones.
    pub fn sensors(&self) -> usize {
        self.series.iter().max().map_or(0, |last| *last as usize + 1)
    }

    /// Whether each row is anomalous.
    pub fn labels(&self) -> Vec<bool> {
        self.kinds.iter().map(Option::is_some).collect()
    }

    /// The kind of a row's anomaly.
    pub fn kind(&self, row: usize) -> Option<&str> {
        self.kinds[row].map(|kind| self.kind_names[usize::from(kind)].as_str())
    }

    /// The first row of which the event time is not before this.
    pub fn row_at(&self, at_us: i64) -> usize {
        self.event_times_us.partition_point(|of_row| *of_row < at_us)
    }

    /// An event for each run of anomalous rows of one kind in one series.
    fn runs(&self) -> Vec<Option<u32>> {
        let mut open: Vec<Option<(u16, u32)>> = vec![None; self.sensors()];
        let mut count = 0;
        let of_row = |(series, kind): (&u32, &Option<u16>)| {
            let open = &mut open[*series as usize];
            *open = match (*open, *kind) {
                (_, None) => None,
                (Some((of, event)), Some(kind)) if of == kind => Some((kind, event)),
                (_, Some(kind)) => {
                    count += 1;
                    Some((kind, count - 1))
                }
            };
            open.map(|(_, event)| event)
        };
        self.series.iter().zip(&self.kinds).map(of_row).collect()
    }

    /// Rows `from` … `to` as a batch.
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

    /// The layout of these metrics: as `domain` says for those that it has, else decimals, range and scale from the values
    /// themselves. The cadence is the table's.
    pub fn layout(&self, domain: Option<&Domain>) -> Layout {
        let known = domain.map(Layout::new);
        let metrics = self.names.iter().zip(&self.metrics).map(|(name, column)| {
            let of_domain =
                known.iter().flat_map(|layout| &layout.metrics).find(|metric| metric.name == *name);
            of_domain.cloned().unwrap_or_else(|| shown(name, column))
        });
        let metrics: Vec<MetricLayout> = metrics.collect();
        let sensors_max = self.sensors();
        match known {
            Some(layout) => Layout { metrics, tick_us: self.cadence_us(), sensors_max, ..layout },
            None => Layout { tick_us: self.cadence_us(), sensors_max, ..Layout::of_metrics(metrics) },
        }
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

/// The layout of a metric that no domain file describes.
fn shown(name: &str, column: &[f64]) -> MetricLayout {
    let mut sorted: Vec<f64> = column.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let is_logarithmic = at(0.0) >= 0.0 && at(0.5) > 5.0 && at(0.9) > SKEWED * at(0.5);
    let decimals = sorted.iter().step_by(sorted.len().div_ceil(1000)).map(|v| decimals(*v)).max();
    MetricLayout::new(name, decimals.unwrap_or(0), (at(0.01), at(0.99)), is_logarithmic)
}

#[derive(Debug, Default)]
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

    /// Rows of (seconds, sensor, kind), of one zone and metric.
    fn table(rows: &[(i64, &str, Option<&str>)]) -> Table {
        let mut gathered = Gathered::new(1);
        for (at, (seconds, sensor, kind)) in rows.iter().enumerate() {
            let (line, at_us) = (at + 2, seconds * 1_000_000);
            let row = Row { line, at_us, zone: "all", sensor, kind: *kind };
            gathered.push(row, [at as f64].into_iter()).expect("few kinds");
        }
        gathered.table(vec![Some("heat".to_owned())]).expect("rows")
    }

    #[test]
    fn rows_are_ordered_by_time_and_keep_their_place() {
        let table = table(&[(60, "a", Some("spike")), (0, "b", None), (60, "b", None)]);
        assert_eq!(table.metrics[0], [1.0, 0.0, 2.0]);
        assert_eq!((table.lines, table.places), (vec![3, 2, 4], vec![1, 0, 2]));
    }

    #[test]
    fn an_event_is_a_run_of_one_kind_in_one_series() {
        let (spike, drift) = (Some("spike"), Some("drift"));
        let rows = [(0, "a", spike), (1, "a", drift), (1, "b", drift), (2, "a", drift), (3, "a", None)];
        let table = table(&[&rows[..], &[(4, "a", drift)]].concat());
        assert_eq!(table.events, [Some(0), Some(1), Some(2), Some(1), None, Some(3)]);
    }

    #[test]
    fn values_beyond_what_a_reading_may_have_are_clipped_and_counted() {
        let mut gathered = Gathered::new(1);
        let row = Row { line: 2, at_us: 0, zone: "all", sensor: "all", kind: None };
        gathered.push(row, [f64::INFINITY].into_iter()).expect("few kinds");
        let table = gathered.table(vec![Some("heat".to_owned())]).expect("a row");
        assert_eq!((table.metrics[0][0], table.clipped), (VALUE_MAX, 1));
    }

    #[test]
    fn the_cadence_is_the_median_step_of_a_sensor() {
        let rows: Vec<_> =
            (0..50).flat_map(|step| [(step * 5, "a", None), (step * 5 + 2, "b", None)]).collect();
        assert_eq!(table(&rows).cadence_us(), 5_000_000);
    }

    #[test]
    fn what_a_domain_says_of_a_metric_goes_before_what_its_values_show() {
        let mut gathered = Gathered::new(2);
        let row = Row { line: 2, at_us: 0, zone: "all", sensor: "all", kind: None };
        gathered.push(row, [20.0, 3.25].into_iter()).expect("few kinds");
        let names = ["temperature", "pressure"].map(|name| Some(name.to_owned())).to_vec();
        let table = gathered.table(names).expect("a row");
        let layout = table.layout(Some(&Domain::smart_city()));
        assert!(layout.metrics[0].above.is_finite() && layout.metrics[1].above.is_infinite());
        assert_eq!(layout.metrics[1].decimals, 2);
    }
}

//! Labelled readings as a struct of arrays, in the order of their event times.

mod builder;
mod layout;

use std::sync::Arc;

use citytide_domain::Domain;

use crate::sentinel::Sentinel;
use crate::time::TimeFormat;
pub use builder::{Row, TableBuilder, VALUE_MAX};

/// Labelled readings, ordered by event time; rows with equal times keep the order of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names of the metrics.
    pub names: Vec<String>,
    pub event_times_us: Vec<i64>,
    /// Zone of each row: index into `zone_names`.
    pub zones: Vec<u32>,
    pub zone_names: Vec<Arc<str>>,
    /// Sensor ids, one after the other.
    pub sensors: Vec<u8>,
    /// End of each row's sensor id in `sensors`.
    pub sensor_ends: Vec<u32>,
    /// Series of each row: the rows of one sensor in one zone.
    pub series: Vec<u32>,
    /// Values by metric, then row; NaN where missing.
    pub metrics: Vec<Vec<f64>>,
    /// Kind of anomaly of each row: index into `kind_names`; `None` is normal.
    pub kinds: Vec<Option<u16>>,
    pub kind_names: Vec<String>,
    /// Event that each anomalous row belongs to.
    pub events: Vec<Option<u32>>,
    /// Line of each row in the input, from 1.
    pub lines: Vec<usize>,
    /// The partition of each row whose log the input is.
    pub partitions: Vec<Option<i32>>,
    /// Position of each row among the rows of the input, from 0.
    pub positions: Vec<u32>,
    /// Values with a magnitude above [`VALUE_MAX`], which were clipped to it.
    pub clipped: usize,
    /// Columns that are not numeric and were not asked for.
    pub ignored: Vec<String>,
    /// Columns whose commas were read as decimal points although commas separate cells.
    pub decimal_commas: Vec<String>,
    /// Columns with a number that seems to stand for no value.
    pub sentinels: Vec<Sentinel>,
    /// How the times were written.
    pub time_format: TimeFormat,
    /// Seed of the forest on raw values, which also judges rows that are no stream.
    pub seed: u64,
    /// What says how its rows are judged as a stream: time and trainings.
    pub domain: Arc<Domain>,
}

impl Table {
    pub fn rows(&self) -> usize {
        self.event_times_us.len()
    }

    /// Number of series: sensors, each counted once per zone.
    pub fn series_count(&self) -> usize {
        self.series.iter().max().map_or(0, |last| *last as usize + 1)
    }

    /// The rows of each series from a row on, in the order of time.
    pub fn rows_by_series(&self, from: usize) -> Vec<Vec<usize>> {
        let mut rows = vec![Vec::new(); self.series_count()];
        for row in from..self.rows() {
            rows[self.series[row] as usize].push(row);
        }
        rows
    }

    /// For each row, whether it is labelled anomalous.
    pub fn labels(&self) -> Vec<bool> {
        self.kinds.iter().map(Option::is_some).collect()
    }

    /// Labels the rows within windows of time, first and last inclusive, microseconds; each window is an event of its own.
    pub fn label_windows(&mut self, windows: &[(i64, i64)]) {
        self.kind_names = vec!["window".to_owned()];
        for (row, at_us) in self.event_times_us.iter().enumerate() {
            let window = windows.iter().position(|(first, last)| (first..=last).contains(&at_us));
            (self.kinds[row], self.events[row]) = (window.map(|_| 0), window.map(|window| window as u32));
        }
    }

    /// The kind of anomaly of a row; `None` is normal.
    pub fn kind(&self, row: usize) -> Option<&str> {
        self.kinds[row].map(|kind| self.kind_names[usize::from(kind)].as_str())
    }

    /// The first row with an event time at or after `at_us`.
    pub fn row_at(&self, at_us: i64) -> usize {
        self.event_times_us.partition_point(|event_time_us| *event_time_us < at_us)
    }

    /// First and last event time, microseconds.
    pub fn span_us(&self) -> (i64, i64) {
        (self.event_times_us[0], self.event_times_us[self.rows() - 1])
    }

    /// The time at which this share of the table's time span is over, microseconds.
    pub fn time_at_share_us(&self, share: f64) -> i64 {
        let (first_us, last_us) = self.span_us();
        first_us + ((last_us - first_us) as f64 * share).round() as i64
    }
}

impl Default for Table {
    fn default() -> Table {
        Table {
            names: Default::default(),
            event_times_us: Default::default(),
            zones: Default::default(),
            zone_names: Default::default(),
            sensors: Default::default(),
            sensor_ends: Default::default(),
            series: Default::default(),
            metrics: Default::default(),
            kinds: Default::default(),
            kind_names: Default::default(),
            events: Default::default(),
            lines: Default::default(),
            partitions: Default::default(),
            positions: Default::default(),
            clipped: Default::default(),
            ignored: Default::default(),
            decimal_commas: Default::default(),
            sentinels: Default::default(),
            time_format: Default::default(),
            seed: 0,
            domain: Arc::new(Domain::smart_city()),
        }
    }
}

//! The domain as it is used: validated, with every default filled in and every duration in microseconds.
//!
//! Invariants (established by [`Domain::parse`], relied upon everywhere):
//! 1. metric, window and zone names are unique; a metric's name and a window's table are SQL identifiers that need
//!    no quotes: metrics are `[a-z][a-z0-9_]*`, windows `[a-z0-9_]+` behind `metrics_`, both of at most 40 bytes;
//! 2. there is at least one metric and at least one window; every window's size is a multiple of its slide,
//!    every size and slide a multiple of one second;
//! 3. `future_max <= out_of_orderness + allowed_lateness`, so that an accepted reading can never make the next
//!    honest one late;
//! 4. times are microseconds: of the Unix epoch when they end in `_at_us`, else durations.

use chrono_tz::Tz;

use crate::{GeneratorSettings, Pattern};

/// Everything that distinguishes one use of citytide from another.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// Its name, as in `citytide_database.domain`.
    pub name: String,
    /// The Kafka topic that is read unless another one is asked for.
    pub topic: String,
    /// JSON names in a reading.
    pub fields: Fields,
    /// What late, idle and impossible mean.
    pub time: TimeSettings,
    /// Bounds on what a stream may bring.
    pub limits: Limits,
    /// How long rows are kept.
    pub retention: Retention,
    /// How anomalies are told beyond the rules.
    pub detector: DetectorSettings,
    /// The metrics, in the order of their columns.
    pub metrics: Vec<Metric>,
    /// The windows, in the order of the file. The first one gives `zone_status` its figures.
    pub windows: Vec<Window>,
    /// The zones that are known beforehand.
    pub zones: Vec<Zone>,
    /// What the generator does with all of it.
    pub generator: GeneratorSettings,
}

/// JSON names of the fields of a reading that are not metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// The sensor's identity: text or an integer.
    pub sensor: String,
    /// The event time.
    pub time: String,
    /// The zone.
    pub zone: String,
    /// The zone of timestamps without offset.
    pub time_zone: Tz,
}

/// Settings of event time; durations in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeSettings {
    /// How far the watermark trails the highest event time of a partition.
    pub out_of_orderness_us: i64,
    /// How long after its pane's end, by the watermark, a reading is still accepted.
    pub allowed_lateness_us: i64,
    /// How long a partition has been read to its end before it no longer holds the watermark back.
    pub idle_after_us: i64,
    /// How far an event time may be ahead of the record's Kafka timestamp.
    pub future_max_us: i64,
    /// How far an event time may be behind the record's Kafka timestamp.
    pub max_age_us: i64,
}

/// Bounds on what a stream may bring.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Zones that the file does not name, per partition in log order, before further ones are dead letters.
    pub zones_max: usize,
    /// Sensors with full detector state.
    pub sensors_max: usize,
}

/// How long rows are kept; `None` keeps them for ever.
#[derive(Debug, Clone, PartialEq)]
pub struct Retention {
    /// Raw readings and dead letters.
    pub raw_us: Option<i64>,
    /// Windows and panes.
    pub windows_us: Option<i64>,
}

/// How anomalies are told beyond the rules; durations in microseconds of event time.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorSettings {
    /// Trees of the isolation forest.
    pub trees: usize,
    /// Rows that each tree is grown on.
    pub rows_per_tree: usize,
    /// Extension level of the forest: 0, a split looks at one feature, or 1, at two.
    pub extension: usize,
    /// Share of readings expected to be anomalous: a target that keeps the threshold from flooding, no quota.
    pub contamination: f64,
    /// Share of the model's flags that may be false, as far as the tails tell.
    pub false_discoveries: f64,
    /// Metrics judged on a logarithmic scale, by index: counts and the like, whose spread grows with their level.
    pub logarithmic: Vec<usize>,
    /// Time between two trainings.
    pub train_every_us: i64,
    /// How far back the rows of a training reach.
    pub train_window_us: i64,
    /// Most rows of a training.
    pub train_rows_max: usize,
}

impl Default for DetectorSettings {
    fn default() -> DetectorSettings {
        const HOUR_US: i64 = 3_600_000_000;
        DetectorSettings {
            trees: 100,
            rows_per_tree: 256,
            extension: 0,
            contamination: 0.05,
            false_discoveries: 0.05,
            logarithmic: Vec::new(),
            train_every_us: 6 * HOUR_US,
            train_window_us: 7 * 24 * HOUR_US,
            train_rows_max: 10_000,
        }
    }
}

/// One measured quantity: a JSON field of a reading and a column of the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// JSON field and column name.
    pub name: String,
    /// Unit, for people.
    pub unit: String,
    /// Decimals that are shown.
    pub decimals: u8,
    /// Usual range: least and greatest. Outside it is accepted and no anomaly by itself.
    pub usual: (f64, f64),
    /// Anomalous when less than this.
    pub below: Option<f64>,
    /// Anomalous when greater than this.
    pub above: Option<f64>,
    /// How a value is shown in one line of console output, `{}` standing for it, as `AQI {}`; `None` leaves it out.
    pub show: Option<String>,
    /// What the generator makes of it.
    pub pattern: Pattern,
}

/// A window, tumbling when `slide == size`. Its table is `metrics_<name>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Name; the table is `metrics_<name>`.
    pub name: String,
    /// Length in microseconds.
    pub size_us: i64,
    /// Distance between the starts of two windows, in microseconds; divides `size_us`.
    pub slide_us: i64,
}

/// A zone that is known beforehand.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Name, as readings carry it.
    pub name: String,
    /// Column and row on the map of the page.
    pub map: Option<(i64, i64)>,
    /// Factor on a metric's pattern in this zone, by the metric's index; 1.0 where the file says nothing.
    pub character: Vec<f64>,
    /// Patterns of its own, by the metric's index.
    pub patterns: Vec<(usize, Pattern)>,
}

impl Domain {
    /// Length of a pane in microseconds: the greatest common divisor of all window sizes and slides.
    pub fn pane_us(&self) -> i64 {
        self.windows.iter().fold(0, |pane, window| gcd(gcd(pane, window.size_us), window.slide_us))
    }

    /// Length of the longest window in microseconds.
    pub fn longest_window_us(&self) -> i64 {
        self.windows.iter().map(|window| window.size_us).max().unwrap_or(0)
    }
}

impl Window {
    /// The table that holds this window's rows.
    pub fn table(&self) -> String {
        format!("metrics_{}", self.name)
    }
}

/// The greatest common divisor; `gcd(0, b)` is `b`.
pub(crate) fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

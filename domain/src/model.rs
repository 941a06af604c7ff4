//! The domain as it is used: validated, with every default filled in and every duration in microseconds.
//!
//! Invariants (established by [`Domain::parse`], relied upon everywhere):
//! 1. metric, window and zone names are unique; a metric's name and a window's table are SQL identifiers that need
//!    no quotes: metrics are `[a-z][a-z0-9_]*`, windows `[a-z0-9_]+` behind `metrics_`, both of at most 40 bytes;
//! 2. there is at least one metric and at least one window; every window's size is a multiple of its slide,
//!    every size and slide a multiple of one second;
//! 3. `future_max <= out_of_orderness + allowed_lateness`, so that an accepted reading can never make the next
//!    honest one late;
//! 4. `jump_max > out_of_orderness`, so that a reading that is just the newest one is no jump;
//! 5. times are microseconds: of the Unix epoch when they end in `_at_us`, else durations.

use chrono_tz::Tz;

use crate::{DAY_US, GeneratorSettings, HOUR_US, MINUTE_US, Pattern};

/// What is read, and how: a domain file with all defaults filled in.
///
/// ```
/// use citytide_domain::Domain;
///
/// let text = "name = 'plant'\ntopic = 'machines'\n[[metrics]]\nname = 'vibration'\n";
/// let domain = Domain::parse("plant.toml", text)?;
/// assert_eq!(domain.fields.sensor, "sensor_id");
/// assert_eq!(domain.windows[0].table(), "metrics_1min");
///
/// let mistakes = Domain::parse("plant.toml", &text.replace("topic", "topik")).unwrap_err();
/// assert!(mistakes.to_string().contains("unknown key `topik`; did you mean `topic`?"));
/// # Ok::<(), citytide_domain::Mistakes>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    /// As in `citytide_database.domain`.
    pub name: String,
    /// The default Kafka topic.
    pub topic: String,
    pub fields: Fields,
    pub time: TimeSettings,
    pub limits: Limits,
    pub retention: Retention,
    pub detector: DetectorSettings,
    pub incidents: IncidentSettings,
    /// In the order of their columns.
    pub metrics: Vec<Metric>,
    /// In the order of the file; `zone_status` shows the first one.
    pub windows: Vec<Window>,
    /// Those of kind `session`.
    pub sessions: Vec<SessionWindow>,
    /// The zones that the file names; further ones may appear in readings.
    pub zones: Vec<Zone>,
    pub generator: GeneratorSettings,
}

/// JSON names of the fields of a reading that are not metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// The sensor's identity: a string or an integer.
    pub sensor: String,
    pub time: String,
    pub zone: String,
    /// Time zone of timestamps without an offset.
    pub time_zone: Tz,
}

/// Settings of event time; durations in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeSettings {
    /// How far the watermark trails the highest event time of a partition.
    pub out_of_orderness_us: i64,
    /// How far the watermark may pass the end of a reading's pane before the reading is late.
    pub allowed_lateness_us: i64,
    /// How far a reading may be ahead of its partition's watermark and move it alone; beyond that it needs a witness.
    pub jump_max_us: i64,
    /// How long a partition at its end and without new readings holds the watermark back.
    pub idle_after_us: i64,
    /// How far an event time may be ahead of the record's Kafka timestamp.
    pub future_max_us: i64,
    /// How far an event time may be behind the record's Kafka timestamp.
    pub max_age_us: i64,
}

/// Bounds on what a stream may bring.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Most zones that the file does not name, per partition in log order; readings of further ones are dead letters.
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

/// When anomalies become an incident, and when it is over; durations in microseconds of event time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IncidentRule {
    /// From the first to the last anomaly, before the incident opens.
    pub for_us: i64,
    /// Fewest anomalous readings.
    pub min_readings: u64,
    /// Fewest sensors that they come from.
    pub min_sensors: u64,
    /// How long without an anomaly until it is cleared.
    pub clear_for_us: i64,
    /// How long after that an anomaly opens the same incident again.
    pub reopen_within_us: i64,
    /// How long without an anomaly of its severity until that falls.
    pub step_down_for_us: i64,
}

impl Default for IncidentRule {
    fn default() -> IncidentRule {
        IncidentRule {
            for_us: MINUTE_US / 2,
            min_readings: 5,
            min_sensors: 1,
            clear_for_us: 2 * MINUTE_US,
            reopen_within_us: 10 * MINUTE_US,
            step_down_for_us: 5 * MINUTE_US,
        }
    }
}

impl Default for IncidentSettings {
    fn default() -> IncidentSettings {
        IncidentSettings { rule: IncidentRule::default(), shelve_max_us: DAY_US }
    }
}

/// Incidents of the domain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IncidentSettings {
    /// Where a metric has no other one.
    pub rule: IncidentRule,
    /// Longest time for which people may shelve an incident, microseconds.
    pub shelve_max_us: i64,
}

/// How the detector is trained; durations in microseconds of event time.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorSettings {
    /// Trees of the isolation forest.
    pub trees: usize,
    /// Rows that each tree is grown on.
    pub rows_per_tree: usize,
    /// Extension level of the forest: 0, a split uses one feature, or 1, two.
    pub extension: usize,
    /// Expected share of anomalous readings: it bounds how many are flagged, and is not a quota.
    pub contamination: f64,
    /// Target for the share of the model's flags that are false.
    pub false_discoveries: f64,
    /// Indices of metrics that are scored on a logarithmic scale, such as counts, whose spread grows with their level.
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
        DetectorSettings {
            trees: 100,
            rows_per_tree: 256,
            extension: 0,
            contamination: 0.05,
            false_discoveries: 0.05,
            logarithmic: Vec::new(),
            train_every_us: 6 * HOUR_US,
            train_window_us: 7 * DAY_US,
            train_rows_max: 10_000,
        }
    }
}

/// The limits behind which the incident of a metric's rule begins to be over: hysteresis.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ClearLimits {
    /// Of `below`, and greater than it.
    pub below: Option<f64>,
    /// Of `above`, and less than it.
    pub above: Option<f64>,
}

/// One measured quantity: a JSON field of a reading and a column of the tables.
///
/// ```
/// let city = citytide_domain::Domain::smart_city();
/// let temperature = &city.metrics[0];
/// assert_eq!((temperature.name.as_str(), temperature.unit.as_str()), ("temperature", "°C"));
/// assert_eq!((temperature.below, temperature.above), (Some(-5.0), Some(40.0)));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// JSON field and column name.
    pub name: String,
    /// For display.
    pub unit: String,
    /// Decimals to show.
    pub decimals: u8,
    /// Usual range: least and greatest. A value outside it is accepted, and not an anomaly by itself.
    pub usual: (f64, f64),
    /// Anomalous when less than this.
    pub below: Option<f64>,
    /// Anomalous when greater than this.
    pub above: Option<f64>,
    /// Below and above which a reading keeps the rule's incident from being cleared, where that is not the bound itself.
    pub clear: ClearLimits,
    /// Template of a value on the console, such as `AQI {}`; `None` does not show it.
    pub show: Option<String>,
    /// When its anomalies are an incident of their zone.
    pub incidents: IncidentRule,
    pub pattern: Pattern,
}

/// A window, tumbling if `slide_us == size_us`. Windows are aligned to the Unix epoch.
///
/// ```
/// use citytide_domain::{Domain, MINUTE_US, Window};
///
/// let mut domain = Domain::smart_city();
/// let window = Window { name: "1hour".into(), size_us: 60 * MINUTE_US, slide_us: 30 * MINUTE_US };
/// assert_eq!(window.table(), "metrics_1hour");
/// domain.windows = vec![window];
/// assert_eq!(domain.pane_us(), 30 * MINUTE_US);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The table is `metrics_<name>`.
    pub name: String,
    /// Length in microseconds.
    pub size_us: i64,
    /// Distance between the starts of two windows, in microseconds; divides `size_us`.
    pub slide_us: i64,
}

/// Most session windows of a domain.
pub const SESSIONS_MAX: usize = 8;

/// Windows of activity: readings that follow each other by less than a gap.
///
/// ```
/// let sessions = citytide_domain::SessionWindow {
///     name: "visits".into(),
///     gap_us: 600_000_000,
///     max_us: citytide_domain::DAY_US,
///     by: citytide_domain::SessionBy::Sensor,
/// };
/// assert_eq!(sessions.table(), "metrics_visits");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionWindow {
    /// The table is `metrics_<name>`.
    pub name: String,
    /// A reading this long after the one before, or later, begins another session; microseconds.
    pub gap_us: i64,
    /// No session goes on across a multiple of this, counted from the Unix epoch; microseconds.
    pub max_us: i64,
    /// Whose readings follow each other.
    pub by: SessionBy,
}

/// Whose readings make a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionBy {
    /// Those of a zone.
    Zone,
    /// Those of a sensor in a zone.
    Sensor,
}

impl SessionBy {
    /// As the domain file says it.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionBy::Zone => "zone",
            SessionBy::Sensor => "sensor",
        }
    }
}

impl SessionWindow {
    /// The table that holds its sessions.
    pub fn table(&self) -> String {
        format!("metrics_{}", self.name)
    }
}

/// A zone that the domain file names.
///
/// ```
/// let city = citytide_domain::Domain::smart_city();
/// let downtown = &city.zones[0];
/// assert_eq!((downtown.name.as_str(), downtown.map), ("Downtown", Some((2, 3))));
/// let traffic = city.metrics.iter().position(|metric| metric.name == "traffic_flow").unwrap();
/// assert_eq!(downtown.character[traffic], 1.6, "busier than the city");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// As in readings.
    pub name: String,
    /// Column and row on the map.
    pub map: Option<(i64, i64)>,
    /// Factor on a metric's pattern in this zone, by the metric's index; 1.0 where the file says nothing.
    pub character: Vec<f64>,
    /// The zone's own patterns, by the metric's index.
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

//! The settings of the generator: the pattern of each metric, factors that move several metrics together, and the
//! frequency of each kind of anomaly. Only the generator uses them.
//!
//! ```text
//!  value = (day and weekday + season) · character · gain   the expected value at this hour
//!        + trend + Σ weight · factor + offset              slow deviations
//!        + noise                                           fast ones
//! ```

/// The model of a metric's values, in the metric's unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pattern {
    /// Monday to Friday.
    pub day: Day,
    /// Saturday and Sunday; `None`: as on other days.
    pub weekend: Option<Day>,
    /// Factor on the expected value by weekday, Monday first.
    pub days: [f64; 7],
    pub season: Option<Season>,
    /// A permanent change, such as a machine that wears.
    pub trend: Option<Trend>,
    /// Standard deviation of a sensor's own noise.
    pub noise: f64,
    /// Share of the noise's variance that persists for about [`Pattern::memory_us`]; the rest is new in each reading.
    pub persistence: f64,
    /// Time scale of the persistent part of the noise.
    pub memory_us: i64,
    /// Standard deviation of the sensors' constant offsets.
    pub offset: f64,
    /// Standard deviation of the sensors' constant factors around 1.
    pub gain: f64,
    /// Whether noise, offset and weights are proportional to the expected value; their settings are those at the mean.
    pub proportional: bool,
    /// Index of a factor in [`GeneratorSettings::factors`], and its weight: how far the metric moves when the factor
    /// moves by one standard deviation.
    pub follows: Vec<(usize, f64)>,
}

/// The expected value over a day: `mean + amplitude · shape(hour)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Day {
    /// Midway between the day's lowest and highest expected value.
    pub mean: f64,
    /// Half the difference between them.
    pub amplitude: f64,
    pub shape: Shape,
}

/// A function of the hour, from -1 to 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// High around some hours of the day.
    Peaks {
        /// 0 … 24.
        hours: Vec<f64>,
        /// Width of a peak; `None`: a cosine over the whole day, with one peak.
        width_h: Option<f64>,
        /// Level between the first and the last peak: 0 as at night, 1 as at the peaks.
        valley: f64,
    },
    /// The value at each full hour, interpolated smoothly.
    Hours([f64; 24]),
}

impl Default for Shape {
    fn default() -> Shape {
        Shape::Hours([0.0; 24])
    }
}

/// A cosine over the year.
#[derive(Debug, Clone, PartialEq)]
pub struct Season {
    /// By how much the peak is above the year's mean.
    pub amplitude: f64,
    /// Day of the year, from 1.
    pub peak_day: f64,
}

/// A linear and permanent change of the expected value.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// The whole change.
    pub by: f64,
    /// Start, in microseconds of the Unix epoch.
    pub from_at_us: i64,
    /// End, in microseconds of the Unix epoch.
    pub until_at_us: i64,
}

/// Settings of the generator that belong to no single metric.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorSettings {
    pub factors: Vec<Factor>,
    /// Weight of each kind of anomaly, in the order of [`Kind::ALL`](crate::Kind::ALL); at least one is above 0.
    pub anomalies: [f64; 8],
    /// Metric and what a zone event adds to it at its peak, in the metric's unit; empty: there are no zone events.
    pub zone_event: Vec<(usize, f64)>,
}

impl Default for GeneratorSettings {
    fn default() -> GeneratorSettings {
        let anomalies = [10.0, 10.0, 20.0, 20.0, 10.0, 15.0, 10.0, 5.0];
        GeneratorSettings { factors: Vec::new(), anomalies, zone_event: Vec::new() }
    }
}

/// A hidden cause that metrics follow: smooth noise of mean 0 and standard deviation 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// As in `follows`.
    pub name: String,
    pub shared_by: Scope,
    /// Time scale.
    pub memory_us: i64,
}

/// Which sensors and metrics share a factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All sensors: the weather.
    City,
    /// The sensors of a zone.
    Zone,
    /// The metrics of one sensor.
    Sensor,
}

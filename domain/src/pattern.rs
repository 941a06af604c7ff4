//! What the generator makes of a domain: the course of each metric, what moves several of them together, and what
//! goes wrong how often. Nothing else reads it.
//!
//! ```text
//!  value = (day and weekday + season) · character · gain   what anyone expects of this hour
//!        + trend + Σ weight · factor + offset              what is the same for a while
//!        + noise                                           what is not
//! ```

/// A metric's course, in the metric's unit. What belongs to the noise grows and shrinks with the expectation where
/// [`Pattern::proportional`] says so.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pattern {
    /// The course of a working day.
    pub day: Day,
    /// The course of Saturdays and Sundays; `None` as on working days.
    pub weekend: Option<Day>,
    /// Factor on the expectation by weekday, Monday first.
    pub days: [f64; 7],
    /// The year's course.
    pub season: Option<Season>,
    /// A change that stays: a machine that wears, a habit that changes.
    pub trend: Option<Trend>,
    /// Standard deviation of a sensor's own noise.
    pub noise: f64,
    /// Share of the noise's variance that persists for about [`Pattern::memory_us`]; the rest is new in each reading.
    pub persistence: f64,
    /// How long the persistent part of the noise remembers.
    pub memory_us: i64,
    /// Standard deviation of the sensors' persistent offsets.
    pub offset: f64,
    /// Standard deviation of the sensors' persistent factors around 1.
    pub gain: f64,
    /// Whether noise, offset and weights are meant at the mean, and proportional to the expectation elsewhere.
    pub proportional: bool,
    /// Index of a factor in [`GeneratorSettings::factors`], and the metric's deviation for one of the factor's.
    pub follows: Vec<(usize, f64)>,
}

/// The course of a day: `mean + amplitude · shape(hour)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Day {
    /// Middle between the day's highest and lowest expectation.
    pub mean: f64,
    /// Half the difference between the day's highest and lowest expectation.
    pub amplitude: f64,
    /// Where it is high and low.
    pub shape: Shape,
}

/// From -1, the lowest expectation, to 1, the highest.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// High at some hours of the day (0 … 24).
    Peaks {
        /// The hours.
        hours: Vec<f64>,
        /// How wide a peak is; `None` for a cosine over the whole day, where there is one peak.
        width_h: Option<f64>,
        /// What is left between the first peak and the last: 0 as at night, 1 as at the peaks.
        valley: f64,
    },
    /// Its value at each full hour, with smooth passages.
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
    /// What the peak's day is above the year's mean.
    pub amplitude: f64,
    /// Day of the year, from 1.
    pub peak_day: f64,
}

/// A change of the expectation, even from its beginning to its end, that stays.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// By how much, in all.
    pub by: f64,
    /// When it begins, microseconds of the Unix epoch.
    pub from_at_us: i64,
    /// When it is complete.
    pub until_at_us: i64,
}

/// What the generator does with the domain as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorSettings {
    /// Hidden causes that metrics follow.
    pub factors: Vec<Factor>,
    /// Parts of the anomalies by kind, in the order of [`Kind::ALL`](crate::Kind::ALL); at least one is above 0.
    pub anomalies: [f64; 8],
    /// What a zone's event adds at its height, by metric, in the metric's unit; empty where there are no such events.
    pub zone_event: Vec<(usize, f64)>,
}

impl Default for GeneratorSettings {
    fn default() -> GeneratorSettings {
        let anomalies = [10.0, 10.0, 20.0, 20.0, 10.0, 15.0, 10.0, 5.0];
        GeneratorSettings { factors: Vec::new(), anomalies, zone_event: Vec::new() }
    }
}

/// A hidden cause: a smooth random course of mean 0 and standard deviation 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// Its name in `follows`.
    pub name: String,
    /// Who has it in common.
    pub shared_by: Scope,
    /// How long it remembers.
    pub memory_us: i64,
}

/// Who has a factor in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All sensors: the weather.
    City,
    /// The sensors of a zone.
    Zone,
    /// The metrics of one sensor.
    Sensor,
}

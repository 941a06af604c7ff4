//! The kinds of anomalies that the generator injects and the detector is evaluated on.

/// A kind of anomaly. The names are stable: domain files, truth files and Kafka headers contain them.
///
/// ```
/// use citytide_domain::Kind;
///
/// assert_eq!(Kind::ZoneEvent.name(), "zone_event");
/// assert_eq!(Kind::ALL.map(|kind| kind as usize), [0, 1, 2, 3, 4, 5, 6, 7]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One reading of one metric, 5 to 12 of the sensor's standard deviations off.
    Spike,
    /// One reading of one metric that violates its rule or, without a rule, leaves its usual range.
    Range,
    /// The same value repeated: of one metric or of all.
    Stuck,
    /// One metric that drifts away over hours, up to 4 … 8 standard deviations.
    Drift,
    /// One metric is null or absent.
    Dropout,
    /// One metric with the expected value of another hour, at least 4 standard deviations off.
    Contextual,
    /// Metrics that move against the factor that they follow.
    Correlation,
    /// All sensors of a zone are affected, such as by a fire.
    ZoneEvent,
}

impl Kind {
    /// In the order of their discriminants.
    pub const ALL: [Kind; 8] = [
        Kind::Spike,
        Kind::Range,
        Kind::Stuck,
        Kind::Drift,
        Kind::Dropout,
        Kind::Contextual,
        Kind::Correlation,
        Kind::ZoneEvent,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Spike => "spike",
            Kind::Range => "range",
            Kind::Stuck => "stuck",
            Kind::Drift => "drift",
            Kind::Dropout => "dropout",
            Kind::Contextual => "contextual",
            Kind::Correlation => "correlation",
            Kind::ZoneEvent => "zone_event",
        }
    }
}

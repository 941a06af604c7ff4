//! The kinds of anomalies that the generator makes and that truth, domain file and detector's evaluation name.

/// What kind of anomaly befell a reading. The names are stable: domain files, truth files and headers carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One reading of one metric 5 to 12 of its own standard deviations off.
    Spike,
    /// One reading of one metric that breaks its rule, or leaves its usual range where there is no rule.
    Range,
    /// The first value of the run, again and again: one metric, or all of them.
    Stuck,
    /// One metric that slides from 0 to 4 … 8 standard deviations over hours, from its start on.
    Drift,
    /// One metric null or left out.
    Dropout,
    /// One metric with the value of another hour, at least 4 standard deviations off.
    Contextual,
    /// Metrics that run against what they follow.
    Correlation,
    /// Something befalls all sensors of a zone: a fire.
    ZoneEvent,
}

impl Kind {
    /// All kinds, in the order of their discriminants.
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

    /// Its name, as in a domain file and beside a reading.
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

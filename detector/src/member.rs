//! The members of the detector, an ensemble: each gives a reading a surprise, −log₁₀ of the chance of one as anomalous.

use serde::{Deserialize, Serialize};

/// A member of the ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// A value beyond its bound: the domain's rules.
    Rule,
    /// A metric is missing that the sensor usually sends.
    Dropout,
    /// A value is repeated more often than chance explains.
    Stuck,
    /// The largest residual of a metric, in standard deviations.
    Largest,
    /// The Mahalanobis distance of the residuals, which sees a broken correlation.
    Together,
    /// The same distance of an average over the last readings (rate .22, about eight readings).
    Recent,
    /// A metric stays on one side of what the other metrics predict: an average over about forty readings.
    Drift,
    /// A metric moves against metrics that it correlates with.
    Against,
    /// The isolation forest, on residuals and slow statistics.
    Forest,
    /// The whole zone has moved further than chance explains, and the reading with it.
    Zone,
}

impl Member {
    /// All members, in the order of [`Surprises`].
    pub const ALL: [Member; MEMBERS] = [
        Member::Rule,
        Member::Dropout,
        Member::Stuck,
        Member::Largest,
        Member::Together,
        Member::Recent,
        Member::Drift,
        Member::Against,
        Member::Forest,
        Member::Zone,
    ];

    /// The word in `sensor_data.reasons`.
    pub fn as_str(self) -> &'static str {
        match self {
            Member::Rule => "rule",
            Member::Dropout => "dropout",
            Member::Stuck => "stuck",
            Member::Largest => "largest",
            Member::Together => "together",
            Member::Recent => "recent",
            Member::Drift => "drift",
            Member::Against => "against",
            Member::Forest => "forest",
            Member::Zone => "zone",
        }
    }
}

/// Number of members.
pub const MEMBERS: usize = 10;
/// Surprise of a reading by member, in the order of [`Member::ALL`]; 0 where a member finds nothing.
pub type Surprises = [f32; MEMBERS];
/// Number of members whose surprise comes from a learnt tail: `Largest` … `Forest`.
pub(crate) const TAILED: usize = 6;
/// Index of the first of them.
pub(crate) const FIRST_TAILED: usize = Member::Largest as usize;
/// The surprise of a broken rule, and of a missing metric of a sensor that has no gaps: certain.
pub const CERTAIN: f32 = 12.0;

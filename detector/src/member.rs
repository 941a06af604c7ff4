//! The members of the hybrid: each turns a reading into a surprise, −log₁₀ of the chance of one as odd.

use serde::{Deserialize, Serialize};

/// Who finds a reading odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// A value beyond its bound: the domain's rules.
    Rule,
    /// A metric that the sensor otherwise sends is missing.
    Dropout,
    /// A value repeated more often than chance would.
    Stuck,
    /// The largest residual of a metric, in its scale.
    Largest,
    /// The residuals together: the Mahalanobis distance, which sees a broken correlation.
    Together,
    /// The last readings together: the same of an average over about eight readings.
    Recent,
    /// A metric that has long been on one side of where the others say that it is: an average over about forty
    /// readings.
    Drift,
    /// A metric that moves against others with which it otherwise goes.
    Against,
    /// The isolation forest on residuals and slow statistics.
    Forest,
    /// The whole zone has moved further than it does, and the reading with it.
    Zone,
}

impl Member {
    /// All of them, in the order of their surprises.
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

    /// Its word in `reasons`.
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
/// Surprises by member.
pub type Surprises = [f32; MEMBERS];
/// Members whose surprise comes from a tail that is learnt: `Largest` … `Forest`.
pub(crate) const TAILED: usize = 6;
/// Index of the first of them.
pub(crate) const FIRST_TAILED: usize = Member::Largest as usize;
/// The surprise of a broken rule and of a metric gone missing: certain.
pub const CERTAIN: f32 = 12.0;

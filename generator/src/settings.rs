//! What is asked for beside the domain: how many of everything, and how much of it goes wrong.

/// Most sensors: more than a city of ours ever has, and few enough to be listed in memory.
const SENSORS_MAX: u32 = 10_000_000;

/// What is asked for beside the domain.
#[derive(Debug, Clone, PartialEq)]
pub struct CitySettings {
    /// Another seed, another city.
    pub seed: u64,
    /// How many sensors there are; they are called 1, 2, 3, …
    pub sensors: u32,
    /// How many partitions they are spread over.
    pub partitions: u32,
    /// Share of readings that are anomalous, 0 … 1.
    pub anomalies: f64,
    /// What goes wrong with order and bytes.
    pub disorder: Disorder,
}

impl CitySettings {
    /// Whether they make a city.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if self.sensors == 0 || self.sensors > SENSORS_MAX {
            return Err(SettingsError::Sensors(self.sensors));
        }
        if self.partitions == 0 {
            return Err(SettingsError::NoPartition);
        }
        if !(0.0..=1.0).contains(&self.anomalies) {
            return Err(SettingsError::Anomalies(self.anomalies));
        }
        let disorder = &self.disorder;
        for (what, share) in [
            ("out-of-order", disorder.out_of_order),
            ("late", disorder.late),
            ("duplicate", disorder.duplicate),
            ("malformed", disorder.malformed),
        ] {
            if !(0.0..=Disorder::SHARE_MAX).contains(&share) {
                return Err(SettingsError::Disorder { what, share });
            }
        }
        Ok(())
    }
}

/// Shares of records that do not come as they should, each 0 … [`Disorder::SHARE_MAX`].
#[derive(Debug, Clone, PartialEq)]
pub struct Disorder {
    /// Behind their place in the log, but by less than the domain's `out_of_orderness`.
    pub out_of_order: f64,
    /// Too late to be accepted, beyond `out_of_orderness` + `allowed_lateness` and a pane.
    pub late: f64,
    /// The payload of a record a little before, once more.
    pub duplicate: f64,
    /// Bytes that are no reading.
    pub malformed: f64,
}

impl Disorder {
    /// The greatest share of each: the rest must be able to tell what is out of order.
    pub const SHARE_MAX: f64 = 0.5;
}

impl Default for Disorder {
    fn default() -> Disorder {
        Disorder { out_of_order: 0.03, late: 0.0, duplicate: 0.0, malformed: 0.0 }
    }
}

/// Settings that make no city.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// No sensors, or too many.
    #[error("{0} sensors cannot be simulated; ask for 1 to {SENSORS_MAX}")]
    Sensors(u32),
    /// No partitions.
    #[error("readings need at least one partition")]
    NoPartition,
    /// Not a share.
    #[error("a share of {0} anomalies cannot be injected; give a number from 0 to 1")]
    Anomalies(f64),
    /// Not a share, or too great a one.
    #[error(
        "a share of {share} {what} records cannot be made; give a number from 0 to {}",
        Disorder::SHARE_MAX
    )]
    Disorder {
        /// Which share.
        what: &'static str,
        /// What was asked for.
        share: f64,
    },
}

//! The settings of a city beside its domain: sizes, and the shares of anomalies and disorder.

/// Most sensors: few enough to be listed in memory.
const SENSORS_MAX: u32 = 10_000_000;

#[derive(Debug, Clone, PartialEq)]
pub struct CitySettings {
    /// Seed of the random numbers: the same seed gives the same city.
    pub seed: u64,
    /// How many sensors there are, numbered from 1.
    pub sensors: u32,
    /// How many partitions the sensors are spread over.
    pub partitions: u32,
    /// Share of readings that are anomalous, 0 … 1.
    pub anomalies: f64,
    pub disorder: Disorder,
}

impl CitySettings {
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

/// Shares of records that arrive out of order, late, twice or malformed, each 0 … [`Disorder::SHARE_MAX`].
#[derive(Debug, Clone, PartialEq)]
pub struct Disorder {
    /// Out of order, by less than the domain's `out_of_orderness`.
    pub out_of_order: f64,
    /// Too late to be accepted: behind the newest ones by more than `out_of_orderness` + `allowed_lateness` and a pane.
    pub late: f64,
    /// With the payload of a recent record.
    pub duplicate: f64,
    /// Not a reading.
    pub malformed: f64,
}

impl Disorder {
    /// The greatest share of each: at least half of the readings are in order.
    pub const SHARE_MAX: f64 = 0.5;
}

impl Default for Disorder {
    fn default() -> Disorder {
        Disorder { out_of_order: 0.03, late: 0.0, duplicate: 0.0, malformed: 0.0 }
    }
}

/// A setting is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsError {
    #[error("{0} sensors cannot be simulated; ask for 1 to {SENSORS_MAX}")]
    Sensors(u32),
    #[error("readings need at least one partition")]
    NoPartition,
    #[error("a share of {0} anomalies cannot be injected; give a number from 0 to 1")]
    Anomalies(f64),
    #[error(
        "a share of {share} {what} records cannot be made; give a number from 0 to {}",
        Disorder::SHARE_MAX
    )]
    Disorder { what: &'static str, share: f64 },
}

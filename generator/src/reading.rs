//! One reading of the city, and its ground truth, which no payload carries.

use citytide_domain::Kind;

/// Bits in one word of a [`MetricSet`].
const WORD: usize = 64;

/// A set of metrics by their indices in the domain; it holds as many as a domain may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MetricSet([u64; 4]);

impl MetricSet {
    pub fn of(index: usize) -> MetricSet {
        MetricSet::default().with(index)
    }

    pub fn with(mut self, index: usize) -> MetricSet {
        self.0[index / WORD] |= 1 << (index % WORD);
        self
    }

    pub fn contains(self, index: usize) -> bool {
        self.0.get(index / WORD).is_some_and(|word| word >> (index % WORD) & 1 == 1)
    }

    /// The indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * WORD).filter(move |index| self.contains(*index))
    }
}

/// Why a reading is not normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    pub kind: Kind,
    /// The affected metrics.
    pub metrics: MetricSet,
    /// Identifies the event: the same for all its readings.
    pub event: u64,
}

/// What is wrong with the bytes of a record that every decoder should reject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformation {
    /// The JSON ends too early.
    CutShort,
    /// A metric is a string.
    WrongType,
    /// The zone is missing.
    NoZone,
    /// The event time is missing.
    NoTime,
    /// The event time is not a time.
    WrongTime,
    /// Not UTF-8.
    NotUtf8,
    /// Bytes after the JSON.
    Trailing,
    /// No bytes at all.
    Empty,
}

impl Malformation {
    pub const ALL: [Malformation; 8] = [
        Malformation::CutShort,
        Malformation::WrongType,
        Malformation::NoZone,
        Malformation::NoTime,
        Malformation::WrongTime,
        Malformation::NotUtf8,
        Malformation::Trailing,
        Malformation::Empty,
    ];
}

/// A sensor that does not report at its turn: another one of its partition reports instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    pub sensor: u32,
    /// Identifies the event: the same for all turns of one silence.
    pub event: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The sensor's number: its `sensor_id` and Kafka key.
    pub sensor: u32,
    /// Index of its zone in [`City::zones`](crate::City::zones).
    pub zone: usize,
    /// Event time, milliseconds of the Unix epoch.
    pub at_ms: i64,
    /// A value for each metric of the domain, rounded to its decimals; NaN if null or absent.
    pub values: Vec<f64>,
    /// `None` for a normal reading.
    pub truth: Option<Truth>,
    /// The silent sensor whose turn this was; the reading itself may be normal.
    pub silence: Option<Silence>,
    /// The earlier offset of the same partition with the same payload.
    pub duplicate_of: Option<i64>,
    /// What is wrong with its bytes; such a record never becomes a row, so its truth does not count.
    pub malformed: Option<Malformation>,
}

/// Bitwise, so that NaN equals NaN.
impl PartialEq for Reading {
    fn eq(&self, other: &Reading) -> bool {
        let bits = |reading: &Reading| reading.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        (self.sensor, self.zone, self.at_ms, self.truth)
            == (other.sensor, other.zone, other.at_ms, other.truth)
            && (self.silence, self.duplicate_of) == (other.silence, other.duplicate_of)
            && self.malformed == other.malformed
            && bits(self) == bits(other)
    }
}

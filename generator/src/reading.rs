//! One reading of the city, and the truth about it, which no payload carries.

use citytide_domain::Kind;

/// Bits in one word of a [`MetricSet`].
const WORD: usize = 64;

/// A set of metrics by their indices in the domain: room for all that a domain may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MetricSet([u64; 4]);

impl MetricSet {
    /// The set of one metric.
    pub fn of(index: usize) -> MetricSet {
        MetricSet::default().with(index)
    }

    /// The set with one metric more.
    pub fn with(mut self, index: usize) -> MetricSet {
        self.0[index / WORD] |= 1 << (index % WORD);
        self
    }

    /// Whether a metric is in it.
    pub fn contains(self, index: usize) -> bool {
        self.0.get(index / WORD).is_some_and(|word| word >> (index % WORD) & 1 == 1)
    }

    /// The indices of its metrics, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * WORD).filter(move |index| self.contains(*index))
    }
}

/// Why a reading is not normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// What happened.
    pub kind: Kind,
    /// To which metrics.
    pub metrics: MetricSet,
    /// In which event: readings of one event share it, those of two do not.
    pub event: u64,
}

/// What is wrong with the bytes of a record that no decoder should take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformation {
    /// The JSON ends too early.
    CutShort,
    /// A metric is text.
    WrongType,
    /// The zone is missing.
    NoZone,
    /// The event time is missing.
    NoTime,
    /// The event time is no time.
    WrongTime,
    /// A byte that UTF-8 does not have.
    NotUtf8,
    /// Something behind the JSON.
    Trailing,
    /// Nothing at all.
    Empty,
}

impl Malformation {
    /// All of them.
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

/// A sensor that says nothing when it is its turn: another one of its partition reports instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// The sensor whose turn it was.
    pub sensor: u32,
    /// The event: all turns of one silence share it.
    pub event: u64,
}

/// One reading.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The sensor's number, which is its identity and its Kafka key.
    pub sensor: u32,
    /// Index of its zone in [`City::zones`](crate::City::zones).
    pub zone: usize,
    /// Event time, milliseconds of the Unix epoch.
    pub at_ms: i64,
    /// A value for each metric of the domain, rounded to its decimals; NaN where it is null or left out.
    pub values: Vec<f64>,
    /// Why it is not normal, if it is not.
    pub truth: Option<Truth>,
    /// The silent sensor whose turn this was; the reading itself may well be normal.
    pub silence: Option<Silence>,
    /// The earlier offset of the same partition whose payload this is again.
    pub duplicate_of: Option<i64>,
    /// What is wrong with its bytes; such a record never becomes a row, so that its truth does not count.
    pub malformed: Option<Malformation>,
}

/// Equal to the last bit: what is null here is null there.
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

//! Why a record is a dead letter.

/// The reason, in the words of `dead_letters.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No bytes at all.
    Empty,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Text that is not JSON.
    NotJson,
    /// A row of a CSV file with other columns than its header, or with a quote that is not closed.
    NotCsv,
    /// Sensor, time or zone is absent, null or empty.
    MissingField,
    /// A value of a type that its field does not take.
    WrongType,
    /// A known field occurs twice.
    DuplicateField,
    /// A time that is none.
    BadTimestamp,
    /// A metric's value that is not finite or too great.
    BadNumber,
    /// All metrics are null or absent.
    NoMetric,
    /// Sensor or zone is too long.
    TooLong,
    /// The event time is one that clocks show before they are set.
    ClockNotSet,
    /// The record's own timestamp is none of these years: it says nothing about the sensor's clock.
    BadRecordTimestamp,
    /// The event time is too far ahead of the record's timestamp.
    InTheFuture,
    /// The event time is too far behind the record's timestamp.
    TooOld,
    /// The partition has brought as many unknown zones as it may.
    TooManyZones,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 16] = [
        Reason::Empty,
        Reason::NotUtf8,
        Reason::NotJson,
        Reason::NotCsv,
        Reason::MissingField,
        Reason::WrongType,
        Reason::DuplicateField,
        Reason::BadTimestamp,
        Reason::BadNumber,
        Reason::NoMetric,
        Reason::TooLong,
        Reason::ClockNotSet,
        Reason::BadRecordTimestamp,
        Reason::InTheFuture,
        Reason::TooOld,
        Reason::TooManyZones,
    ];

    /// The word in `dead_letters.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::NotUtf8 => "not_utf8",
            Reason::NotJson => "not_json",
            Reason::NotCsv => "not_csv",
            Reason::MissingField => "missing_field",
            Reason::WrongType => "wrong_type",
            Reason::DuplicateField => "duplicate_field",
            Reason::BadTimestamp => "bad_timestamp",
            Reason::BadNumber => "bad_number",
            Reason::NoMetric => "no_metric",
            Reason::TooLong => "too_long",
            Reason::ClockNotSet => "clock_not_set",
            Reason::BadRecordTimestamp => "bad_record_timestamp",
            Reason::InTheFuture => "in_the_future",
            Reason::TooOld => "too_old",
            Reason::TooManyZones => "too_many_zones",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that is no reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    pub reason: Reason,
    /// The JSON name of the field at fault, where there is one.
    pub field: Option<String>,
    /// What is wrong, in words.
    pub message: String,
    /// Whose record it is, where that could be read.
    pub sensor: Option<String>,
}

impl DecodeError {
    /// An error of the whole record.
    #[cold]
    pub(crate) fn of_record(reason: Reason, message: impl Into<String>) -> DecodeError {
        DecodeError { reason, field: None, message: message.into(), sensor: None }
    }

    /// An error of one field.
    #[cold]
    pub(crate) fn of_field(reason: Reason, field: &str, message: impl Into<String>) -> DecodeError {
        DecodeError { reason, field: Some(field.to_owned()), message: message.into(), sensor: None }
    }

    /// The same of a sensor's record.
    pub(crate) fn of_sensor(self, sensor: &str) -> DecodeError {
        DecodeError { sensor: Some(sensor.to_owned()), ..self }
    }
}

//! The bytes of one Kafka record → a reading, or a dead letter with the reason.
//!
//! ```text
//!  payload ── fast_path: one pass, borrows, gives up at anything unusual ──▶ Reading
//!     │                          │ (rare)
//!     │                          ▼
//!     └─────────── strict: decodes again, by every rule in its order ──▶ Reading | DecodeError
//! ```
//!
//! Invariants:
//! 1. what `fast_path` accepts, `strict` accepts with the same result; only `strict` refuses;
//! 2. when several things are wrong, the first of this list is reported: empty, UTF-8, syntax, a field twice, then
//!    sensor, time, zone, the metrics in the domain's order, no metric at all, the clock;
//! 3. no text of a reading or of an error holds a NUL character: PostgreSQL could not store it.
//!
//! It knows no partitions, lateness or earlier zones: those are decided later, in log order.

mod clock;
mod csv;
mod error;
mod fast_path;
mod spelled;
mod strict;
mod timestamp;

use std::borrow::Cow;

use chrono_tz::Tz;

pub use csv::CsvHeader;
pub use error::{DecodeError, Reason};

/// Longest sensor or zone in bytes of UTF-8.
const TEXT_BYTES_MAX: usize = 200;
/// Greatest magnitude of a metric's value.
const VALUE_MAX: f64 = 1e12;
/// Slots of the names that are no metrics; metric `i` has slot `METRICS + i`.
const SENSOR: usize = 0;
const TIME: usize = 1;
const ZONE: usize = 2;
const METRICS: usize = 3;

/// What a reading says besides its metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    /// The sensor's identity.
    pub sensor: Cow<'a, str>,
    /// The zone as sent.
    pub zone: Cow<'a, str>,
    /// Event time in microseconds of the Unix epoch.
    pub event_time_us: i64,
}

/// Reads records of one domain. Made once per worker.
#[derive(Debug, Clone)]
pub struct Decoder {
    /// JSON names by slot: sensor, time, zone, metrics.
    names: Vec<Box<str>>,
    time_zone: Tz,
    future_max_us: i64,
    max_age_us: i64,
}

impl Decoder {
    /// A decoder of `domain`'s readings.
    pub fn new(domain: &citytide_domain::Domain) -> Decoder {
        let fields = [&domain.fields.sensor, &domain.fields.time, &domain.fields.zone];
        let metrics = domain.metrics.iter().map(|metric| &metric.name);
        Decoder {
            names: fields.into_iter().chain(metrics).map(|name| name.as_str().into()).collect(),
            time_zone: domain.fields.time_zone,
            future_max_us: domain.time.future_max_us,
            max_age_us: domain.time.max_age_us,
        }
    }

    /// Reads one record. `values` has one slot per metric of the domain, in its order; a null or absent metric
    /// becomes NaN. `received_at_us` is the record's Kafka timestamp in microseconds of the Unix epoch. After an
    /// error the contents of `values` mean nothing.
    pub fn decode<'a>(
        &self,
        payload: &'a [u8],
        received_at_us: i64,
        values: &mut [f64],
    ) -> Result<Reading<'a>, DecodeError> {
        assert_eq!(values.len(), self.names.len() - METRICS, "one slot per metric of the domain");
        if let Ok(text) = std::str::from_utf8(payload)
            && let Some(reading) = fast_path::read(self, text, values)
            && self.is_plausible(reading.event_time_us, received_at_us)
        {
            return Ok(reading);
        }
        strict::read(self, payload, received_at_us, values)
    }

    /// Holds an event time against the clock of who reads the record, where its timestamp is its sender's own: the same
    /// wrong clock may have written both.
    ///
    /// # Errors
    ///
    /// When it is more than `future_max` ahead.
    pub fn check_reader_clock(&self, event_time_us: i64, read_at_us: i64) -> Result<(), DecodeError> {
        if event_time_us <= read_at_us.saturating_add(self.future_max_us) {
            return Ok(());
        }
        let (event, read) = (timestamp::shown(event_time_us), timestamp::shown(read_at_us));
        let message = format!(
            "the event time {event} is more than {} (future_max) ahead of the clock {read} of the reader; the record's own \
             timestamp is its sender's",
            clock::shown_us(self.future_max_us)
        );
        Err(DecodeError::of_field(Reason::InTheFuture, &self.names[TIME], message))
    }

    /// Whether the sensor's clock can be believed, given when the record reached Kafka.
    fn is_plausible(&self, event_time_us: i64, received_at_us: i64) -> bool {
        event_time_us <= received_at_us.saturating_add(self.future_max_us)
            && event_time_us >= received_at_us.saturating_sub(self.max_age_us)
    }

    /// The slot of a JSON name; `expected` is looked at first.
    #[inline]
    fn slot(&self, name: &str, expected: usize) -> Option<usize> {
        if self.names.get(expected).is_some_and(|known| **known == *name) {
            return Some(expected);
        }
        self.names.iter().position(|known| **known == *name)
    }
}

#[cfg(test)]
mod tests;

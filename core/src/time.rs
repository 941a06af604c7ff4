//! Event time: microseconds of the Unix epoch, in an `i64`.

/// The watermark before any accepted reading.
pub const NEVER: i64 = i64::MIN;

/// The greatest multiple of `step_us` that is not above `at_us`.
pub fn floor_to(at_us: i64, step_us: i64) -> i64 {
    at_us.div_euclid(step_us).saturating_mul(step_us)
}

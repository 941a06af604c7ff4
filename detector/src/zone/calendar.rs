//! Event time as a zone's bins see it: half-hours and hours of the week by the domain's clocks.

/// Half-hours of a week: bins of the baseline.
pub(crate) const HALF_HOURS: usize = 336;
/// Half-hours of a day: the baseline of a bin that no week has shown yet.
pub(crate) const DAY_BINS: usize = 48;
/// Hours of a week: bins of scale and repeats.
pub(crate) const HOURS: usize = 168;
/// Hours of a day: bins of correlation.
pub(crate) const DAY_HOURS: usize = 24;
pub(crate) const HALF_HOUR_US: i64 = 1_800_000_000;

/// The bins of one event time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calendar {
    /// Half-hour of the week, from Thursday 00:00 as the Unix epoch is.
    pub(crate) bin: usize,
    /// The half-hour on the nearer side, and how far the time is towards it, 0 … ½ of a half-hour.
    pub(crate) neighbour: usize,
    pub(crate) towards: f64,
    /// Hour of the week.
    pub(crate) hour: usize,
}

impl Calendar {
    /// The bins of a local time in microseconds, see [`Layout::local_us`](crate::Layout).
    pub(crate) fn at(local_us: i64) -> Calendar {
        let in_week_us = local_us.rem_euclid(HALF_HOURS as i64 * HALF_HOUR_US);
        let bin = (in_week_us / HALF_HOUR_US) as usize;
        let within = (in_week_us % HALF_HOUR_US) as f64 / HALF_HOUR_US as f64 - 0.5;
        let neighbour = if within > 0.0 { bin + 1 } else { bin + HALF_HOURS - 1 } % HALF_HOURS;
        Calendar { bin, neighbour, towards: within.abs(), hour: bin / 2 }
    }
}

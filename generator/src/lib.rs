//! A synthetic city: plausible readings, each a function of (seed, partition, offset).
//!
//! ```text
//!  (seed, partition, offset) ── City ──▶ sensor, zone ────────┐
//!            schedule ── event time, disorder ────────────────┼─▶ Reading ── Encoder ──▶ JSON
//!            signals ── profiles, shared factors, noise ──────┤
//!            anomaly ── events by slot ───────────────────────┘
//! ```
//!
//! 1. No state passes from one reading to the next: any reading can be generated again, in any order, on any thread.
//!    All random numbers come from [`random`], keyed by the reading's coordinates.
//! 2. A reading without an injected anomaly violates no rule of the domain and stays in every usual range.
//! 3. The ground truth travels beside a reading ([`Truth`]), never in its payload.
//! 4. No clock and no I/O: the binary has both.

mod anomaly;
mod bounds;
mod city;
mod events;
mod json;
mod profile;
mod random;
mod reading;
mod schedule;
mod settings;
mod signals;
mod smooth;

pub use city::City;
pub use citytide_domain::Kind;
pub use json::Encoder;
pub use reading::{Malformation, MetricSet, Reading, Silence, Truth};
pub use schedule::Schedule;
pub use settings::{CitySettings, Disorder, SettingsError};

/// The version of the city. Raise it whenever the same settings, partition and offset give another reading: a run that
/// stored an offset must not continue from it with another city.
pub const MODEL: u32 = 3;

//! A synthetic city: readings that a person would believe, each a function of (seed, partition, offset).
//!
//! ```text
//!  (seed, partition, offset) ── City ──▶ sensor, zone ────────┐
//!            schedule ── event time, disorder ────────────────┼─▶ Reading ── Encoder ──▶ JSON
//!            nature ── courses, hidden causes, noise ─────────┤
//!            trouble ── events by slot: what goes wrong ──────┘
//! ```
//!
//! 1. Nothing here keeps state from one reading to the next: any reading can be made again, in any order, on any
//!    thread. All chance is drawn by [`chance`] from the reading's own coordinates.
//! 2. A reading that is no injected anomaly trips no rule of the domain and stays in every usual range.
//! 3. What a reading really is travels beside it ([`Truth`]), never in its payload.
//! 4. No clock, no I/O: those are the binary's.

mod bounds;
mod chance;
mod city;
mod course;
mod events;
mod json;
mod nature;
mod reading;
mod schedule;
mod settings;
mod smooth;
mod trouble;

pub use city::City;
pub use citytide_domain::Kind;
pub use json::Encoder;
pub use reading::{Malformation, MetricSet, Reading, Silence, Truth};
pub use schedule::Schedule;
pub use settings::{CitySettings, Disorder, SettingsError};

/// The version of the city: raised whenever the same settings, partition and offset make another reading, since
/// whoever has kept an offset must not go on from it with another city.
pub const MODEL: u32 = 3;

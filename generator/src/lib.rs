//! A synthetic city: readings that a person would believe, each a function of (seed, partition, offset).
//!
//! ```text
//!  (seed, partition, offset) ── City ──▶ sensor, zone ─┐
//!                 schedule ── event time, disorder ────┼─▶ Reading ── Encoder ──▶ JSON
//!                 pattern × character + noise, anomaly ┘
//! ```
//!
//! 1. Nothing here keeps state from one reading to the next: any reading can be made again, in any order, on any
//!    thread. All chance is drawn by [`chance`] from the reading's own coordinates.
//! 2. A reading that is no injected anomaly trips no rule of the domain.
//! 3. No clock, no I/O: those are the binary's.

mod chance;
mod city;
mod course;
mod json;
mod reading;
mod schedule;

pub use city::{City, CitySettings, Disorder, SettingsError};
pub use json::Encoder;
pub use reading::{Kind, Malformation, MetricSet, Reading, Silence, Truth};
pub use schedule::Schedule;

/// The version of the city: raised whenever the same settings, partition and offset make another reading, since
/// whoever has kept an offset must not go on from it with another city.
pub const MODEL: u32 = 1;

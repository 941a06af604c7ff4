//! Incidents in the database: their tables, how they are read, and what they should be, in SQL.
//!
//! Two axes that never touch each other. What the *data* say is kept by the dataflow: `incident_occurrences`,
//! `incident_states` and the log `incident_transitions`. What *people* do is the log `incident_actions`, which functions
//! write. The views `incidents`, `incident_changes` and `alarm_load` show both together.

mod act;
mod actions;
mod compare;
mod load;
mod rows;
pub mod shown;
mod tables;
mod views;

pub use act::{ActError, Action, act};
pub use compare::{occurrences_comparison, states_comparison};
pub use load::{LoadedIncidents, load, spawn};
pub use rows::{occurrence_row, state_row, transition_row};
pub use tables::{beside, occurrences, states, transitions};
pub use views::views;

//! Incidents in the database: their tables and views, how they are read, and the SQL that recomputes them.
//!
//! Detection and users' actions are stored apart. The dataflow writes `incident_occurrences`, `incident_states` and the
//! log `incident_transitions`; SQL functions write the log of users' actions, `incident_actions`. The views
//! `incidents`, `incident_changes` and `alarm_load` combine them.

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

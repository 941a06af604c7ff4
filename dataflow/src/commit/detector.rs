//! The detector in the database: what it knew is read back and brought up to date, models are trained, stored and asked
//! for.

mod load;
pub mod models;
mod recent;
mod rows;
mod training;

pub use load::{Loaded, load, past};
pub use recent::recent;
pub use rows::JudgedRows;
pub use training::{TrainingSettings, spawn, store};

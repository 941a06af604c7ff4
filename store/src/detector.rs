//! The detector in the database: what it knew is read back and brought up to date, models are stored and asked for.

mod load;
pub mod models;
mod recent;
mod rows;
mod stored;

pub use load::{Loaded, load, new_detector, past};
pub use recent::recent;
pub use rows::JudgedRows;
pub use stored::store;

//! Loads the detector's state and replays the readings since; stores models, and requests and reads them.

mod load;
pub mod models;
mod recent;
mod rows;
mod stored;

pub use load::{Loaded, load, new_detector, past};
pub use recent::recent;
pub use rows::JudgedRows;
pub use stored::store;

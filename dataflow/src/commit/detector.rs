//! The detector in the database: what it knew is read back and brought up to date, models are trained and stored.

mod load;
mod training;

pub use load::{Loaded, load};
pub use training::{TrainingSettings, spawn, store};

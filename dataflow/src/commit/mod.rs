//! The commit: what is written to PostgreSQL, and the one door to it.
pub mod migrate;
pub mod postgres;
pub mod schema;
pub mod takeover;
pub mod upkeep;

//! One file per command.
pub mod verify;

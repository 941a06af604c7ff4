//! What is odd, how odd, and why.
#![forbid(unsafe_code)]

pub mod evaluate;
pub mod forest;

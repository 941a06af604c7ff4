//! One file per command, and what they share: endings, the status line, what `--show` prints.
pub mod ending;
pub mod run;
pub mod show;
pub mod status;
pub mod verify;

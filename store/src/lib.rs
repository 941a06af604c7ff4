//! All access to citytide's database. Programs that read or write it link this crate; its manifest excludes timely
//! and rdkafka.
//!
//! [`postgres`] opens connections, [`schema`] describes the tables as data, [`migrate`] creates and upgrades them. A
//! run starts with [`takeover`], reads the [`ledger`], and maintains the tables with [`upkeep`]. [`session`] runs a
//! connection on its own thread, for programs that are not asynchronous. [`row`] holds the values of a row;
//! [`compare`] recomputes tables in SQL; [`partitions`] finds the partition of an epoch. [`clock`] is the only file
//! that reads the clock; [`epoch_clock`] derives epochs from it.

pub mod anomalies;
pub mod clock;
pub mod compare;
pub mod detector;
pub mod epoch_clock;
pub mod find;
pub mod follow;
pub mod followers;
pub mod incidents;
pub mod ledger;
pub mod migrate;
pub mod notifications;
pub mod origin;
pub mod panes;
pub mod partitions;
pub mod postgres;
pub mod row;
pub mod schema;
pub mod session;
pub mod sessions;
pub mod takeover;
pub mod time;
pub mod upkeep;

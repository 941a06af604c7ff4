//! The one door to citytide's database. Whoever reads or writes it links this crate; the manifest keeps timely and
//! rdkafka out.
//!
//! [`postgres`] opens connections, [`schema`] is the tables as data, [`migrate`] brings a database to them. A run
//! begins with [`takeover`], reads its [`ledger`], and keeps the tables in shape by [`upkeep`]. [`session`] is a thread
//! with a connection, for programs that are not asynchronous. A [`row`] is data, and [`compare`] recomputes tables in
//! SQL. [`partitions`] says which partition holds an epoch. [`clock`] is the one file that asks the clock, [`epoch_clock`] what epochs are made of.

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
pub mod takeover;
pub mod time;
pub mod upkeep;

//! The database side against a real server: schema, migration, upkeep, clean-up, verify. Each test has a database of
//! its own and drops it; one that fails leaves it behind, for whoever looks into it.
//!
//! `DATABASE_URL` names the server (a role that may create databases). It is read in `scratch.rs` and nowhere else.

#[path = "database/clean_up.rs"]
mod clean_up;
#[path = "database/follow.rs"]
mod follow;
#[path = "database/followers.rs"]
mod followers;
#[path = "database/incidents.rs"]
mod incidents;
#[path = "database/migration.rs"]
mod migration;
#[path = "database/models.rs"]
mod models;
#[path = "database/page.rs"]
mod page;
#[path = "database/program.rs"]
mod program;
#[path = "database/queries.rs"]
mod queries;
#[path = "database/scratch.rs"]
mod scratch;
#[path = "database/shadow.rs"]
mod shadow;
#[path = "database/train.rs"]
mod train;
#[path = "database/upkeep.rs"]
mod upkeep;
#[path = "database/verify.rs"]
mod verify;
#[path = "database/writer.rs"]
mod writer;

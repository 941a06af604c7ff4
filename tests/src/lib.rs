//! The black box: a real Apache Kafka, a real PostgreSQL, processes. Links nothing of the product.
//!
//! ```text
//!  load ── readings and garbage, each with what it means ──▶ kafka (partition, offset and timestamp are ours)
//!    │                                                          │
//!    ▼                                                          ▼
//!  oracle: every table, recomputed from what was sent      process: citytide run, killed, stopped, restarted
//!    │                                                          │
//!    └────────────▶ compare ◀── database ◀──────────────────────┘
//!                                  ▲ snapshot: hammers it meanwhile, every single statement must be consistent
//! ```
//!
//! The rules are those of docs/architecture.md and docs/domains.md, written a second time here and on purpose in another
//! way: a list in log order, no panes, no epochs, no batches.

// Tests wait for processes and print nothing that depends on when they ran.
#![allow(clippy::disallowed_methods)]

pub mod broker;
pub mod browser;
pub mod city;
pub mod cluster;
pub mod compare;
pub mod database;
pub mod folder;
pub mod generated;
pub mod http;
pub mod incidents;
pub mod kafka;
pub mod load;
pub mod node;
pub mod oracle;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod scene;
pub mod schemathesis;
pub mod services;
pub mod sessions;
pub mod snapshot;

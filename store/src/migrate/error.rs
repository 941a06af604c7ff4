//! The errors of a migration.

use crate::postgres::DatabaseError;
use crate::schema::SCHEMA_VERSION;

/// Why the database cannot be used for a domain.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database belongs to another domain.
    #[error(
        "this database belongs to the domain {there}, not {wanted}: use its domain file, or another database (createdb NAME)"
    )]
    OtherDomain {
        /// The domain of the database.
        there: String,
        /// The domain of the domain file.
        wanted: String,
    },
    /// The database belongs to another topic.
    #[error(
        "this database belongs to the {}, not {}: read from that source, or use another database (createdb NAME)",
        what(there),
        wanted
    )]
    OtherTopic {
        /// The topic of the database.
        there: String,
        /// The topic of the run.
        wanted: String,
    },
    /// The domain file no longer has a metric whose values are in the database.
    #[error(
        "the metric {metric} is in this database but not in the domain file, and removing it would lose its \
         values: restore the metric, or use a new database (createdb NAME)"
    )]
    MetricGone { metric: String },
    /// The windows of the domain file are not those of the database.
    #[error(
        "the windows of this database are {there}, those of the domain file {wanted}; existing rows cannot be \
         re-aggregated: restore the windows, in this order, or use a new database (createdb NAME)"
    )]
    OtherWindows {
        /// The windows of the database.
        there: String,
        /// The windows of the domain file.
        wanted: String,
    },
    /// Another version of citytide has created or changed the schema.
    #[error(
        "this database has schema version {there}, this program supports {SCHEMA_VERSION}: use the program that \
         created it, or a newer one"
    )]
    OtherVersion {
        /// The version of the database.
        there: i32,
    },
    /// Some relations of the schema exist, others do not.
    #[error(
        "the schema {schema} holds {present} but not {absent}, so it is not a database of citytide, or it was \
         changed by hand: use an empty database (createdb NAME), or restore what is missing"
    )]
    HalfMade {
        /// The current schema.
        schema: String,
        /// The existing relations.
        present: String,
        /// The missing relations.
        absent: String,
    },
    /// Tables were changed by hand so that a run would fail.
    #[error(
        "the tables were changed by hand, and a run would fail or write wrong rows: {what}; restore that \
         (citytide schema print shows the tables), or use a new database (createdb NAME)"
    )]
    ChangedByHand {
        /// The differences.
        what: String,
    },
    /// Process 0 of the run has not migrated the database to the domain file.
    #[error(
        "process 0 of the run has not updated the tables to the domain file: {what}; check that it was started with \
         the same --domain"
    )]
    NotApplied {
        /// The remaining differences.
        what: String,
    },
    /// Other objects depend on a view that must be replaced.
    #[error(
        "a view of citytide must be created again, but another object depends on it: {reason}; drop that object, \
         start again, then create it again"
    )]
    Dependents {
        /// The server's message.
        reason: String,
    },
    /// The role lacks a privilege.
    #[error(
        "the role {role} may not create or change tables in the schema {schema}: {reason}; connect as the owner of the database, or let the owner run \"grant create, usage on schema {schema} to {role}\""
    )]
    Denied {
        role: String,
        /// The current schema.
        schema: String,
        /// The server's message.
        reason: String,
    },
    /// The database failed, or other sessions held locks for too long.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Names a source for messages: `topic sensor-data`, or `source …` for one that is not a topic and has a colon.
fn what(source: &str) -> String {
    let kind = if source.contains(':') { "source" } else { "topic" };
    format!("{kind} {source}")
}

impl MigrateError {
    /// Whether the domain file and the database contradict each other, so that a restart does not help.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, MigrateError::Denied { .. } | MigrateError::Database(_))
    }

    /// Whether the role lacks a privilege.
    pub fn is_denied(&self) -> bool {
        matches!(self, MigrateError::Denied { .. })
    }
}

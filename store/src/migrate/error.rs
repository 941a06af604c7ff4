//! Why a database cannot be used for a domain, and what to do about it.

use crate::postgres::DatabaseError;
use crate::schema::SCHEMA_VERSION;

/// Why the database cannot be used for a domain.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database holds another domain's readings.
    #[error(
        "this database belongs to the domain {there}, not {wanted}: use its domain file, or another database (createdb NAME)"
    )]
    OtherDomain {
        /// The domain of the database.
        there: String,
        /// The domain that was asked for.
        wanted: String,
    },
    /// The database holds another topic's readings.
    #[error(
        "this database belongs to the {}, not {}: read from that source, or use another database (createdb NAME)",
        what(there),
        wanted
    )]
    OtherTopic {
        /// The topic of the database.
        there: String,
        /// The topic that was asked for.
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
    /// A newer citytide made the schema, or changed it.
    #[error(
        "this database has schema version {there}, this program knows {SCHEMA_VERSION}: use the program that \
         created it, or a newer one"
    )]
    OtherVersion {
        /// The version of the database.
        there: i32,
    },
    /// Some relations of the schema are there, others are not.
    #[error(
        "the schema {schema} holds {present} but not {absent}, so it is not a database of citytide, or it was \
         changed by hand: use an empty database (createdb NAME), or restore what is missing"
    )]
    HalfMade {
        /// The schema of the search path in which citytide's tables live.
        schema: String,
        /// What is there.
        present: String,
        /// What is missing.
        absent: String,
    },
    /// Tables were changed by hand in a way that a run cannot live with.
    #[error(
        "the tables were changed by hand, and a run would fail or write wrong rows: {what}; restore that \
         (citytide schema print shows the tables), or use a new database (createdb NAME)"
    )]
    ChangedByHand {
        /// Table and column of each.
        what: String,
    },
    /// Process 0 of the run has not brought the database up to the domain file.
    #[error(
        "process 0 of the run has not updated the tables to the domain file: {what}; is it started with the same \
         --domain?"
    )]
    NotApplied {
        /// What is still missing.
        what: String,
    },
    /// Views or rules of others stand on views that must be made anew.
    #[error(
        "a view of citytide must be created again, but another object depends on it: {reason}; drop that object, \
         start again, then create it again"
    )]
    Dependents {
        /// The server's words.
        reason: String,
    },
    /// The role may not do what is needed.
    #[error(
        "the role {role} may not create or change tables in the schema {schema}: {reason}; connect as the owner of the database, or let the owner run \"grant create, usage on schema {schema} to {role}\""
    )]
    Denied {
        role: String,
        /// The schema of the search path.
        schema: String,
        /// The server's words.
        reason: String,
    },
    /// The database failed, or somebody's locks stood in the way for too long.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// `topic sensor-data`, or another source in its own words: no topic's name holds a colon.
fn what(source: &str) -> String {
    let kind = if source.contains(':') { "source" } else { "topic" };
    format!("{kind} {source}")
}

impl MigrateError {
    /// Whether the domain file and the database do not fit, so that starting again does not help.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, MigrateError::Denied { .. } | MigrateError::Database(_))
    }

    /// Whether rights are missing.
    pub fn is_denied(&self) -> bool {
        matches!(self, MigrateError::Denied { .. })
    }
}

//! Why a command ends early: the message for the user and the exit code, for each error of the rooms below.

use citytide_connection::ConnectionError;
use citytide_store::detector::models::PromoteError;
use citytide_store::follow::FollowError;
use citytide_store::followers::FollowerError;
use citytide_store::incidents::ActError;
use citytide_store::migrate::MigrateError;
use citytide_store::origin::OriginError;
use citytide_store::postgres::{DatabaseError, INSUFFICIENT_PRIVILEGE};
use citytide_store::takeover::TakeoverError;

use crate::runtime::exit::Exit;
use crate::sources::SourceError;
use crate::sources::files::FilesError;
use crate::sources::kafka::KafkaSourceError;

/// Why a command cannot go on, and the exit code that says so.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    exit: Exit,
    message: String,
}

impl ExitError {
    pub fn new(exit: Exit, message: impl ToString) -> ExitError {
        ExitError { exit, message: message.to_string() }
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Logs the message, and returns the code to exit with.
    pub fn report(&self) -> i32 {
        tracing::error!("{self}");
        self.exit.code()
    }

    /// A source that failed. A topic that is missing although it has been read before is an outage: brokers that
    /// are starting do not know their topics yet.
    pub fn of_source(error: SourceError, has_been_read: bool) -> ExitError {
        let error = match error {
            SourceError::Kafka(error) => error,
            SourceError::Files(error) => {
                let exit = match error {
                    FilesError::Failed { .. } => Exit::Away,
                    FilesError::Denied { .. } => Exit::Denied,
                    _ => Exit::Config,
                };
                return ExitError::new(exit, error);
            }
        };
        let exit = match error {
            KafkaSourceError::Away { .. } => Exit::Away,
            KafkaSourceError::MissingTopic { brokers, topic } if has_been_read => {
                let why = format!(
                    "topic {topic} is not at {brokers}, though this database has read it before; waiting for it to \
                     come back"
                );
                return ExitError::new(Exit::Away, why);
            }
            KafkaSourceError::MissingTopic { .. }
            | KafkaSourceError::OtherTopic { .. }
            | KafkaSourceError::Recreated { .. }
            | KafkaSourceError::Untrusted { .. }
            | KafkaSourceError::Unusable { .. } => Exit::Config,
            KafkaSourceError::Denied { .. } | KafkaSourceError::Forbidden { .. } => Exit::Denied,
        };
        ExitError::new(exit, error)
    }

    /// A session that failed while the run was under way: says which database.
    pub fn at_database(error: DatabaseError, database: &str) -> ExitError {
        let ExitError { exit, message } = ExitError::from(error);
        ExitError { exit, message: format!("{message} (PostgreSQL at {database})") }
    }
}

impl From<ConnectionError> for ExitError {
    fn from(error: ConnectionError) -> ExitError {
        ExitError::new(Exit::Config, error)
    }
}

impl From<SourceError> for ExitError {
    /// A source that failed while it was being read.
    fn from(error: SourceError) -> ExitError {
        ExitError::of_source(error, true)
    }
}

impl From<DatabaseError> for ExitError {
    fn from(error: DatabaseError) -> ExitError {
        let exit = match &error {
            DatabaseError::TooOld { .. }
            | DatabaseError::Address { .. }
            | DatabaseError::Setting { .. }
            | DatabaseError::Tls { .. } => Exit::Config,
            DatabaseError::Refused { .. } => Exit::Denied,
            DatabaseError::Away { .. } | DatabaseError::DiskFull { .. } => Exit::Away,
            DatabaseError::Fenced(_) => Exit::Held,
            DatabaseError::Rejected { .. } => Exit::Bug,
            DatabaseError::Statement { sqlstate, .. } => match sqlstate.as_deref() {
                Some(INSUFFICIENT_PRIVILEGE) => Exit::Denied,
                _ => Exit::Away,
            },
        };
        ExitError::new(exit, error)
    }
}

impl From<MigrateError> for ExitError {
    fn from(error: MigrateError) -> ExitError {
        match error {
            MigrateError::Database(error) => error.into(),
            error @ MigrateError::NotApplied { .. } => ExitError::new(Exit::PeerLost, error),
            error if error.is_denied() => ExitError::new(Exit::Denied, error),
            error => ExitError::new(Exit::Config, error),
        }
    }
}

impl From<ActError> for ExitError {
    fn from(error: ActError) -> ExitError {
        match error {
            ActError::Database(error) => error.into(),
            error @ ActError::Denied { .. } => ExitError::new(Exit::Denied, error),
            error @ (ActError::Refused(_) | ActError::Missing(_)) => ExitError::new(Exit::Config, error),
        }
    }
}

impl From<OriginError> for ExitError {
    fn from(error: OriginError) -> ExitError {
        match error {
            OriginError::Database(error) => error.into(),
            error @ OriginError::Other { .. } => ExitError::new(Exit::Config, error),
        }
    }
}

impl From<TakeoverError> for ExitError {
    fn from(error: TakeoverError) -> ExitError {
        match error {
            TakeoverError::Database(error) => error.into(),
            TakeoverError::Held(_) | TakeoverError::Stuck { .. } => ExitError::new(Exit::Held, error),
            TakeoverError::MayNotTerminate { .. } => ExitError::new(Exit::Denied, error),
            TakeoverError::NoRun { .. } => ExitError::new(Exit::PeerLost, error),
            TakeoverError::OtherNumber { .. } => ExitError::new(Exit::Config, error),
        }
    }
}

impl From<FollowError> for ExitError {
    fn from(error: FollowError) -> ExitError {
        match error {
            FollowError::Database(error) => error.into(),
            error => ExitError::new(Exit::Config, error),
        }
    }
}

impl From<FollowerError> for ExitError {
    fn from(error: FollowerError) -> ExitError {
        match error {
            FollowerError::Database(error) => error.into(),
            error => ExitError::new(Exit::Config, error.to_string()),
        }
    }
}

impl From<PromoteError> for ExitError {
    fn from(error: PromoteError) -> ExitError {
        match error {
            PromoteError::Database(error) => error.into(),
            PromoteError::Run(error) => error.into(),
            error => ExitError::new(Exit::Config, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_waited_for_and_certificates_are_not() {
        let (attempted, reason) = ("committing".to_owned(), "No space left on device".to_owned());
        let full = ExitError::from(DatabaseError::DiskFull { attempted, reason });
        assert!(Exit::restart_helps(Some(full.exit().code())) && full.to_string().contains("free space"));
        let (address, reason) = ("db:5432/x".to_owned(), "its certificate has expired".to_owned());
        let expired = ExitError::from(DatabaseError::Tls { address, reason });
        assert!(!Exit::restart_helps(Some(expired.exit().code())));
    }
}

//! How a command ends when it cannot go on: the exit code, and what the user reads.

use citytide_connection::ConnectionError;
use citytide_store::detector::models::PromoteError;
use citytide_store::migrate::MigrateError;
use citytide_store::origin::OriginError;
use citytide_store::postgres::DatabaseError;
use citytide_store::takeover::TakeoverError;

use crate::runtime::exit::Exit;
use crate::sources::SourceError;
use crate::sources::files::FilesError;
use crate::sources::kafka::KafkaSourceError;

/// SQLSTATE of a missing right.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// An exit code with its reason.
#[derive(Debug)]
pub struct Ending {
    exit: Exit,
    why: String,
}

impl Ending {
    /// Ends with `exit` because of `why`.
    pub fn new(exit: Exit, why: String) -> Ending {
        Ending { exit, why }
    }

    /// The code to end with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What the user reads.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// A source that failed. A topic that is missing although it has been read before is an outage: brokers that
    /// are starting do not know their topics yet.
    pub fn of_source(error: SourceError, has_been_read: bool) -> Ending {
        let error = match error {
            SourceError::Kafka(error) => error,
            SourceError::Files(error) => {
                let exit = match error {
                    FilesError::Failed { .. } => Exit::Away,
                    FilesError::Denied { .. } => Exit::Denied,
                    _ => Exit::Config,
                };
                return Ending::new(exit, error.to_string());
            }
        };
        let exit = match error {
            KafkaSourceError::Away { .. } => Exit::Away,
            KafkaSourceError::MissingTopic { brokers, topic } if has_been_read => {
                let why = format!(
                    "topic {topic} is not at {brokers}, though this database has read it before; waiting for it to \
                     come back"
                );
                return Ending::new(Exit::Away, why);
            }
            KafkaSourceError::MissingTopic { .. }
            | KafkaSourceError::OtherTopic { .. }
            | KafkaSourceError::Recreated { .. }
            | KafkaSourceError::Untrusted { .. }
            | KafkaSourceError::Unusable { .. } => Exit::Config,
            KafkaSourceError::Denied { .. } | KafkaSourceError::Forbidden { .. } => Exit::Denied,
        };
        Ending::new(exit, error.to_string())
    }
}

impl Ending {
    /// A session that failed while the run was under way: says which database.
    pub fn at_database(error: DatabaseError, database: &str) -> Ending {
        let mut ending = Ending::from(error);
        ending.why += &format!(" (PostgreSQL at {database})");
        ending
    }
}

impl From<ConnectionError> for Ending {
    fn from(error: ConnectionError) -> Ending {
        Ending::new(Exit::Config, error.to_string())
    }
}

impl From<SourceError> for Ending {
    /// A source that failed while it was being read.
    fn from(error: SourceError) -> Ending {
        Ending::of_source(error, true)
    }
}

impl From<DatabaseError> for Ending {
    fn from(error: DatabaseError) -> Ending {
        let exit = match &error {
            DatabaseError::TooOld { .. }
            | DatabaseError::Address { .. }
            | DatabaseError::Setting { .. }
            | DatabaseError::Tls { .. } => Exit::Config,
            DatabaseError::Refused { .. } => Exit::Denied,
            DatabaseError::Away { .. } | DatabaseError::DiskFull { .. } => Exit::Away,
            DatabaseError::Fenced(_) => Exit::Held,
            DatabaseError::Statement { sqlstate, .. } => match sqlstate.as_deref() {
                Some(INSUFFICIENT_PRIVILEGE) => Exit::Denied,
                _ => Exit::Away,
            },
        };
        Ending::new(exit, error.to_string())
    }
}

impl From<MigrateError> for Ending {
    fn from(error: MigrateError) -> Ending {
        match error {
            MigrateError::Database(error) => error.into(),
            error @ MigrateError::NotApplied { .. } => Ending::new(Exit::PeerLost, error.to_string()),
            error if error.is_denied() => Ending::new(Exit::Denied, error.to_string()),
            error => Ending::new(Exit::Config, error.to_string()),
        }
    }
}

impl From<OriginError> for Ending {
    fn from(error: OriginError) -> Ending {
        match error {
            OriginError::Database(error) => error.into(),
            error @ OriginError::Other { .. } => Ending::new(Exit::Config, error.to_string()),
        }
    }
}

impl From<TakeoverError> for Ending {
    fn from(error: TakeoverError) -> Ending {
        match error {
            TakeoverError::Database(error) => error.into(),
            TakeoverError::Held(_) | TakeoverError::Stuck { .. } => {
                Ending::new(Exit::Held, error.to_string())
            }
            TakeoverError::MayNotTerminate { .. } => Ending::new(Exit::Denied, error.to_string()),
            TakeoverError::NoRun { .. } => Ending::new(Exit::PeerLost, error.to_string()),
            TakeoverError::OtherNumber { .. } => Ending::new(Exit::Config, error.to_string()),
        }
    }
}

impl From<PromoteError> for Ending {
    fn from(error: PromoteError) -> Ending {
        match error {
            PromoteError::Database(error) => error.into(),
            PromoteError::Run(error) => error.into(),
            error => Ending::new(Exit::Config, error.to_string()),
        }
    }
}

/// Tells why, and returns the code to end with.
pub fn ending(ending: &Ending) -> i32 {
    tracing::error!("{}", ending.why);
    ending.exit.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_waited_for_and_certificates_are_not() {
        let (attempted, reason) = ("committing".to_owned(), "No space left on device".to_owned());
        let full = Ending::from(DatabaseError::DiskFull { attempted, reason });
        assert!(Exit::restart_helps(Some(full.exit().code())) && full.why().contains("make room"));
        let (address, reason) = ("db:5432/x".to_owned(), "its certificate has expired".to_owned());
        let expired = Ending::from(DatabaseError::Tls { address, reason });
        assert!(!Exit::restart_helps(Some(expired.exit().code())));
    }
}

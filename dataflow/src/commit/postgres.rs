//! The one door to the database: opening a connection, and what its failures mean for the run.
//!
//! A connection lives once. Nothing here reconnects or retries: losing any connection ends the run, and the next
//! run starts from the ledger (see `docs/decisions/0002-one-life-per-connection.md`).

use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What went wrong at the database, sorted by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address cannot be understood; a restart does not help.
    #[error("the database address cannot be used: {reason}; expected postgresql://user@host:port/database")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
    /// The server refuses the user, the password or the database; a restart does not help.
    #[error(
        "PostgreSQL at {address} refused the connection: {reason}; check user, password and database name"
    )]
    Refused {
        /// The address without its password.
        address: String,
        /// The server's words.
        reason: String,
    },
    /// The server is not there (yet); a restart helps once it is.
    #[error("cannot reach PostgreSQL at {address}: {reason}; is it running, and are host and port right?")]
    Away {
        /// The address without its password.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// A newer run has taken over; this one must end.
    #[error("{0}")]
    Fenced(String),
    /// A statement failed or the connection was lost; the next run starts from the ledger.
    #[error("{attempted} failed: {reason}")]
    Statement {
        /// What was attempted.
        attempted: String,
        /// The server's words.
        reason: String,
        /// Its SQLSTATE, when the server answered at all.
        sqlstate: Option<String>,
    },
}

impl DatabaseError {
    /// Wraps a failed statement with what it attempted. SQLSTATE CT001 is the fence's.
    pub fn statement(attempted: impl Into<String>, error: &tokio_postgres::Error) -> DatabaseError {
        let sqlstate = error.code().map(|state| state.code().to_owned());
        let reason = words(error);
        match sqlstate.as_deref() {
            Some("CT001") => DatabaseError::Fenced(reason),
            _ => DatabaseError::Statement { attempted: attempted.into(), reason, sqlstate },
        }
    }
}

/// An error's own words and those of its causes: tokio-postgres says only "db error" by itself.
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        let detail = database.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", database.message());
    }
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}

/// Where the database is. Its `Display` never shows a password.
#[derive(Clone)]
pub struct Database {
    config: Config,
    shown: String,
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Database({self})")
    }
}

impl Database {
    /// Understands `postgresql://…` or libpq's `key=value` form.
    pub fn parse(address: &str) -> Result<Database, DatabaseError> {
        let mut config: Config = address
            .parse()
            .map_err(|error: tokio_postgres::Error| DatabaseError::Address { reason: words(&error) })?;
        config.connect_timeout(CONNECT_TIMEOUT);
        let hosts: Vec<String> = config
            .get_hosts()
            .iter()
            .map(|host| match host {
                tokio_postgres::config::Host::Tcp(name) => name.clone(),
                tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        if hosts.is_empty() {
            return Err(DatabaseError::Address { reason: "it names no host".to_owned() });
        }
        if config.get_ssl_mode() == SslMode::Require {
            let reason = "it asks for TLS, which this version does not speak; leave sslmode out".to_owned();
            return Err(DatabaseError::Address { reason });
        }
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let shown = format!("{}:{port}/{}", hosts.join(","), config.get_dbname().unwrap_or("(default)"));
        Ok(Database { config, shown })
    }

    /// Opens a session that calls itself `application_name` and drives it on the current tokio runtime.
    /// The session is in UTC and READ COMMITTED (a fence under a higher level would compare with a snapshot that is
    /// older than its lock), with `search_path` and everything else as the address or the role says.
    pub async fn connect(&self, application_name: &str) -> Result<Client, DatabaseError> {
        let mut config = self.config.clone();
        config.application_name(application_name);
        let away = |reason: String| DatabaseError::Away { address: self.shown.clone(), reason };
        let (client, connection) =
            config.connect(NoTls).await.map_err(|error| match error.as_db_error() {
                // Class 57: starting up or shutting down; class 53: out of connections or memory. Waiting helps.
                Some(database)
                    if database.code().code().starts_with("57")
                        || database.code().code().starts_with("53") =>
                {
                    away(words(&error))
                }
                Some(_) => DatabaseError::Refused { address: self.shown.clone(), reason: words(&error) },
                // Not the network: so tokio-postgres calls what the address lacks, as a password.
                None if error.to_string().starts_with("invalid configuration") => {
                    DatabaseError::Refused { address: self.shown.clone(), reason: words(&error) }
                }
                None => away(words(&error)),
            })?;
        // When the connection breaks, every statement under way and every later one returns an error: that is
        // where the run ends. The task itself has nothing to say.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        client
            .batch_execute("set time zone 'UTC'; set default_transaction_isolation = 'read committed'")
            .await
            .map_err(|error| DatabaseError::statement("setting up the session", &error))?;
        Ok(client)
    }
}

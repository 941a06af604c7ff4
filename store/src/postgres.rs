//! Opens connections to the database and classifies their errors.
//!
//! Nothing here reconnects or retries: losing any connection ends the run, and the next run starts from the ledger
//! (see `docs/decisions/0002-one-life-per-connection.md`).

mod address;
mod certificates;
mod error;
mod password;
mod tls;

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Host, SslMode as Asked};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};

use crate::follow::{Notice, Notices};

pub use error::{DatabaseError, INSUFFICIENT_PRIVILEGE};

use address::Address;
use error::{VERSION_MIN, words};
use password::ConnectionKey;
use tls::{SslMode, Tls, TlsSettings};

/// Time limit for the TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for opening a session, from the first attempt until the server accepts statements.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// Connection settings that are not in the address. The address takes precedence.
#[derive(Clone, Default)]
pub struct DatabaseOptions {
    /// `--database-password-file`: its first line is the password. It takes precedence over the address.
    pub password_file: Option<PathBuf>,
    /// `PGPASSWORD`.
    pub password: Option<String>,
    /// `PGPASSFILE`; by default `.pgpass` in the home directory.
    pub passfile: Option<PathBuf>,
    /// `PGSSLMODE`.
    pub sslmode: Option<String>,
    /// `PGSSLROOTCERT`.
    pub sslrootcert: Option<String>,
    /// `PGSSLCERT`.
    pub sslcert: Option<String>,
    /// `PGSSLKEY`.
    pub sslkey: Option<String>,
    /// The user's home directory.
    pub home: Option<PathBuf>,
}

impl DatabaseOptions {
    /// Reads libpq's environment variables through `variable`; an empty variable counts as unset.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> DatabaseOptions {
        let value_of = |name: &str| variable(name).filter(|value| !value.is_empty());
        DatabaseOptions {
            password_file: None,
            password: value_of("PGPASSWORD"),
            passfile: value_of("PGPASSFILE").map(PathBuf::from),
            sslmode: value_of("PGSSLMODE"),
            sslrootcert: value_of("PGSSLROOTCERT"),
            sslcert: value_of("PGSSLCERT"),
            sslkey: value_of("PGSSLKEY"),
            home: value_of("HOME").map(PathBuf::from),
        }
    }
}

impl std::fmt::Debug for DatabaseOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseOptions")
            .field("password_file", &self.password_file)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("sslmode", &self.sslmode)
            .field("sslrootcert", &self.sslrootcert)
            .finish_non_exhaustive()
    }
}

/// How to connect to a database. Its `Display` and `Debug` never show a password.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: Tls,
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
    /// Parses an address, `postgresql://…` or libpq's `key=value` form, and reads the files that it or the options
    /// name.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Address`] when the address is invalid, [`DatabaseError::Setting`] when another setting or a
    /// file is.
    pub fn parse(address: &str, options: &DatabaseOptions) -> Result<Database, DatabaseError> {
        let wrong = |reason: String| DatabaseError::Address { reason };
        let setting = |reason: String| DatabaseError::Setting { reason };
        let address = Address::split(address).map_err(wrong)?;
        let mut config: Config =
            address.rest.parse().map_err(|error: tokio_postgres::Error| wrong(words(&error)))?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let hosts: Vec<String> = config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let Some(first) = hosts.first() else { return Err(wrong("it names no host".to_owned())) };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let setting_of =
            |key: &str, option: &Option<String>| address.get(key).map(str::to_owned).or(option.clone());
        if let Some(file) = &options.password_file {
            config.password(password::of_file(file).map_err(setting)?);
        } else if config.get_password().is_none() {
            let in_home = || options.home.as_ref().map(|home| home.join(".pgpass"));
            let passfile =
                address.get("passfile").map(PathBuf::from).or(options.passfile.clone()).or_else(in_home);
            let user = config.get_user().unwrap_or_default();
            let database = config.get_dbname().unwrap_or(user);
            let key = ConnectionKey { host: first, port, database, user };
            let found = match (&options.password, passfile) {
                (Some(password), _) => Some(password.clone()),
                (None, Some(passfile)) => password::of_passfile(&passfile, &key).map_err(setting)?,
                (None, None) => None,
            };
            if let Some(found) = found {
                config.password(found);
            }
        }
        // As in libpq, sslmode does not apply to Unix sockets.
        let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let tls = if is_local {
            Tls::none()
        } else {
            let settings = TlsSettings {
                mode: setting_of("sslmode", &options.sslmode),
                roots: setting_of("sslrootcert", &options.sslrootcert),
                certificate: setting_of("sslcert", &options.sslcert),
                key: setting_of("sslkey", &options.sslkey),
                directory: options.home.as_ref().map(|home| home.join(".postgresql")),
            };
            Tls::new(&settings).map_err(setting)?
        };
        let shown = format!("{}:{port}/{}", hosts.join(","), config.get_dbname().unwrap_or("(default)"));
        Ok(Database { config, tls, shown })
    }

    /// Opens a session named `application_name` and drives it on the current tokio runtime.
    ///
    /// Its time zone is UTC and its isolation level READ COMMITTED (under a higher level the fence would compare with a
    /// snapshot older than its lock); the address and the role decide all other settings, such as `search_path`.
    pub async fn connect(&self, application_name: &str) -> Result<Client, DatabaseError> {
        self.connect_with(application_name, None).await
    }

    /// As [`Database::connect`], and collects the notifications on the channels to which the session listens.
    pub async fn connect_listening(
        &self,
        application_name: &str,
    ) -> Result<(Client, Arc<Notices>), DatabaseError> {
        let notices = Arc::new(Notices::default());
        let client = self.connect_with(application_name, Some(notices.clone())).await?;
        Ok((client, notices))
    }

    /// Cancels the statement that a session of this database is running.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Statement`] when the request cannot be sent.
    pub async fn cancel(&self, client: &Client) -> Result<(), DatabaseError> {
        let token = client.cancel_token();
        let asked = match self.tls.connector() {
            Some(tls) => token.cancel_query(tls).await,
            None => token.cancel_query(NoTls).await,
        };
        asked.map_err(|error| DatabaseError::statement("cancelling a statement", &error))
    }

    async fn connect_with(
        &self,
        application_name: &str,
        notices: Option<Arc<Notices>>,
    ) -> Result<Client, DatabaseError> {
        let opened = tokio::time::timeout(OPEN_TIMEOUT, self.open(application_name, notices)).await;
        let client = opened.unwrap_or_else(|_| {
            let reason = format!("no answer within {} s", OPEN_TIMEOUT.as_secs());
            Err(DatabaseError::Away { address: self.shown.clone(), reason })
        })?;
        client
            .batch_execute("set time zone 'UTC'; set default_transaction_isolation = 'read committed'")
            .await
            .map_err(|error| DatabaseError::statement("setting up the session", &error))?;
        Ok(client)
    }

    /// Opens a session with or without TLS, or tries one after the other, as sslmode says.
    async fn open(
        &self,
        application_name: &str,
        notices: Option<Arc<Notices>>,
    ) -> Result<Client, DatabaseError> {
        let first = match self.tls.mode {
            SslMode::Disable | SslMode::Allow => Asked::Disable,
            SslMode::Prefer => Asked::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Asked::Require,
        };
        let failed = match self.open_once(application_name, first, notices.clone()).await {
            Ok(client) => return Ok(client),
            Err(failed) => failed,
        };
        // pg_hba.conf admits only connections with, or only those without, TLS.
        let admits_other =
            matches!(&failed, DatabaseError::Refused { sqlstate: Some(state), .. } if state == "28000");
        let other = match self.tls.mode {
            SslMode::Allow if admits_other => Asked::Require,
            SslMode::Prefer if admits_other || matches!(failed, DatabaseError::Tls { .. }) => Asked::Disable,
            _ => return Err(failed),
        };
        self.open_once(application_name, other, notices).await.map_err(|second| match second {
            // The server has no TLS: the reason is why it refused the connection without.
            DatabaseError::Tls { .. } => failed,
            DatabaseError::Refused { sqlstate: Some(state), .. } if state == "28000" => failed,
            second => second,
        })
    }

    async fn open_once(
        &self,
        application_name: &str,
        asked: Asked,
        notices: Option<Arc<Notices>>,
    ) -> Result<Client, DatabaseError> {
        let mut config = self.config.clone();
        config.application_name(application_name).ssl_mode(asked);
        let failed =
            |error: tokio_postgres::Error| DatabaseError::opening(&self.shown, &self.tls.roots, &error);
        // The task that drives the connection reports no error: when the connection breaks, every statement in
        // progress and every later one fails, which ends the run.
        match self.tls.connector().filter(|_| asked != Asked::Disable) {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.map_err(failed)?;
                self.refuse_old(connection.parameter("server_version"))?;
                tokio::spawn(drive(connection, notices));
                Ok(client)
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                self.refuse_old(connection.parameter("server_version"))?;
                tokio::spawn(drive(connection, notices));
                Ok(client)
            }
        }
    }
}

impl Database {
    /// Refuses a server whose version (`15.6 (Debian …)`) is below [`VERSION_MIN`].
    fn refuse_old(&self, version: Option<&str>) -> Result<(), DatabaseError> {
        let version = version.unwrap_or("unknown");
        let major = version.split(|letter: char| !letter.is_ascii_digit()).next();
        match major.and_then(|major| major.parse::<u32>().ok()) {
            Some(major) if major < VERSION_MIN => {
                Err(DatabaseError::TooOld { address: self.shown.clone(), version: version.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// Drives the connection until it ends, and collects its notifications.
async fn drive<S, T>(mut connection: Connection<S, T>, notices: Option<Arc<Notices>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // An error of the connection shows in its statements.
    let Some(notices) = notices else { return drop(connection.await) };
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(told) = message
            && let Some(notice) = Notice::parse(told.payload())
        {
            notices.add(notice);
        }
    }
}

#[cfg(test)]
mod tests;

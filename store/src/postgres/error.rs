//! Classifies database errors by what the user can do about them.

use std::error::Error as _;

/// SQLSTATE of `citytide_fence`: another run has taken over.
const FENCED: &str = "CT001";
/// The oldest supported major version.
pub(super) const VERSION_MIN: u32 = 14;
/// SQLSTATE of a full disk.
const DISK_FULL: &str = "53100";
/// SQLSTATE of a missing privilege. Unlike the others of its class, the statement succeeds once it is granted.
pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// Classes of SQLSTATE that depend only on statement, data and tables, so that a retry fails again: data exception,
/// integrity constraint violation, syntax error or access rule violation.
const REJECTED: [&str; 3] = ["22", "23", "42"];

/// An error of the database or the connection to it. No message shows a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address is invalid; a restart does not help.
    #[error("the database address cannot be used: {reason}; expected postgresql://user@host:port/database")]
    Address {
        /// What is wrong with the address.
        reason: String,
    },
    /// A connection setting, or a file that it names, is invalid; a restart does not help.
    #[error("the connection to the database cannot be set up: {reason}")]
    Setting {
        /// Which setting or file, what is wrong, and what to do.
        reason: String,
    },
    /// The server has no TLS, or its certificate is not accepted; a restart does not help.
    #[error("no TLS with PostgreSQL at {address}: {reason}")]
    Tls {
        /// The address without its password.
        address: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The server refuses the user, the password or the database; a restart does not help.
    #[error("PostgreSQL at {address} refused the connection: {reason}; {advice}")]
    Refused {
        /// The address without its password.
        address: String,
        /// The server's message.
        reason: String,
        /// What to do.
        advice: String,
        /// `None` when the client lacks what the server requires, such as a password.
        sqlstate: Option<String>,
    },
    /// The server is older than what citytide's tables need; a restart does not help.
    #[error(
        "PostgreSQL at {address} is version {version}, citytide needs {VERSION_MIN} or newer; upgrade it, or use another server"
    )]
    TooOld {
        /// The address without its password.
        address: String,
        /// As the server reports it.
        version: String,
    },
    /// The server cannot be reached, or not yet; a restart helps once it can.
    #[error("cannot reach PostgreSQL at {address}: {reason}; is it running, and are host and port right?")]
    Away {
        /// The address without its password.
        address: String,
        /// The operating system's message.
        reason: String,
    },
    /// A newer run has taken over; this one must end.
    #[error("{0}")]
    Fenced(String),
    /// The server's disk is full; a restart helps once there is space.
    #[error(
        "the disk of PostgreSQL is full: {attempted} failed: {reason}; free space there (what is committed stays \
         correct), and citytide run continues by itself"
    )]
    DiskFull {
        /// What was attempted.
        attempted: String,
        /// The server's message.
        reason: String,
    },
    /// The server rejects a statement, and will reject it again.
    #[error(
        "{attempted} failed: {reason} (SQLSTATE {sqlstate}); PostgreSQL will reject this statement again: run \
         citytide schema diff to see whether the tables were changed; if they were not, report this line as a bug"
    )]
    Rejected {
        /// What was attempted.
        attempted: String,
        /// The server's message.
        reason: String,
        sqlstate: String,
    },
    /// A statement failed or the connection was lost; the next run starts from the ledger.
    #[error("{attempted} failed: {reason}")]
    Statement {
        /// What was attempted.
        attempted: String,
        /// The message of the server or the client library.
        reason: String,
        /// `None` when the server did not answer.
        sqlstate: Option<String>,
    },
}

impl DatabaseError {
    /// Classifies the error of a statement. `attempted` says what the statement was for, as in "reading the ledger".
    pub fn statement(attempted: impl Into<String>, error: &tokio_postgres::Error) -> DatabaseError {
        let sqlstate = error.code().map(|state| state.code().to_owned());
        let (attempted, reason) = (attempted.into(), words(error));
        match sqlstate.as_deref() {
            Some(FENCED) => DatabaseError::Fenced(reason),
            Some(DISK_FULL) => DatabaseError::DiskFull { attempted, reason },
            Some(state) if is_rejected(state) => {
                DatabaseError::Rejected { attempted, reason, sqlstate: state.to_owned() }
            }
            _ => DatabaseError::Statement { attempted, reason, sqlstate },
        }
    }

    /// Classifies the error of opening a session at `address`. `roots` names the trusted authorities.
    pub(super) fn opening(address: &str, roots: &str, error: &tokio_postgres::Error) -> DatabaseError {
        let address = address.to_owned();
        if let Some(tls) = tls_error(error) {
            return DatabaseError::Tls { address, reason: tls_words(tls, roots) };
        }
        let reason = words(error);
        let Some(database) = error.as_db_error() else {
            if reason.contains("server does not support TLS") {
                let reason = "the server does not support it, but sslmode requires it; set ssl = on there, or use \
                              sslmode=prefer, which connects without";
                return DatabaseError::Tls { address, reason: reason.to_owned() };
            }
            // tokio-postgres reports so what the address lacks, such as a password; it is no network error.
            return if reason.starts_with("invalid configuration") || reason.contains("channel binding") {
                let advice = advice(None, &reason).to_owned();
                DatabaseError::Refused { address, reason, advice, sqlstate: None }
            } else {
                DatabaseError::Away { address, reason }
            };
        };
        let state = database.code().code();
        // Class 57: starting up or shutting down; class 53: out of connections or memory. Waiting helps.
        if state.starts_with("57") || state.starts_with("53") {
            return DatabaseError::Away { address, reason };
        }
        let advice = advice(Some(state), &reason).to_owned();
        DatabaseError::Refused { address, reason, advice, sqlstate: Some(state.to_owned()) }
    }
}

fn is_rejected(sqlstate: &str) -> bool {
    sqlstate != INSUFFICIENT_PRIVILEGE && REJECTED.iter().any(|class| sqlstate.starts_with(class))
}

/// What to do about a refused connection.
fn advice(sqlstate: Option<&str>, reason: &str) -> &'static str {
    const PASSWORD: &str =
        "a password comes from DATABASE_URL, --database-password-file, PGPASSWORD or ~/.pgpass";
    match sqlstate {
        None if reason.contains("channel binding") => {
            "use TLS (sslmode=require), or leave channel_binding out"
        }
        None => PASSWORD,
        Some("28P01") => PASSWORD,
        Some("3D000") => "create it with createdb, or correct its name",
        Some("28000") if reason.contains("client certificate") => "give one with sslcert and sslkey",
        Some("28000") if reason.contains("no encryption") => {
            "this server may accept only TLS connections: try sslmode=require; otherwise its pg_hba.conf must admit this connection"
        }
        Some("28000") if reason.contains("pg_hba.conf") => "its pg_hba.conf must admit this connection",
        _ => "check user, password and database name",
    }
}

/// The rustls error among the causes of an error.
fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(tls) = inner.downcast_ref() {
            return Some(tls);
        }
        // The source of an io::Error is the source of its inner error, not the inner error itself.
        let content = inner.downcast_ref().and_then(std::io::Error::get_ref);
        if let Some(tls) = content.and_then(|content| content.downcast_ref()) {
            return Some(tls);
        }
        cause = inner.source();
    }
    None
}

fn tls_words(error: &rustls::Error, roots: &str) -> String {
    use rustls::CertificateError as Certificate;
    use rustls::Error::{AlertReceived, InvalidCertificate};
    match error {
        InvalidCertificate(Certificate::UnknownIssuer) => format!(
            "its certificate is signed by none of {roots}; set sslrootcert to the certificate of the authority that \
             signed it"
        ),
        InvalidCertificate(Certificate::NotValidForName) => {
            "its certificate is for another host name; connect by \
             the name that it bears, or use sslmode=verify-ca, which does not look at the name"
                .to_owned()
        }
        InvalidCertificate(Certificate::NotValidForNameContext { expected, presented }) => {
            let bears = match presented.as_slice() {
                [] => "bears no name as a subject alternative name".to_owned(),
                names => {
                    let bare = |name: &String| {
                        name.trim_start_matches("DnsName").trim_matches(['(', ')', '"']).to_owned()
                    };
                    format!("is for {}", names.iter().map(bare).collect::<Vec<_>>().join(", "))
                }
            };
            format!(
                "its certificate {bears}, not for {}; connect by the name that it bears, or use sslmode=verify-ca, \
                 which does not look at the name",
                expected.to_str()
            )
        }
        InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate has expired; the server needs a new one".to_owned()
        }
        AlertReceived(alert) => format!(
            "the server ended it with {alert:?}; look at the certificate that sslcert and sslkey give it, and at its \
             own log"
        ),
        other => format!("{other}; look at the certificates of both sides"),
    }
}

/// The message of an error with those of its causes: the message of tokio-postgres alone is "db error".
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        let detail = database.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", database.message());
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}

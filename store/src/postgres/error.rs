//! What goes wrong at the database, sorted by what can be done about it.

use std::error::Error as _;

/// SQLSTATE of the fence: the run was taken over.
const FENCED: &str = "CT001";
/// The oldest major version that is tested for.
pub(super) const VERSION_MIN: u32 = 14;
/// SQLSTATE of a full disk.
const DISK_FULL: &str = "53100";
/// SQLSTATE of a missing right: whoever grants it makes the statement succeed.
pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// Classes of SQLSTATE that depend on statement, data and tables alone: wrong data, a violated constraint, a statement
/// that names what is not there.
const REJECTED: [&str; 3] = ["22", "23", "42"];

/// What went wrong at the database. No text shows a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address cannot be understood; a restart does not help.
    #[error("the database address cannot be used: {reason}; expected postgresql://user@host:port/database")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
    /// A setting of the connection, or a file that it names, cannot be used; a restart does not help.
    #[error("the connection to the database cannot be set up: {reason}")]
    Setting {
        /// What is wrong with which, and what to do.
        reason: String,
    },
    /// The server has no TLS, or another certificate than is asked for; a restart does not help.
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
        /// The server's words.
        reason: String,
        /// What to do.
        advice: String,
        /// Its SQLSTATE; none when the connection lacks what the server asks for.
        sqlstate: Option<String>,
    },
    /// The server is older than what citytide's tables need; a restart does not help.
    #[error(
        "PostgreSQL at {address} is version {version}, citytide needs {VERSION_MIN} or newer; upgrade it, or use another server"
    )]
    TooOld {
        /// The address without its password.
        address: String,
        /// What the server says of itself.
        version: String,
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
    /// The server cannot write any more; a restart helps once there is room.
    #[error(
        "the disk of PostgreSQL is full: {attempted} failed: {reason}; free space there (what is committed stays \
         correct), and citytide run continues by itself"
    )]
    DiskFull {
        /// What was attempted.
        attempted: String,
        /// The server's words.
        reason: String,
    },
    /// The server refuses a statement for what it says, and will refuse it again.
    #[error(
        "{attempted} failed: {reason} (SQLSTATE {sqlstate}); PostgreSQL refuses this statement however often it is \
         tried: its tables are not as citytide made them (citytide schema diff compares), or this is a bug, to be \
         reported with this line"
    )]
    Rejected {
        /// What was attempted.
        attempted: String,
        /// The server's words.
        reason: String,
        /// Its SQLSTATE.
        sqlstate: String,
    },
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
    /// Wraps a failed statement with what it attempted.
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

    /// Sorts the failure to open a session at `address`. `roots` says what vouches for the server's certificate.
    pub(super) fn opening(address: &str, roots: &str, error: &tokio_postgres::Error) -> DatabaseError {
        let address = address.to_owned();
        if let Some(tls) = tls_error(error) {
            return DatabaseError::Tls { address, reason: tls_words(tls, roots) };
        }
        let reason = words(error);
        let Some(database) = error.as_db_error() else {
            if reason.contains("server does not support TLS") {
                let reason = "the server does not speak it, but sslmode asks for it; set ssl = on there, or use \
                              sslmode=prefer, which goes without";
                return DatabaseError::Tls { address, reason: reason.to_owned() };
            }
            // Not the network: so tokio-postgres calls what the address lacks, as a password.
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
        Some("3D000") => "createdb makes a database; or correct its name",
        Some("28000") if reason.contains("client certificate") => "give one with sslcert and sslkey",
        Some("28000") if reason.contains("no encryption") => {
            "this server may take connections with TLS only: try sslmode=require; else its pg_hba.conf must admit this one"
        }
        Some("28000") if reason.contains("pg_hba.conf") => "its pg_hba.conf must admit this connection",
        _ => "check user, password and database name",
    }
}

/// rustls' error, however deep it lies.
fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(tls) = inner.downcast_ref() {
            return Some(tls);
        }
        // An io::Error names as its source what its content has as source, not the content.
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
            "its certificate is signed by none of {roots}; give the certificate of the authority that signed it as \
             sslrootcert"
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

/// An error's own words and those of its causes: tokio-postgres says only "db error" by itself.
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

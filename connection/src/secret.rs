//! Passwords, which are passed to librdkafka and never shown.

use std::fmt;
use std::path::Path;

use crate::ConnectionError;

/// A password, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The content of a file, without the newline at its end.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Unreadable`], [`ConnectionError::Empty`].
    pub fn from_file(path: &Path) -> Result<Secret, ConnectionError> {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| ConnectionError::Unreadable { path: path.to_owned(), reason })?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return Err(ConnectionError::Empty { path: path.to_owned() });
        }
        Ok(Secret(password.to_owned()))
    }

    /// The value of an environment variable; `None` if it is unset or empty.
    pub fn from_environment(variable: &str) -> Option<Secret> {
        std::env::var(variable).ok().filter(|password| !password.is_empty()).map(Secret)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(password: String) -> Secret {
        Secret(password)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// `sasl.password`: of the user `sasl.username`.
    pub sasl_password: Option<Secret>,
    /// `ssl.key.password`: opens the private key of `ssl.key.location` or `ssl.keystore.location`.
    pub key_password: Option<Secret>,
}

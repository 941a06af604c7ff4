//! Secrets: addresses with tokens, keys, passwords.

use std::fmt;
use std::path::PathBuf;

/// A secret or the place to read it from. Neither `Debug` nor an error shows its value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Secret {
    /// The value, from the configuration file or read.
    Plain(String),
    /// In an environment variable.
    Variable(String),
    /// In the first line of a file.
    File(PathBuf),
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    #[error("cannot read a secret from {}: {reason}", path.display())]
    NoFile { path: PathBuf, reason: std::io::Error },
    #[error("the first line of {} is empty", .0.display())]
    Empty(PathBuf),
}

impl Secret {
    /// Reads the value, and returns it as [`Secret::Plain`].
    pub fn read(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        match self {
            Secret::Plain(_) => Ok(self.clone()),
            Secret::Variable(name) => environment(name)
                .filter(|value| !value.is_empty())
                .map(Secret::Plain)
                .ok_or_else(|| SecretError::NoVariable(name.clone())),
            Secret::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|reason| SecretError::NoFile { path: path.clone(), reason })?;
                match text.lines().next().map(str::trim_end) {
                    Some(line) if !line.is_empty() => Ok(Secret::Plain(line.to_owned())),
                    _ => Err(SecretError::Empty(path.clone())),
                }
            }
        }
    }

    /// The value.
    ///
    /// # Panics
    ///
    /// When it has not been read.
    pub fn expose(&self) -> &str {
        match self {
            Secret::Plain(text) => text,
            _ => panic!("a secret is read before it is used"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Plain(_) => f.write_str("***"),
            Secret::Variable(name) => write!(f, "${name}"),
            Secret::File(path) => write!(f, "<{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_the_environment_and_shown_nowhere() {
        let environment = |name: &str| (name == "TOKEN").then(|| "hush".to_owned());
        let read = Secret::Variable("TOKEN".to_owned()).read(&environment).expect("it is set");
        assert_eq!(read.expose(), "hush");
        assert_eq!(format!("{read:?}"), "***");
        let missing = Secret::Variable("OTHER".to_owned()).read(&environment).expect_err("it is not set");
        assert_eq!(missing.to_string(), "the environment variable OTHER is not set");
    }
}

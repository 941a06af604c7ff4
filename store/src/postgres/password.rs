//! Reads a password that is not in the address: from a file of its own, or from libpq's password file.
//!
//! Source of the password file's rules: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The connection that a line of the password file must match.
pub struct ConnectionKey<'a> {
    /// The host as in the address.
    pub host: &'a str,
    pub port: u16,
    pub database: &'a str,
    pub user: &'a str,
}

/// Reads the password from the first line of a file.
///
/// # Errors
///
/// When the file cannot be read, or its first line is empty.
pub fn of_file(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read --database-password-file {}: {error}", path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("--database-password-file {} holds no password in its first line", path.display())),
    }
}

/// Looks up the password for a connection in libpq's password file; `None` when the file is missing or has no match.
///
/// # Errors
///
/// When other users may read the file. (libpq ignores the file then, and the refused connection does not say why.)
pub fn of_passfile(path: &Path, wanted: &ConnectionKey) -> Result<Option<String>, String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    refuse_open_to_others(path)?;
    Ok(text.lines().find_map(|line| password_in(line, wanted)))
}

/// Checks that other users cannot read a secret file: at most 0600, or 0640 when it belongs to root, as libpq requires
/// for keys.
///
/// # Errors
///
/// When they can, or the file cannot be read.
pub fn refuse_open_to_others(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let file = std::fs::metadata(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let others = if file.uid() == 0 { 0o037 } else { 0o077 };
    if file.permissions().mode() & others == 0 {
        Ok(())
    } else {
        Err(format!("{shown} can be read by others; chmod 600 {shown}"))
    }
}

/// The password in a line `host:port:database:user:password`, if the other fields match.
fn password_in(line: &str, wanted: &ConnectionKey) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let nth = fields.len();
        let field = &mut fields[nth - 1];
        match character {
            '\\' => field.extend(characters.next()),
            ':' if nth < 5 => fields.push(String::new()),
            other => field.push(other),
        }
    }
    let port = wanted.port.to_string();
    let [host, line_port, database, user, password] = <[String; 5]>::try_from(fields).ok()?;
    let matches = |field: &str, wanted: &str| field == "*" || field == wanted;
    let all = matches(&host, wanted.host)
        && matches(&line_port, &port)
        && matches(&database, wanted.database)
        && matches(&user, wanted.user);
    all.then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_matches_has_the_password() {
        let wanted = ConnectionKey { host: "db", port: 5432, database: "city", user: "me" };
        for (line, password) in [
            ("db:5432:city:me:secret", Some("secret")),
            ("*:*:*:me:s:e", Some("s:e")),
            (r"db:*:*:*:a\:b\\c", Some(r"a:b\c")),
            ("db:5433:*:*:secret", None),
            ("other:*:*:*:secret", None),
            ("#db:*:*:*:secret", None),
            ("db:*:*:secret", None),
            ("", None),
        ] {
            assert_eq!(password_in(line, &wanted).as_deref(), password, "{line}");
        }
    }
}

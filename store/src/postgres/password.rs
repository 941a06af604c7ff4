//! Where a password comes from that is not in the address: a file of its own, or libpq's password file.
//!
//! Source of the password file's rules: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What a line of the password file must match.
pub struct Wanted<'a> {
    /// The host as the address names it.
    pub host: &'a str,
    pub port: u16,
    pub database: &'a str,
    pub user: &'a str,
}

/// The password in a file of its own: its first line.
///
/// # Errors
///
/// What is wrong with the file.
pub fn of_file(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read --database-password-file {}: {error}", path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("--database-password-file {} holds no password in its first line", path.display())),
    }
}

/// The password that libpq's password file has for `wanted`; a file that is missing has none.
///
/// # Errors
///
/// When others may read the file: libpq ignores it then, and the refusal that follows says nothing of the reason.
pub fn of_passfile(path: &Path, wanted: &Wanted) -> Result<Option<String>, String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    refuse_open_to_others(path)?;
    Ok(text.lines().find_map(|line| password_in(line, wanted)))
}

/// Refuses a secret's file that others may read: 0600, or 0640 when it is root's, as libpq has it for keys.
///
/// # Errors
///
/// What to do about the file.
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

/// The fifth field of `host:port:database:user:password` when the others match.
fn password_in(line: &str, wanted: &Wanted) -> Option<String> {
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
        let wanted = Wanted { host: "db", port: 5432, database: "city", user: "me" };
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

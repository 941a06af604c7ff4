//! Splits off the parameters of a database address that tokio-postgres does not support. No I/O.
//!
//! Both forms of libpq's connection strings (<https://www.postgresql.org/docs/current/libpq-connect.html>, 34.1.1):
//! a URL with parameters after a question mark, and `key=value` words.

/// The parameters that citytide interprets.
const OURS: [&str; 5] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "passfile"];
/// The parameters that tokio-postgres interprets.
const THEIRS: [&str; 18] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// A split address.
#[derive(PartialEq, Eq)]
pub struct Address {
    /// The address without our parameters, for tokio-postgres.
    pub rest: String,
    ours: Vec<(String, String)>,
}

impl Address {
    /// Splits an address.
    ///
    /// # Errors
    ///
    /// The reason why it is invalid; it shows no value of the address, which may be secret.
    pub fn split(address: &str) -> Result<Address, String> {
        if address.starts_with("postgresql://") || address.starts_with("postgres://") {
            of_url(address)
        } else {
            of_words(address)
        }
    }

    /// The value of one of our parameters; the last one if it is repeated.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.ours.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

fn of_url(address: &str) -> Result<Address, String> {
    // As in tokio-postgres: everything before the first @ is user and password, question marks included.
    let host = address.find('@').unwrap_or(0);
    let Some(mark) = address[host..].find('?').map(|at| host + at) else {
        return Ok(Address { rest: address.to_owned(), ours: Vec::new() });
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for parameter in address[mark + 1..].split('&').filter(|parameter| !parameter.is_empty()) {
        let Some((key, value)) = parameter.split_once('=') else {
            return Err("a parameter after the question mark has no value".to_owned());
        };
        if is_ours(key)? {
            let value =
                decoded(value).ok_or_else(|| format!("the value of {key} is not percent-encoded UTF-8"))?;
            ours.push((key.to_owned(), value));
        } else {
            theirs.push(parameter);
        }
    }
    let question = if theirs.is_empty() { "" } else { "?" };
    Ok(Address { rest: format!("{}{question}{}", &address[..mark], theirs.join("&")), ours })
}

fn of_words(address: &str) -> Result<Address, String> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut left = address.trim_start();
    while !left.is_empty() {
        let Some((key, value)) = left.split_once('=') else {
            return Err("it is neither a URL nor made of key=value words".to_owned());
        };
        let key = key.trim_end();
        if !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            return Err("it is neither a URL nor made of key=value words".to_owned());
        }
        let begin = value.trim_start();
        let (value, length) = value_of(begin).ok_or_else(|| format!("the quote of {key} is not closed"))?;
        if is_ours(key)? {
            ours.push((key.to_owned(), value));
        } else {
            theirs.push(format!("{key}={}", &begin[..length]));
        }
        left = begin[length..].trim_start();
    }
    Ok(Address { rest: theirs.join(" "), ours })
}

/// Parses the value at the beginning of `text`: in single quotes or up to white space, with `\` as escape. Returns it
/// with its length in `text`, bytes; `None` when a quote is not closed.
fn value_of(text: &str) -> Option<(String, usize)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value, at + 1)),
            space if !quoted && space.is_whitespace() => return Some((value, at)),
            other => value.push(other),
        }
    }
    (!quoted).then_some((value, text.len()))
}

fn is_ours(key: &str) -> Result<bool, String> {
    let known = |keys: &[&str]| keys.contains(&key);
    match known(&OURS) {
        false if !known(&THEIRS) => Err(format!(
            "unknown parameter {}; expected one of {}, {}",
            key.escape_debug(),
            OURS.join(", "),
            THEIRS.join(", ")
        )),
        ours => Ok(ours),
    }
}

/// Decodes percent-encoding (`%2F` is `/`); `None` when it is invalid.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(left.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(address: &str) -> Address {
        Address::split(address).unwrap_or_else(|reason| panic!("{address}: {reason}"))
    }

    #[test]
    fn a_url_keeps_what_is_not_ours() {
        let parts =
            split("postgresql://u:p%3Fw@db:1/x?sslmode=verify-full&connect_timeout=3&sslrootcert=%2Fa%20b");
        assert_eq!(parts.rest, "postgresql://u:p%3Fw@db:1/x?connect_timeout=3");
        assert_eq!(parts.get("sslmode"), Some("verify-full"));
        assert_eq!(parts.get("sslrootcert"), Some("/a b"));
        assert_eq!(parts.get("sslkey"), None);
        assert_eq!(split("postgres://db/x?sslmode=disable").rest, "postgres://db/x");
    }

    #[test]
    fn words_keep_their_quotes() {
        let parts = split(r"host=db password='it\'s a = secret' sslmode = require sslcert='/a b' user=u");
        assert_eq!(parts.rest, r"host=db password='it\'s a = secret' user=u");
        assert_eq!(parts.get("sslmode"), Some("require"));
        assert_eq!(parts.get("sslcert"), Some("/a b"));
    }

    #[test]
    fn what_is_not_known_is_named_and_no_value_is() {
        for address in
            ["postgresql://u:topsecret@db/x?sslcrl=topsecret", "host=db password=topsecret sslcrl=topsecret"]
        {
            let reason = Address::split(address).err().expect(address);
            assert!(reason.contains("sslcrl") && reason.contains("sslrootcert"), "{reason}");
            assert!(!reason.contains("topsecret"), "{reason}");
        }
        for address in
            ["this is no address", "host='db", "postgres://db/x?sslmode", "postgres://db/x?sslkey=%zz"]
        {
            assert!(Address::split(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_question_mark_in_a_password_begins_no_parameters() {
        let address = "postgresql://u:pa?ss=word@db/x";
        assert_eq!(split(address).rest, address);
    }
}

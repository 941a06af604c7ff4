//! What is shown of values that may hold a password.

/// What stands for a password.
const MASK: &str = "***";
/// Parts of names whose values are secret.
const SECRET_NAMES: [&str; 5] = ["pass", "secret", "token", ".pem", "oauthbearer.config"];

/// Whether a name says that its value is secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    // A file that holds a password is no secret itself.
    !name.ends_with("file") && SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// `value` without its passwords: of a URL the one before `@` and those of its parameters, of `name=value` the value
/// of a secret name; anything else as a whole.
pub(super) fn masked(value: &str) -> String {
    match value.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", masked_url(rest)),
        None if value.is_empty() || value.contains('=') => masked_pairs(value),
        None => MASK.to_owned(),
    }
}

/// Without the scheme.
fn masked_url(rest: &str) -> String {
    let (place, parameters) = rest.split_once('?').map_or((rest, None), |(place, rest)| (place, Some(rest)));
    // The last one: a password that was not escaped may hold another.
    let place = match place.rsplit_once('@') {
        Some((who, place)) => match who.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{place}"),
            None => format!("{who}@{place}"),
        },
        None => place.to_owned(),
    };
    let Some(parameters) = parameters else { return place };
    // A password with a bare `?` has its end in what seems to be the parameters.
    if parameters.contains('@') {
        return format!("{MASK}{}", &parameters[parameters.rfind('@').unwrap_or(0)..]);
    }
    let shown: Vec<String> = parameters.split('&').map(masked_pairs).collect();
    format!("{place}?{}", shown.join("&"))
}

/// `host=db password=geheim`, or one `name=value`.
fn masked_pairs(value: &str) -> String {
    let (name, _) = value.split_once('=').unwrap_or((value, ""));
    if is_secret_name(name) {
        return format!("{name}={MASK}");
    }
    match value.to_lowercase().find("password") {
        // Whatever follows: a quoted password may hold blanks.
        Some(at) => format!("{}password={MASK}", &value.get(..at).unwrap_or_default()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown_and_the_rest_is() {
        for (value, shown) in [
            ("postgresql://city:geheim@db:5432/city", "postgresql://city:***@db:5432/city"),
            ("postgresql://city:ge@heim@db/city", "postgresql://city:***@db/city"),
            ("postgresql://city@db/city?sslmode=require", "postgresql://city@db/city?sslmode=require"),
            ("postgresql://db/city?user=u&password=geheim", "postgresql://db/city?user=u&password=***"),
            ("postgresql://city:ge?heim@db/city", "postgresql://***@db/city"),
            ("host=db user=city password='ge heim' dbname=city", "host=db user=city password=***"),
            ("sasl.password=geheim", "sasl.password=***"),
            ("ssl.key.pem=-----BEGIN", "ssl.key.pem=***"),
            ("ssl.ca.location=/etc/ca.pem", "ssl.ca.location=/etc/ca.pem"),
            ("fetch.min.bytes=1", "fetch.min.bytes=1"),
            ("geheim", "***"),
        ] {
            assert_eq!(masked(value), shown);
        }
    }

    #[test]
    fn a_file_with_a_password_is_no_secret() {
        assert!(is_secret_name("kafka-password") && !is_secret_name("kafka-password-file"));
    }
}

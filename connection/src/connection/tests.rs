//! What is refused before anything is connected, in which words, and that no secret is in them.

use super::*;

fn property(text: &str) -> Property {
    text.parse().expect("a property")
}

fn with(properties: &[&str], password: Option<&str>) -> Result<Connection, ConnectionError> {
    let secrets = Secrets { sasl_password: password.map(|it| it.to_owned().into()), key_password: None };
    Connection::new("localhost:9092", properties.iter().map(|text| property(text)), secrets)
}

fn refusal(properties: &[&str]) -> String {
    with(properties, Some("hunter2")).expect_err("a refusal").to_string()
}

const SCRAM: [&str; 3] =
    ["security.protocol=sasl_plaintext", "sasl.mechanism=SCRAM-SHA-512", "sasl.username=reader"];

#[test]
fn a_user_property_replaces_the_programs_own_setting_also_under_its_other_name() {
    let connection = with(&["compression.codec=zstd", "client.id=mine"], None).unwrap();
    let config = connection.client(&[("compression.type", "lz4"), ("client.id", "ours"), ("retries", "7")]);
    let map = config.config_map();
    assert_eq!((map["compression.codec"], map["client.id"]), ("zstd", "mine"));
    assert_eq!((map["message.send.max.retries"], map["metadata.broker.list"]), ("7", "localhost:9092"));
    assert!(!map.contains_key("compression.type"));
}

#[test]
fn a_name_or_value_that_librdkafka_does_not_know_is_refused_with_the_property() {
    let said = refusal(&["securty.protocol=ssl"]);
    assert!(said.contains("securty.protocol") && said.contains("No such configuration property"), "{said}");
    let said = refusal(&["fetch.wait.max.ms=soon"]);
    assert!(said.contains("fetch.wait.max.ms") && said.contains("not accepted"), "{said}");
}

#[test]
fn properties_that_exactly_once_rests_on_are_refused_with_the_reason_under_both_names() {
    for (typed, reason) in [
        ("enable.auto.commit=true", "PostgreSQL holds the offsets"),
        ("auto.offset.reset=latest", "counted as lost"),
        ("acks=1", "in-sync"),
        ("bootstrap.servers=elsewhere:9092", "--brokers"),
        ("group.id=mine", "--consumer-group"),
    ] {
        let said = refusal(&[typed]);
        let key = typed.split('=').next().unwrap();
        assert!(said.contains(key) && said.contains(reason), "{said}");
    }
}

#[test]
fn a_secret_among_the_properties_is_refused_and_not_repeated() {
    for key in ["sasl.password", "ssl.key.password", "ssl.key.pem"] {
        let said = refusal(&[&format!("{key}=opensesame")]);
        assert!(said.contains(key) && said.contains("file") && !said.contains("opensesame"), "{said}");
        let shown = format!("{:?}", property(&format!("{key}=opensesame")));
        assert!(!shown.contains("opensesame"), "{shown}");
    }
}

#[test]
fn a_connection_shows_no_password_and_hands_it_to_librdkafka() {
    let connection = with(&SCRAM, Some("hunter2")).unwrap();
    assert!(!format!("{connection:?} {connection}").contains("hunter2"), "{connection:?}");
    assert_eq!(connection.to_string(), "localhost:9092 (sasl_plaintext)");
    let config = connection.client(&[]);
    assert_eq!(config.get("sasl.password"), Some("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_password_from_the_environment_is_not_sent_where_none_is_asked_for() {
    let connection = with(&[], Some("hunter2")).unwrap();
    assert_eq!(connection.client(&[]).get("sasl.password"), None);
}

#[test]
fn credentials_that_would_not_be_used_are_a_mistake() {
    let said = refusal(&["sasl.username=reader"]);
    assert!(said.contains("sasl.username") && said.contains("sasl_ssl"), "{said}");
    let said = refusal(&["security.protocol=sasl_plaintext", "ssl.ca.location=/ca.pem"]);
    assert!(said.contains("ssl.ca.location") && said.contains("ssl or sasl_ssl"), "{said}");
}

#[test]
fn what_authentication_lacks_is_named() {
    let said = refusal(&SCRAM[..1]);
    assert!(said.contains("needs sasl.mechanism") && said.contains("SCRAM-SHA-512"), "{said}");
    let said = refusal(&SCRAM[..2]);
    assert!(said.contains("needs sasl.username"), "{said}");
    let said = with(&SCRAM, None).unwrap_err().to_string();
    assert!(said.contains("needs a password") && said.contains("KAFKA_SASL_PASSWORD"), "{said}");
    for mechanism in ["OAUTHBEARER", "GSSAPI"] {
        let said = refusal(&[SCRAM[0], &format!("sasl.mechanism={mechanism}"), SCRAM[2]]);
        assert!(said.contains(mechanism) && said.contains("SCRAM-SHA-256"), "{said}");
    }
}

#[test]
fn a_certificate_file_that_is_not_there_is_told_before_anything_is_connected() {
    let said = refusal(&["security.protocol=ssl", "ssl.ca.location=/no/such/ca.pem"]);
    assert!(said.contains("ssl.ca.location"), "{said}");
}

#[test]
fn brokers_are_hosts_with_ports() {
    let none = Vec::<Property>::new;
    for right in ["localhost", "a:1,b:2", "[::1]:9092", "::1", "SSL://host:9093", "a:1, b:2"] {
        Connection::new(right, none(), Secrets::default()).unwrap();
    }
    for wrong in ["", ":9092", "a:1,,b:2", "host:port", "host:0", "host:70000"] {
        let said = Connection::new(wrong, none(), Secrets::default()).unwrap_err().to_string();
        assert!(said.contains("host:port"), "{said}");
    }
}

#[test]
fn a_password_file_loses_its_newline_and_nothing_else() {
    let path = std::env::temp_dir().join(format!("citytide-password-{}", std::process::id()));
    std::fs::write(&path, " a b \r\n").unwrap();
    assert_eq!(Secret::from_file(&path).unwrap().expose(), " a b ");
    std::fs::write(&path, "\n").unwrap();
    let said = Secret::from_file(&path).unwrap_err().to_string();
    assert!(said.contains("is empty"), "{said}");
    std::fs::remove_file(&path).unwrap();
    let said = Secret::from_file(&path).unwrap_err().to_string();
    assert!(said.contains("cannot read the password"), "{said}");
}

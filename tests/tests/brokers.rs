//! A broker of the test's own: who is let in and what others read, and a broker that goes and comes back.

use citytide_tests::broker::{Broker, Listener};
use citytide_tests::city::{City, SECOND};
use citytide_tests::compare::assert_tables;
use citytide_tests::database::Database;
use citytide_tests::kafka::{Stamp, Topic};
use citytide_tests::load::{DAWN, Reading, send};
use citytide_tests::oracle::{Watermark, expect};
use citytide_tests::process::{CommandLine, Ended};
use citytide_tests::scene::LIMIT;
use citytide_tests::services::wait_until;

/// What no log may hold.
const SECRETS: [&str; 4] = ["opensesame", "swordfish", "wrongword", "keyword"];

fn properties(line: CommandLine, properties: &[String]) -> CommandLine {
    line.args(properties.iter().flat_map(|property| ["--kafka-property".to_owned(), property.clone()]))
}

fn readings(topic: &Topic, city: &City, seconds: std::ops::Range<i64>) {
    for second in seconds {
        for partition in 0..2 {
            let at_us = DAWN + second * SECOND;
            send(topic, city, partition, Reading::plain(city, "s", "Downtown", at_us, 20.0));
        }
    }
    topic.flush();
}

#[test]
fn who_has_the_certificate_or_the_password_is_let_in_and_others_read_why_not() {
    let broker = Broker::start("security");
    let plain = broker.services(Listener::Plaintext);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        broker.add_user("scout", mechanism, "swordfish");
    }
    let city = City::smart();
    let topic = Topic::create(&plain, "security", 2, Stamp::CreateTime);
    let database = Database::create(&plain, "security");
    let (file, ca) = (|name: &str| broker.file(name), format!("ssl.ca.location={}", broker.file("ca.pem")));
    let line = |listener: Listener, properties: &[&str]| {
        let services = broker.services(listener);
        let line = CommandLine::run(&services, &topic.name, &database.url, "security")
            .args(["--until-caught-up", "--no-supervise"]);
        let typed =
            properties.iter().flat_map(|property| ["--kafka-property".to_owned(), (*property).to_owned()]);
        line.args(typed)
    };
    let ssl = |ca: &str, key: &str| {
        [
            "security.protocol=ssl".to_owned(),
            ca.to_owned(),
            format!("ssl.certificate.location={}", file("client.crt")),
            format!("ssl.key.location={}", file(key)),
        ]
    };
    let sasl = |mechanism: &str, user: &str| {
        [
            "security.protocol=sasl_ssl".to_owned(),
            ca.clone(),
            format!("sasl.mechanism={mechanism}"),
            format!("sasl.username={user}"),
        ]
    };
    let on = |listener, of: &[String], password: &str| {
        let of: Vec<&str> = of.iter().map(String::as_str).collect();
        line(listener, &of).env("KAFKA_SASL_PASSWORD", password).env("KAFKA_SSL_KEY_PASSWORD", "keyword")
    };

    // Each of these is let in, reads ten more readings and commits them.
    let welcome = [
        ("mTLS", on(Listener::Ssl, &ssl(&ca, "client.key"), "")),
        ("mTLS, a key with a password", on(Listener::Ssl, &ssl(&ca, "locked.key"), "")),
        ("PLAIN", on(Listener::SaslSsl, &sasl("PLAIN", "reader"), "opensesame")),
        ("SCRAM-SHA-256", on(Listener::SaslSsl, &sasl("SCRAM-SHA-256", "scout"), "swordfish")),
        ("SCRAM-SHA-512", on(Listener::SaslSsl, &sasl("SCRAM-SHA-512", "scout"), "swordfish")),
    ];
    for (round, (what, line)) in welcome.into_iter().enumerate() {
        let from = round as i64 * 5;
        readings(&topic, &city, from..from + 5);
        let (ended, said) = line.finish(LIMIT);
        assert_eq!(ended, Ended::Exit(0), "{what}: {said}");
        SECRETS.iter().for_each(|secret| assert!(!said.contains(secret), "{what}: {said}"));
    }
    let expected = expect(&city, &topic.sent(), Watermark::OfAllPartitions);
    assert_tables(&database.session, &city, &expected);

    // A password in a file.
    std::fs::write(broker.home.join("password"), "opensesame\n").expect("a password file");
    let by_file = on(Listener::SaslSsl, &sasl("PLAIN", "reader"), "wrongword")
        .args(["--kafka-password-file".to_owned(), file("password")]);
    let (ended, said) = by_file.finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "the file goes before the environment: {said}");

    // And these are not: the exit code, and what the user reads.
    let stranger = format!("ssl.ca.location={}", file("stranger.pem"));
    let refused = [
        (
            "wrong CA",
            on(Listener::Ssl, &ssl(&stranger, "client.key"), ""),
            78,
            vec!["certificate", "ssl.ca.location"],
        ),
        (
            "no certificate",
            line(Listener::Ssl, &["security.protocol=ssl", &ca]),
            77,
            vec!["client certificate", "ssl.certificate.location"],
        ),
        (
            "wrong password, PLAIN",
            on(Listener::SaslSsl, &sasl("PLAIN", "reader"), "wrongword"),
            77,
            vec!["sasl.username", "KAFKA_SASL_PASSWORD"],
        ),
        (
            "wrong password, SCRAM",
            on(Listener::SaslSsl, &sasl("SCRAM-SHA-512", "scout"), "wrongword"),
            77,
            vec!["sasl.username", "KAFKA_SASL_PASSWORD"],
        ),
        ("plaintext on a TLS port", line(Listener::Ssl, &[]), 69, vec!["security.protocol", "sasl_ssl"]),
        (
            "TLS on a plaintext port",
            line(Listener::Plaintext, &["security.protocol=ssl", &ca]),
            69,
            vec!["security.protocol", "PLAINTEXT"],
        ),
        (
            "SASL where there is none",
            on(Listener::Ssl, &sasl("PLAIN", "reader"), "opensesame"),
            77,
            vec!["client certificate"],
        ),
    ];
    for (what, line, code, words) in refused {
        let (ended, said) = line.finish(LIMIT);
        println!("── {what}:\n{said}");
        assert_eq!(ended, Ended::Exit(code), "{what}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{what}: \"{word}\" is said: {said}"));
        SECRETS.iter().for_each(|secret| assert!(!said.contains(secret), "{what}: {said}"));
    }
}

#[test]
fn a_broker_that_goes_and_comes_back_costs_nothing_and_a_user_who_is_removed_ends_the_run() {
    let mut broker = Broker::start("restart");
    let plain = broker.services(Listener::Plaintext);
    broker.add_user("scout", "SCRAM-SHA-512", "swordfish");
    let city = City::impatient();
    let file = city.file("restart");
    let topic = Topic::create(&plain, "restart", 2, Stamp::CreateTime);
    let database = Database::create(&plain, "restart");
    let of = [
        "security.protocol=sasl_ssl".to_owned(),
        format!("ssl.ca.location={}", broker.file("ca.pem")),
        "sasl.mechanism=SCRAM-SHA-512".to_owned(),
        "sasl.username=scout".to_owned(),
    ];
    let line = CommandLine::run(&broker.services(Listener::SaslSsl), &topic.name, &database.url, "restart")
        .domain(file.as_deref())
        .args(["-w", "2", "--consumer-group", "watchers"])
        .env("KAFKA_SASL_PASSWORD", "swordfish");
    let mut run = properties(line, &of).spawn();
    let committed = |run: &mut citytide_tests::process::Process| {
        let offsets = topic.offsets();
        wait_until("everything sent is committed", LIMIT, || {
            assert_eq!(run.ended(), None, "the run goes on");
            database.session.has_tables() && database.committed_offsets() == offsets
        });
    };
    readings(&topic, &city, 0..60);
    committed(&mut run);
    broker.stop();
    wait_until("the outage is told", LIMIT, || {
        assert_eq!(run.ended(), None, "an outage is waited for");
        run.log().contains("connection to Kafka failed")
    });
    broker.go_on();
    readings(&topic, &city, 60..120);
    committed(&mut run);
    let given = Watermark::Given(database.watermark_us());
    assert_tables(&database.session, &city, &expect(&city, &topic.sent(), given));
    assert_eq!(database.session.value::<i64>("select count(*) from runs"), 1, "nothing was restarted");

    // The committed offsets are in the consumer group, for lag tools.
    let describe = ["--bootstrap-server", &plain.brokers, "--describe", "--group", "watchers"];
    wait_until("the lag tool sees no lag", LIMIT, || {
        let said = broker.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &describe);
        let rows: Vec<Vec<&str>> = said
            .lines()
            .filter(|line| line.contains(&topic.name))
            .map(|line| line.split_whitespace().collect())
            .collect();
        rows.len() == 2 && rows.iter().all(|row| row[3..6] == ["120", "120", "0"])
    });

    broker.remove_user("scout", "SCRAM-SHA-512");
    assert_eq!(run.wait(LIMIT), Ended::Exit(77));
    let said = run.log();
    assert!(said.contains("does not let this client in") && said.contains("sasl.username"), "{said}");
    SECRETS.iter().for_each(|secret| assert!(!said.contains(secret), "{said}"));
}

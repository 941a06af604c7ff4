//! `citytide check`, `run --dry-run`, `topics create` and `schema` against a healthy set-up and broken ones.

use std::io::{Read, Write};
use std::net::TcpListener;

use citytide_tests::city::City;
use citytide_tests::database::{Database, at_database};
use citytide_tests::kafka::Stamp;
use citytide_tests::load::Traffic;
use citytide_tests::process::{CommandLine, Ended};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{unique, wait_until};

/// What `citytide check` says of a broker, a topic and a database, with its exit code. Every line fits a terminal.
fn check(scene: &Scene, brokers: &str, topic: &str, database_url: &str) -> (i32, String) {
    let (ended, said) = CommandLine::new(&scene.services.citytide, scene.test)
        .args(["check", "--brokers", brokers, "--topic", topic, "--database-url", database_url])
        .finish(LIMIT);
    eprintln!("$ citytide check\n{said}");
    // The log stands in between; it begins with the time.
    let said = said.lines().filter(|line| !line.starts_with(|first: char| first.is_ascii_digit()));
    let said = said.collect::<Vec<_>>().join("\n");
    let fits = |line: &str| line.chars().count() <= 80 || !line.trim_start().contains(' ');
    assert!(said.lines().all(fits), "80 columns: {said}");
    match ended {
        Ended::Exit(code) => (code, said),
        other => panic!("{other:?}: {said}"),
    }
}

fn line<'a>(said: &'a str, name: &str) -> &'a str {
    said.lines()
        .find(|line| line[3..].trim_start().starts_with(name))
        .unwrap_or_else(|| panic!("{name}: {said}"))
}

#[test]
fn a_healthy_set_up_is_ok_before_and_after_the_first_run() {
    let scene = Scene::stamped("healthy", City::smart(), 2, Stamp::LogAppendTime);
    let ask = || check(&scene, &scene.services.brokers, &scene.topic.name, &scene.database.url);
    let (code, said) = ask();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains('✗') && line(&said, "tables").contains("none yet"), "{said}");
    Traffic::new(61, 100_000).send(&scene.topic, &scene.city, 2, 500);
    scene.catch_up("-w 1");
    let (code, said) = ask();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains(['✗', '–']) && line(&said, "progress").contains('✓'), "{said}");

    let before = scene.database.commits();
    let (ended, said) = scene.run("--dry-run").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert!(said.contains("from offset"), "{said}");
    assert_eq!(scene.database.commits(), before, "nothing was written");
}

#[test]
fn each_broken_set_up_is_told_with_its_own_line_and_code() {
    let scene = Scene::new("broken", City::smart(), 1);
    let (brokers, topic, url) = (&scene.services.brokers, &scene.topic.name, &scene.database.url);
    let expect = |(code, said): (i32, String), wanted: i32, name: &str, words: &[&str]| {
        assert_eq!(code, wanted, "{said}");
        assert!(line(&said, name).starts_with('✗'), "{name}: {said}");
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().for_each(|word| assert!(flat.contains(word), "{word}: {said}"));
    };
    expect(check(&scene, "127.0.0.1:1", topic, url), 69, "kafka", &["127.0.0.1:1", "skipped: needs kafka"]);
    expect(check(&scene, brokers, "no-such-topic", url), 78, "topic", &["citytide topics create"]);
    expect(check(&scene, brokers, topic, "postgresql://me@127.0.0.1:1/x"), 69, "database", &["127.0.0.1:1"]);
    expect(check(&scene, brokers, topic, &at_database(url, "no_such_db")), 77, "database", &["createdb"]);
    let nobody = scene.database.url_as("no_such_role", "secret-word");
    let (code, said) = check(&scene, brokers, topic, &nobody);
    assert!(!said.contains("secret-word"), "{said}");
    expect((code, said), 77, "database", &["no_such_role"]);
    expect(
        check(&scene, brokers, topic, &format!("{url}?sslmode=verify-full")),
        78,
        "configuration",
        &["sslrootcert"],
    );
    expect(check(&scene, brokers, topic, &format!("{url}?sslmode=require")), 78, "database", &["ssl = on"]);
    expect(check(&scene, brokers, topic, &old_server()), 78, "database", &["13.9", "14"]);

    let role = unique("role");
    let session = &scene.database.session;
    session.batch(&format!("create role {role} login; revoke create on schema public from public"));
    let denied = check(&scene, brokers, topic, &scene.database.url_as(&role, "x"));
    session.batch(&format!("drop role {role}"));
    expect(denied, 77, "rights", &[&role, "grant create"]);

    scene.catch_up("-w 1");
    let other = Scene::new("other", City::harbour(), 1);
    let file = other.file.as_ref().expect("a domain file").display().to_string();
    let (ended, said) = CommandLine::new(&scene.services.citytide, "other")
        .args(["check", "--brokers", brokers, "--topic", topic, "--database-url", url, "--domain", &file])
        .finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(line(&said, "tables").starts_with('✗'), "{said}");

    session.batch("alter table metrics_1min rename max_aqi to mine");
    expect(check(&scene, brokers, topic, url), 78, "tables", &["metrics_1min.max_aqi is missing"]);
    let (ended, said) = scene.run("--no-supervise").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(said.contains("metrics_1min.max_aqi"), "a run names table and column: {said}");
    session.batch("alter table metrics_1min rename mine to max_aqi");

    session.batch(&format!("create role {role} login"));
    let (ended, said) = CommandLine::new(&scene.services.citytide, "broken")
        .args(["verify", "--database-url", &scene.database.url_as(&role, "x")])
        .finish(LIMIT);
    session.batch(&format!("drop role {role}"));
    assert_eq!(ended, Ended::Exit(77), "{said}");
    assert!(said.contains("sql/roles.sql"), "{said}");

    let mut run = scene.run("-w 1").spawn();
    wait_until("the run lives", LIMIT, || {
        session.value("select exists (select from runs where ended_at is null)")
    });
    expect(check(&scene, brokers, topic, url), 73, "run", &["--take-over"]);
    assert_eq!(run.ended(), None, "a check disturbs no run");
}

#[test]
fn a_second_run_with_another_metric_changes_nothing_while_the_first_lives() {
    let scene = Scene::new("metric", City::smart(), 1);
    let mut first = scene.run("-w 1").spawn();
    Traffic::new(62, 100_000).send(&scene.topic, &scene.city, 1, 500);
    scene.wait_committed(&mut first);
    let file = citytide_tests::process::scratch().join(format!("{}.toml", unique("windy")));
    let smart = include_str!("../../domain/smart-city.toml");
    std::fs::write(&file, format!("{smart}\n[[metrics]]\nname = \"wind\"\nunit = \"m/s\"\n"))
        .expect("a domain file");
    let file = file.display().to_string();
    let (ended, said) = scene.run("--no-supervise").args(["--domain", &file]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(73), "{said}");
    let schema = |command: &str| {
        CommandLine::new(&scene.services.citytide, "metric")
            .args(["schema", command, "--domain", &file, "--database-url", &scene.database.url])
            .finish(LIMIT)
    };
    assert_eq!(schema("apply").0, Ended::Exit(73), "applying waits for the database, too");
    let wind = "select count(*) from pg_attribute where attname like '%wind'";
    assert_eq!(scene.database.session.value::<i64>(wind), 0);
    assert_eq!(first.ended(), None);
    first.kill();
    let (ended, said) = schema("diff");
    assert_eq!(ended, Ended::Exit(1), "{said}");
    assert!(said.contains("sensor_readings.wind is missing"), "{said}");
    assert_eq!(schema("apply").0, Ended::Exit(0));
    assert_eq!(schema("diff").0, Ended::Exit(0));
    assert!(scene.database.session.value::<i64>(wind) > 0);
}

#[test]
fn a_topic_is_created_once_and_what_differs_is_told() {
    let scene = Scene::new("create", City::smart(), 1);
    let topic = unique("created");
    let create = |more: &[&str]| {
        CommandLine::new(&scene.services.citytide, "create")
            .args(["topics", "create", "--brokers", &scene.services.brokers, "--topic", &topic])
            .args(more.iter().copied())
            .finish(LIMIT)
    };
    let (ended, said) = create(&["--topic-partitions", "3", "--retention-hours", "2"]);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let (ended, said) = create(&["--topic-partitions", "3"]);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(said.contains("3 partitions") && said.contains("LogAppendTime"), "{said}");
    assert_eq!(create(&["--topic-partitions", "3", "--if-not-exists"]).0, Ended::Exit(0));
    let (ended, said) = create(&["--topic-partitions", "5", "--timestamps", "sender", "--if-not-exists"]);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert!(said.contains("partitions is 3, not 5") && said.contains("not CreateTime"), "{said}");
    let database = Database::create(&scene.services, "created");
    let (code, said) = check(&scene, &scene.services.brokers, &topic, &database.url);
    assert_eq!(code, 0, "{said}");
}

/// The address of a server that says of itself that it is PostgreSQL 13, to whoever comes.
fn old_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut message = |kind: u8, body: &[u8]| {
                let mut bytes = vec![kind];
                bytes.extend((body.len() as u32 + 4).to_be_bytes());
                bytes.extend(body);
                stream.write_all(&bytes).expect("written");
            };
            message(b'R', &0_u32.to_be_bytes());
            message(b'S', b"server_version\x0013.9\x00");
            message(b'Z', b"I");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        }
    });
    format!("postgresql://me@127.0.0.1:{port}/x?sslmode=disable")
}

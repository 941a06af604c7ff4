//! What is typed and what comes back: exit codes, messages, signals, verify.

use std::collections::HashSet;
use std::time::Duration;

use citytide_tests::city::City;
use citytide_tests::database::{Session, at_database};
use citytide_tests::load::Traffic;
use citytide_tests::process::{CommandLine, Ended, scratch};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{services, unique, wait_until};

fn fill(scene: &Scene, count: usize) {
    Traffic::new(51, 100_000).send(&scene.topic, &scene.city, 2, count);
    scene.topic.flush();
}

#[test]
fn verify_is_content_with_what_a_run_writes_and_names_every_table_that_was_tampered_with() {
    let scene = Scene::new("verify", City::smart(), 2);
    fill(&scene, 8000);
    scene.catch_up("-w 2");
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let session = &scene.database.session;
    for (table, set, named) in [
        ("metrics_1min", "reading_count = reading_count + 1", "zone"),
        ("metrics_5min", "anomaly_count = anomaly_count + 1", "zone"),
        ("metrics_1min", "max_aqi = max_aqi + 1", "zone"),
        ("metrics_5min", "avg_humidity = avg_humidity * 1.00000001", "zone"),
        ("metrics_1min", "is_final = not is_final", "zone"),
        ("metrics_1min", "window_start = window_start - interval '1 year'", "zone"),
        ("hot_sensors", "anomaly_count = anomaly_count + 1", "zone"),
        ("zone_status", "anomalies_5min = anomalies_5min + 1", "zone"),
        ("zone_latest", "humidity = humidity + 1", "zone"),
        ("quality_counts", "unusual_aqi = unusual_aqi + 1", "zone"),
        ("sensor_states", "readings = readings + 1", "sensor_id"),
        ("ingest_progress", "accepted = accepted + 1", "''"),
    ] {
        session.batch(&format!("create table saved as select * from {table}"));
        let tampered = format!("ctid = (select min(ctid) from {table})");
        let name: String = session.value(&format!("select {named} from {table} where {tampered}"));
        session.batch(&format!("update {table} set {set} where {tampered}"));
        let (ended, said) = scene.verify();
        assert_eq!(ended, Ended::Exit(1), "{table} set {set}: {said}");
        assert!(said.contains(table) || table == "ingest_progress", "{table} is named: {said}");
        assert!(said.contains(&name), "{name} is named: {said}");
        session.batch(&format!(
            "delete from {table}; insert into {table} select * from saved; drop table saved"
        ));
    }
    session.batch("delete from metrics_5min where ctid = (select min(ctid) from metrics_5min)");
    assert_eq!(scene.verify().0, Ended::Exit(1), "a missing row is a difference");
}

#[test]
fn verify_is_content_with_a_database_that_is_being_written() {
    let scene = Scene::new("meanwhile", City::smart(), 2);
    scene.under_load(2, 52, || {
        let mut run = scene.run("-w 2").spawn();
        wait_until("the first commit", LIMIT, || scene.database.commits() > 0);
        for _ in 0..5 {
            let (ended, said) = scene.verify();
            assert_eq!(ended, Ended::Exit(0), "{said}");
        }
        assert_eq!(run.ended(), None);
    });
}

#[test]
fn sigterm_drains_commits_and_ends_with_zero() {
    for arguments in ["-w 2", "-n 2", "-w 1 --no-supervise"] {
        let scene = Scene::new("sigterm", City::smart(), 2);
        let mut run = scene.run(arguments).spawn();
        fill(&scene, 3000);
        scene.wait_committed(&mut run);
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{arguments}");
        scene.assert_tables();
    }
}

#[test]
fn the_interrupt_of_a_terminal_drains_as_well() {
    for arguments in ["-w 1", "-n 2"] {
        let scene = Scene::new("interrupt", City::smart(), 2);
        scene.under_load(2, 53, || {
            let mut run = scene.run(arguments).own_group().spawn();
            wait_until("the first commits", LIMIT, || scene.database.commits() > 3);
            run.interrupt();
            assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{arguments}");
        });
        scene.catch_up("-w 1");
        scene.assert_tables();
    }
}

#[test]
fn a_run_until_caught_up_ends_although_more_arrives() {
    let scene = Scene::new("more", City::smart(), 2);
    fill(&scene, 5000);
    let offsets = scene.topic.offsets();
    scene.under_load(2, 54, || {
        let mut run = scene.run("--until-caught-up -w 2").spawn();
        assert_eq!(run.wait(LIMIT), Ended::Exit(0));
        assert!(scene.database.committed_offsets() >= offsets, "everything that was there is committed");
        citytide_tests::snapshot::check_once(&scene.database.session, &scene.city);
    });
    scene.catch_up("-w 1");
    scene.assert_caught_up();
}

#[test]
fn sigterm_in_the_middle_of_a_backlog_leaves_tables_that_the_next_run_completes() {
    let scene = Scene::new("middle", City::smart(), 2);
    fill(&scene, 30_000);
    // By rules, as the oracle judges: in fifty minutes a model comes into force.
    let mut run = scene.run("-w 2 --detector rules").spawn();
    wait_until("the first commit", LIMIT, || scene.database.commits() > 0);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    citytide_tests::snapshot::check_once(&scene.database.session, &scene.city);
    scene.catch_up("-w 1 --detector rules");
    scene.assert_tables();
}

#[test]
fn a_second_run_on_the_same_database_ends_with_its_own_code_and_names_the_first() {
    let scene = Scene::new("second", City::smart(), 2);
    fill(&scene, 1000);
    let mut first = scene.run("-w 1").spawn();
    scene.wait_committed(&mut first);
    let host: String = scene.database.session.value("select host from runs order by run_id desc limit 1");
    for arguments in ["-w 1", "-w 1 --no-supervise"] {
        let (ended, said) = scene.run(arguments).finish(LIMIT);
        assert_eq!(ended, Ended::Exit(73), "{arguments}: {said}");
        assert!(
            said.contains(&host) && said.contains("--take-over"),
            "the holder and the way out are named: {said}"
        );
    }
    assert_eq!(first.ended(), None, "the first run goes on");
    // A run that was killed holds nothing.
    first.kill();
    scene.catch_up("-w 1");
    scene.assert_caught_up();
}

#[test]
fn what_cannot_work_ends_with_a_code_and_a_sentence_that_say_why() {
    let scene = Scene::new("codes", City::smart(), 1);
    let services = &scene.services;
    let database_url = &scene.database.url;
    let run = |brokers: &str, topic: &str, database_url: &str, more: &[&str]| {
        CommandLine::new(&services.citytide, "codes")
            .args([
                "run",
                "--brokers",
                brokers,
                "--topic",
                topic,
                "--database-url",
                database_url,
                "--no-supervise",
            ])
            .args(more.iter().copied())
            .finish(LIMIT)
    };
    let expect = |(ended, said): (Ended, String), code: i32, words: &[&str]| {
        assert_eq!(ended, Ended::Exit(code), "{said}");
        for word in words {
            assert!(said.contains(word), "{word} is not in: {said}");
        }
    };
    let topic = scene.topic.name.as_str();
    expect(run(&services.brokers, topic, database_url, &["--no-such-flag"]), 2, &["--no-such-flag"]);
    expect(
        run(&services.brokers, topic, database_url, &["--domain", "/nowhere.toml"]),
        78,
        &["/nowhere.toml"],
    );
    expect(run("127.0.0.1:1", topic, database_url, &[]), 69, &["127.0.0.1:1"]);
    expect(run(&services.brokers, topic, "postgresql://nobody@127.0.0.1:1/x", &[]), 69, &["127.0.0.1:1"]);
    expect(run(&services.brokers, topic, "this is no address", &[]), 78, &["postgresql://"]);
    let nowhere = at_database(database_url, "no_such_database");
    expect(run(&services.brokers, topic, &nowhere, &[]), 77, &["no_such_database"]);

    // A role that may connect and nothing else; the password matters only where the server asks for it.
    let role = unique("role");
    scene.database.session.batch(&format!("create role {role} login password 'right'"));
    let denied = run(&services.brokers, topic, &scene.database.url_as(&role, "wrong"), &[]);
    let missing = run(&services.brokers, topic, &scene.database.url_as("no_such_role", "secret-word"), &[]);
    Session::open(&services.database_url).batch(&format!("drop role {role}"));
    expect(denied, 77, &[&role]);
    assert!(!missing.1.contains("secret-word"), "a password is never printed: {}", missing.1);
    expect(missing, 77, &["no_such_role"]);
}

#[test]
fn a_topic_that_is_not_there_is_named_and_does_not_claim_the_database() {
    let scene = Scene::new("typo", City::smart(), 2);
    fill(&scene, 100);
    for arguments in ["--no-supervise", ""] {
        let (ended, said) = CommandLine::run(&scene.services, "no-such-topic", &scene.database.url, "typo")
            .args(arguments.split_whitespace())
            .finish(LIMIT);
        assert_eq!(ended, Ended::Exit(78), "{said}");
        assert!(said.contains("no-such-topic"), "the topic is named: {said}");
    }
    scene.catch_up("-w 1");
    scene.assert_caught_up();
}

#[test]
fn every_mistake_in_a_domain_file_is_reported_at_once_with_its_line() {
    let services = services();
    let path = scratch().join(format!("{}.toml", unique("mistakes")));
    let file = City::harbour()
        .toml()
        .replace("zones_max = 3", "zones_max = -3\nsensor_max = 4")
        .replace("size = \"10000ms\"", "size = \"10 parsecs\"");
    let line = |needle: &str| 1 + file.lines().position(|line| line.contains(needle)).expect("the mistake");
    std::fs::write(&path, &file).expect("writing a domain file");
    let (ended, said) = CommandLine::run(&services, "t", "postgresql://nobody@127.0.0.1:1/x", "mistakes")
        .domain(Some(&path))
        .args(["--no-supervise"])
        .finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    for needle in ["zones_max = -3", "sensor_max", "10 parsecs"] {
        assert!(said.contains(needle), "{needle} is shown: {said}");
        assert!(
            said.contains(&format!(":{}", line(needle))) || said.contains(&line(needle).to_string()),
            "{said}"
        );
    }
    assert!(said.contains('^'), "a caret points at the place: {said}");
}

#[test]
fn a_supervised_run_waits_for_a_broker_that_is_away_and_can_be_told_to_end() {
    let scene = Scene::new("away", City::smart(), 1);
    let mut run = CommandLine::new(&scene.services.citytide, "away")
        .args(["run", "--brokers", "127.0.0.1:1", "--topic", &scene.topic.name])
        .args(["--database-url", &scene.database.url])
        .spawn();
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(run.ended(), None, "the supervisor goes on for as long as a dependency is away");
    run.signal(libc::SIGTERM);
    let ended = run.wait(LIMIT);
    assert!(matches!(ended, Ended::Exit(_)), "{ended:?}");
}

#[test]
fn a_history_is_in_the_windows_without_a_hole_and_the_living_city_follows_it() {
    let scene = Scene::new("history", City::smart(), 4);
    let (ended, said) = CommandLine::new(&scene.services.generator, "generator")
        .args(["--brokers", &scene.services.brokers, "--topic", &scene.topic.name])
        .args(["--history", "6h", "--sensors", "40", "--rate", "400", "--count", "2000", "--quiet"])
        .finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let mut run = scene.run("--until-caught-up -w 2").spawn();
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    let session = &scene.database.session;
    let count = |sql: &str| session.value::<i64>(sql);
    let readings = count("select count(*) from sensor_data");
    assert!(readings >= 360 * 40 + 2_000, "{readings}");
    assert_eq!(count("select count(*) from dead_letters"), 0);
    assert_eq!(count("select count(*) from sensor_data where is_late"), 0);
    // Each minute from the first to the last one has its window in each zone.
    let holes = "select count(*) from (select window_start - lag(window_start) over (partition by zone order by \
                 window_start) as step from metrics_1min) as steps where step > interval '1 minute'";
    assert_eq!(count(holes), 0);
    let span =
        "select (extract(epoch from max(window_start) - min(window_start)) / 60)::bigint from metrics_1min";
    assert!(count(span) >= 359, "{} minutes", count(span));
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn what_the_generator_sends_is_read_without_a_dead_letter_and_verified() {
    let scene = Scene::new("generator", City::smart(), 2);
    let truth = scratch().join(format!("{}.csv", unique("truth")));
    let (ended, said) = CommandLine::new(&scene.services.generator, "generator")
        .args(["--brokers", &scene.services.brokers, "--topic", &scene.topic.name])
        .args(["--rate", "0", "--count", "20000", "--seed", "7", "--quiet", "--truth"])
        .args([&truth])
        .finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let mut run = scene.run("--until-caught-up -w 2").spawn();
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    let session = &scene.database.session;
    assert_eq!(session.value::<i64>("select count(*) from sensor_data"), 20_000);
    assert_eq!(session.value::<i64>("select count(*) from dead_letters"), 0);
    // What breaks a rule was made anomalous on purpose; most that was made anomalous breaks none.
    let truth = std::fs::read_to_string(truth).expect("the generator wrote the truth");
    let made: HashSet<(i32, i64)> = truth
        .lines()
        .skip(1)
        .filter(|line| !line.contains(",silence,"))
        .map(|line| {
            let mut fields = line.split(',');
            let mut number = || fields.next().and_then(|field| field.parse::<i64>().ok()).expect("a number");
            (number() as i32, number())
        })
        .collect();
    // What befalls a whole zone for half an hour is an eighth of these few seconds, or nothing of them.
    let of_zones = truth.lines().filter(|line| line.contains(",zone_event,")).count();
    let of_sensors = made.len() - of_zones;
    assert!((500..2000).contains(&of_sensors), "{of_sensors} of 20,000 readings were made anomalous");
    let flagged = session.query("select kafka_partition, kafka_offset from sensor_data where is_anomaly");
    assert!(!flagged.is_empty());
    for row in flagged {
        let place: (i32, i64) = (row.get(0), row.get(1));
        assert!(made.contains(&place), "{place:?} is normal and yet breaks a rule");
    }
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

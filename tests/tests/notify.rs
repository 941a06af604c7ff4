//! `citytide notify` and `run --notify`: who is told of incidents, while notifiers are killed and receivers fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use citytide_tests::city::{City, SECOND};
use citytide_tests::load::{DAWN, Random, Reading, send};
use citytide_tests::process::{CommandLine, Ended, scratch};
use citytide_tests::receiver::Receiver;
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{unique, wait_until};

/// Readings of four sensors of each zone, one every five seconds from each, which are on fire or not.
fn send_minutes(scene: &Scene, zones: usize, seconds: std::ops::Range<i64>, burns: bool) {
    for second in seconds {
        for (zone, sensor) in (0..zones).flat_map(|zone| (0..4).map(move |sensor| (zone, sensor))) {
            if (second + sensor) % 5 != 0 {
                continue;
            }
            let at_us = DAWN + second * SECOND;
            let zone = format!("Zone {zone}");
            let mut reading = Reading::plain(&scene.city, &format!("{zone} {sensor}"), &zone, at_us, 20.0);
            reading.values[2] = Some(if burns { 350.0 } else { 50.0 });
            send(&scene.topic, &scene.city, 0, reading);
        }
    }
}

/// A configuration file with one webhook, and what else a route says.
fn file(test: &str, receiver: &Receiver, more: &str) -> PathBuf {
    let path = scratch().join(format!("{}.toml", unique(test)));
    let port = receiver.port;
    let text = format!("[routes.duty]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/\"\n{more}\n");
    std::fs::write(&path, text).expect("a file");
    path
}

fn notify(scene: &Scene, url: &str, file: &PathBuf, arguments: &str) -> CommandLine {
    CommandLine::new(&scene.services.citytide, scene.test)
        .args(["notify", "--database-url", url, "--config"])
        .args([file])
        .domain(scene.file.as_deref())
        .args(arguments.split_whitespace())
}

fn city() -> City {
    City { built_in: false, ..City::smart() }
}

#[test]
fn everything_is_told_and_nothing_twice_while_notifiers_are_killed() {
    let scene = Scene::new("notify_killed", city(), 1);
    let receiver = Receiver::start(Duration::from_millis(30));
    let file = file("killed", &receiver, "group_wait = \"0s\"\ngroup_max = 1");
    scene.catch_up("--detector rules");
    // The route begins before the fires do.
    let begun = notify(&scene, &scene.database.url, &file, "--until-caught-up").finish(LIMIT);
    assert_eq!(begun.0, Ended::Exit(0), "{}", begun.1);
    send_minutes(&scene, 20, 0..90, true);
    send_minutes(&scene, 20, 90..400, false);
    scene.catch_up("--detector rules -w 2");
    let told = "select count(*) from incident_changes where to_condition in ('open', 'cleared')";
    let expected: i64 = scene.database.session.value(told);
    assert_eq!(expected, 40, "each of the fires begins and ends");
    let mut random = Random(7);
    let mut kills = 0;
    while receiver.received().len() < 30 {
        let before = receiver.received().len();
        let mut notifier = notify(&scene, &scene.database.url, &file, "").spawn();
        wait_until("something is told", LIMIT, || receiver.received().len() > before);
        std::thread::sleep(Duration::from_millis(random.below(120) as u64));
        notifier.kill();
        kills += 1;
    }
    let last = notify(&scene, &scene.database.url, &file, "--until-caught-up").finish(LIMIT);
    assert_eq!(last.0, Ended::Exit(0), "{}", last.1);
    let (keys, received) = (receiver.keys(), receiver.received());
    let distinct: BTreeSet<&String> = keys.iter().collect();
    assert_eq!(distinct.len(), 40, "{keys:#?}");
    assert!(keys.len() <= 40 + kills, "at most what was under way when a notifier was killed came twice");
    let mut bodies = BTreeMap::new();
    for (id, body) in &received {
        let first = bodies.entry(id).or_insert(body);
        assert_eq!(*first, body, "the second of two says the same");
    }
    let left = "select count(*) from notifications where state <> 'sent'";
    assert_eq!(scene.database.session.value::<i64>(left), 0);
}

#[test]
fn a_run_notifies_beside_its_work_and_neither_ends_the_other() {
    let scene = Scene::new("notify_beside", city(), 1);
    let receiver = Receiver::start(Duration::ZERO);
    let file = file("beside", &receiver, "group_wait = \"0s\"");
    let path = file.to_str().expect("a path");
    let mut run = scene.run(&format!("--detector rules --notify --config {path}")).spawn();
    let session = &scene.database.session;
    wait_until("the route is begun", LIMIT, || {
        session.has_tables() && session.value::<i64>("select count(*) from notification_routes") == 1
    });
    send_minutes(&scene, 2, 0..90, true);
    scene.wait_committed(&mut run);
    wait_until("both are told", LIMIT, || receiver.keys().len() == 2);
    // Somebody ends the notifier's sessions: the run goes on, and so does the notifier, with new ones.
    session.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() \
         and application_name like 'citytide:notify%'",
    );
    send_minutes(&scene, 2, 90..400, false);
    scene.wait_committed(&mut run);
    wait_until("both ends are told", LIMIT, || receiver.keys().len() == 4);
    assert_eq!(session.value::<i64>("select count(distinct run_id) from commits"), 1);
    // Another notifier is refused as long as this one lives.
    let (ended, said) = notify(&scene, &scene.database.url, &file, "").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(73), "{said}");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    assert_eq!(receiver.keys().len(), 4);
}

#[test]
fn a_route_is_tried_by_hand_and_a_mistake_is_told_with_its_line() {
    let scene = Scene::new("notify_test", city(), 1);
    let receiver = Receiver::start(Duration::ZERO);
    let good = file("good", &receiver, "");
    let say = |file: &PathBuf, arguments: &str| {
        CommandLine::new(&scene.services.citytide, scene.test)
            .args(["notify", "--config"])
            .args([file])
            .args(arguments.split_whitespace())
            .finish(LIMIT)
    };
    let (ended, said) = say(&good, "test duty");
    assert_eq!((ended, said.trim()), (Ended::Exit(0), "route duty works: 200 OK: word"));
    assert_eq!(receiver.received()[0].1["data"]["notifications"][0]["event"], "test");
    receiver.answer(404);
    let (ended, said) = say(&good, "test duty");
    assert_eq!(ended, Ended::Exit(78));
    assert!(said.contains("route duty does not work: 404 Not Found: word"), "{said}");
    let (ended, said) = say(&good, "test dutty");
    assert_eq!(ended, Ended::Exit(78));
    assert!(said.contains("there is no route dutty; routes are: duty"), "{said}");
    let wrong = file("wrong", &receiver, "severity = \"hihg\"\nsecret_env = \"A\"\nsecret_file = \"b\"");
    let (ended, said) = say(&wrong, "test duty");
    assert_eq!(ended, Ended::Exit(78));
    for part in [".toml:4:12", "did you mean \"high\"?", "has 2 mistakes"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let unset = file("unset", &receiver, "secret_env = \"NO_SUCH_SECRET\"");
    let (ended, said) = say(&unset, "test duty");
    assert_eq!(ended, Ended::Exit(78));
    assert!(
        said.contains(".toml:1: route duty: the environment variable NO_SUCH_SECRET is not set"),
        "{said}"
    );
}

#[test]
fn a_role_that_may_notify_may_do_nothing_else() {
    let scene = Scene::new("notify_role", city(), 1);
    let receiver = Receiver::start(Duration::ZERO);
    let file = file("role", &receiver, "group_wait = \"0s\"");
    scene.catch_up("--detector rules");
    send_minutes(&scene, 1, 0..90, true);
    scene.catch_up("--detector rules");
    let session = &scene.database.session;
    session.batch(include_str!("../../sql/roles.sql"));
    let role = unique("notifier");
    session.batch(&format!("create role {role} login; grant citytide_notifier to {role}"));
    let url = scene.database.url_as(&role, "x");
    let (ended, said) = notify(&scene, &url, &file, "--until-caught-up").finish(LIMIT);
    let other = citytide_tests::database::Session::open(&url);
    let denied = other.try_query("select * from sensor_data").is_err()
        && other.try_query("select citytide_incident_acknowledge('x')").is_err();
    drop(other);
    session.batch(&format!("drop role {role}"));
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert_eq!(receiver.keys().len(), 1);
    assert!(denied, "readings and actions are none of its business");
}

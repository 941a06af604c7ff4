//! Dead letters are listed, shown, and replayed once the domain file is mended.

use citytide_tests::city::{City, SECOND};
use citytide_tests::compare::assert_tables;
use citytide_tests::kafka::Meaning;
use citytide_tests::load::{DAWN, Reading, Traffic, send};
use citytide_tests::oracle::{Watermark, expect};
use citytide_tests::process::{CommandLine, Ended};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::wait_until;
use citytide_tests::snapshot::{Checker, check_once};

const MINUTE: i64 = 60 * SECOND;

/// Knows one zone beyond the named ones, and a reading is late a minute after the end of its pane.
fn narrow() -> City {
    City { zones_max: 1, allowed_lateness_us: MINUTE, built_in: false, ..City::smart() }
}

/// The same, mended: it takes more zones.
fn mended() -> City {
    City { zones_max: 10, ..narrow() }
}

/// `citytide dead-letters` with the scene's database and the mended file.
fn letters(scene: &Scene, arguments: &str) -> CommandLine {
    let file = mended().file(&format!("{}-mended", scene.test));
    CommandLine::new(&scene.services.citytide, scene.test)
        .args(["dead-letters", "--database-url", &scene.database.url])
        .domain(file.as_deref())
        .args(arguments.split_whitespace())
}

/// A run of the mended domain.
fn run(scene: &Scene, arguments: &str) -> CommandLine {
    let file = mended().file(&format!("{}-mended", scene.test));
    CommandLine::run(&scene.services, &scene.topic.name, &scene.database.url, scene.test)
        .domain(file.as_deref())
        .args(arguments.split_whitespace())
}

/// Readings from the first unknown zone and from others, which are refused. None of them would be late or the latest.
fn send_from_unknown_zones(scene: &Scene, partition: i32, seconds: std::ops::Range<i64>) {
    for second in seconds {
        let at_us = DAWN + second * SECOND;
        let zones = [("Downtown", 0), ("Old Town", 1), ("New Town", 1), ("Far End", 2)];
        for (index, (zone, before)) in zones.into_iter().enumerate() {
            let value = if second % 7 == 0 { 301.0 } else { 20.0 + index as f64 };
            let sensor = format!("s{partition}-{}", second % 5);
            send(
                &scene.topic,
                &scene.city,
                partition,
                Reading::plain(&scene.city, &sensor, zone, at_us - before * SECOND, value),
            );
        }
    }
}

fn assert_as_if_never_dead(scene: &Scene) {
    let expected = expect(&mended(), &scene.topic.sent(), Watermark::Given(scene.database.watermark_us()));
    assert_tables(&scene.database.session, &mended(), &expected);
    check_once(&scene.database.session, &mended());
}

#[test]
fn replayed_letters_leave_the_tables_as_if_they_had_never_been_dead() {
    let scene = Scene::new("replay", narrow(), 2);
    send_from_unknown_zones(&scene, 0, 0..700);
    send_from_unknown_zones(&scene, 1, 0..700);
    scene.topic.send(0, DAWN / 1000, b"x".to_vec(), Meaning::Garbage { reason: "not_json", field: None });
    scene.catch_up("-w 2");
    scene.assert_caught_up();
    let dead = || scene.database.session.value::<i64>("select count(*) from dead_letters");
    assert_eq!(dead(), 2801);

    let (ended, said) = letters(&scene, "replay --dry-run").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert!(said.contains("2,800 would be readings · 1 still not_json"), "{said}");
    assert_eq!(dead(), 2801, "a dry run changes nothing");

    // Killed after its first transaction, and done again: every snapshot in between is consistent.
    let checker = Checker::start(&scene.database, &mended());
    let mut replay = letters(&scene, "replay").spawn();
    wait_until("the first letters are readings", LIMIT, || dead() < 2801 || replay.ended().is_some());
    replay.kill();
    let (ended, said) = letters(&scene, "replay --reason too_many_zones").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    checker.finish();
    assert_eq!(dead(), 1);
    assert_as_if_never_dead(&scene);

    let (ended, said) = letters(&scene, "replay --reason too_many_zones").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert!(said.contains("no dead letters"), "{said}");

    // What comes later goes on from there.
    send_from_unknown_zones(&scene, 0, 700..760);
    scene.topic.flush();
    assert_eq!(run(&scene, "--until-caught-up -w 1").spawn().wait(LIMIT), Ended::Exit(0));
    assert_as_if_never_dead(&scene);
}

#[test]
fn a_replayed_letter_is_never_late_and_corrects_its_final_window_without_moving_the_watermark() {
    let scene = Scene::new("replaylate", narrow(), 1);
    let session = &scene.database.session;
    let reading = |zone: &str, at_us: i64| {
        send(&scene.topic, &scene.city, 0, Reading::plain(&scene.city, "7", zone, at_us, 20.0));
    };
    reading("Old Town", DAWN);
    for minute in 0..30 {
        reading("Downtown", DAWN + minute * MINUTE);
    }
    // By the watermark far too late, and too many zones besides.
    reading("New Town", DAWN + 3 * MINUTE);
    reading("New Town", DAWN + 3 * MINUTE + SECOND);
    scene.catch_up("-w 1");
    scene.assert_caught_up();
    let watermark = scene.database.watermark_us();

    let (ended, said) = letters(&scene, "replay 0:31").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert!(said.contains("1 are readings now"), "{said}");
    let row = "select concat(reading_count, ' ', is_final, ' ', revision) from metrics_1min where zone = 'New Town'";
    assert_eq!(session.value::<String>(row), "1 t 0");
    let (ended, said) = letters(&scene, "replay").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert_eq!(session.value::<String>(row), "2 t 1");
    assert_eq!(session.value::<i64>("select count(*) from sensor_data where is_late"), 0);
    assert_eq!(scene.database.watermark_us(), watermark);
    assert!(session.value::<bool>("select bool_and(holds) from conservation"));
    check_once(session, &mended());
}

#[test]
fn a_living_run_is_not_disturbed_unless_it_is_asked_to_step_aside_and_then_goes_on() {
    let scene = Scene::new("replayaside", narrow(), 2);
    send_from_unknown_zones(&scene, 0, 0..120);
    let mut living = scene.run("-w 2").spawn();
    scene.wait_committed(&mut living);
    let (ended, said) = letters(&scene, "replay").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(73), "{said}");
    assert!(said.contains("--take-over"), "{said}");
    let (ended, said) = letters(&scene, "replay --take-over").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert!(said.contains("240 are readings now"), "{said}");
    let mut traffic = Traffic::new(3, 20_000);
    traffic.now_us = DAWN + 125 * SECOND;
    traffic.send(&scene.topic, &scene.city, 2, 500);
    scene.wait_committed(&mut living);
    check_once(&scene.database.session, &mended());
    assert_eq!(scene.verify().0, Ended::Exit(0));
    living.signal(libc::SIGTERM);
    assert_eq!(living.wait(LIMIT), Ended::Exit(0));
}

#[test]
fn letters_are_listed_and_shown_with_what_they_would_be_now() {
    let scene = Scene::new("letters", narrow(), 1);
    send_from_unknown_zones(&scene, 0, 0..3);
    scene.topic.send(0, DAWN / 1000, b"\xff".to_vec(), Meaning::Garbage { reason: "not_utf8", field: None });
    scene.catch_up("-w 1");
    let said = |arguments: &str, code: i32| {
        let (ended, said) = letters(&scene, arguments).finish(LIMIT);
        assert_eq!(ended, Ended::Exit(code), "{arguments}: {said}");
        said
    };
    let list = said("list --limit 2", 0);
    assert!(list.contains("2 of 7: too_many_zones 6 · not_utf8 1"), "{list}");
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let json = said("list --json --reason not_utf8", 0);
    let letter: serde_json::Value = serde_json::from_str(json.trim()).expect("a JSON object");
    assert_eq!((letter["offset"].as_i64(), letter["payload_hex"].as_str()), (Some(12), Some("ff")));
    assert!(said("show 0:2", 0).contains("would be a reading"), "the mended file knows more zones");
    assert!(said("show 0:12", 0).contains("still not a reading: not_utf8"));
    assert!(said("show 0:0", 78).contains("there is no dead letter 0:0"));
    assert!(said("show 0", 2).contains("0:4711"));
    assert!(said("list --reason nonsense", 2).contains("too_many_zones"));
}

//! Session windows: what late readings do to them, and every snapshot against a recompute while runs are killed.

use citytide_tests::city::{City, SECOND, SessionWindow};
use citytide_tests::compare::dump;
use citytide_tests::database::Database;
use citytide_tests::load::{DAWN, Random, Reading, send};
use citytide_tests::process::Ended;
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::wait_until;
use citytide_tests::sessions::look;
use citytide_tests::snapshot::{Checker, check_once};

const MINUTE: i64 = 60 * SECOND;

fn city() -> City {
    let window = |name, gap_us, max_us, by_sensor| SessionWindow { name, gap_us, max_us, by_sensor };
    City {
        sessions: vec![
            window("visits", 10 * MINUTE, 24 * 60 * MINUTE, false),
            window("trips", 30 * SECOND, 20 * MINUTE, true),
        ],
        jump_max_us: 24 * 60 * MINUTE,
        built_in: false,
        ..City::smart()
    }
}

fn send_one(scene: &Scene, zone: &str, sensor: &str, minute: i64, value: f64) {
    let reading = Reading::plain(&scene.city, sensor, zone, DAWN + minute * MINUTE, value);
    send(&scene.topic, &scene.city, 0, reading);
}

/// `metrics_visits` by line: start and end in minutes, readings, average temperature, whether it is final, revision.
fn visits(scene: &Scene) -> Vec<String> {
    let rows = scene.database.session.query(
        "select format('%s-%s %s of %s %s%s', extract(epoch from window_start - '2024-01-01T00:00:00Z')::int / 60, \
         extract(epoch from window_end - '2024-01-01T00:00:00Z')::int / 60, reading_count, avg_temperature, \
         case when is_final then 'final' else 'open' end, repeat('*', revision)) from metrics_visits where zone = 'Quay' \
         order by window_start",
    );
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn late_readings_extend_join_and_open_sessions_again() {
    let scene = Scene::new("visits", city(), 1);
    let says = |expected: &[&str]| {
        scene.catch_up("--detector rules -w 2");
        assert_eq!(visits(&scene), expected);
        assert_eq!(look(&scene.database.session, &scene.city).expect("a snapshot").0, Vec::<String>::new());
        let (ended, said) = scene.verify();
        assert_eq!(ended, Ended::Exit(0), "{said}");
    };
    // Nine minutes apart is one session, ten are two. Another zone takes time on.
    for minute in [0, 9, 19, 60] {
        send_one(&scene, "Quay", "a", minute, minute as f64);
    }
    send_one(&scene, "Yard", "b", 65, 0.0);
    says(&["0-19 2 of 4.5 final", "19-29 1 of 19 final", "60-70 1 of 60 open"]);
    // Twelve hours pass: the sessions are in the database only.
    for minute in (70..720).step_by(5) {
        send_one(&scene, "Yard", "b", minute, 0.0);
    }
    says(&["0-19 2 of 4.5 final", "19-29 1 of 19 final", "60-70 1 of 60 final"]);
    // One that comes earlier moves the start, and what began there is gone; one of the day before is cut off.
    send_one(&scene, "Quay", "a", -3, 0.5);
    send_one(&scene, "Quay", "a", 55, 2.0);
    says(&["-3-0 1 of 0.5 final", "0-19 2 of 4.5 final", "19-29 1 of 19 final", "55-70 2 of 31 final"]);
    let gone = "select count(*) from changes where table_name = 'metrics_visits' and key ->> 'zone' = 'Quay'";
    assert_eq!(scene.database.session.value::<i64>(gone), 1);
    // One between joins two.
    send_one(&scene, "Quay", "c", 12, 2.0);
    says(&["-3-0 1 of 0.5 final", "0-29 4 of 7.5 final*", "55-70 2 of 31 final"]);
    assert_eq!(scene.database.session.value::<i64>(gone), 2);
    // A late one just before W opens a session again.
    send_one(&scene, "Quay", "a", 704, 1.0);
    send_one(&scene, "Yard", "b", 715, 0.0);
    send_one(&scene, "Yard", "b", 720, 0.0);
    says(&["-3-0 1 of 0.5 final", "0-29 4 of 7.5 final*", "55-70 2 of 31 final", "704-714 1 of 1 final"]);
    send_one(&scene, "Quay", "a", 712, 3.0);
    says(&["-3-0 1 of 0.5 final", "0-29 4 of 7.5 final*", "55-70 2 of 31 final", "704-722 2 of 2 open*"]);
}

/// So many minutes of sensors that come and go in four zones; some of what they send is held back for up to an hour.
fn send_comings_and_goings(
    scene: &Scene,
    random: &mut Random,
    held: &mut Vec<(i64, Reading)>,
    minutes: std::ops::Range<i64>,
) {
    let mut here = [true; 12];
    for second in minutes.start * 60..minutes.end * 60 {
        for (number, here) in here.iter_mut().enumerate() {
            // About a minute here, about a minute and a half away.
            let changes = random.below(if *here { 60 } else { 90 }) == 0;
            *here ^= changes;
            if !*here || random.below(4) > 0 {
                continue;
            }
            let mut reading = Reading::plain(
                &scene.city,
                &format!("s{number}"),
                &scene.city.zones[number % 4],
                DAWN + second * SECOND + random.below(SECOND),
                random.below(400) as f64 / 8.0,
            );
            reading.values[2] = Some(random.below(310) as f64);
            match random.below(100) {
                0..5 => held.push((second + random.below(3_600), reading)),
                _ => send(&scene.topic, &scene.city, number as i32 % 3, reading),
            }
        }
        for (_, reading) in held.extract_if(.., |(until, _)| *until <= second) {
            let partition = (reading.event_us / SECOND % 3) as i32;
            send(&scene.topic, &scene.city, partition, reading);
        }
    }
    scene.topic.flush();
}

#[test]
fn every_snapshot_has_the_sessions_of_its_readings_while_runs_are_killed() {
    let scene = Scene::new("sessions", city(), 3);
    let (mut random, mut held) = (Random(23), Vec::new());
    let checker = Checker::start(&scene.database, &scene.city);
    for (turn, shape) in (0..).zip(["-w 1", "-w 2", "-w 3", "-n 2 -w 2", "-w 2", "-n 2"]) {
        send_comings_and_goings(&scene, &mut random, &mut held, turn * 20..turn * 20 + 20);
        let mut run = scene.run(&format!("--detector rules {shape}")).spawn();
        wait_until("the run has begun", LIMIT, || scene.newest_run() > turn);
        std::thread::sleep(std::time::Duration::from_millis(200 + random.below(1_500) as u64));
        run.kill();
        assert_eq!(look(&scene.database.session, &scene.city).expect("a snapshot").0, Vec::<String>::new());
    }
    scene.catch_up("--detector rules -w 2");
    checker.finish();
    check_once(&scene.database.session, &scene.city);
    let (_, sessions) = look(&scene.database.session, &scene.city).expect("a snapshot");
    assert!(sessions > 300, "{sessions}");
    let corrected = "select count(*) from metrics_trips where revision > 0";
    assert!(scene.database.session.value::<i64>(corrected) > 10);
    let joined = "select count(*) from changes where table_name = 'metrics_trips'";
    assert!(scene.database.session.value::<i64>(joined) > 10);
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
    // Whatever the workers, the same bits.
    let killed = dump(&scene.database.session, &scene.city);
    for shape in ["-w 1", "-w 3", "-n 2 -w 2"] {
        let database = Database::create(&scene.services, "sessions");
        let mut run = scene.run_on(&database, &format!("--until-caught-up --detector rules {shape}")).spawn();
        assert_eq!(run.wait(LIMIT), Ended::Exit(0));
        for (one, other) in killed.iter().zip(&dump(&database.session, &scene.city)) {
            assert_eq!(one, other, "killed runs and {shape} differ");
        }
    }
}

#[test]
fn a_session_window_that_comes_later_is_filled_with_what_it_would_hold() {
    let mut scene = Scene::new("newvisits", City { sessions: Vec::new(), ..city() }, 3);
    let (mut random, mut held) = (Random(5), Vec::new());
    send_comings_and_goings(&scene, &mut random, &mut held, 0..40);
    scene.catch_up("--detector rules");
    scene.city = city();
    scene.file = scene.city.file("newvisits");
    send_comings_and_goings(&scene, &mut random, &mut held, 40..60);
    scene.catch_up("--detector rules -w 2");
    check_once(&scene.database.session, &scene.city);
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let whole = Database::create(&scene.services, "newvisits");
    let mut run = scene.run_on(&whole, "--until-caught-up --detector rules").spawn();
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    let sums = "select string_agg(concat_ws(' ', zone, sensor_id, window_start, sum_aqi, count_aqi, sum_temperature), e'\\n' \
                order by zone, sensor_id, window_start) from metrics_trips";
    let sums = |database: &Database| database.session.value::<String>(sums);
    assert_eq!(sums(&scene.database), sums(&whole), "to the unit");
    scene.city.sessions[0].gap_us *= 2;
    scene.file = scene.city.file("newvisits");
    let (ended, said) = scene.run("--until-caught-up").finish(LIMIT);
    assert_ne!(ended, Ended::Exit(0));
    assert!(said.contains("visits (sessions by zone, 600 s apart"), "{said}");
}
